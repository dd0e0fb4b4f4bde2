"""Proof that records are true: replay, recount, verify, and run the programs."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from compiler_dojo.envs.errors import DojoError
from compiler_dojo.envs.llvm.passes import find_pass
from compiler_dojo.envs.llvm.sandbox import find_sandbox
from compiler_dojo.envs.metrics import METRICS
from compiler_dojo.envs.prepared import prepare
from compiler_dojo.envs.programs import Program, ProgramSet, load_programs
from compiler_dojo.envs.semantics import Judgement, SemanticChecker
from compiler_dojo.experiments.evaluation import REPORTED_METRICS, START_PASSES, baseline_costs
from compiler_dojo.experiments.records import EpisodeRecord


class Verdict(NamedTuple):
    """What validating one record found.

    Attributes:
        problem: None when everything agrees; undefined behaviour is the program's fault and no problem of the record's.
        ran: the program was executed and its output compared.
        judgement: what comparing behaviours found, or None where it did not come to that.
    """

    record: EpisodeRecord
    problem: str | None
    ran: bool
    judgement: Judgement | None = None


class Validator:
    """Validates records one by one; programs and outputs are kept between them."""

    def __init__(self) -> None:
        self._sets: dict[tuple[str, str], ProgramSet] = {}
        self._semantics = SemanticChecker()

    def validate(self, records: Iterable[EpisodeRecord]) -> Iterator[Verdict]:
        """A verdict per record."""
        for record in records:
            try:
                found = self._check(record)
            except DojoError as error:
                found = f"{type(error).__name__}: {error}"
            if found is None or isinstance(found, str):
                yield Verdict(record, found, ran=False)
            else:
                yield Verdict(record, _problem(found), found.outcome in ("equal", "differs"), found)

    def _check(self, record: EpisodeRecord) -> Judgement | str | None:
        """What the replay finds wrong, or how the program behaves, or None for programs that cannot be run."""
        if record.error is not None:
            return f"the episode itself failed: {record.error}"
        program = self._program(record)
        if program.sha256 != record.sha256:
            return f"the program has changed: sha256 {program.sha256}, recorded {record.sha256}"
        prepared = prepare(program)
        with prepared.session(record.start) as session:
            counts = [session.instruction_count]
            for name in record.passes:
                session.run(find_pass(name).pipeline)
                counts.append(session.instruction_count)
            session.verify()
            replayed = {
                "hash": session.hash(),
                "costs": {metric: METRICS[metric].measure(session, program) for metric in REPORTED_METRICS},
                "baselines": baseline_costs(prepared),
                "best_count": float(min(counts)),
                "best_length": counts.index(min(counts)),
                "start_passes": START_PASSES[record.start],
            }
            for field, value in replayed.items():
                if value != getattr(record, field):
                    return f"replay gives {field} {value}, recorded {getattr(record, field)}"
            return None if program.run is None else self._semantics.check(program, session)

    def _program(self, record: EpisodeRecord) -> Program:
        name = "bundled" if record.program.startswith("bundled://") else record.program
        key = (name, record.lowering)
        if key not in self._sets:
            self._sets[key] = load_programs(name, "oz" if record.lowering == "given" else record.lowering)
        return self._sets[key].get(record.program)


def _problem(judgement: Judgement) -> str | None:
    """What a judgement holds against the compiler or the program, or None."""
    if judgement.outcome in ("equal", "undefined behaviour"):
        return None
    unchecked = judgement.outcome != "cannot run" and judgement.sanitizer.finding == "unchecked"
    doubt = f" (undefined behaviour was not looked for: {judgement.sanitizer.detail})" if unchecked else ""
    return judgement.detail + doubt


def summarize(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """All verdicts as JSON has them: counts, programs with undefined behaviour or unchecked for it, problems."""
    judged = {verdict.record.program: verdict.judgement for verdict in verdicts if verdict.judgement is not None}
    findings = {program: judgement.sanitizer for program, judgement in judged.items()}
    return {
        "records": len(verdicts),
        "executed": sum(verdict.ran for verdict in verdicts),
        "sandbox": find_sandbox().kind if judged else None,
        "sanitized": sum(report.finding != "unchecked" for report in findings.values()),
        "undefined_behaviour": [
            {"program": program, "report": report.detail}
            for program, report in findings.items()
            if report.finding == "undefined"
        ],
        "unsanitized": [
            {"program": program, "reason": report.detail}
            for program, report in findings.items()
            if report.finding == "unchecked"
        ],
        "problems": [
            {"agent": verdict.record.agent, "program": verdict.record.program, "problem": verdict.problem}
            for verdict in verdicts
            if verdict.problem
        ],
    }


def summary_lines(summary: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Lines for the terminal and the style of each: red for problems, yellow for doubts."""
    for item in summary["problems"]:
        yield f"{item['program']} ({item['agent']}): {item['problem']}", "red"
    for item in summary["undefined_behaviour"]:
        yield f"{item['program']} has undefined behaviour, so its outputs say nothing: {item['report']}", "yellow"
    for reason, count in collections.Counter(item["reason"] for item in summary["unsanitized"]).items():
        yield f"{count} programs not checked for undefined behaviour: {reason}", "yellow"
    yield (
        f"{summary['records']} records replayed, {summary['executed']} programs' outputs compared, "
        f"{len(summary['undefined_behaviour'])} of {summary['sanitized']} sanitized programs with undefined behaviour, "
        f"{len(summary['problems'])} problems",
        "",
    )
    if summary["sandbox"] is not None:
        yield f"sandbox: {summary['sandbox']}", ""
