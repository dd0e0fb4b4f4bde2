"""Random programs, the store of those that were met, and mutations."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from compiler_dojo.envs.llvm.passes import PASSES
from compiler_dojo.envs.llvm.session import CompilerSession
from compiler_dojo.envs.llvm.worker import Isolation
from compiler_dojo.envs.programs import Program, RunSpecification, load_programs
from compiler_dojo.experiments.fuzz_corpus import LONGEST_LIST, Corpus, Mutator, Pair, effect_buckets, state_buckets
from compiler_dojo.experiments.fuzz_oracles import OutputOracle
from compiler_dojo.experiments.fuzz_programs import (
    CsmithGenerator,
    ProgramStore,
    SetGenerator,
    StressGenerator,
    installed_generators,
    reached_state,
    root_of,
)

LIMITS = Isolation(pass_seconds=20.0, threads=1)
SMALL = load_programs("bundled://graphs/union_find")[0]
needs_csmith = pytest.mark.skipif(shutil.which("csmith") is None, reason="csmith is not installed")
needs_stress = pytest.mark.skipif(shutil.which("llvm-stress-19") is None, reason="llvm-stress-19 is not installed")


@needs_csmith
def test_csmith__programs_print_the_same_after_oz() -> None:
    generator = CsmithGenerator(LIMITS)
    drawn = [generator.draw(np.random.default_rng(seed)) for seed in range(4)]
    programs = [program for program in drawn if program is not None and program.run is not None]
    assert programs
    for program in programs:
        assert program.run is not None
        assert (program.run.output or "").startswith("checksum = ")
        assert OutputOracle(LIMITS).difference(program, ["default<Oz>"]) is None


@needs_stress
def test_stress__programs_are_valid_and_follow_from_the_seed() -> None:
    generator = StressGenerator()
    one, same, other = (generator.draw(np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert one == same
    assert one != other
    assert one is not None
    assert one.run is None
    with CompilerSession(one.module, one.uri, LIMITS) as session:
        assert session.instruction_count > 5


def test_installed_generators__are_none_where_nothing_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert installed_generators(LIMITS) == []


def test_store__gives_back_what_it_was_given(tmp_path: Path) -> None:
    program = Program("file:///p", SMALL.module, run=RunSpecification(("-n", "3"), "x\n", 2.0))
    entry = ProgramStore(tmp_path).put(program)
    found = ProgramStore(tmp_path).get(entry)
    assert (found.uri, found.module, found.run) == (program.uri, program.module, program.run)
    without = Program("file:///q", b"define void @f() { ret void }")
    assert ProgramStore(tmp_path).get(ProgramStore(tmp_path).put(without)).run is None
    assert len(list(tmp_path.iterdir())) == 2


def test_reached_state__keeps_its_root_and_how_to_run_it() -> None:
    first = reached_state(SMALL, b"one")
    second = reached_state(first, b"two")
    assert first.uri != second.uri
    assert root_of(first.uri) == root_of(second.uri) == SMALL.uri
    assert second.run == SMALL.run


def test_buckets__are_powers_of_two() -> None:
    assert state_buckets(np.array([0, 1, 5])) == {("", 0, 0), ("", 1, 1), ("", 2, 3)}
    assert effect_buckets("dce", np.array([9, 4, 0]), np.array([1, 4, 3])) == {("dce", 0, -4), ("dce", 2, 2)}


def test_mutator__draws_lists_of_the_table_and_the_same_ones_from_the_same_seed(tmp_path: Path) -> None:
    pipelines = [item.pipeline for item in PASSES]
    corpus = Corpus(tmp_path)
    for length in (1, 3, LONGEST_LIST):
        pair = Pair(SMALL, tuple(pipelines[:length]))
        corpus.keep(pair, reached_state(SMALL, SMALL.module + bytes(length)), frozenset({("", 0, length)}), "test")
    mutator = Mutator(pipelines, SetGenerator(load_programs("bundled/graphs")), [])
    drawn = [[mutator.draw(corpus, rng) for _ in range(200)] for rng in map(np.random.default_rng, (5, 5))]
    assert drawn[0] == drawn[1]
    pairs = [pair for pair in drawn[0] if pair is not None]
    assert all(set(pair.pipelines) <= set(pipelines) and len(pair.pipelines) <= LONGEST_LIST for pair in pairs)
    assert len({pair.pipelines for pair in pairs}) > 150
    assert any("#" in pair.program.uri for pair in pairs)
    assert len({pair.program.uri for pair in pairs}) > 3


def test_corpus__is_the_same_when_it_is_opened_again(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path)
    corpus.keep(Pair(SMALL, ("dce",)), reached_state(SMALL, b"x"), frozenset({("", 0, 1), ("dce", 4, -2)}), "test")
    again = Corpus(tmp_path, corpus.journal.size)
    assert (len(again), again.covered) == (1, corpus.covered)
    assert again.pair(0) == corpus.pair(0)
    assert again.reached(0).module == b"x"
    assert len(Corpus(tmp_path, 0)) == 0


def test_corpus__knows_how_a_state_was_reached(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path)
    first = reached_state(SMALL, b"x")
    second = reached_state(first, b"y")
    corpus.keep(Pair(SMALL, ("dce", "gvn")), first, frozenset({("", 0, 1)}), "test")
    corpus.keep(Pair(first, ("sroa",)), second, frozenset({("", 0, 2)}), "test")
    for opened in (corpus, Corpus(tmp_path, corpus.journal.size)):
        found = opened.with_history(Pair(second, ("adce",)))
        assert (found.program.module, found.pipelines) == (SMALL.module, ("dce", "gvn", "sroa", "adce"))
        assert opened.with_history(Pair(SMALL, ("adce",))) == Pair(SMALL, ("adce",))
