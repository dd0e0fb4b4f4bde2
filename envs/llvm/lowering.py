"""From C and C++ to unoptimised LLVM bitcode with clang, and from objects to executables."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from compiler_dojo.envs.errors import CompilationError, InvalidConfigError, ToolchainError, did_you_mean
from compiler_dojo.envs.llvm.library import load_library

CLANG_VARIABLE = "DOJO_CLANG"

LOWERINGS: dict[str, tuple[str, ...]] = {
    # what `clang -Oz` itself feeds to its pass pipeline: functions carry minsize and optsize
    "oz": ("-Oz", "-Xclang", "-disable-llvm-passes"),
    # how CompilerGym's make_benchmark compiles; without minsize -Oz looks 2 to 5% weaker than what users get
    "compilergym": ("-O1", "-Xclang", "-disable-llvm-passes"),
}

LANGUAGES: dict[str, str] = {
    ".c": "c", ".cc": "c++", ".cpp": "c++", ".cxx": "c++", ".c++": "c++", ".C": "c++",
    ".ll": "llvm", ".bc": "llvm",
}  # fmt: skip


@functools.cache
def find_clang() -> str:
    """Path of a clang of the same major version as libLLVM (newer bitcode could not be read).

    Raises:
        ToolchainError: there is none.
    """
    major = load_library().version[0]
    override = os.environ.get(CLANG_VARIABLE)
    for candidate in [override] if override else [f"clang-{major}", "clang"]:
        path = shutil.which(candidate)
        if path is not None and clang_version(path)[0] == major:
            return path
    found = f"{CLANG_VARIABLE}={override} is not one" if override else "none was found"
    raise ToolchainError(
        f"compiling C and C++ needs clang {major}, and {found}: install it with "
        f"`apt-get install clang-{major}`, or set {CLANG_VARIABLE} to its path; .ll and .bc files need no clang"
    )


def clang_version(clang: str) -> tuple[int, int, int]:
    """Version that ``clang --version`` prints; (0, 0, 0) when it prints none."""
    try:
        text = subprocess.run([clang, "--version"], capture_output=True, text=True, check=False).stdout
    except OSError:
        text = ""
    match = re.search(r"clang version (\d+)\.(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2]), int(match[3])) if match else (0, 0, 0)


def check_lowering(lowering: str) -> tuple[str, ...]:
    """clang's flags for a lowering.

    Raises:
        InvalidConfigError: there is no such lowering.
    """
    try:
        return LOWERINGS[lowering]
    except KeyError:
        raise InvalidConfigError(f"unknown lowering {lowering!r}: {did_you_mean(lowering, LOWERINGS)}") from None


def lower(source: Path, lowering: str = "oz", flags: Sequence[str] = ()) -> bytes:
    """Compile a C or C++ file to unoptimised bitcode without debug info.

    Raises:
        CompilationError: clang rejects the file; the message carries its diagnostics.
        ToolchainError: no suitable clang is installed.
    """
    command = [find_clang(), *check_lowering(lowering), "-g0", "-w", "-Qn", *flags, "-emit-llvm", "-c"]
    # run beside the file, so that the module's source_filename does not depend on where the tree lies
    folder = source.resolve().parent
    done = subprocess.run([*command, f"./{source.name}", "-o", "-"], cwd=folder, capture_output=True, check=False)
    if done.returncode != 0:
        raise CompilationError(f"{source} does not compile:\n{done.stderr.decode(errors='replace').strip()}")
    return done.stdout
