"""Shrinking a module with llvm-reduce, which asks this process whether a smaller one is still interesting."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from compiler_dojo.envs.errors import ToolchainError

INSTALL_HINT = "install it with `apt-get install llvm-19`"

# The path of a candidate goes one way, 0 or 1 comes back: no process of ours is started per candidate.
_SCRIPT = """#!/bin/sh
for candidate; do :; done
printf '%s\\n' "$candidate" > '{folder}/candidates'
read -r answer < '{folder}/answers'
exit "$answer"
"""


def find_llvm_reduce(major: int) -> str:
    """Path of an llvm-reduce that can read what libLLVM of this major version writes.

    Raises:
        ToolchainError: there is none.
    """
    for name in (f"llvm-reduce-{major}", "llvm-reduce"):
        path = shutil.which(name)
        if path is not None:
            return path
    raise ToolchainError(f"no llvm-reduce: {INSTALL_HINT}")


def shrink_module(tool: str, program: bytes, interesting: Callable[[bytes], bool], seconds: float) -> bytes:
    """The smallest interesting module that llvm-reduce comes to within a time; ``program`` itself when to none."""
    with tempfile.TemporaryDirectory(prefix="dojo-") as name:
        folder = Path(name)
        service = _Service(folder, interesting)
        (folder / "input.bc").write_bytes(program)
        command = [
            tool,
            f"--test={service.script}",
            "-j",
            "1",
            "-o",
            str(folder / "output.bc"),
            str(folder / "input.bc"),
        ]
        process = subprocess.Popen(
            command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        try:
            process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            pass
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            service.stop()
        return service.best or program


class _Service:
    """Answers the script's questions in a thread, and keeps the last interesting candidate."""

    def __init__(self, folder: Path, interesting: Callable[[bytes], bool]) -> None:
        self._interesting = interesting
        self.best: bytes | None = None
        self.script = folder / "interesting.sh"
        self.script.write_text(_SCRIPT.format(folder=folder))
        self.script.chmod(0o700)
        for name in ("candidates", "answers"):
            os.mkfifo(folder / name)
        # read and write, so that neither open waits for the script nor its end closes the pipe
        self._candidates = os.open(folder / "candidates", os.O_RDWR)
        self._answers = os.open(folder / "answers", os.O_RDWR)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        os.write(self._candidates, b"\n")
        self._thread.join()
        os.close(self._candidates)
        os.close(self._answers)

    def _serve(self) -> None:
        with os.fdopen(os.dup(self._candidates)) as candidates:
            for line in iter(candidates.readline, "\n"):
                try:
                    candidate = Path(line.rstrip("\n")).read_bytes()
                    good = self._interesting(candidate)
                except OSError:  # llvm-reduce was ended and has taken its file away
                    good = False
                if good:
                    self.best = candidate
                os.write(self._answers, b"0\n" if good else b"1\n")
