"""Proof that passes are fit to be actions: they run, keep modules valid, and keep what programs print."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from compiler_dojo.envs.errors import DojoError
from compiler_dojo.envs.llvm.execution import build_executable, run_executable
from compiler_dojo.envs.llvm.passes import Pass
from compiler_dojo.envs.llvm.session import CompilerSession
from compiler_dojo.envs.prepared import prepare
from compiler_dojo.envs.programs import Program

STARTS = ("O0", "Oz")


class ProgramProof(NamedTuple):
    """All passes on one program.

    Attributes:
        changed: by pass, from how many starts it changed the module.
        executions: distinct modules that were built and run.
        problems: (pass, start, what is wrong).
    """

    program: str
    changed: dict[str, int]
    executions: int
    problems: list[tuple[str, str, str]]


def prove(passes: Sequence[Pass], programs: Sequence[Program], threads: int = 2) -> Iterator[ProgramProof]:
    """Run every pass on every program, from O0 and after -Oz; yields as programs are done."""
    with ThreadPoolExecutor(threads) as pool:
        yield from pool.map(lambda program: prove_program(passes, program), programs)


def prove_program(passes: Sequence[Pass], program: Program) -> ProgramProof:
    """Run every pass on one program; a module that was met before is not built again."""
    proof = ProgramProof(program.uri, {item.name: 0 for item in passes}, 0, [])
    verdicts: dict[str, str | None] = {}
    for start in STARTS:
        for item in passes:
            with prepare(program).session(start) as session:
                try:
                    proof.changed[item.name] += session.run(item.pipeline).changed
                    session.verify()
                    if session.hash() not in verdicts:
                        verdicts[session.hash()] = _misbehaviour(program, session)
                    problem = verdicts[session.hash()]
                except DojoError as error:
                    problem = f"{type(error).__name__}: {error}"
            if problem is not None:
                proof.problems.append((item.name, start, problem))
    return proof._replace(executions=len(verdicts) if program.run is not None else 0)


def _misbehaviour(program: Program, session: CompilerSession) -> str | None:
    """What is wrong with the module's behaviour, or None; programs that cannot run are taken on trust."""
    if program.run is None:
        return None
    with build_executable(session) as executable:
        result = run_executable(executable, program.run)
    if result.status == 0 and result.output == program.run.output:
        return None
    return f"exits with {result.status} and prints {result.output[-100:]!r}, expected {program.run.output!r}"
