"""From a loop nest to LLVM IR with explicit vectors: register tiles, masked tails, packed operands.

The scheme is LoopNest's (Wasti et al., arXiv 2205.00618): accumulators stay in registers while the reduction loops of
the tile run, and sizes are known, so every address is a pointer plus a constant. The shape of the tile, packing,
prefetching and threads are the schedule's to choose.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from compiler_dojo.envs.errors import IllegalScheduleError
from compiler_dojo.envs.loops.emitter import Value
from compiler_dojo.envs.loops.jit import Target
from compiler_dojo.envs.loops.legality import check_nest
from compiler_dojo.envs.loops.memory import Layout, Memory
from compiler_dojo.envs.loops.nest import Loop, Nest
from compiler_dojo.envs.loops.packing import Copier, place
from compiler_dojo.envs.loops.tile import Tile
from compiler_dojo.envs.loops.workload import Operand

OPERAND_REGISTERS = {16: 3, 32: 4}
"""Vector registers that are left to operands when the tile is chosen automatically, by the number of registers."""

CHUNK_VECTORS = 8
"""Vectors of a row that are written out when not even one row of the output fits the registers."""


@dataclass(frozen=True)
class Code:
    """A kernel as IR.

    Attributes:
        ir: a module with ``void kernel(ptr operands, ptr workspace, i64 begin, i64 end)``.
        nest: the nest with the register tile made explicit.
        workspace_bytes: what the packed operands need, for each thread.
        iterations: of the outermost loop, to be divided by [begin, end).
    """

    ir: str
    nest: Nest
    workspace_bytes: int
    iterations: int


def vectors_of(nest: Nest, depth: int, lanes: int) -> int:
    """Vector registers that the output of the loops from a depth on needs."""
    extents, vector_axis = nest.tile_extents(depth), nest.loops[-1].axis
    return math.prod(
        -(-extents[axis] // lanes) if axis == vector_axis else extents[axis] for axis in nest.workload.spatial_axes
    )


def resolve_tile(nest: Nest, target: Target) -> Nest:
    """The nest with a register tile: the outermost depth at which the output fits the registers (LoopNest's rule).

    Where not even the innermost loop fits, it is split into chunks of a few vectors.
    """
    if nest.tile is not None:
        return nest
    lanes = target.vector_bytes // nest.workload.item_bytes
    budget = target.vector_registers - OPERAND_REGISTERS[target.vector_registers]
    for depth in range(len(nest.loops)):
        if vectors_of(nest, depth, lanes) <= budget:
            return nest.with_(tile=depth)
    axis = nest.loops[-1].axis
    loops = (*nest.loops[:-1], Loop(axis, CHUNK_VECTORS * lanes), Loop(axis))
    return nest.with_(loops=loops, tile=len(nest.loops))


def generate(nest: Nest, target: Target) -> Code:
    """Generate a nest's code.

    Raises:
        IllegalScheduleError: the nest is not legal, or its register tile needs more registers than there are.
    """
    check_nest(nest)
    resolved = resolve_tile(nest, target)
    check_nest(resolved)
    return _Generator(resolved, target).run()


class _Generator:
    def __init__(self, nest: Nest, target: Target) -> None:
        assert nest.tile is not None, "resolve_tile sets it"
        self.nest, self.workload, self.tile = nest, nest.workload, nest.tile
        self.memory = Memory(nest, target)
        needed = vectors_of(nest, self.tile, self.memory.lanes)
        if needed > target.vector_registers:
            raise IllegalScheduleError(
                f"the register tile needs {needed} vector registers and {target.name} has {target.vector_registers}: "
                "take a smaller tile"
            )
        self.tiles = Tile(nest, self.tile, target, self.memory)

    def run(self) -> Code:
        emit = self.memory.emit
        self.workspace = 0
        self.packed = {}
        for pack in self.nest.packs:
            layout, size = place(self.nest, self.tile, pack, self.memory)
            self.packed[pack.operand] = layout._replace(pointer=emit.offset("%workspace", 1, self.workspace))
            self.workspace += size
        layouts = []
        for number, operand in enumerate(self.workload.operands):
            slot = emit.offset("%operands", 8, number)
            layouts.append(self._plain(operand, emit.value(f"load ptr, ptr {slot}, align 8")))
        self._loops(0, self.workload.sizes, layouts, True, True)
        emit.do("ret void")
        trips, rest = self.nest.trips(0)
        text = "\n".join(
            [
                "define void @kernel(ptr noalias %operands, ptr noalias %workspace, i64 %begin, i64 %end) #0 {",
                "entry:",
                *emit.lines,
                "}",
                *emit.declarations.values(),
                'attributes #0 = { nounwind "prefer-vector-width"="512" }',
                "",
            ]
        )
        return Code(text, self.nest, self.workspace, trips + (rest > 0))

    def _plain(self, operand: Operand, pointer: Value) -> Layout:
        elements = {axis: self.workload.stride(operand, axis) for axis in self.workload.sizes}
        size = self.workload.item_bytes
        return Layout(pointer, tuple(elements[loop.axis] * loop.step * size for loop in self.nest.loops), elements)

    def _loops(
        self,
        position: int,
        extents: Mapping[str, int],
        layouts: list[Layout],
        first: Value | bool,
        last: Value | bool,
    ) -> None:
        """The loops from a position on, for given extents of their axes; ``first`` and ``last`` as for the tile."""
        for pack in self.nest.packs:
            if pack.depth == position:
                packed, layouts = self.packed[pack.operand], list(layouts)
                copier = Copier(self.nest, self.tile, pack.operand, self.memory)
                copier.copy(position, extents, layouts[1 + pack.operand], packed)
                layouts[1 + pack.operand] = packed
        if position == self.tile:
            self.tiles.run(extents, layouts, first, last)
            return
        loop = self.nest.loops[position]
        reduces = loop.axis in self.workload.reduction_axes
        trips, rest = divmod(extents[loop.axis], loop.step)

        def iteration(index: Value | int, extent: int) -> tuple[()]:
            inner = [self.memory.moved(layout, position, index) for layout in layouts]
            begins, ends = first, last
            if reduces and trips + (rest > 0) > 1:
                begins = self._and(first, index, 0)
                ends = self._and(last, index, trips - (rest == 0))
            self._loops(position + 1, {**extents, loop.axis: extent}, inner, begins, ends)
            return ()

        if position == 0:
            self._outermost(trips, rest, lambda index: iteration(index, loop.step), lambda: iteration(trips, rest))
            return
        if trips > 1:
            self.memory.emit.loop(0, trips, (), lambda index, _: iteration(index, loop.step))
        elif trips:
            iteration(0, loop.step)
        if rest:
            iteration(trips, rest)

    def _outermost(
        self, trips: int, rest: int, iteration: Callable[[Value], tuple[()]], remainder: Callable[[], tuple[()]]
    ) -> None:
        emit = self.memory.emit
        if trips:
            end = emit.call("i64", "llvm.umin.i64", "i64, i64", f"i64 %end, i64 {trips}")

            def loop() -> tuple[()]:
                emit.loop("%begin", end, (), lambda index, _: iteration(index))
                return ()

            emit.branch(emit.value(f"icmp ult i64 %begin, {end}"), loop)
        if rest:
            emit.branch(emit.value(f"icmp ugt i64 %end, {trips}"), remainder)

    def _and(self, condition: Value | bool, index: Value | int, wanted: int) -> Value | bool:
        """Whether a condition holds and an index is the one that is wanted."""
        if condition is False:
            return False
        if isinstance(index, int):
            return condition if index == wanted else False
        equal = self.memory.emit.value(f"icmp eq i64 {index}, {wanted}")
        return equal if condition is True else self.memory.emit.value(f"and i1 {condition}, {equal}")
