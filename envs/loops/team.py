"""Threads that run and time compiled kernels together."""

from __future__ import annotations

import ctypes
import os
import statistics
import weakref
from collections.abc import Sequence
from ctypes import byref, c_double, c_int64
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from compiler_dojo.envs.errors import InvalidConfigError, SessionClosedError
from compiler_dojo.envs.llvm.library import TimingProtocol, Work, load_core
from compiler_dojo.envs.llvm.once import once
from compiler_dojo.envs.loops.jit import CompiledKernel, pointers

Array = npt.NDArray[Any]

CACHE_LINE = 64


@dataclass(frozen=True)
class Protocol:
    """How something is timed.

    Attributes:
        warmup: runs before the clock starts.
        min_seconds: least length of a sample, which is as many runs as fill it.
        repeats: samples.
        threads: that share the iterations of the outermost loop.
        pinned: whether each thread stays on a CPU of its own meanwhile.

    Raises:
        InvalidConfigError: a number that makes no sense.
    """

    warmup: int = 1
    min_seconds: float = 1e-3
    repeats: int = 10
    threads: int = 1
    pinned: bool = False

    def __post_init__(self) -> None:
        if self.warmup < 0 or not 0 <= self.min_seconds < float("inf") or self.repeats < 1 or self.threads < 1:
            raise InvalidConfigError(f"{self}: warmup and min_seconds must be 0 or more, repeats and threads 1 or more")


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

    def is_noisy(self, limit: float = 0.1) -> bool:
        """Whether half of the samples differ by more than this share: other work shared the CPU."""
        return self.spread > limit


class _Workspace(NamedTuple):
    """Scratch memory: ``stride`` bytes for each thread from ``address`` on, all multiples of a cache line."""

    memory: Array
    address: int
    stride: int


class Team:
    """Threads that run kernels together, the caller's among them. Several callers take turns.

    Args:
        threads: at least 1. All but the caller's sleep when there is nothing to run.

    Raises:
        InvalidConfigError: fewer than one thread, or more than the system starts.
    """

    def __init__(self, threads: int) -> None:
        if threads < 1:
            raise InvalidConfigError(f"a team needs at least 1 thread, not {threads}")
        self.threads = threads
        self._functions = load_core().functions
        self._handle = self._functions.dojo_team_open(threads)
        if not self._handle:
            raise InvalidConfigError(f"the system does not start {threads} threads: take fewer")
        self._finalizer = weakref.finalize(self, self._functions.dojo_team_close, self._handle)
        self._workspaces: list[_Workspace] = []

    def run(self, kernel: CompiledKernel, operands: Sequence[Array], workspace_bytes: int, count: int) -> None:
        """Run iterations [0, ``count``) of a kernel's outermost loop, divided into contiguous, nearly equal parts.

        Args:
            kernel: what to run.
            operands: in the kernel's order; they must have what it was generated for, which is not checked.
            workspace_bytes: scratch memory of each thread, aligned to 64 bytes.
            count: iterations.

        Raises:
            SessionClosedError: the kernel or the team was closed.
        """
        self._check_open()
        workspace = self._take_workspace(workspace_bytes)
        addresses = pointers(operands)
        work = Work(kernel.address, ctypes.addressof(addresses), workspace.address, workspace.stride, 0, count)
        self._functions.dojo_team_run(self._handle, byref(work))
        self._workspaces.append(workspace)

    def time(
        self,
        kernel: CompiledKernel,
        operands: Sequence[Array],
        workspace_bytes: int,
        count: int,
        protocol: Protocol,
    ) -> Timing:
        """Time what :meth:`run` does. The protocol's number of threads must be the team's.

        Raises:
            InvalidConfigError: threads are to be pinned and are more than the CPUs that this process may use, or
                their number is not the team's.
            SessionClosedError: the kernel or the team was closed.
        """
        self._check_open()
        if protocol.threads != self.threads:
            raise InvalidConfigError(f"{protocol} is for {protocol.threads} threads; this team has {self.threads}")
        workspace = self._take_workspace(workspace_bytes)
        addresses = pointers(operands)
        work = Work(kernel.address, ctypes.addressof(addresses), workspace.address, workspace.stride, 0, count)
        settings = TimingProtocol(protocol.warmup, protocol.min_seconds, protocol.repeats, protocol.pinned)
        samples, runs = (c_double * protocol.repeats)(), c_int64()
        timed = self._functions.dojo_team_time(self._handle, byref(work), byref(settings), samples, byref(runs))
        self._workspaces.append(workspace)
        if not timed:
            raise InvalidConfigError(
                f"cannot pin {self.threads} threads: this process may use {len(os.sched_getaffinity(0))} CPUs; "
                "take fewer threads, or do not pin them"
            )
        return summarize(list(samples), runs.value)

    def close(self) -> None:
        """End the threads; no call may be under way."""
        self._finalizer()

    def _check_open(self) -> None:
        if not self._finalizer.alive:
            raise SessionClosedError("this team was closed: make another")

    def _take_workspace(self, size: int) -> _Workspace:
        """One that an earlier call has left, if it is large enough."""
        stride = -(-size // CACHE_LINE) * CACHE_LINE
        while self._workspaces:
            workspace = self._workspaces.pop()
            if workspace.stride >= stride:
                return workspace
        memory = np.empty(stride * self.threads + CACHE_LINE, np.uint8)
        return _Workspace(memory, -(-memory.ctypes.data // CACHE_LINE) * CACHE_LINE, stride)


def summarize(samples: Sequence[float], runs: int) -> Timing:
    """The timing that samples, each in seconds per run, amount to."""
    median = statistics.median(samples)
    low, high = np.quantile(samples, (0.25, 0.75))
    return Timing(min(samples), median, float(high - low) / median, runs)


def shared_team(threads: int) -> Team:
    """The process's team of so many threads, started at first use."""
    return _team_of(threads, os.getpid())  # a forked child has none of its parent's threads


@once
def _team_of(threads: int, process: int) -> Team:
    return Team(threads)
