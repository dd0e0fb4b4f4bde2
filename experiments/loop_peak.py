"""The peak of the multiply-add units as a kernel that is timed in turn with others.

Machines that are shared slow down and recover; a share of the peak means something where both were measured at once.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from compiler_dojo.envs.loops.jit import Jit
from compiler_dojo.envs.loops.measure import PEAK_STEPS, peak_kernel
from compiler_dojo.envs.loops.targets import Target
from compiler_dojo.envs.loops.workload import ITEM_BYTES
from compiler_dojo.experiments.loop_native import prepared
from compiler_dojo.experiments.loop_peers import PreparedKernel


@lru_cache(maxsize=4)
def peak_in_turn(target: Target, dtype: str) -> tuple[PreparedKernel, int]:
    """A kernel that only multiplies and adds, and the floating-point operations of an evaluation."""
    lanes, accumulators = target.vector_bytes // ITEM_BYTES[dtype], target.vector_registers * 3 // 4
    kernel = Jit(target).compile(peak_kernel(target, dtype, accumulators))
    factors = [np.full(2 * lanes, 0.5, dtype)]
    size = accumulators * target.vector_bytes
    return prepared(kernel, factors, PEAK_STEPS, "peak", 0.0, size), 2 * lanes * accumulators * PEAK_STEPS
