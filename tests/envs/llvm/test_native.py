"""The C core's own test programs, built plainly and with sanitizers."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from compiler_dojo.envs.llvm.library import find_libllvm

NATIVE = Path(__file__).parents[3] / "envs" / "llvm" / "native"


@pytest.mark.skipif(shutil.which("cmake") is None, reason="cmake is not installed")
@pytest.mark.parametrize("sanitize", ["OFF", "ON"], ids=["plain", "sanitized"])
def test_native_core__passes_its_checks(tmp_path, sanitize):
    configure = ["cmake", "-S", str(NATIVE), "-B", str(tmp_path), f"-DDOJO_SANITIZE={sanitize}"]
    for command in (configure, ["cmake", "--build", str(tmp_path), "--parallel", "2"]):
        built = subprocess.run(command, capture_output=True, text=True, check=False)
        assert built.returncode == 0, built.stdout + built.stderr
    for command in (
        ["test_native", find_libllvm()[0]],
        ["test_channel", find_libllvm()[0], str(tmp_path / "dojo-worker")],
    ):
        done = subprocess.run(
            [str(tmp_path / command[0]), *command[1:]],
            env={**os.environ, "ASAN_OPTIONS": "detect_leaks=1", "UBSAN_OPTIONS": "print_stacktrace=1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert re.fullmatch(r"[1-9]\d+ checks passed\n", done.stdout)
