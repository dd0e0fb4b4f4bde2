"""LLVM's tools of the right version, and the limits under which tools run."""

import os
import re
import time
from pathlib import Path

import pytest

from compiler_dojo.envs.errors import CompilationError, ToolchainError
from compiler_dojo.envs.llvm.library import load_library
from compiler_dojo.envs.llvm.tools import find_llvm_tool, run_tool, version_of

MAJOR = load_library().version[0]


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_find_llvm_tool__prefers_the_name_with_the_version_and_refuses_other_versions(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    script(tmp_path / "llvm-nm", "echo LLVM version 3.4.5")
    with pytest.raises(
        ToolchainError, match=f"llvm-nm {MAJOR} is needed, and none was found: .*`apt-get install llvm-{MAJOR}`"
    ):
        find_llvm_tool("llvm-nm")
    plain = script(tmp_path / "llvm-link", f"echo Debian LLVM version {MAJOR}.1.0")
    assert find_llvm_tool("llvm-link") == plain
    versioned = script(tmp_path / f"llvm-link-{MAJOR}", f"echo Debian LLVM version {MAJOR}.1.0")
    assert find_llvm_tool("llvm-link") == versioned


def test_version_of__is_zero_for_what_prints_none(tmp_path) -> None:
    assert version_of(script(tmp_path / "other", "echo other 2.3.4"), "csmith") == (0, 0, 0)
    assert version_of(str(tmp_path / "absent"), "csmith") == (0, 0, 0)


def test_run_tool__gives_what_the_tool_prints_and_runs_in_the_folder(tmp_path) -> None:
    assert run_tool(["pwd"], "pwd fails", folder=tmp_path) == os.fsencode(f"{tmp_path}\n")
    assert run_tool(["cat"], "cat fails") == b""


@pytest.mark.parametrize(
    ("text", "said"),
    [("echo why >&2; exit 3", "why"), ("exit 3", "it ended with status 3"), ("kill -9 $$", "it ended with signal 9")],
)
def test_run_tool__says_what_the_tool_said(tmp_path, text, said) -> None:
    with pytest.raises(CompilationError, match=re.escape(f"a.c does not compile:\n{said}")):
        run_tool([script(tmp_path / "tool", text)], "a.c does not compile")


def test_run_tool__ends_what_takes_too_long() -> None:
    start = time.perf_counter()
    with pytest.raises(CompilationError, match=r"a\.c does not compile within 0\.2 s"):
        run_tool(["sleep", "20"], "a.c does not compile", 0.2)
    assert time.perf_counter() - start < 5


def test_run_tool__limits_memory() -> None:
    hungry = "import time; time.sleep(0.2); bytearray(1 << 30)"
    with pytest.raises(CompilationError, match="MemoryError"):
        run_tool(["python3", "-c", hungry], "the test does not run", memory=1 << 29)
