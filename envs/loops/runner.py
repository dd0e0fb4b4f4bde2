"""Nests as kernels that run: generated, compiled, timed, and remembered."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_dojo.envs.loops.arrays import aligned
from compiler_dojo.envs.loops.codegen import Code, generate
from compiler_dojo.envs.loops.jit import CompiledKernel, Jit, Target, find_target
from compiler_dojo.envs.loops.measure import Protocol, Timing, time_kernel
from compiler_dojo.envs.loops.nest import Nest
from compiler_dojo.envs.loops.reference import random_arrays
from compiler_dojo.envs.loops.team import shared_team
from compiler_dojo.envs.loops.workload import Workload

Array = npt.NDArray[Any]

PROTOCOL = Protocol(min_seconds=5e-4)
"""Ten samples of half a millisecond: what one step of training can afford."""

MOST_KERNELS = 256
"""Compiled kernels that a runner keeps."""

MOST_WORKLOADS = 8
"""Workloads whose arrays a runner keeps."""


class RunnableKernel:
    """A nest's code, compiled.

    Attributes:
        nest: what was asked for.
        code: the IR, and the nest with its register tile.
        compiled: the machine code.
    """

    def __init__(self, nest: Nest, code: Code, compiled: CompiledKernel) -> None:
        self.nest, self.code, self.compiled = nest, code, compiled

    def run(self, arrays: Sequence[Array]) -> None:
        """Run once on arrays in the kernel's order (output, inputs, bias), which are not checked."""
        shared_team(self.nest.threads).run(self.compiled, arrays, self.code.workspace_bytes, self.code.iterations)

    def time(self, arrays: Sequence[Array], protocol: Protocol) -> Timing:
        """Time it; the nest says how many threads it has."""
        return time_kernel(self.compiled, arrays, self.code.workspace_bytes, self.code.iterations, protocol)


class Runner:
    """Compiles nests for a target, and measures what they reach; equal nests once.

    Args:
        target: what to compile for, or its name.
        protocol: how kernels are timed; its threads are the nest's.
        seed: of the numbers they run on.

    Attributes:
        jit: the compiler.
    """

    deterministic = False
    platform_dependent = True

    def __init__(self, target: Target | str = "native", protocol: Protocol | None = None, seed: int = 0) -> None:
        self.target = find_target(target) if isinstance(target, str) else target
        self.protocol = protocol or PROTOCOL
        self._seed = seed
        self.jit = Jit(self.target)
        self._kernels: OrderedDict[str, RunnableKernel] = OrderedDict()
        self._arrays: OrderedDict[Workload, tuple[Array, ...]] = OrderedDict()
        self._timings: dict[str, Timing] = {}

    def compile(self, nest: Nest) -> RunnableKernel:
        """The nest's kernel.

        Raises:
            IllegalScheduleError: no code can be generated for it.
        """
        kernel = self._kernels.get(nest.key)
        if kernel is None:
            code = generate(nest, self.target)
            kernel = self._kernels[nest.key] = RunnableKernel(nest, code, self.jit.compile(code.ir))
            if len(self._kernels) > MOST_KERNELS:
                self._kernels.popitem(last=False)
        self._kernels.move_to_end(nest.key)
        return kernel

    def time(self, nest: Nest) -> Timing:
        """How long the nest's kernel takes, measured when it is asked for the first time."""
        if nest.key not in self._timings:
            protocol = replace(self.protocol, threads=nest.threads)
            self._timings[nest.key] = self.compile(nest).time(self.arrays(nest.workload), protocol)
        return self._timings[nest.key]

    def gflops(self, nest: Nest) -> float:
        """Billions of floating-point operations per second, in the best sample."""
        return nest.workload.flops / self.time(nest).best_seconds / 1e9

    def arrays(self, workload: Workload) -> tuple[Array, ...]:
        """Random operands in the kernel's order, each on a cache line of its own."""
        if workload not in self._arrays:
            arrays = random_arrays(workload, np.random.default_rng(self._seed))
            self._arrays[workload] = tuple(aligned(array) for array in arrays)
            if len(self._arrays) > MOST_WORKLOADS:
                self._arrays.popitem(last=False)
        self._arrays.move_to_end(workload)
        return self._arrays[workload]
