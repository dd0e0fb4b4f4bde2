"""Cycles that a core needs for a nest whose data lies in L1: ports, front end, latency of accumulators, overheads."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

from compiler_dojo.envs.loops.machine import Machine
from compiler_dojo.envs.loops.nest import Nest
from compiler_dojo.envs.loops.tile import BODY_FMAS, HIDDEN_FMAS, MOST_UNROLL
from compiler_dojo.envs.loops.workload import Workload

if TYPE_CHECKING:
    from compiler_dojo.envs.loops.jit import Target

Pieces = Sequence[tuple[tuple[int, int], ...]]


class CoreCycles(NamedTuple):
    """Cycles by what they are spent on.

    Of the first five the longest counts, for each shape of tile by itself: ``bound`` is their sum over the shapes. The
    others come on top.
    """

    fma: float
    loads: float
    stores: float
    frontend: float
    latency: float
    bound: float
    horizontal: float
    masked: float
    loops: float


class _Input(NamedTuple):
    """How the tile reads an input along the vector axis."""

    stride: int  # 0 broadcast, 1 vector, else gather
    axes: tuple[int, ...]  # spatial axes that its loads differ in, the vector axis included
    per_vector: float  # loads that a vector costs: 2 where vectors straddle lines


class _Reads(NamedTuple):
    inputs: tuple[_Input, ...]
    product_axes: tuple[int, ...] | None  # spatial axes of the two of three inputs that are multiplied first
    output_stride: int


@lru_cache(maxsize=4096)
def _reads(workload: Workload, vector: str, packed: frozenset[int], lanes: int, line_lanes: int) -> _Reads:
    names = list(workload.sizes)
    inputs = []
    for number, operand in enumerate(workload.inputs):
        axes = tuple(names.index(a) for a in workload.spatial_axes if a in operand.axes)
        stride = workload.stride(operand, vector)
        if number in packed and stride:
            inputs.append(_Input(1, axes, 1.0))
            continue
        others = [workload.stride(operand, axis) for axis in operand.axes if axis != vector]
        straddles = stride == 1 and any(other % lanes for other in others)
        inputs.append(_Input(stride, axes, 1.0 + straddles * lanes / line_lanes))
    product = None
    if len(inputs) == 3:
        product = min((tuple(sorted({*a.axes, *b.axes})) for a, b in combinations(inputs, 2)), key=len)
    return _Reads(tuple(inputs), product, workload.stride(workload.output, vector))


@lru_cache(maxsize=4096)
def boxes(size: int, steps: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """The pieces into which loops with these steps, outermost first, cut an axis.

    Returns:
        (extent, how many of it) of every kind of piece, such as ``((6, 10), (4, 1))`` for 64 in steps of 6.
    """
    pieces = {size: 1}
    for step in steps:
        cut: dict[int, int] = {}
        for extent, count in pieces.items():
            full, rest = divmod(extent, step)
            if full:
                cut[step] = cut.get(step, 0) + full * count
            if rest:
                cut[rest] = cut.get(rest, 0) + count
        pieces = cut
    return tuple(pieces.items())


def unrolling(nest: Nest, tile: int, accumulators: int, trips: int) -> tuple[int, int]:
    """Steps of the innermost reduction loop per iteration, and the partial sums that each accumulator is split into.

    As :class:`compiler_dojo.envs.loops.tile.Tile` has it.
    """
    if nest.unroll:
        unroll = min(nest.unroll, trips)
    else:
        unroll = min(MOST_UNROLL, trips, -(-BODY_FMAS // accumulators))
        unroll = next((count for count in range(unroll, unroll // 2, -1) if trips % count == 0), unroll)
    return unroll, min(unroll, -(-HIDDEN_FMAS // accumulators))


def core_cycles(nest: Nest, tile: int, machine: Machine, target: Target) -> CoreCycles:
    """Cycles of a nest whose operands are all in L1.

    Args:
        nest: a nest.
        tile: depth of its register tile.
        machine: ports and latencies.
        target: vectors and registers.
    """
    workload = nest.workload
    sizes = workload.sizes
    vector = nest.loops[-1].axis
    lanes = target.vector_bytes // workload.item_bytes
    across = vector in workload.output.axes
    steps_of: dict[str, tuple[int, ...]] = dict.fromkeys(sizes, ())
    for loop in nest.loops[:tile]:
        steps_of[loop.axis] += (loop.step,)
    # runs of the tile for the same output elements, and reduction steps of all of them
    rounds = steps = visits = 1
    kinds: list[tuple[int, tuple[int, ...]]] = [(1, ())]
    for axis, size in sizes.items():
        cut = boxes(size, steps_of[axis])
        pieces = sum([count for _, count in cut])
        visits *= pieces
        if axis in workload.output.axes:
            widths = [(-(-extent // lanes) if axis == vector else extent, count) for extent, count in cut]
            kinds = [(many * count, (*box, width)) for many, box in kinds for width, count in widths]
        else:
            rounds *= pieces
            steps *= _vector_steps(nest, axis, lanes) if axis == vector else size
            kinds = [(many, (*box, 1)) for many, box in kinds]
    chained = tile > 0 and nest.loops[tile - 1].axis not in workload.output.axes
    reads = _reads(
        workload,
        vector,
        frozenset([pack.operand for pack in nest.packs]),
        lanes,
        machine.line_bytes // workload.item_bytes,
    )
    per_visit = steps / rounds
    inner = max(1, round(_innermost_trips(nest, tile, lanes)))
    fma = loads = stores = frontend = latency = bound = horizontal = 0.0
    for many, box in kinds:
        accumulators = math.prod(box)
        operations: float = accumulators
        read, least = 0.0, float(accumulators)
        for stride, axes, per_vector in reads.inputs:
            wanted = 1.0
            for number in axes:
                wanted *= box[number]
            if stride == 0:
                read += wanted
            elif stride == 1:
                read += wanted * per_vector
            else:
                read += wanted * lanes * machine.gather_cycles * machine.loads_per_cycle
            if wanted < least:
                least = wanted
        if reads.product_axes is not None:
            operations += math.prod([box[number] for number in reads.product_axes])
        if not target.fma and len(reads.inputs) > 1:
            operations += accumulators
        unroll, sets = unrolling(nest, tile, accumulators, inner)
        runs = many * rounds
        spilled = max(0.0, accumulators * sets + min(least, 2.0) + 1 - target.vector_registers)
        written = float(runs * accumulators)
        reloaded = written - many * accumulators
        if across and reads.output_stride != 1:
            written *= lanes * machine.scatter_cycles * machine.stores_per_cycle
            reloaded *= lanes * machine.gather_cycles * machine.loads_per_cycle
        kind_fma = many * steps * operations
        kind_loads = many * steps * (read + spilled) + reloaded
        kind_stores = written + many * steps * spilled
        kind_uops = kind_fma + kind_loads + kind_stores + machine.loop_uops * many * steps / unroll
        chain = per_visit * machine.fma_latency / sets + machine.load_latency
        if chained:
            chain += machine.forward_latency
            if not across:
                chain += machine.horizontal_cycles * math.log2(lanes)
            at_once = 1.0
        else:
            at_once = min(max(machine.window * runs / kind_uops, 1.0), 16.0, float(runs))
        parts = (
            kind_fma / machine.fma_per_cycle,
            kind_loads / machine.loads_per_cycle,
            kind_stores / machine.stores_per_cycle,
            kind_uops / machine.uops_per_cycle,
            runs * chain / at_once,
        )
        fma += parts[0]
        loads += parts[1]
        stores += parts[2]
        frontend += parts[3]
        latency += parts[4]
        bound += max(parts)
        horizontal += runs * accumulators * (sets - 1) / machine.fma_per_cycle
        if not across:
            horizontal += runs * accumulators * machine.horizontal_cycles * math.log2(lanes)
    # a vector that was stored under a mask is not forwarded to a load that overlaps it
    part_filled = 0.0
    if across:
        cut = boxes(sizes[vector], steps_of[vector])
        pieces = sum([count for _, count in cut])
        if pieces > 1:
            part_filled = sum([count for extent, count in cut if extent % lanes]) / pieces
    left = machine.mispredict_cycles if inner / max(1, unroll) > machine.predicted_trips else 0.0
    return CoreCycles(
        fma,
        loads,
        stores,
        frontend,
        latency,
        bound,
        horizontal,
        visits * (1 - 1 / rounds) * part_filled * machine.masked_cycles,
        visits * (machine.visit_cycles + left),
    )


def _vector_steps(nest: Nest, axis: str, lanes: int) -> int:
    """Vectors that a reduction axis is summed in, the partly filled ones included."""
    steps = tuple(loop.step for loop in nest.loops if loop.axis == axis and loop.step > 1)
    return sum(count * -(-extent // lanes) for extent, count in boxes(nest.workload.sizes[axis], steps))


def _innermost_trips(nest: Nest, tile: int, lanes: int) -> float:
    """Iterations of the tile's innermost reduction loop before unrolling."""
    for position in range(len(nest.loops) - 1, tile - 1, -1):
        loop = nest.loops[position]
        if loop.axis in nest.workload.reduction_axes:
            step = lanes if position == len(nest.loops) - 1 else loop.step
            return -(-nest.extent(position) // step)
    return 1
