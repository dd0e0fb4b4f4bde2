"""How fast one thread moves data to and from each level of the memory hierarchy: the slopes of a roofline."""

from __future__ import annotations

import numpy as np

from compiler_dojo.envs.loops.arrays import aligned
from compiler_dojo.envs.loops.machine import host_machine
from compiler_dojo.envs.loops.nest import start_nest
from compiler_dojo.envs.loops.notation import parse
from compiler_dojo.envs.loops.targets import Target
from compiler_dojo.experiments.loop_own import OurPeer

SAMPLES = 5
MOST_BYTES = 2**30


def measure_bandwidths(target: Target, seconds: float = 0.02) -> dict[str, float]:
    """GB/s of a kernel of our own that multiplies two arrays element by element into a third, by level.

    What counts is the bytes that the loop reads and writes, in the fastest of a few samples. The arrays together fill
    half of the first or second cache, eight times the second (which is in the third), or twice the third (memory).

    Args:
        target: to compile for.
        seconds: length of a sample.
    """
    machine = host_machine()
    sizes = {
        "L1": machine.l1_bytes // 2,
        "L2": machine.l2_bytes // 2,
        "L3": 8 * machine.l2_bytes,
        "memory": min(2 * machine.l3_bytes, MOST_BYTES),
    }
    peer = OurPeer("product", start_nest, target)
    found = {}
    for level, size in sizes.items():
        operands = [aligned(np.ones(size // 12, np.float32)) for _ in range(3)]
        kernel = peer.prepare(parse("n,n->n", n=size // 12), operands)
        moved = sum(array.nbytes for array in operands)
        found[level] = moved / min(kernel.sample(seconds) for _ in range(SAMPLES)) / 1e9
    return found
