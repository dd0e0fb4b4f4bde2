"""TVM as a peer of the loops benchmark: in a process of its own, whose Python has it, and which times it when asked."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from compiler_dojo.envs.errors import InvalidRecordError, ToolchainError
from compiler_dojo.envs.loops.workload import Workload
from compiler_dojo.experiments.loop_peers import Array, PreparedKernel

SCRIPT = Path(__file__).with_name("loop_peer_tvm_script.py")
TRIALS = 64

REMEDY = (
    "make one with `python3 -m venv tvm && tvm/bin/pip install apache-tvm==0.27.0 apache-tvm-ffi==0.1.14.post0 numpy "
    "xgboost psutil cloudpickle tornado` and give tvm/bin/python"
)
"""Newer apache-tvm-ffi crashes with TVM 0.27, which does not say so in its requirements."""


class TvmProcess:
    """A Python with TVM that answers requests until it is closed; it starts with the first one.

    Args:
        python: the interpreter.
    """

    def __init__(self, python: Path) -> None:
        self.python = python
        self._process: subprocess.Popen[str] | None = None

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send a request and wait for its answer.

        Raises:
            ToolchainError: the interpreter does not run, ended, or answered with an error.
        """
        process = self._process or self._start()
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except OSError:
            line = ""
        if not line:
            raise ToolchainError(f"{self.python} ended while it was asked to {request['do']} with TVM: {REMEDY}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise ToolchainError(f"TVM in {self.python} failed to {request['do']}: {answer['error']}")
        return answer

    def _start(self) -> subprocess.Popen[str]:
        try:
            process = subprocess.Popen(
                # isolated: neither our packages nor the modules beside the script may be found
                [str(self.python), "-I", str(SCRIPT)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "TVM_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
                text=True,
            )
        except OSError as error:
            raise ToolchainError(f"{self.python} cannot be run ({error.strerror}): {REMEDY}") from error
        self._process = process
        weakref.finalize(self, _end, process)
        return process


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    with contextlib.suppress(BrokenPipeError), process:  # closing what it did not read any more
        pass


class TvmPeer:
    """TVM's default schedule, or the best that MetaSchedule finds, in one thread and timed by TVM's own loop.

    Args:
        process: that runs it, or None if no interpreter was given.
        mcpu: LLVM's name of the CPU to compile for.
        trials: candidates that MetaSchedule measures; 0 for the default schedule.
        cache: JSON file in which tuning results are kept, and from which they are taken the next time.
    """

    def __init__(self, process: TvmProcess | None, mcpu: str, trials: int = 0, cache: Path | None = None) -> None:
        self.name = "metaschedule" if trials else "tvm"
        self._process, self._mcpu, self._trials = process, mcpu, trials
        self._cache = cache if trials else None

    def available(self) -> str:
        """Whether the interpreter has TVM."""
        if self._process is None:
            return f"no interpreter with TVM was given (--tvm-python): {REMEDY}"
        try:
            self._process.ask(do="version")
        except ToolchainError as error:
            return str(error)
        return ""

    def prepare(self, workload: Workload, operands: Sequence[Array]) -> PreparedKernel:
        """Compile, or tune and compile.

        Raises:
            ToolchainError: TVM failed.
            InvalidRecordError: the cache is not one.
        """
        process = self._process
        if process is None:
            raise ToolchainError(self.available())
        key = f"{workload} | {self._mcpu} | {self._trials} trials"
        kept = _read(self._cache)
        known = kept.get(key)
        with tempfile.TemporaryDirectory(prefix="dojo-tvm-") as folder:
            for number, array in enumerate(operands):
                np.save(Path(folder) / f"{number}.npy", array)
            answer = process.ask(
                do="prepare",
                workload=describe(workload),
                mcpu=self._mcpu,
                trials=self._trials,
                trace=known["trace"] if known else None,
                folder=folder,
            )
            result = np.load(Path(folder) / "0.npy")
        seconds = known["seconds"] if known else answer["seconds"]
        if self._cache is not None and not known:
            kept[key] = {"trace": answer["trace"], "seconds": seconds}
            self._cache.write_text(json.dumps(kept))
        how = f"MetaSchedule, {self._trials} trials" if self._trials else "default schedule"
        return PreparedKernel(
            # its arrays are its own: what it computed from copies of ours is copied into our output
            lambda: np.copyto(operands[0], result),
            lambda min_seconds: process.ask(do="sample", kernel=answer["kernel"], min_seconds=min_seconds)["seconds"],
            "C",
            f"{how}, {self._mcpu}",
            seconds,
            in_process=False,
        )


def _read(cache: Path | None) -> dict[str, Any]:
    if cache is None or not cache.exists():
        return {}
    try:
        kept: dict[str, Any] = json.loads(cache.read_text())
    except ValueError as error:
        raise InvalidRecordError(
            f"{cache} is not a file of tuning results ({error}): give another --tvm-cache"
        ) from error
    return kept


def describe(workload: Workload) -> dict[str, Any]:
    """A workload as plain data."""
    return {
        "axes": [[axis.name, axis.size] for axis in workload.axes],
        "operands": [
            {"name": operand.name, "shape": workload.shape(operand), "indices": operand.indices}
            for operand in workload.operands
        ],
        "inputs": len(workload.inputs),
        "dtype": workload.dtype,
        "bias": workload.bias is not None,
        "relu": workload.relu,
    }
