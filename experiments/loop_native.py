"""Native kernels of the loops benchmark, bound to arrays: whoever compiled them, one loop in C times them all."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

from compiler_dojo.envs.loops.measure import Protocol
from compiler_dojo.envs.loops.team import shared_team
from compiler_dojo.experiments.loop_peers import Array, PreparedKernel


class NativeFunction:
    """A ``void kernel(void **operands, void *workspace, int64_t begin, int64_t end)`` of a loaded library.

    Args:
        library: kept loaded.
        name: of the function.
    """

    def __init__(self, library: ctypes.CDLL, name: str = "kernel") -> None:
        self._library = library
        self.address = ctypes.cast(library[name], ctypes.c_void_p).value or 0


def prepared(
    kernel: Any,
    operands: Sequence[Array],
    count: int,
    how: str,
    tuning_seconds: float,
    workspace_bytes: int = 0,
    threads: int = 1,
) -> PreparedKernel:
    """A native kernel as the benchmark takes it.

    Args:
        kernel: a :class:`NativeFunction`, or a compiled kernel of our own: something with an ``address``.
        operands: output, inputs, bias.
        count: iterations of the outermost loop.
        how: see :class:`PreparedKernel`.
        tuning_seconds: see there.
        workspace_bytes: scratch memory per thread.
        threads: over which the outermost loop is divided.
    """
    team = shared_team(threads)

    def run() -> None:
        team.run(kernel, operands, workspace_bytes, count)

    def sample(min_seconds: float) -> float:
        protocol = Protocol(warmup=0, min_seconds=min_seconds, repeats=1, threads=threads, pinned=threads > 1)
        return team.time(kernel, operands, workspace_bytes, count, protocol).best_seconds

    return PreparedKernel(run, sample, "C", how, tuning_seconds, threads)
