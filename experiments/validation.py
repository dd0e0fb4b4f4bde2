"""Proof that records are true: replay, recount, verify, and run the programs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from compiler_dojo.envs.errors import DojoError
from compiler_dojo.envs.llvm.execution import RunResult, build_executable, run_executable
from compiler_dojo.envs.llvm.passes import find_pass
from compiler_dojo.envs.llvm.session import CompilerSession
from compiler_dojo.envs.metrics import METRICS
from compiler_dojo.envs.prepared import prepare
from compiler_dojo.envs.programs import Program, ProgramSet, RunSpecification, load_programs
from compiler_dojo.experiments.evaluation import REPORTED_METRICS, START_PASSES, baseline_costs
from compiler_dojo.experiments.records import EpisodeRecord


class Verdict(NamedTuple):
    """What validating one record found.

    Attributes:
        problem: None when everything agrees.
        ran: the program was executed and its output compared.
    """

    record: EpisodeRecord
    problem: str | None
    ran: bool


class Validator:
    """Validates records one by one; programs and outputs are kept between them."""

    def __init__(self) -> None:
        self._sets: dict[tuple[str, str], ProgramSet] = {}
        self._reference: dict[str, RunResult] = {}
        self._outputs: dict[tuple[str, str], str | None] = {}

    def validate(self, records: Iterable[EpisodeRecord]) -> Iterator[Verdict]:
        """A verdict per record."""
        for record in records:
            try:
                problem, ran = self._check(record)
            except DojoError as error:
                problem, ran = f"{type(error).__name__}: {error}", False
            yield Verdict(record, problem, ran)

    def _check(self, record: EpisodeRecord) -> tuple[str | None, bool]:
        if record.error is not None:
            return f"the episode itself failed: {record.error}", False
        program = self._program(record)
        if program.sha256 != record.sha256:
            return f"the program has changed: sha256 {program.sha256}, recorded {record.sha256}", False
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
                    return f"replay gives {field} {value}, recorded {getattr(record, field)}", False
            if program.run is None:
                return None, False
            return self._output_problem(program, session), True

    def _output_problem(self, program: Program, session: CompilerSession) -> str | None:
        """Compare what the program prints with its -O0 build; each distinct module runs once."""
        assert program.run is not None
        key = (program.sha256, session.hash())
        if key not in self._outputs:
            if program.sha256 not in self._reference:
                with prepare(program).session("O0") as unoptimized, build_executable(unoptimized) as executable:
                    self._reference[program.sha256] = run_executable(executable, program.run)
            with build_executable(session) as executable:
                found = run_executable(executable, program.run)
            self._outputs[key] = _difference(program.run, self._reference[program.sha256], found)
        return self._outputs[key]

    def _program(self, record: EpisodeRecord) -> Program:
        name = "bundled" if record.program.startswith("bundled://") else record.program
        key = (name, record.lowering)
        if key not in self._sets:
            self._sets[key] = load_programs(name, "oz" if record.lowering == "given" else record.lowering)
        return self._sets[key].get(record.program)


def _difference(run: RunSpecification, unoptimized: RunResult, found: RunResult) -> str | None:
    """What is wrong with a run, or None."""
    if unoptimized.status is None:
        return f"the -O0 build does not end within {run.seconds} s, so there is nothing to compare with"
    if run.output is not None and unoptimized.output != run.output:
        return f"the -O0 build prints {unoptimized.output[-200:]!r}, expected {run.output[-200:]!r}"
    if (found.status, found.output) != (unoptimized.status, unoptimized.output):
        return (
            f"the program behaves differently: exit {found.status}, {found.output[-200:]!r}; "
            f"at -O0 exit {unoptimized.status}, {unoptimized.output[-200:]!r}"
        )
    return None
