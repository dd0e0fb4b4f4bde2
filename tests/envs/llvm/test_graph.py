"""The program graph: small modules whose graphs were written by hand, and what holds for every program."""

import re
from typing import NamedTuple

import numpy as np
import pytest

from compiler_dojo.envs.llvm.graph import (
    EDGE_COLUMNS,
    FLOWS,
    NODE_COLUMNS,
    NODE_KINDS,
    VOCABULARY_SIZES,
    ProgramGraph,
    edge_bounds,
    node_bounds,
)
from compiler_dojo.envs.llvm.session import CompilerSession
from compiler_dojo.envs.programs import bundled

BITCODE = sorted((bundled.FOLDER / "bitcode" / "oz").glob("*/*.bc"))
PASSES = ["sroa", "simplifycfg", "instcombine<no-verify-fixpoint>", "inline", "gvn", "globaldce"]

# LLVMOpcode
OPCODES = {
    "add": 8, "br": 2, "call": 45, "icmp": 42, "invoke": 5, "landingpad": 59, "load": 27, "mul": 12, "phi": 44,
    "resume": 58, "ret": 1, "store": 28, "sub": 10, "switch": 3, "unreachable": 7,
}  # fmt: skip
# type, element, width, length
TYPES = {
    "void": (0, 0, 0, 1),
    "i1": (8, 8, 1, 1),
    "i8": (8, 8, 4, 1),
    "i33": (8, 8, 6, 1),
    "i32": (8, 8, 6, 1),
    "i64": (8, 8, 7, 1),
    "half": (1, 1, 5, 1),
    "bfloat": (18, 18, 5, 1),
    "float": (2, 2, 6, 1),
    "double": (3, 3, 7, 1),
    "x86_fp80": (4, 4, 7, 1),
    "fp128": (5, 5, 8, 1),
    "ppc_fp128": (6, 6, 8, 1),
    "ptr": (12, 12, 0, 1),
    "<4 x i32>": (13, 8, 6, 3),
    "<2 x ptr>": (13, 12, 0, 2),
    "<vscale x 4 x float>": (17, 2, 6, 3),
    "[8 x [4 x i16]]": (11, 8, 5, 6),
    "[0 x i8]": (11, 8, 4, 0),
    "[4294967296 x [8589934592 x i1]]": (11, 8, 1, 64),
    "{ptr,i32}": (10, 10, 0, 2),
    "[2 x {i32, i8, i8}]": (11, 10, 0, 2),
}
ROOT = [0, 0, 0, 0, 0, 0, -1]


class Case(NamedTuple):
    """A module and its graph.

    ``nodes`` names the nodes from 1 on, each as "kind-or-opcode type", with a bar between functions. ``edges`` are
    "source flow position target".
    """

    ir: str
    nodes: str
    edges: str


CASES = {
    "straight line": Case(
        """
        define i32 @f(i32 %a, i32 %unused) {
          %b = mul i32 %a, %a
          %c = sub i32 %b, 1
          ret i32 %c
        }""",
        "variable i32, mul i32, variable i32, sub i32, variable i32, ret void, constant i32",
        """
        1 data 0 2, 1 data 1 2, 2 data 0 3, 2 control 0 4
        3 data 0 4, 7 data 1 4, 4 data 0 5, 4 control 0 6
        5 data 0 6
        0 call 0 2, 6 call 0 0""",
    ),
    "branch and phi": Case(
        """
        define i32 @f(i1 %p, i32 %a) {
        entry:
          br i1 %p, label %then, label %else
        then:
          %x = add i32 %a, 1
          br label %end
        else:
          br label %end
        end:
          %y = phi i32 [ %x, %then ], [ 0, %else ]
          ret i32 %y
        }""",
        """variable i1, variable i32, br void, add i32, variable i32, br void, br void, phi i32, variable i32, ret void,
        constant i32, constant i32""",
        """
        1 data 0 3, 3 control 0 4, 3 control 1 7
        2 data 0 4, 11 data 1 4, 4 data 0 5, 4 control 0 6
        6 control 0 8
        7 control 0 8
        5 data 0 8, 12 data 1 8, 8 data 0 9, 8 control 0 10
        9 data 0 10
        0 call 0 3, 10 call 0 0""",
    ),
    "loop": Case(
        """
        define void @f(i32 %n) {
        entry:
          br label %loop
        loop:
          %i = phi i32 [ 0, %entry ], [ %next, %loop ]
          %next = add i32 %i, 1
          %more = icmp slt i32 %next, %n
          br i1 %more, label %loop, label %end
        end:
          ret void
        }""",
        """variable i32, br void, phi i32, variable i32, add i32, variable i32, icmp i1, variable i1, br void, ret void,
        constant i32, constant i32""",
        """
        2 control 0 3
        11 data 0 3, 6 data 1 3, 3 data 0 4, 3 control 0 5
        4 data 0 5, 12 data 1 5, 5 data 0 6, 5 control 0 7
        6 data 0 7, 1 data 1 7, 7 data 0 8, 7 control 0 9
        8 data 0 9, 9 control 0 3, 9 control 1 10
        0 call 0 2, 10 call 0 0""",
    ),
    "call of a defined function": Case(
        """
        define internal i32 @g(i32 %x) {
          %p = icmp eq i32 %x, 0
          br i1 %p, label %bad, label %good
        bad:
          unreachable
        good:
          ret i32 %x
        }
        define i32 @f(i32 %a) {
          %r = call i32 @g(i32 %a)
          ret i32 %r
        }""",
        """variable i32, icmp i1, variable i1, br void, unreachable void, ret void, constant i32
        | variable i32, call i32, variable i32, ret void""",
        """
        1 data 0 2, 7 data 1 2, 2 data 0 3, 2 control 0 4
        3 data 0 4, 4 control 0 5, 4 control 1 6
        1 data 0 6
        8 data 0 9, 9 data 0 10, 9 control 0 11
        10 data 0 11
        0 call 0 9, 11 call 0 0
        9 call 0 2, 5 call 0 9, 6 call 0 9""",
    ),
    "call of a function defined later": Case(
        """
        define void @f() {
          call void @g()
          ret void
        }
        define private void @g() {
          ret void
        }""",
        "call void, ret void | ret void",
        "1 control 0 2, 0 call 0 1, 2 call 0 0, 1 call 0 3, 3 call 0 1",
    ),
    "call of an external function": Case(
        """
        declare i32 @puts(ptr)
        define void @f(ptr %s) {
          %unused = call i32 @puts(ptr %s)
          ret void
        }""",
        "variable ptr, call i32, ret void",
        """
        1 data 0 2, 2 control 0 3
        0 call 0 2, 3 call 0 0
        2 call 0 0, 0 call 0 2""",
    ),
    "switch": Case(
        """
        define i32 @f(i32 %x) {
          switch i32 %x, label %other [ i32 1, label %one  i32 2, label %two  i32 3, label %one ]
        one:
          ret i32 10
        two:
          ret i32 20
        other:
          unreachable
        }""",
        """variable i32, switch void, ret void, ret void, unreachable void,
        constant i32, constant i32, constant i32, constant i32, constant i32""",
        """
        1 data 0 2, 6 data 2 2, 7 data 4 2, 8 data 6 2
        2 control 0 5, 2 control 1 3, 2 control 2 4, 2 control 3 3
        9 data 0 3
        10 data 0 4
        0 call 0 2, 3 call 0 0, 4 call 0 0, 5 call 0 0""",
    ),
    "recursive call": Case(
        """
        define i32 @f(i32 %n) {
          %m = sub i32 %n, 1
          %r = call i32 @f(i32 %m)
          ret i32 %r
        }""",
        "variable i32, sub i32, variable i32, call i32, variable i32, ret void, constant i32",
        """
        1 data 0 2, 7 data 1 2, 2 data 0 3, 2 control 0 4
        3 data 0 4, 4 data 0 5, 4 control 0 6
        5 data 0 6
        0 call 0 2, 6 call 0 0
        4 call 0 2, 6 call 0 4""",
    ),
    "global variable": Case(
        """
        @g = global i32 0
        define void @f() {
          %v = load i32, ptr @g
          store i32 %v, ptr @g
          ret void
        }""",
        "load i32, variable i32, store void, ret void, constant ptr, constant ptr",
        """
        5 data 0 1, 1 data 0 2, 1 control 0 3
        2 data 0 3, 6 data 1 3, 3 control 0 4
        0 call 0 1, 4 call 0 0""",
    ),
    "calls through a pointer and an alias, a function as an operand": Case(
        """
        @a = alias void (), ptr @g
        define internal void @g() {
          ret void
        }
        define void @f(ptr %callee) {
          call void %callee(ptr @g, i64 0)
          call void @a()
          ret void
        }""",
        "ret void | variable ptr, call void, call void, ret void, constant i64, constant ptr",
        """
        6 data 1 3, 2 data 2 3, 3 control 0 4
        7 data 0 4, 4 control 0 5
        0 call 0 3, 5 call 0 0""",
    ),
    "invoke": Case(
        """
        declare void @throws(i32)
        declare i32 @__gxx_personality_v0(...)
        define i32 @f() personality ptr @__gxx_personality_v0 {
          invoke void @throws(i32 7) to label %fine unwind label %caught
        fine:
          ret i32 0
        caught:
          %pad = landingpad { ptr, i32 } cleanup
          resume { ptr, i32 } %pad
        }""",
        """invoke void, ret void, landingpad {ptr,i32}, variable {ptr,i32}, resume void,
        constant i32, constant i32""",
        """
        6 data 0 1, 1 control 0 2, 1 control 1 3
        7 data 0 2
        3 data 0 4, 3 control 0 5
        4 data 0 5
        0 call 0 1, 2 call 0 0, 5 call 0 0
        1 call 0 0, 0 call 0 1""",
    ),
    "inline assembly and metadata": Case(
        """
        declare i64 @llvm.read_register.i64(metadata)
        define void @f(i32 %x) {
          call void asm sideeffect "", "r"(i32 %x)
          %unused = call i64 @llvm.read_register.i64(metadata !0)
          ret void
        }
        !0 = !{!"rsp"}""",
        "variable i32, call void, call i64, ret void",
        """
        1 data 0 2, 2 control 0 3
        3 control 0 4
        0 call 0 2, 4 call 0 0
        3 call 0 0, 0 call 0 3""",
    ),
}


def node_rows(text: str) -> list[list[int]]:
    rows = [ROOT]
    for function, nodes in enumerate(text.split("|")):
        for node in re.split(r",\s+", nodes.strip()):
            what, kind = node.split()
            is_instruction = what not in NODE_KINDS
            opcode = OPCODES[what] if is_instruction else 0
            rows.append([0 if is_instruction else NODE_KINDS.index(what), opcode, *TYPES[kind], function])
    return rows


def edge_rows(text: str) -> list[list[int]]:
    fields = (edge.split() for edge in text.strip().replace("\n", ",").split(","))
    return [[int(s), int(t), FLOWS.index(flow), int(position)] for s, flow, position, t in fields]


def graph_of(ir: str) -> ProgramGraph:
    with CompilerSession(ir.encode()) as session:
        return session.graph()


def equal(one: ProgramGraph, other: ProgramGraph) -> bool:
    return all(map(np.array_equal, one, other))


@pytest.mark.parametrize("name", CASES)
def test_graph__is_the_one_written_by_hand(name) -> None:
    case = CASES[name]
    graph = graph_of(case.ir)
    assert graph.nodes.tolist() == node_rows(case.nodes)
    assert np.hstack([graph.edge_links, graph.edge_features]).tolist() == edge_rows(case.edges)


@pytest.mark.parametrize("kind", [kind for kind in TYPES if kind != "void"])
def test_types__are_told_by_kind_element_width_and_length(kind) -> None:
    nodes = graph_of(f"define void @f({kind} %x) {{\n %y = freeze {kind} %x\n ret void\n}}").nodes
    assert nodes[1].tolist() == [1, 0, *TYPES[kind], 0]
    assert nodes[2].tolist() == [0, 68, *TYPES[kind], 0]


def test_columns__are_named_and_bounded() -> None:
    assert {*NODE_COLUMNS, *EDGE_COLUMNS} - {*VOCABULARY_SIZES} == {"function", "position"}
    assert node_bounds()[0].tolist() == [0, 0, 0, 0, 0, 0, -1]
    assert node_bounds()[1].tolist() == [2, 71, 23, 23, 24, 64, 2**31 - 1]
    assert [bound.tolist() for bound in edge_bounds()] == [[0, 0], [2, 2**31 - 1]]


def check_invariants(session: CompilerSession, graph: ProgramGraph) -> None:
    nodes, links, features = graph
    assert all(array.dtype == np.int32 and array.flags.c_contiguous for array in graph)
    assert nodes[0].tolist() == ROOT
    assert links.min() >= 0
    assert links.max() < len(nodes)
    for rows, (low, high) in ((nodes, node_bounds()), (features, edge_bounds())):
        assert ((rows >= low) & (rows <= high)).all()
    kind, function = nodes[:, 0], nodes[:, -1]
    instcount, autophase = session.instcount(), session.autophase()
    assert (kind == 0).sum() == instcount[0] + 1
    assert (np.diff(function) >= 0).all()
    assert function.max() + 1 == instcount[2]
    (source, target), (flow, position) = links.T, features.T
    control, data, call = (flow == index for index in range(3))

    assert (kind[links[control | call]] == 0).all()
    assert (function[source[~call]] == function[target[~call]]).all()
    # as many as there are pairs of neighbours in blocks, and edges between blocks
    assert control.sum() == instcount[0] - instcount[1] + autophase[18]
    # an operand has one source; a variable comes right after what defines it; a constant has one use
    produces = data & (kind[source] == 0)
    assert (kind[target[produces]] == 1).all()
    assert (target[produces] == source[produces] + 1).all()
    assert (position[produces | call] == 0).all()
    consumes = data & ~produces
    assert (kind[target[consumes]] == 0).all()
    operands = np.stack([target[consumes], position[consumes]], axis=1)
    assert len(np.unique(operands, axis=0)) == len(operands)
    uses = np.bincount(source[consumes], minlength=len(nodes))
    assert (uses[kind == 1] >= 1).all()
    assert (uses[kind == 2] == 1).all()
    assert np.bincount(target[produces], minlength=len(nodes)).max() <= 1
    calls = (kind == 0) & np.isin(nodes[:, 1], [OPCODES["call"], OPCODES["invoke"]])
    calls[0] = True
    assert (calls[source] | calls[target])[call].all()


@pytest.mark.parametrize("path", BITCODE, ids=lambda path: path.stem)
def test_graph__of_every_bundled_program_is_sound_and_the_same_however_the_module_came_to_be(path) -> None:
    with CompilerSession(path.read_bytes()) as session:
        graph = session.graph()
        check_invariants(session, graph)
        with CompilerSession(session.bitcode()) as again, session.fork() as fork:
            assert equal(again.graph(), graph)
            assert equal(fork.graph(), graph)
        for name in PASSES:
            session.run(name)
        assert not equal(session.graph(), graph)
        check_invariants(session, session.graph())
        with CompilerSession(session.bitcode()) as again:
            assert equal(again.graph(), session.graph())


def test_graph__follows_each_pass_and_leaves_earlier_copies_alone() -> None:
    case = CASES["straight line"]
    with CompilerSession(case.ir.replace("mul i32 %a, %a", "mul i32 1, 1").encode()) as session:
        before = session.graph()
        kept = before.nodes.copy()
        assert not session.run("dce").changed
        assert equal(session.graph(), before)
        assert session.run("instcombine<no-verify-fixpoint>").changed
        after = session.graph()
        assert after.nodes.tolist() == node_rows("ret void, constant i32")
        after.nodes[:] = 0
        assert session.graph().nodes.tolist() == node_rows("ret void, constant i32")
        np.testing.assert_array_equal(before.nodes, kept)
