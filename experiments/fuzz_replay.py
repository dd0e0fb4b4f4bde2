"""A child process that runs passes without isolation, so that a crash there is an answer and not the end.

Its heap is filled with a pattern (glibc's MALLOC_PERTURB_): what depends on freed or fresh memory differs from the
worker's result.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import subprocess
import sys
from collections.abc import Sequence
from typing import IO

from compiler_dojo.envs.errors import CompilerCrashedError, CompilerTimeoutError, DojoError
from compiler_dojo.envs.llvm.session import CompilerSession
from compiler_dojo.experiments.trace import Observation, trace

HEAP_PATTERN = "165"


class InProcessReplayer:
    """The child, started when needed and again when it has died.

    Args:
        seconds: wall-clock limit of one list.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._child: subprocess.Popen[str] | None = None

    def trace(self, program: bytes, pipelines: Sequence[str]) -> list[Observation]:
        """What the module is at the start and after each pass.

        Raises:
            CompilerCrashedError: the child died.
            CompilerTimeoutError: it did not answer in time.
        """
        child = self._living_child()
        assert child.stdin is not None
        assert child.stdout is not None
        request = {"program": base64.b64encode(program).decode(), "pipelines": list(pipelines)}
        try:
            child.stdin.write(json.dumps(request) + "\n")
            child.stdin.flush()
            if not select.select([child.stdout], [], [], self._seconds)[0]:
                self.close()
                raise CompilerTimeoutError(f"no answer within {self._seconds} s without isolation")
            answer = child.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            child.wait()
            status = child.returncode
            self.close()
            raise CompilerCrashedError(f"the process died without isolation: exit status {status}")
        return [Observation(*item) for item in json.loads(answer)]

    def close(self) -> None:
        """End the child. Closing twice is harmless."""
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            with contextlib.suppress(BrokenPipeError):
                child.communicate()

    def _living_child(self) -> subprocess.Popen[str]:
        if self._child is None:
            self._child = subprocess.Popen(
                [sys.executable, "-m", __name__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env={**os.environ, "MALLOC_PERTURB_": HEAP_PATTERN},
            )
        return self._child


def serve(requests: IO[str], answers: IO[str]) -> None:
    """Answer one line with one line until the requests end."""
    for line in requests:
        request = json.loads(line)
        try:
            with CompilerSession(base64.b64decode(request["program"]), isolation="none") as session:
                answer = trace(session, request["pipelines"])
        except DojoError as error:
            answer = [Observation(type(error).__name__, str(error))]
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    serve(sys.stdin, sys.stdout)
