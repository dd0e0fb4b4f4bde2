"""Timing kernels by a stated protocol, and the peak that a machine's arithmetic can reach."""

from __future__ import annotations

import ctypes
import os
import statistics
import weakref
from collections.abc import Sequence
from ctypes import byref, c_double, c_int64, c_void_p
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from compiler_dojo.envs.errors import InvalidConfigError
from compiler_dojo.envs.llvm.library import TimingProtocol, Work, load_core
from compiler_dojo.envs.llvm.once import once
from compiler_dojo.envs.loops.jit import CompiledKernel, pointers

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Protocol:
    """How something is timed.

    Attributes:
        warmup: runs before the clock starts.
        min_seconds: least length of a sample, which is as many runs as fill it.
        repeats: samples.
        threads: that share the iterations of the outermost loop.
        pinned: whether each thread stays on a CPU of its own meanwhile.
    """

    warmup: int = 1
    min_seconds: float = 1e-3
    repeats: int = 10
    threads: int = 1
    pinned: bool = False

    def __post_init__(self) -> None:
        if self.warmup < 0 or self.min_seconds < 0 or self.repeats < 1 or self.threads < 1:
            raise InvalidConfigError(
                f"{self}: warmup and min_seconds must not be negative, repeats and threads must be at least 1"
            )


class Timing(NamedTuple):
    """Seconds of one run, over the samples of a protocol.

    Attributes:
        best_seconds: the fastest sample.
        median_seconds: of the samples.
        spread: difference of the samples' quartiles over their median.
        runs: how many were timed in all.
    """

    best_seconds: float
    median_seconds: float
    spread: float
    runs: int


def time_kernel(
    kernel: CompiledKernel, operands: Sequence[Array], workspace_bytes: int, count: int, protocol: Protocol
) -> Timing:
    """Time runs of a kernel's iterations [0, ``count``) of its outermost loop.

    Args:
        kernel: what to run.
        operands: in the kernel's order; they must have what it was generated for, which is not checked.
        workspace_bytes: scratch memory of each thread.
        count: iterations of the outermost loop, divided over the protocol's threads.
        protocol: how often, and where.

    Raises:
        InvalidConfigError: threads are to be pinned, and there are more than CPUs that this process may use.
        SessionClosedError: the kernel was closed.
    """
    return shared_team(protocol.threads).time(kernel, operands, workspace_bytes, count, protocol)


class Team:
    """Threads that run kernels together, the caller's among them. Several callers take turns."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        core = load_core()
        self._functions = core.functions
        self._handle, error = c_void_p(), c_void_p()
        core.check(self._functions.dojo_team_open(threads, byref(self._handle), byref(error)), error, "threads")
        self.close = weakref.finalize(self, self._functions.dojo_team_close, self._handle)

    def run(self, kernel: CompiledKernel, operands: Sequence[Array], workspace_bytes: int, count: int) -> None:
        """Run iterations [0, ``count``) of a kernel's outermost loop once; arguments as of :func:`time_kernel`.

        Raises:
            SessionClosedError: the kernel was closed.
        """
        memory = self._workspace(workspace_bytes)
        self._functions.dojo_team_run(self._handle, byref(self._work(kernel, operands, memory, count)))

    def time(
        self,
        kernel: CompiledKernel,
        operands: Sequence[Array],
        workspace_bytes: int,
        count: int,
        protocol: Protocol,
    ) -> Timing:
        """As :func:`time_kernel`, with this team's threads."""
        memory = self._workspace(workspace_bytes)
        work = self._work(kernel, operands, memory, count)
        settings = TimingProtocol(protocol.warmup, protocol.min_seconds, protocol.repeats, protocol.pinned)
        samples, runs = (c_double * protocol.repeats)(), c_int64()
        if not self._functions.dojo_team_time(self._handle, byref(work), byref(settings), samples, byref(runs)):
            raise InvalidConfigError(
                f"cannot pin {self.threads} threads: this process may use {len(os.sched_getaffinity(0))} CPUs; "
                "take fewer threads, or do not pin them"
            )
        return summarize(list(samples), runs.value)

    def _workspace(self, size: int) -> Array:
        """One row per thread, each aligned to a cache line."""
        stride = -(-size // 64) * 64
        memory = np.empty(stride * self.threads + 63, np.uint8)
        start = -memory.ctypes.data % 64
        return memory[start : start + stride * self.threads].reshape(self.threads, stride)

    def _work(self, kernel: CompiledKernel, operands: Sequence[Array], workspace: Array, count: int) -> Work:
        addresses = ctypes.cast(pointers(operands), ctypes.POINTER(c_void_p))
        return Work(kernel.address, addresses, workspace.ctypes.data, workspace.shape[1], 0, count)


def summarize(samples: Sequence[float], runs: int) -> Timing:
    """The timing of samples, each in seconds per run."""
    median = statistics.median(samples)
    low, high = np.quantile(samples, (0.25, 0.75))
    return Timing(min(samples), median, float(high - low) / median, runs)


def shared_team(threads: int) -> Team:
    """The process's team of so many threads, started at first use."""
    return _team_of(threads, os.getpid())  # a forked child has none of its parent's threads


@once
def _team_of(threads: int, process: int) -> Team:
    return Team(threads)
