"""Building executables from modules and running them in a sandbox."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from compiler_dojo.envs.errors import InvalidProgramError, ToolchainError
from compiler_dojo.envs.llvm.sandbox import Limits, RunResult, Sandbox, find_sandbox, private_folder
from compiler_dojo.envs.llvm.session import CompilerSession
from compiler_dojo.envs.programs.program import RunSpecification


def find_linker() -> str:
    """A compiler driver that links objects with libc.

    Raises:
        ToolchainError: there is none.
    """
    for name in ("c++", "g++", "clang++-19", "cc", "gcc"):
        path = shutil.which(name)
        if path is not None:
            return path
    raise ToolchainError("running programs needs a linker: install one with `apt-get install g++`")


@contextlib.contextmanager
def build_executable(session: CompilerSession) -> Iterator[Path]:
    """Emit and link the session's module; the executable exists inside the ``with`` block.

    Raises:
        InvalidProgramError: it does not link, for want of a ``main`` for instance.
        ToolchainError: no linker is installed.
    """
    with private_folder() as folder:
        item, executable = folder / "program.o", folder / "program"
        item.write_bytes(session.object_code())
        command = [find_linker(), str(item), "-o", str(executable), "-lm"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise InvalidProgramError(f"{session.name} does not link:\n{done.stderr.strip()}")
        yield executable


def run_executable(executable: Path, run: RunSpecification, sandbox: Sandbox | None = None) -> RunResult:
    """Run it in the best sandbox that works here, or in ``sandbox``, with limits on time, memory and output."""
    return (sandbox or find_sandbox()).run(executable, run.arguments, Limits(seconds=run.seconds))


def run_timed(executable: Path, run: RunSpecification) -> RunResult:
    """Run it with limits only, so that no sandbox's start is in its time; for programs that ran in a sandbox before."""
    return run_executable(executable, run, Sandbox("limits", find_sandbox().user))
