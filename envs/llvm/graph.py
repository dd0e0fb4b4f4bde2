"""The program graph in ProGraML's schema: its columns, their ranges, and copying it out of the C core.

ProGraML (Cummins et al., arXiv 2003.10536, section 3) joins three kinds of nodes by three flows. Node 0 is the
root: what is outside the module. The nodes of a function come together: its arguments, its instructions in the order
of the text, each followed by its variable, then its constants.

=========  ==========================================================================================
node       what it says
=========  ==========================================================================================
kind       0 instruction, 1 variable, 2 constant (:data:`NODE_KINDS`); the root is an instruction
opcode     of an instruction, as LLVM's C API numbers them (``LLVMOpcode``); else 0
type       of the value, as ``LLVMTypeKind`` numbers them (void for an instruction without result)
element    type of what an array or vector is made of in the end; else the same as ``type``
width      binary digits of the element's size in bits: i1 1, i8 4, i32 6, double 7; 0 without a size
length     binary digits of the number of elements, or of a struct's fields; 1 for scalars
function   index among the functions that the module defines; -1 for the root
=========  ==========================================================================================

=========  ==========================================================================================
edge       what it says
=========  ==========================================================================================
flow       0 control, 1 data, 2 call (:data:`FLOWS`)
position   control: index of the successor; data: index of the operand; 0 for all other edges
=========  ==========================================================================================

Control
    to the next instruction, and from a terminator to its successors.
Data
    from variables and constants to the instructions they are operands of, and from an instruction to its variable. An
    argument or result has one variable if anything uses it. Every use of a constant, which global variables and
    aliases are, has a node of its own. Functions, blocks, metadata and inline assembly are no data.
Call
    from a call site to the callee's entry, and back from each of its terminators without successors (ret, unreachable,
    resume, ...). A function that the module only declares, intrinsics among them, is the root. The root calls the
    defined functions that are neither internal nor private. Calls through pointers or aliases and of inline assembly
    have no call edge.

Edges come by instruction: operands, variable, control; then the root's calls by function, then the others by call site.
A function's calls have as many edges back as its calls times its exits.

ProGraML's own builder, for LLVM 10, differs: it makes a variable per use and a constant per value, leaves control edges
at position 0, gives each declaration a node, lets the root call all functions, and knows no invoke.
"""

from __future__ import annotations

import ctypes
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from compiler_dojo.envs.llvm.library import GraphHeader

Int32Array = npt.NDArray[np.int32]

NODE_COLUMNS = ("kind", "opcode", "type", "element", "width", "length", "function")
EDGE_COLUMNS = ("flow", "position")
NODE_KINDS = ("instruction", "variable", "constant")
FLOWS = ("control", "data", "call")

VOCABULARY_SIZES = {"kind": 3, "opcode": 72, "type": 24, "element": 24, "width": 25, "length": 65, "flow": 3}
"""Values of the columns that an embedding can be made of: each is in [0, size). Function and position are open."""

_HEADER_SIZE = ctypes.sizeof(GraphHeader)


class ProgramGraph(NamedTuple):
    """A program graph of N nodes and E edges; the module documentation explains the columns.

    Attributes:
        nodes: int32 of shape (N, 7), columns :data:`NODE_COLUMNS`.
        edge_links: source and target of each edge, int32 of shape (E, 2).
        edge_features: int32 of shape (E, 2), columns :data:`EDGE_COLUMNS`.
    """

    nodes: Int32Array
    edge_links: Int32Array
    edge_features: Int32Array


def read_graph(data: bytes) -> ProgramGraph:
    """Read a ``dojo_graph`` (native/include/dojo.h); the three arrays share one copy of the bytes."""
    header = GraphHeader.from_buffer_copy(data)
    nodes, edges = header.nodes, header.edges
    block = np.frombuffer(bytearray(data), np.int32, offset=_HEADER_SIZE)
    links = nodes * len(NODE_COLUMNS)
    features = links + edges * 2
    return ProgramGraph(
        block[:links].reshape(nodes, len(NODE_COLUMNS)),
        block[links:features].reshape(edges, 2),
        block[features:].reshape(edges, len(EDGE_COLUMNS)),
    )


def node_bounds() -> tuple[Int32Array, Int32Array]:
    """Least and greatest value of each node column, int32 of shape (7,)."""
    low = np.array([-1 if name == "function" else 0 for name in NODE_COLUMNS], np.int32)
    return low, _greatest(NODE_COLUMNS)


def edge_bounds() -> tuple[Int32Array, Int32Array]:
    """Least and greatest value of each edge column, int32 of shape (2,)."""
    return np.zeros(len(EDGE_COLUMNS), np.int32), _greatest(EDGE_COLUMNS)


def _greatest(columns: tuple[str, ...]) -> Int32Array:
    return np.array([VOCABULARY_SIZES.get(name, 1 << 31) - 1 for name in columns], np.int32)
