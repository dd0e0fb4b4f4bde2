"""Building executables from modules and running them under limits."""

from __future__ import annotations

import contextlib
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from compiler_dojo.envs.errors import InvalidProgramError, ToolchainError
from compiler_dojo.envs.llvm.session import CompilerSession
from compiler_dojo.envs.programs.program import RunSpecification

MEMORY_LIMIT_BYTES = 2 << 30
OUTPUT_LIMIT_BYTES = 16 << 20


class RunResult(NamedTuple):
    """What a program did.

    Attributes:
        status: exit status; negative for a signal, None when it ran out of time.
        output: standard output.
        seconds: wall-clock time.
    """

    status: int | None
    output: str
    seconds: float


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
    with tempfile.TemporaryDirectory(prefix="dojo-") as folder:
        item, executable = Path(folder) / "program.o", Path(folder) / "program"
        item.write_bytes(session.object_code())
        command = [find_linker(), str(item), "-o", str(executable), "-lm"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise InvalidProgramError(f"{session.name} does not link:\n{done.stderr.strip()}")
        yield executable


def _limit_resources() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT_BYTES, MEMORY_LIMIT_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (OUTPUT_LIMIT_BYTES, OUTPUT_LIMIT_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def run_executable(executable: Path, run: RunSpecification) -> RunResult:
    """Run it in its own folder with limits on time, memory and output."""
    start = time.perf_counter()
    with tempfile.TemporaryFile(dir=executable.parent) as output:
        try:
            status: int | None = subprocess.run(
                [str(executable), *run.arguments],
                cwd=executable.parent,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.DEVNULL,
                env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
                preexec_fn=_limit_resources,
                timeout=run.seconds,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            status = None
        seconds = time.perf_counter() - start
        output.seek(0)
        text = output.read().decode(errors="replace")
    return RunResult(status, text, seconds)
