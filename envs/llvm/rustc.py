"""Finding a rustc whose bitcode our LLVM can read."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
from pathlib import Path

from compiler_dojo.envs.errors import ToolchainError
from compiler_dojo.envs.llvm.library import LIBLLVM_VARIABLE, load_library

RUSTC_VARIABLE = "DOJO_RUSTC"


@functools.cache
def find_rustc() -> str:
    """Path of a rustc that is built on libLLVM's major version or an older one.

    Raises:
        ToolchainError: there is none, or it is built on a newer LLVM.
    """
    major = load_library().version[0]
    name = os.environ.get(RUSTC_VARIABLE) or "rustc"
    path = shutil.which(name)
    built_on = llvm_of(path) if path is not None else 0
    remedy = (
        f"a rustc built on LLVM {major} or older is needed (Rust 1.85 is built on LLVM 19): install one, "
        f"and set {RUSTC_VARIABLE} to its path"
    )
    if path is None or not built_on:
        raise ToolchainError(f"compiling Rust: {name} is not a rustc that runs; {remedy}")
    if built_on > major:
        raise ToolchainError(
            f"compiling Rust: {path} is built on LLVM {built_on}, whose bitcode LLVM {major} cannot read; {remedy}, "
            f"or set {LIBLLVM_VARIABLE} to a libLLVM {built_on}"
        )
    return path


def llvm_of(rustc: str) -> int:
    """Major version of the LLVM that a rustc is built on; 0 when it does not say."""
    try:
        text = subprocess.run([rustc, "-vV"], capture_output=True, text=True, check=False).stdout
    except OSError:
        return 0
    match = re.search(r"^LLVM version: (\d+)\.", text, re.MULTILINE)
    return int(match[1]) if match else 0


def is_executable_crate(source: Path) -> bool:
    """Whether a Rust file has a ``main`` of its own."""
    try:
        text = source.read_text(errors="replace")
    except OSError:
        return False
    return re.search(r"^fn main\s*\(", text, re.MULTILINE) is not None
