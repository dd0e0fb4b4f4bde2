"""From source files to unoptimised LLVM bitcode: C and C++ with clang, Fortran with flang, Rust with rustc."""

from __future__ import annotations

import functools
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from compiler_dojo.envs.errors import InvalidConfigError, ToolchainError, did_you_mean
from compiler_dojo.envs.llvm.library import load_library
from compiler_dojo.envs.llvm.rustc import find_rustc, is_executable_crate
from compiler_dojo.envs.llvm.tools import run_tool, version_of

CLANG_VARIABLE = "DOJO_CLANG"
FLANG_VARIABLE = "DOJO_FLANG"

LOWERINGS: dict[str, tuple[str, ...]] = {
    # what `clang -Oz` itself feeds to its pass pipeline: functions carry minsize and optsize
    "oz": ("-Oz", "-Xclang", "-disable-llvm-passes"),
    # how CompilerGym's make_benchmark compiles; without minsize -Oz looks 2 to 5% weaker than what users get
    "compilergym": ("-O1", "-Xclang", "-disable-llvm-passes"),
}

LANGUAGES: dict[str, str] = {
    ".c": "c", ".cc": "c++", ".cpp": "c++", ".cxx": "c++", ".c++": "c++", ".C": "c++",
    ".f90": "fortran", ".f95": "fortran", ".f03": "fortran", ".f08": "fortran", ".F90": "fortran",
    ".f": "fortran", ".for": "fortran", ".F": "fortran",
    ".rs": "rust",
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
    return version_of(clang, "clang version")


@functools.cache
def find_flang() -> str:
    """Path of a flang of the same major version as libLLVM.

    Raises:
        ToolchainError: there is none.
    """
    major = load_library().version[0]
    override = os.environ.get(FLANG_VARIABLE)
    names = [f"flang-new-{major}", f"flang-{major}", "flang-new", "flang"]
    for candidate in [override] if override else names:
        path = shutil.which(candidate)
        if path is not None and version_of(path, "flang(?:-new)? version")[0] == major:
            return path
    found = f"{FLANG_VARIABLE}={override} is not one" if override else "none was found"
    raise ToolchainError(
        f"compiling Fortran needs flang {major}, and {found}: install it with `apt-get install flang-{major}`, "
        f"or set {FLANG_VARIABLE} to its path"
    )


def check_lowering(lowering: str) -> tuple[str, ...]:
    """clang's flags for a lowering.

    Raises:
        InvalidConfigError: there is no such lowering.
    """
    try:
        return LOWERINGS[lowering]
    except KeyError:
        raise InvalidConfigError(f"unknown lowering {lowering!r}: {did_you_mean(lowering, LOWERINGS)}") from None


def lower(source: Path, lowering: str = "oz", flags: Sequence[str] = (), seconds: float | None = None) -> bytes:
    """Compile a file of C, C++, Fortran or Rust to unoptimised bitcode without debug info.

    Rust becomes a library of its public functions, or, where there is a ``main``, what an executable holds. Fortran is
    the same under both lowerings: flang 19 neither knows -Oz nor can leave its passes out above -O0, so its functions
    carry no minsize and -Oz does less for them.

    Args:
        source: the file; its suffix tells the language, by :data:`LANGUAGES`; clang takes what is not in there.
        lowering: one of :data:`LOWERINGS`.
        flags: further arguments of the compiler.
        seconds: wall-clock limit, or None.

    Raises:
        CompilationError: the compiler rejects the file or takes too long; the message carries its diagnostics.
        ToolchainError: no suitable compiler is installed.
        InvalidConfigError: there is no such lowering.
    """
    check_lowering(lowering)
    command = _COMMANDS.get(LANGUAGES.get(source.suffix, "c"), _clang)
    # run beside the file, so that names in the module do not depend on where the tree lies
    folder = source.resolve().parent
    with tempfile.TemporaryDirectory(prefix="dojo-") as scratch:
        arguments = [*command(source, lowering, scratch), *flags, "-o", "-"]
        return run_tool(arguments, f"{source} does not compile", seconds, folder=folder)


def _clang(source: Path, lowering: str, scratch: str) -> list[str]:
    return [find_clang(), *LOWERINGS[lowering], "-g0", "-w", "-Qn", "-emit-llvm", "-c", f"./{source.name}"]


def _flang(source: Path, lowering: str, scratch: str) -> list[str]:
    # flang writes the absolute path of its input into the module, for messages at run time: one that is always the same
    path = f"/proc/self/cwd/{source.name}"
    return [find_flang(), "-O0", "-w", "-emit-llvm", "-c", "-module-dir", scratch, path]


def _rustc(source: Path, lowering: str, scratch: str) -> list[str]:
    level = LOWERINGS[lowering][0].removeprefix("-O")
    kind = "bin" if is_executable_crate(source) else "lib"
    return [
        *(find_rustc(), "--edition=2021", f"--crate-type={kind}", "--crate-name=unit", "--emit=llvm-bc", "-Awarnings"),
        *("-Cno-prepopulate-passes", f"-Copt-level={level}", "-Ccodegen-units=1", "-Cdebuginfo=0"),
        f"./{source.name}",
    ]


_COMMANDS: dict[str, Callable[[Path, str, str], list[str]]] = {"fortran": _flang, "rust": _rustc}
