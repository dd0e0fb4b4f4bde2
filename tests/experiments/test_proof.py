"""Proofs pass where passes are sound and name what is not."""

import dataclasses

import pytest

from compiler_dojo.envs.llvm.passes import Pass, find_pass
from compiler_dojo.envs.programs import Program, RunSpecification, load_programs
from compiler_dojo.experiments.proof import prove, prove_program


@pytest.fixture
def program() -> Program:
    return load_programs("bundled").get("graphs/union_find")


def test_prove__sound_passes_have_no_problems(program: Program) -> None:
    passes = [find_pass(name) for name in ("sroa", "simplifycfg", "mergereturn")]
    (proof,) = prove(passes, [program])
    assert proof.problems == []
    assert proof.changed["sroa"] >= 1
    # each changes one start's module at least, and the modules before any pass count too
    assert proof.executions >= 3


def test_prove_program__names_a_pass_that_llvm_refuses(program: Program) -> None:
    proof = prove_program([Pass("no-such-pass", "function")], program)
    assert [(name, start) for name, start, _ in proof.problems] == [("no-such-pass", "O0"), ("no-such-pass", "Oz")]
    assert "PassFailedError" in proof.problems[0][2]


def test_prove_program__sees_another_output(program: Program) -> None:
    other = dataclasses.replace(program, run=RunSpecification(output="something else\n"))
    proof = prove_program([find_pass("sroa")], other)
    assert "expected 'something else\\n'" in proof.problems[0][2]


def test_prove_program__takes_what_cannot_run_on_trust(program: Program) -> None:
    proof = prove_program([find_pass("sroa")], dataclasses.replace(program, run=None))
    assert (proof.executions, proof.problems) == (0, [])
