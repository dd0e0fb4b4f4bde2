"""Whether a compiled program still does what its source says: -O0, -Oz and a pass list, run and compared."""

from __future__ import annotations

from typing import Literal, NamedTuple

from compiler_dojo.envs.errors import InvalidProgramError
from compiler_dojo.envs.llvm.execution import build_executable, run_executable
from compiler_dojo.envs.llvm.sandbox import RunResult
from compiler_dojo.envs.llvm.sanitizers import SanitizerReport, sanitize
from compiler_dojo.envs.llvm.session import CompilerSession
from compiler_dojo.envs.prepared import prepare
from compiler_dojo.envs.programs.program import Program

Outcome = Literal["equal", "differs", "Oz differs", "undefined behaviour", "cannot run"]

SHOWN = 200
UNRUN = SanitizerReport("unchecked", "the program does not run at -O0")


class Judgement(NamedTuple):
    """What comparing a program's behaviours found.

    Attributes:
        outcome: ``equal``: -O0, -Oz and the pass list behave alike. ``differs``: the pass list alone does otherwise.
            ``Oz differs``: LLVM's own -Oz does otherwise than -O0, so the list proves nothing. ``undefined
            behaviour``: the sanitizers found some, so any output is right. ``cannot run``: it does not link, end, or
            print what was expected or twice the same at -O0.
        detail: what was seen; empty when all is equal.
        sanitizer: what the sanitizers say of the program.
    """

    outcome: Outcome
    detail: str
    sanitizer: SanitizerReport


class _Reference(NamedTuple):
    """What pass lists are compared with."""

    unoptimized: RunResult
    sanitizer: SanitizerReport


class SemanticChecker:
    """Judges modules of programs; each distinct module runs once, each program meets the sanitizers once."""

    def __init__(self) -> None:
        self._references: dict[Program, _Reference | Judgement] = {}
        self._judgements: dict[tuple[Program, str], Judgement] = {}

    def check(self, program: Program, session: CompilerSession) -> Judgement:
        """Judge the program as the session holds it.

        Raises:
            ToolchainError: no linker is installed.
        """
        key = (program, session.hash())
        if key not in self._judgements:
            self._judgements[key] = self._judge(program, session)
        return self._judgements[key]

    def _judge(self, program: Program, session: CompilerSession) -> Judgement:
        if program not in self._references:
            self._references[program] = _reference(program)
        reference = self._references[program]
        if isinstance(reference, Judgement):
            return reference
        (found,) = _behaviours(program, session)
        difference = _difference("with the pass list", found, reference.unoptimized)
        return Judgement("differs" if difference else "equal", difference or "", reference.sanitizer)


def _reference(program: Program) -> _Reference | Judgement:
    """Run the program at -O0 twice, under sanitizers, and at -Oz; a judgement where that settles it."""
    if program.run is None:
        return Judgement("cannot run", "there is no run specification", UNRUN)
    with prepare(program).session("O0") as session:
        runs = _behaviours(program, session, runs=2)
    first, second = runs[0], runs[-1]
    if isinstance(first, str):
        return Judgement("cannot run", f"at -O0: {first}", UNRUN)
    if first.status is None:
        return Judgement("cannot run", f"the -O0 build does not end within {program.run.seconds:g} s", UNRUN)
    sanitizer = sanitize(program, first)
    if sanitizer.finding == "undefined":
        return Judgement("undefined behaviour", sanitizer.detail, sanitizer)
    if program.run.output is not None and first.output != program.run.output:
        problem = f"the -O0 build prints {_end(first.output)}, expected {_end(program.run.output)}"
        return Judgement("cannot run", problem, sanitizer)
    again = _difference("in a second run at -O0", second, first)
    if again is not None:
        return Judgement("cannot run", again, sanitizer)
    with prepare(program).session("Oz") as session:
        (optimized,) = _behaviours(program, session)
    difference = _difference("at -Oz", optimized, first)
    return Judgement("Oz differs", difference, sanitizer) if difference else _Reference(first, sanitizer)


def _behaviours(program: Program, session: CompilerSession, runs: int = 1) -> list[RunResult | str]:
    """What the session's module does each time it runs, until it does not end; or why it cannot be built."""
    assert program.run is not None
    results: list[RunResult | str] = []
    try:
        with build_executable(session) as executable:
            while len(results) < runs:
                result = run_executable(executable, program.run)
                results.append(result)
                if result.status is None:
                    break
    except InvalidProgramError as error:
        results.append(str(error))
    return results


def _difference(how: str, found: RunResult | str, unoptimized: RunResult) -> str | None:
    """What is different from the -O0 run, or None."""
    if isinstance(found, str):
        return f"{how}: {found}"
    if (found.status, found.output) == (unoptimized.status, unoptimized.output):
        return None
    return (
        f"the program behaves differently {how}: {_end_of_run(found)}, {_end(found.output)}; "
        f"at -O0 {_end_of_run(unoptimized)}, {_end(unoptimized.output)}"
    )


def _end_of_run(result: RunResult) -> str:
    if result.status is None:
        return "no end in time"
    return f"exit {result.status}" if result.status >= 0 else f"signal {-result.status}"


def _end(output: str) -> str:
    return repr(output[-SHOWN:])
