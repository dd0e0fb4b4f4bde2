"""Each oracle, on lists where nothing is wrong and where something was made wrong on purpose."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from compiler_dojo.envs.errors import CompilerCrashedError, InvalidProgramError
from compiler_dojo.envs.llvm.cache import TransitionCache
from compiler_dojo.envs.llvm.passes import find_pass
from compiler_dojo.envs.llvm.session import CompilerSession
from compiler_dojo.envs.llvm.worker import Isolation, Worker
from compiler_dojo.envs.programs import Program, RunSpecification, load_programs
from compiler_dojo.experiments import fuzz_oracles as oracles
from compiler_dojo.experiments.bare_run import REQUESTS, error_at_end
from compiler_dojo.experiments.fuzz_replay import InProcessReplayer
from compiler_dojo.experiments.trace import Observation, trace

LIMITS = Isolation(pass_seconds=20.0, threads=1)
SMALL = load_programs("bundled://graphs/union_find")[0]
PIPELINES = [find_pass(name).pipeline for name in ("sroa", "gvn", "simplifycfg", "licm", "dse", "adce")]
CRASH = "function(trigger-crash-function)"
OTHER_MODULE = b"define i32 @other() { ret i32 7 }"


@pytest.fixture
def replayer() -> Iterator[InProcessReplayer]:
    made = InProcessReplayer(60.0)
    yield made
    made.close()


@pytest.fixture(scope="module")
def expected() -> list[Observation]:
    with CompilerSession(SMALL.module, isolation=LIMITS) as session:
        return trace(session, PIPELINES)


def all_oracles(replayer: InProcessReplayer) -> list[oracles.Oracle]:
    kinds = (oracles.VerifierOracle, oracles.CrashOracle, oracles.RecountOracle, oracles.RestartOracle)
    more = (oracles.ReplayOracle, oracles.CachedOracle, oracles.OutputOracle)
    return [*(kind(LIMITS) for kind in (*kinds, *more)), oracles.InProcessOracle(LIMITS, replayer)]


def test_oracles__find_nothing_where_nothing_is_wrong(replayer: InProcessReplayer, expected: list[Observation]) -> None:
    rng = np.random.default_rng(0)
    for oracle in all_oracles(replayer):
        items = oracle.arrange(PIPELINES, rng)
        assert oracles.pipelines_of(items) == PIPELINES
        assert oracle.difference(SMALL, items) is None, oracle.name
        assert oracle.difference(SMALL, items, expected) is None, oracle.name


@pytest.mark.parametrize("name", ["restart", "replay", "cached", "in-process"])
def test_oracles__compare_every_step_with_what_is_expected(
    name: str, replayer: InProcessReplayer, expected: list[Observation]
) -> None:
    oracle = next(oracle for oracle in all_oracles(replayer) if oracle.name == name)
    items = oracle.arrange(PIPELINES, np.random.default_rng(1))
    for field in ("hash", "counts"):
        wrong = [*expected[:3], expected[3]._replace(**{field: "0"}), *expected[4:]]
        found = oracle.difference(SMALL, items, wrong)
        assert found is not None
        assert (found.step, found.kind) == (3, field)


@pytest.mark.parametrize("oracle", [oracles.RecountOracle(LIMITS), oracles.RestartOracle(LIMITS)])
def test_reading_again__of_another_module_is_found(oracle: oracles.Oracle, monkeypatch: pytest.MonkeyPatch) -> None:
    items = oracle.arrange(PIPELINES, np.random.default_rng(2))
    monkeypatch.setattr(CompilerSession, "bitcode", lambda session: OTHER_MODULE)
    found = oracle.difference(SMALL, items)
    assert found is not None
    assert found.kind == "hash"


def test_restart__says_nothing_without_a_marker() -> None:
    assert oracles.RestartOracle(LIMITS).difference(SMALL, PIPELINES) is None


def test_cached__finds_a_wrong_result_in_the_cache(expected: list[Observation]) -> None:
    class Forgetful(TransitionCache):
        """Says of gvn that it changes nothing."""

        def get(self, key: bytes) -> bytes | None:
            return b"" if key.endswith(b"function(gvn)") else super().get(key)

    found = oracles.CachedOracle(LIMITS, Forgetful()).difference(SMALL, PIPELINES, expected)
    assert found is not None
    assert (found.step, found.kind) == (2, "hash")


def test_crash__and_in_process__name_a_crash(replayer: InProcessReplayer) -> None:
    items = [*PIPELINES[:2], CRASH]
    for oracle in (oracles.CrashOracle(LIMITS), oracles.InProcessOracle(LIMITS, replayer)):
        expected = [Observation("", "")] * 4
        found = oracle.difference(SMALL, items, expected)
        assert found is not None
        assert (found.step, found.kind) == (3, "CompilerCrashedError")
    # both go on afterwards
    assert oracles.InProcessOracle(LIMITS, replayer).difference(SMALL, PIPELINES) is None


def test_crash__is_not_blamed_on_what_follows() -> None:
    worker = Worker(LIMITS)
    assert error_at_end(worker, SMALL.module, [CRASH, *PIPELINES]) is None
    assert isinstance(error_at_end(worker, SMALL.module, [*PIPELINES, CRASH]), CompilerCrashedError)
    assert isinstance(error_at_end(worker, b"", ["reading the program"]), InvalidProgramError)
    worker.connection().end()


@pytest.mark.parametrize("request_name", REQUESTS)
def test_error_at_end__knows_what_sessions_ask_for(request_name: str) -> None:
    worker = Worker(LIMITS)
    assert error_at_end(worker, SMALL.module, [PIPELINES[0], request_name]) is None
    worker.connection().end()


def test_verifier__finds_the_pass_after_which_a_module_is_invalid(monkeypatch: pytest.MonkeyPatch) -> None:
    def verify(session: CompilerSession) -> None:
        if session.hash() == expected_hash:
            raise InvalidProgramError("planted")

    with CompilerSession(SMALL.module, isolation=LIMITS) as session:
        expected_hash = trace(session, PIPELINES[:2])[-1].hash
    monkeypatch.setattr(CompilerSession, "verify", verify)
    found = oracles.VerifierOracle(LIMITS).difference(SMALL, PIPELINES)
    assert found == oracles.Difference(2, "InvalidProgramError", "InvalidProgramError: planted")


def program_printing(text: str) -> Program:
    return Program(SMALL.uri, SMALL.module, run=RunSpecification((), text))


def test_output__is_compared_and_each_module_runs_once(expected: list[Observation]) -> None:
    oracle = oracles.OutputOracle(LIMITS)
    wrong = program_printing("nothing\n")
    found = oracle.difference(wrong, PIPELINES, expected)
    assert found is not None
    assert (found.step, found.kind, oracle.runs) == (len(PIPELINES), "output", 1)
    with pytest.raises(oracles.NothingToCheckError, match="was run before"):
        oracle.difference(wrong, PIPELINES, expected)
    assert oracle.difference(wrong, PIPELINES) is not None
    assert oracle.runs == 2


def test_output__of_a_program_that_cannot_run_is_not_compared() -> None:
    with pytest.raises(oracles.NothingToCheckError, match="p cannot be run"):
        oracles.OutputOracle(LIMITS).difference(Program("p", SMALL.module), PIPELINES)


def test_output__takes_no_more_than_its_share_of_the_time(expected: list[Observation]) -> None:
    oracle = oracles.OutputOracle(LIMITS, share=1e-6)
    assert oracle.difference(Program("a", SMALL.module, run=SMALL.run), PIPELINES, expected) is None
    with pytest.raises(oracles.NothingToCheckError, match="enough was run"):
        oracle.difference(Program("b", SMALL.module, run=SMALL.run), PIPELINES, expected)
    assert oracle.runs == 1


def test_transition_memory__finds_two_results_of_one_transition() -> None:
    memory = oracles.TransitionMemory(LIMITS)
    a, b, c, d = (Observation(name, name) for name in "abcd")
    assert memory.check("root", SMALL, ["x", "y"], [a, b, c]) is None
    assert memory.check("root", SMALL, ["z", "y"], [d, b, c]) is None
    assert memory.check("other", SMALL, ["z", "y"], [d, b, d]) is None
    found = memory.check("root", SMALL, ["v", "w", "y"], [d, d, b, d])
    assert found is not None
    difference, items, _ = found
    assert (difference.step, items) == (3, ["v", "w", oracles.OTHER, "x", "y"])


@pytest.mark.parametrize(
    ("items", "disagree"),
    [
        pytest.param(lambda p: [p[0], oracles.OTHER, p[0], p[1]], False, id="same history"),
        pytest.param(lambda p: [p[0], oracles.OTHER, p[1], p[2]], False, id="other hash"),
        pytest.param(lambda p: [p[0], p[1]], False, id="one history"),
    ],
)
def test_histories__agree(items: Callable[[list[str]], list[str]], disagree: bool) -> None:
    assert oracles.histories_disagree(SMALL, SMALL, items(PIPELINES), LIMITS) is disagree


def test_cut__keeps_a_marker_before_the_last_pipeline() -> None:
    items = ["a", oracles.RESTART, "b", "c"]
    assert oracles.cut(items, 2) == ["a", oracles.RESTART, "b"]
    assert oracles.cut(items, 1) == ["a", oracles.RESTART]
    assert oracles.pipelines_of(items) == ["a", "b", "c"]


def test_compare__tells_length_from_content() -> None:
    a, b = Observation("a", "1"), Observation("a", "2")
    assert oracles.compare([a, b], [a, b], "x") is None
    assert oracles.compare([a, b], [a], "x") == oracles.Difference(1, "length", "x: 0 passes ran, expected 1")
    found = oracles.compare([a, a], [a, b], "x")
    assert found is not None
    assert (found.step, found.kind) == (1, "counts")
