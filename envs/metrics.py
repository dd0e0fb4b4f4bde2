"""What a compiled program costs: instruction count, code size, run time."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass

from compiler_dojo.envs.errors import InvalidProgramError
from compiler_dojo.envs.llvm.execution import build_executable, run_executable, run_timed
from compiler_dojo.envs.llvm.session import CompilerSession
from compiler_dojo.envs.programs.program import Program

RUNTIME_WARMUPS = 1
RUNTIME_REPEATS = 5


@dataclass(frozen=True)
class Metric:
    """A cost of a program; lower is better.

    Attributes:
        measure: the cost of a session's module, for the program it came from.
        unit: what it counts.
        deterministic: the same module always costs the same.
        platform_dependent: the cost depends on the target machine.
        protocol: how it is measured, for records.
    """

    measure: Callable[[CompilerSession, Program], float]
    unit: str
    deterministic: bool
    platform_dependent: bool
    protocol: str


def _instruction_count(session: CompilerSession, program: Program) -> float:
    return float(session.instruction_count)


def _text_size(session: CompilerSession, program: Program) -> float:
    return float(session.text_size())


def _runtime(session: CompilerSession, program: Program) -> float:
    if program.run is None:
        raise InvalidProgramError(f"{program.uri} has no run specification, so its run time cannot be measured")
    with build_executable(session) as executable:
        runs = [run_executable(executable, program.run) for _ in range(RUNTIME_WARMUPS)]
        if all(run.status == 0 for run in runs):
            runs += [run_timed(executable, program.run) for _ in range(RUNTIME_REPEATS)]
    failed = next((run for run in runs if run.status != 0), None)
    if failed is not None:
        how = f"exits with {failed.status}" if failed.status is not None else f"does not end in {program.run.seconds} s"
        raise InvalidProgramError(f"{program.uri} {how} when its run time is measured")
    return statistics.median(run.seconds for run in runs[RUNTIME_WARMUPS:])


METRICS: dict[str, Metric] = {
    "instruction_count": Metric(_instruction_count, "LLVM IR instructions", True, False, "static count"),
    # as the LLVM-C API emits objects: it expands no memcmp or sqrt calls, so 8 of the 72 bundled programs differ by up
    # to 1.9% from what clang -Oz writes; baselines and agents are measured alike
    "text_size": Metric(_text_size, "bytes of .text", True, True, "sections of the emitted object"),
    "runtime": Metric(
        _runtime,
        "seconds",
        False,
        True,
        f"wall clock of the whole process under resource limits, median of {RUNTIME_REPEATS} runs after "
        f"{RUNTIME_WARMUPS} warm-up in the sandbox",
    ),
}
"""Metrics by the name that ``reward=`` takes."""
