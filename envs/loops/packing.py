"""Packed operands: their layout in the order in which a nest reads them, and the code that copies them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

from compiler_dojo.envs.loops.arrays import ALIGNMENT
from compiler_dojo.envs.loops.emitter import Value
from compiler_dojo.envs.loops.memory import Layout, Memory
from compiler_dojo.envs.loops.nest import Nest, Pack


def place(nest: Nest, tile: int, pack: Pack, memory: Memory) -> tuple[Layout, int]:
    """The layout of a packed operand relative to its beginning, and its size in bytes.

    Innermost are what the register tile reads in one step, the vector axis last and padded to whole vectors; then come
    the loops that lead to it, the innermost first.
    """
    workload, last = nest.workload, len(nest.loops) - 1
    axes = workload.inputs[pack.operand].axes
    elements = dict.fromkeys(workload.sizes, 0)
    size = 1
    if memory.axis in axes:
        elements[memory.axis] = 1
        width = nest.extent(tile if memory.across else last, memory.axis)
        size = -(-width // memory.lanes) * memory.lanes
    extents = nest.tile_extents(tile)
    for axis in reversed(_rows(nest, axes, memory)):
        elements[axis] = size
        size *= extents[axis]
    strides = [0] * len(nest.loops)
    strides[last] = elements[memory.axis] * memory.item_bytes
    for position in reversed(range(pack.depth, len(nest.loops))):
        if _is_loop(nest, position, tile, axes, memory):
            strides[position] = size * memory.item_bytes
            trips, rest = nest.trips(position)
            size *= trips + (rest > 0)
    return Layout("", tuple(strides), elements), -(-size * memory.item_bytes // ALIGNMENT) * ALIGNMENT


def _rows(nest: Nest, axes: frozenset[str], memory: Memory) -> list[str]:
    return [axis for axis in nest.workload.spatial_axes if axis in axes and axis != memory.axis]


def _is_loop(nest: Nest, position: int, tile: int, axes: frozenset[str], memory: Memory) -> bool:
    """Whether a loop leads from one box of a packed operand to the next; others are within the box, or not of it."""
    axis = nest.loops[position].axis
    if axis not in axes:
        return False
    if position == len(nest.loops) - 1 and not memory.across:
        return False
    return position < tile or axis not in nest.workload.output.axes


class Copier:
    """Emits the copy of an operand's box into its packed place."""

    def __init__(self, nest: Nest, tile: int, operand: int, memory: Memory) -> None:
        self.nest, self.tile, self.memory = nest, tile, memory
        self.axes = nest.workload.inputs[operand].axes

    def copy(self, position: int, extents: Mapping[str, int], source: Layout, packed: Layout) -> None:
        """Copy what the loops from a position on read, for given extents of their axes."""
        nest, memory = self.nest, self.memory
        while position < len(nest.loops) and not _is_loop(nest, position, self.tile, self.axes, memory):
            position += 1
        if position == len(nest.loops):
            self._box(extents, source, packed)
            return
        axis, step = nest.loops[position].axis, nest.loops[position].step
        trips, rest = divmod(extents[axis], step)

        def one(index: Value | int, extent: int) -> tuple[()]:
            moved = memory.moved(source, position, index), memory.moved(packed, position, index)
            self.copy(position + 1, {**extents, axis: extent}, *moved)
            return ()

        if trips:
            memory.emit.loop(0, trips, (), lambda index, _: one(index, step))
        if rest:
            one(trips, rest)

    def _box(self, extents: Mapping[str, int], source: Layout, packed: Layout) -> None:
        memory = self.memory
        rows = _rows(self.nest, self.axes, memory)
        width = extents[memory.axis] if memory.axis in self.axes else 0
        for index in itertools.product(*(range(extents[axis]) for axis in rows)):
            row = dict(zip(rows, index, strict=True))
            if not width:
                memory.store_scalar(memory.load_scalar(source, row), packed, row)
            for vector in range(-(-width // memory.lanes)):
                count = min(memory.lanes, width - vector * memory.lanes)
                memory.store(memory.load(source, row, vector, count), packed, row, vector, count)
