"""What this installation has, what is missing, and the command that brings it."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from compiler_dojo.envs.errors import DojoError, NativeLibraryError
from compiler_dojo.envs.llvm.execution import find_linker
from compiler_dojo.envs.llvm.library import find_libllvm, find_native_library, load_library
from compiler_dojo.envs.llvm.lowering import clang_version, find_clang, find_flang
from compiler_dojo.envs.llvm.rustc import find_rustc
from compiler_dojo.envs.llvm.sandbox import CONFINES, find_sandbox
from compiler_dojo.envs.llvm.sanitizers import find_sanitizer
from compiler_dojo.envs.llvm.tools import find_llvm_tool
from compiler_dojo.envs.programs import load_programs
from compiler_dojo.envs.programs.sources.archive import APT_HELPER


class Finding(NamedTuple):
    """One line of the doctor's report.

    Attributes:
        subject: what was looked for.
        found: what is there, or None.
        remedy: the command that brings it, or what works without it.
        required: nothing works without it.
    """

    subject: str
    found: str | None
    remedy: str
    required: bool


def examine() -> Iterator[Finding]:
    """Look for everything CompilerDojo can use."""
    yield _try("C core", lambda: str(find_native_library()), "make setup", required=True)
    yield _try("libLLVM", _describe_library, "apt-get install libllvm19", required=True)
    others = find_libllvm()[1:]
    yield Finding("other libLLVMs", ", ".join(others) or "none", "DOJO_LIBLLVM=path selects one", required=False)
    yield _try("clang", _describe_clang, "apt-get install clang-19  (only .c and .cpp files need it)", required=False)
    yield _try("linker", find_linker, "apt-get install g++  (validation runs programs)", required=False)
    yield _sandbox()
    yield _try(
        "sanitizers",
        lambda: f"address and undefined of {find_sanitizer().name}",
        "apt-get install libclang-rt-19-dev  (validation finds undefined behaviour)",
        required=False,
    )
    yield _try("bundled programs", lambda: f"{len(load_programs('bundled'))} programs", "make programs", required=True)
    yield from _sources()
    for package, extra, purpose in (
        ("stable-baselines3", "sb3", "training"),
        ("torch", "sb3", "trained policies"),
        ("ray", "rllib", "clusters"),
        ("pyarrow", "programs", "stored sets of programs"),
        ("datasets", "compile", "the ComPile data set, compile://"),
    ):
        remedy = f"pip install 'compiler-dojo[{extra}]'  ({purpose})"
        yield _try(package, partial(importlib.metadata.version, package), remedy, required=False)


def _sandbox() -> Finding:
    """The best sandbox counts as found; of a weaker one, the remedy says what it lacks and why it is used."""
    sandbox = find_sandbox()
    if sandbox.kind == "bubblewrap":
        return Finding("sandbox", f"bubblewrap: {CONFINES['bubblewrap']}", "apt-get install bubblewrap", required=False)
    remedy = f"apt-get install bubblewrap  (programs run with {CONFINES[sandbox.kind]})\n{sandbox.refused}"
    return Finding("sandbox", None, remedy, required=False)


def _sources() -> Iterator[Finding]:
    """What programs are got with, beside clang."""
    apt = APT_HELPER if os.access(APT_HELPER, os.X_OK) else None
    remedy = "comes with Debian and Ubuntu  (debian:// and the standard corpora need it)"
    yield Finding("apt", apt, remedy, required=False)
    remedy = "apt-get install csmith libcsmith-dev  (random programs, csmith://)"
    yield Finding("csmith", shutil.which("csmith"), remedy, required=False)
    remedy = "apt-get install llvm-19  (linking whole programs, llvm-stress://)"
    yield _try("llvm-link", lambda: find_llvm_tool("llvm-link"), remedy, required=False)
    yield _try("flang", find_flang, "apt-get install flang-19  (Fortran files)", required=False)
    yield _try("rustc", find_rustc, "rustup toolchain install 1.85, and DOJO_RUSTC  (Rust files)", required=False)


def _try(subject: str, look: Callable[[], str], remedy: str, *, required: bool) -> Finding:
    try:
        return Finding(subject, look(), remedy, required)
    except DojoError as error:
        return Finding(subject, None, f"{remedy}\n{error}", required)
    except importlib.metadata.PackageNotFoundError:
        return Finding(subject, None, remedy, required)


def _describe_library() -> str:
    library = load_library()
    return f"{'.'.join(map(str, library.version))} at {library.path}"


def _describe_clang() -> str:
    try:
        clang = find_clang()
    except NativeLibraryError:  # without libLLVM any clang may be the right one
        clang = shutil.which("clang-19") or ""
        if not clang:
            raise
    return f"{'.'.join(map(str, clang_version(clang)))} at {clang}"
