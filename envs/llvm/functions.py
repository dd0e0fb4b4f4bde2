"""Hashes of single functions, by which duplicates are found across modules."""

from __future__ import annotations

import struct
from typing import NamedTuple

from compiler_dojo.envs.llvm.library import FUNCTION_RECORD


class FunctionHash(NamedTuple):
    """A function as it would be known in any module.

    Its type, calling convention, attributes and body count, its name, linkage and place do not, nor does debug info or
    other metadata that is attached to anything. Of what it refers to count the names of external symbols, type and
    value of local constants, and the type of local variables and functions.

    Hashes are the same in every process, but not under every LLVM: attributes are numbered and upgraded by its version.

    Attributes:
        hash: 16 bytes.
        instructions: IR instructions.
        standard: whether it is of C++'s namespace ``std``, instances of whose templates all programs have.
    """

    hash: bytes
    instructions: int
    standard: bool


def read_functions(data: bytes) -> tuple[FunctionHash, ...]:
    """Read an array of ``dojo_function`` (native/include/dojo.h)."""
    return tuple(
        FunctionHash(struct.pack(">QQ", first, second), instructions, bool(standard))
        for first, second, instructions, standard in FUNCTION_RECORD.iter_unpack(data)
    )
