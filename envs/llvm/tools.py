"""Finding LLVM's own command-line tools in the version of libLLVM, and running tools with limits."""

from __future__ import annotations

import functools
import re
import resource
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from compiler_dojo.envs.errors import CompilationError, ToolchainError
from compiler_dojo.envs.llvm.library import load_library

MEMORY_BYTES = 4 << 30


def find_llvm_tool(name: str) -> str:
    """Path of ``llvm-link``, ``llvm-nm`` or another of LLVM's tools, of the same major version as libLLVM.

    Raises:
        ToolchainError: it is not installed in this version.
    """
    major = load_library().version[0]
    for candidate in (f"{name}-{major}", name):
        path = shutil.which(candidate)
        if path is not None and version_of(path, "LLVM version")[0] == major:
            return path
    raise ToolchainError(
        f"{name} {major} is needed, and none was found: install it with `apt-get install llvm-{major}`"
    )


@functools.cache
def version_of(tool: str, before_number: str) -> tuple[int, int, int]:
    """The X.Y.Z that ``tool --version`` prints after this regular expression; (0, 0, 0) when it prints none."""
    try:
        text = subprocess.run([tool, "--version"], capture_output=True, text=True, check=False).stdout
    except OSError:
        text = ""
    match = re.search(rf"{before_number} (\d+)\.(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2]), int(match[3])) if match else (0, 0, 0)


def run_tool(
    command: Sequence[str | Path],
    failure: str,
    seconds: float | None = None,
    memory: int = MEMORY_BYTES,
    folder: Path | None = None,
) -> bytes:
    """Run a tool; what it prints.

    Args:
        command: the tool and its arguments.
        failure: the message's beginning when it fails, such as ``a.c does not compile``.
        seconds: wall-clock limit, or None.
        memory: bytes of its address space.
        folder: where it runs.

    Raises:
        CompilationError: it fails, or its time is over; the message carries what it says.
    """
    with subprocess.Popen(
        command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        # set from here: a preexec_fn may hang in a process that has threads
        resource.prlimit(process.pid, resource.RLIMIT_AS, (memory, memory))
        try:
            output, errors = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            raise CompilationError(f"{failure} within {seconds:g} s") from None
    if process.returncode != 0:
        raise CompilationError(f"{failure}:\n{_what_it_said(errors, process.returncode)}")
    return output


def _what_it_said(errors: bytes, status: int) -> str:
    text = errors.decode(errors="replace").strip()
    return text or (f"it ended with signal {-status}" if status < 0 else f"it ended with status {status}")
