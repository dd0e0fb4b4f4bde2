"""Random legal loop nests: what cost models are fitted on and random search draws from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from compiler_dojo.envs.loops.jit import Target
from compiler_dojo.envs.loops.legality import check_nest
from compiler_dojo.envs.loops.nest import MOST_LOOPS, Loop, Nest, Pack, start_nest
from compiler_dojo.envs.loops.transforms import can_pack, interchange, split
from compiler_dojo.envs.loops.workload import Workload

PLAIN = 0.25
"""Share of the nests that have no register tile of their own: a few splits and interchanges, as LoopTune's actions."""

_ROWS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 13, 14, 16, 20, 24)
_BLOCKS = (8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)


def sample_nest(workload: Workload, target: Target, rng: np.random.Generator) -> Nest:
    """A random nest that code can be generated for: register tile, blocks, order, packs, unrolling, prefetching.

    Sensible choices are likelier than others (vectors along a contiguous axis, tiles that use many registers), and no
    choice of the ``full`` action set is impossible but threads, of which there is one.

    Args:
        workload: what is computed.
        target: its vectors and registers bound the tile.
        rng: decides everything.
    """
    nest = _plain(workload, rng) if rng.random() < PLAIN else _tiled(workload, target, rng)
    check_nest(nest)
    return nest


def _plain(workload: Workload, rng: np.random.Generator) -> Nest:
    nest = start_nest(workload)
    for _ in range(int(rng.integers(0, 7))):
        position = int(rng.integers(len(nest.loops)))
        if rng.random() < 0.5:
            factor = int(rng.choice((4, 8, 16)))
            room = len(nest.loops) + len(nest.write) + 2 <= MOST_LOOPS
            if room and nest.extent(position) // nest.loops[position].step > factor:
                nest = split(nest, position, factor)
        elif position + 1 < len(nest.loops) and nest.loops[position].axis != nest.loops[position + 1].axis:
            nest = interchange(nest, position)
    return nest


def _tiled(workload: Workload, target: Target, rng: np.random.Generator) -> Nest:
    lanes = target.vector_bytes // workload.item_bytes
    vector = _vector_axis(workload, rng)
    extents = _tile(workload, vector, lanes, target.vector_registers, rng)
    inside = [axis for axis in workload.sizes if axis in workload.reduction_axes or extents[axis] > 1]
    if vector not in inside:
        inside.append(vector)
    room = MOST_LOOPS - len(inside)
    queues = []
    for axis in _shuffled(workload.sizes, rng):
        size = workload.sizes[axis]
        reduced = axis in workload.reduction_axes
        steps = [] if reduced or extents[axis] >= size else [extents[axis]]
        if axis not in inside and not steps:
            steps = [1]  # an axis of one element still has its loop
        room -= len(steps)
        queues.append((axis, steps))
    for axis, steps in queues:
        size, least = workload.sizes[axis], steps[0] if steps else extents[axis]
        blocks = [block for block in _multiples(least) if least < block < size]
        if room > 0 and blocks and rng.random() < 0.35:
            steps.insert(0, int(rng.choice(blocks)))
            room -= 1
    outer = _merged(queues, rng)
    inside.sort(key=lambda axis: (axis == vector, axis not in workload.reduction_axes))
    reductions = [axis for axis in inside if axis in workload.reduction_axes and axis != vector]
    rest = [axis for axis in inside if axis not in reductions]
    order = [*_shuffled(reductions, rng), *rest]
    packs = [
        Pack(number, int(rng.integers(len(outer) + 1)))
        for number, operand in enumerate(workload.inputs)
        if can_pack(operand) and rng.random() < 0.3
    ]
    packs.sort(key=lambda pack: (pack.depth, pack.operand))
    return Nest(
        workload,
        (*outer, *(Loop(axis) for axis in order)),
        tile=len(outer),
        unroll=_unroll(workload, order, rng),
        packs=tuple(packs),
        prefetch=int(rng.choice((0, 1, 2), p=(0.8, 0.1, 0.1))) if outer else 0,
    )


def _vector_axis(workload: Workload, rng: np.random.Generator) -> str:
    """Mostly one along which the output is contiguous, and sometimes any."""
    axes = list(workload.sizes)
    contiguous = [axis for axis in workload.spatial_axes if workload.stride(workload.output, axis) == 1]
    if contiguous and rng.random() < 0.85:
        return contiguous[0]
    return axes[int(rng.integers(len(axes)))]


def _tile(workload: Workload, vector: str, lanes: int, registers: int, rng: np.random.Generator) -> dict[str, int]:
    """Extents of every axis in the register tile: all of a reduction axis, and what fits of the others."""
    extents = dict.fromkeys(workload.sizes, 1)
    extents |= {axis: workload.sizes[axis] for axis in workload.reduction_axes}
    budget = registers - 1
    if vector in workload.output.axes:
        most = -(-workload.sizes[vector] // lanes)
        vectors = int(rng.choice([count for count in (1, 2, 3, 4, 6, 8) if count <= most]))
        extents[vector] = min(vectors * lanes, workload.sizes[vector])
        budget //= vectors
    rows = [axis for axis in workload.spatial_axes if axis != vector]
    for axis in _shuffled(rows, rng):
        choices = [count for count in _ROWS if count <= min(budget, workload.sizes[axis])]
        if rng.random() < 0.8:
            choices = choices[len(choices) // 2 :]  # many registers
        extents[axis] = int(rng.choice(choices))
        budget //= extents[axis]
    return extents


def _multiples(least: int) -> list[int]:
    return sorted({*_BLOCKS, *(least * count for count in (2, 3, 4, 8, 16))})


def _merged(queues: Sequence[tuple[str, list[int]]], rng: np.random.Generator) -> list[Loop]:
    """The loops of all axes in a random order that keeps the order within each axis."""
    turns = _shuffled([axis for axis, steps in queues for _ in steps], rng)
    left = {axis: list(steps) for axis, steps in queues}
    return [Loop(axis, left[axis].pop(0)) for axis in turns]


def _unroll(workload: Workload, order: Sequence[str], rng: np.random.Generator) -> int:
    innermost = next((axis for axis in reversed(order) if axis in workload.reduction_axes), None)
    if innermost is None or rng.random() < 0.5:
        return 0
    return int(rng.choice([count for count in (1, 2, 4, 8, 16) if count <= workload.sizes[innermost]]))


def _shuffled(items: Sequence[str] | dict[str, int], rng: np.random.Generator) -> list[str]:
    names = list(items)
    return [names[index] for index in rng.permutation(len(names))]
