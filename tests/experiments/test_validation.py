"""Every way in which a record can be false is caught, and has its own message."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from compiler_dojo.envs.llvm.lowering import lower
from compiler_dojo.envs.llvm.session import CompilerSession
from compiler_dojo.envs.programs import Program, ProgramSet, RunSpecification
from compiler_dojo.envs.programs.program_set import GivenSource
from compiler_dojo.envs.semantics import SemanticChecker
from compiler_dojo.experiments import validation
from compiler_dojo.experiments.agents import random_agent, sequence_agent
from compiler_dojo.experiments.config import EnvConfig
from compiler_dojo.experiments.evaluation import evaluate
from compiler_dojo.experiments.records import EpisodeRecord, read_records, write_records
from compiler_dojo.experiments.validation import Validator, Verdict, summarize, summary_lines

URI = "bundled://graphs/union_find"


def verdict_of(record: EpisodeRecord) -> Verdict:
    (verdict,) = Validator().validate([record])
    return verdict


@pytest.fixture(scope="module")
def record() -> EpisodeRecord:
    passes = ["sroa", "instcombine<no-verify-fixpoint>", "simplifycfg", "adce"]
    (record,) = evaluate(sequence_agent("four passes", passes, EnvConfig()), URI, seed=0)
    return record


@pytest.mark.parametrize("lowering", ["oz", "compilergym"])
@pytest.mark.parametrize("start", ["O0", "Oz"])
def test_validate__clean_records_pass_and_outputs_are_compared(start: Any, lowering: str, tmp_path: Path) -> None:
    contender = random_agent(EnvConfig(start=start, lowering=lowering, budget=20), episodes=2)
    write_records(tmp_path / "r.jsonl", evaluate(contender, URI, seed=0))
    verdicts = list(Validator().validate(read_records(tmp_path / "r.jsonl")))
    assert [(verdict.problem, verdict.ran) for verdict in verdicts] == [(None, True)] * 2


def test_validate__a_program_of_the_users_is_replayed_but_not_run(tmp_path: Path) -> None:
    source = tmp_path / "mine.c"
    source.write_text("int twice(int x) { return 2 * x; }\n")
    (record,) = evaluate(sequence_agent("one pass", ["sroa"], EnvConfig()), str(source), seed=0)
    assert record.program == source.as_uri()
    assert verdict_of(record) == Verdict(record, None, ran=False)


def test_validate__finds_a_file_with_a_space_in_its_path(tmp_path: Path) -> None:
    source = tmp_path / "my program.c"
    source.write_text("int twice(int x) { return 2 * x; }\n")
    (record,) = evaluate(sequence_agent("one pass", ["sroa"], EnvConfig()), str(source), seed=0)
    assert verdict_of(record).problem is None


def changed(values: Any, metric: str, level: str | None = None) -> dict[str, Any]:
    """The same costs, one of them by 1 lower."""
    copy = {name: dict(item) if level else item for name, item in values.items()}
    if level is None:
        copy[metric] -= 1.0
    else:
        copy[metric][level] -= 1.0
    return copy


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: {"costs": changed(r.costs, "instruction_count")}, "replay gives costs {'instruction_count':"),
        (lambda r: {"costs": changed(r.costs, "text_size")}, "replay gives costs {'instruction_count':"),
        (lambda r: {"baselines": changed(r.baselines, "instruction_count", "Oz")}, "replay gives baselines {"),
        (lambda r: {"baselines": changed(r.baselines, "text_size", "O3")}, "replay gives baselines {"),
        (lambda r: {"hash": "f" * 32}, "replay gives hash "),
        (lambda r: {"passes": r.passes[1:]}, "replay gives hash "),
        (lambda r: {"start": "Oz"}, "replay gives hash "),
        (lambda r: {"sha256": "f" * 64}, "the program has changed: sha256 "),
        (lambda r: {"lowering": "compilergym"}, "the program has changed: sha256 "),
        (lambda r: {"error": "PassFailedError: no"}, "the episode itself failed: PassFailedError: no"),
        (lambda r: {"passes": ("srao",)}, "UnknownPassError: unknown pass 'srao': did you mean 'sroa'?"),
        (lambda r: {"program": "bundled://graphs/unionfind"}, "UnknownProgramError: no program"),
        (lambda r: {"program": "/nowhere.c"}, "UnknownProgramError: no program matches '/nowhere.c'"),
        (lambda r: {"start": "O7"}, "InvalidConfigError: unknown optimisation level 'O7'"),
        (lambda r: {"lowering": "og"}, "InvalidConfigError: unknown lowering 'og'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_validate__a_tampered_record_is_reported(
    record: EpisodeRecord, change: Callable[[EpisodeRecord], dict[str, Any]], message: str
) -> None:
    tampered = dataclasses.replace(record, **change(record))
    verdict = verdict_of(tampered)
    assert verdict.problem is not None
    assert verdict.problem.startswith(message)
    assert verdict.record is tampered
    assert not verdict.ran


def test_validate__goes_on_after_a_bad_record(record: EpisodeRecord) -> None:
    bad = dataclasses.replace(record, hash="0" * 32)
    verdicts = list(Validator().validate([record, bad, record]))
    assert [verdict.problem is None for verdict in verdicts] == [True, False, True]


@pytest.mark.parametrize("change", [{"best_count": 1.0}, {"best_length": 0}, {"start_passes": 50}])
def test_validate__recounts_the_best_and_the_passes_of_the_start(record: EpisodeRecord, change: dict[str, Any]) -> None:
    assert verdict_of(dataclasses.replace(record, **change)).problem is not None


# undefined behaviour, which instcombine uses and plain code generation does not
OVERFLOWS = """
#include <limits.h>
#include <stdio.h>
volatile int largest = INT_MAX;
__attribute__((noinline)) int grows(int x) { return x + 1 > x; }
int main(void) { printf("%d\\n", grows(largest)); return 0; }
"""
FOREVER = "int main(void) { for (volatile int i = 0;; i++) {} }\n"
GREETS = '#include <stdio.h>\nint main(void) { puts("hello"); return 0; }\n'
Check = Callable[..., Verdict]


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Check:
    """Records an episode on a source of the test's with a run specification, and validates the record."""

    def check(text: str, run: RunSpecification, passes: list[str], sourced: bool = True) -> Verdict:
        source = tmp_path / "program.c"
        source.write_text(text)
        program = Program("given://program", lower(source), "oz", "c", run=run, source=source if sourced else None)
        programs = ProgramSet("given", [GivenSource(program)])
        (record,) = evaluate(sequence_agent("some passes", passes, EnvConfig()), programs, seed=0)
        # a given program has no place from which it could be loaded again
        monkeypatch.setattr(validation, "load_programs", lambda name, lowering: programs)
        return verdict_of(record)

    return check


@pytest.fixture
def miscompile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes every pass list give this program instead of its own."""

    def miscompile(text: str) -> None:
        source = tmp_path / "miscompiled.c"
        source.write_text(text)
        with CompilerSession(lower(source)) as session:
            module, original = session.bitcode(), SemanticChecker.check
        monkeypatch.setattr(
            SemanticChecker, "check", lambda self, program, _: original(self, program, CompilerSession(module))
        )

    return miscompile


def test_validate__a_program_that_behaves_as_before_passes(check: Check) -> None:
    verdict = check(GREETS, RunSpecification(), ["mem2reg"])
    assert (verdict.problem, verdict.ran) == (None, True)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("hello", "hullo"), r"the program behaves differently with the pass list: exit 0, 'hullo\n'; "),
        (("return 0", "return 1"), r"the program behaves differently with the pass list: exit 1, 'hello\n'; "),
    ],
)
def test_validate__a_pass_list_that_changes_behaviour_is_caught(
    check: Check, miscompile: Callable[[str], None], change: tuple[str, str], problem: str
) -> None:
    miscompile(GREETS.replace(*change))
    verdict = check(GREETS, RunSpecification(), ["sroa"])
    assert verdict.problem is not None
    assert verdict.problem.startswith(problem + r"at -O0 exit 0, 'hello\n'")
    assert verdict.ran


@pytest.mark.parametrize("passes", [["mem2reg"], ["sroa", "instcombine<no-verify-fixpoint>"]])
def test_validate__undefined_behaviour_is_reported_and_not_blamed_on_the_compiler(
    check: Check, passes: list[str]
) -> None:
    verdict = check(OVERFLOWS, RunSpecification(), passes)
    assert verdict.judgement is not None
    if verdict.judgement.sanitizer.finding == "unchecked":
        pytest.skip(verdict.judgement.sanitizer.detail)
    assert (verdict.problem, verdict.ran) == (None, False)
    summary = summarize([verdict])
    assert (summary["records"], summary["executed"], summary["sanitized"]) == (1, 0, 1)
    assert (summary["problems"], summary["unsanitized"]) == ([], [])
    (found,) = summary["undefined_behaviour"]
    assert found["program"] == "given://program"
    assert "runtime error: signed integer overflow" in found["report"]
    lines = dict(summary_lines(summary))
    assert any(line.startswith("given://program has undefined behaviour, ") for line in lines)
    assert any("1 of 1 sanitized programs with undefined behaviour, 0 problems" in line for line in lines)


def test_validate__without_a_source_undefined_behaviour_is_said_not_to_be_looked_for(check: Check) -> None:
    verdict = check(OVERFLOWS, RunSpecification(), ["sroa"], sourced=False)
    assert verdict.problem == (
        r"the program behaves differently at -Oz: exit 0, '1\n'; at -O0 exit 0, '0\n' "
        "(undefined behaviour was not looked for: only IR is known, and sanitizers need the source)"
    )
    summary = summarize([verdict])
    assert [item["program"] for item in summary["unsanitized"]] == ["given://program"]
    assert any(line.startswith("1 programs not checked for undefined") for line, _ in summary_lines(summary))


def test_validate__an_output_other_than_the_expected_one_is_caught(check: Check) -> None:
    verdict = check(GREETS, RunSpecification(output="goodbye\n"), ["sroa"])
    assert verdict.problem is not None
    assert "goodbye" in verdict.problem


def test_validate__a_program_that_runs_out_of_time_proves_nothing(check: Check) -> None:
    verdict = check(FOREVER, RunSpecification(seconds=0.05), ["sroa"])
    assert (verdict.problem, verdict.ran) == ("the -O0 build does not end within 0.05 s", False)
