"""Making a reproducer smaller: fewer passes, then the passes before the failure made part of a smaller program."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import NamedTuple

from compiler_dojo.envs.errors import DojoError, InvalidConfigError, ToolchainError
from compiler_dojo.envs.llvm.library import load_library
from compiler_dojo.envs.llvm.reproducer import PROGRAM, Reproducer
from compiler_dojo.envs.llvm.session import CompilerSession
from compiler_dojo.envs.llvm.worker import Isolation
from compiler_dojo.experiments.bare_run import REQUESTS
from compiler_dojo.experiments.ddmin import ddmin
from compiler_dojo.experiments.failure_check import FailureCheck
from compiler_dojo.experiments.fuzz_oracles import MARKERS
from compiler_dojo.experiments.llvm_reduce import find_llvm_reduce, shrink_module


class Size(NamedTuple):
    """How large a reproducer is.

    Attributes:
        instructions: of its program.
        passes: that are run on it.
    """

    instructions: int
    passes: int


class Reduction(NamedTuple):
    """What became of a reproducer.

    Attributes:
        folder: the smaller one.
        before: size of the original.
        after: size of the smaller one.
        skipped: why the module was not shrunk, or None.
        command: shows the failure with LLVM's own tools, or None when they cannot.
    """

    folder: Path
    before: Size
    after: Size
    skipped: str | None
    command: str | None


class NoLongerFailsError(DojoError):
    """A reproducer's failure does not show any more."""


def reduce_reproducer(folder: Path, out: Path | None = None, seconds: float = 300.0) -> Reduction:
    """Make a reproducer smaller; the smaller one is written beside it, or into ``out``.

    Args:
        folder: the reproducer, which is left as it is.
        out: where the smaller one's folder goes.
        seconds: bound on the minimisation of the list, and again on the shrinking of the module.

    Raises:
        InvalidConfigError: the folder holds no reproducer.
        NoLongerFailsError: it does not fail any more.
    """
    original = Reproducer.load(folder)
    if not original.pipelines:
        raise InvalidConfigError(f"{folder} holds no reproducer: it names no pass")
    check = FailureCheck(original)
    try:
        return _reduce(original, check, out or folder.resolve().parent, seconds)
    finally:
        check.close()


def _reduce(original: Reproducer, check: FailureCheck, out: Path, seconds: float) -> Reduction:
    *others, last = original.pipelines
    if not check(original.program, original.pipelines):
        raise NoLongerFailsError(
            f"{original.name} no longer fails: {len(original.pipelines)} passes end without {original.failure} "
            f"(LLVM {original.llvm} then, {'.'.join(map(str, load_library().version))} now)"
        )
    others = ddmin(others, lambda part: check(original.program, [*part, last]), seconds)
    program, pipelines = original.program, [*others, last]
    if others and not set(others) & set(MARKERS) and not check.needs_meaning:
        baked = check.baked(others)
        if check(baked, [last]):
            program, pipelines = baked, [last]
    skipped = None
    if check.needs_meaning:
        skipped = "a smaller module may have undefined behaviour, so its output would prove nothing"
    else:
        try:
            tool = find_llvm_reduce(load_library().version[0])
            program = shrink_module(tool, program, lambda candidate: check(candidate, pipelines), seconds)
            program = _as_bitcode(program)
        except ToolchainError as error:
            skipped = str(error)
    smaller = original._replace(program=program, pipelines=pipelines)
    target = smaller.save(out)
    return Reduction(
        target,
        Size(check.instruction_count(original.program), len(original.pipelines)),
        Size(check.instruction_count(program), len(pipelines)),
        skipped,
        command_line(target, pipelines),
    )


def _as_bitcode(program: bytes) -> bytes:
    """llvm-reduce may hand over text."""
    if program[:2] == b"BC":
        return program
    try:
        with CompilerSession(program, isolation=Isolation()) as session:
            return session.bitcode()
    except DojoError:
        return program


def command_line(folder: Path, pipelines: list[str]) -> str | None:
    """A command of LLVM's own tools that does what the reproducer does."""
    passes = [item for item in pipelines if item not in REQUESTS]
    if set(pipelines) & set(MARKERS):
        return None
    program = shlex.quote(str(folder / PROGRAM))
    if not passes:
        return f"llc-19 -filetype=obj -o /dev/null {program}"
    opt = f"opt-19 -passes={shlex.quote(','.join(passes))} {program}"
    if len(passes) < len(pipelines):
        return f"{opt} | llc-19 -filetype=obj -o /dev/null"
    return f"{opt} -disable-output"
