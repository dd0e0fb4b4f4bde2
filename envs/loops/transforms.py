"""Transformations of loop nests: pure functions that return the new nest, or refuse with the reason.

The examples transform ``mk,kn->mn`` with m, k, n = 96, 128, 256. Depths (of the register tile and of packs) count the
loops outside; a transformation keeps them between the same loops. So a split outside a depth adds one to it and a
split inside leaves it alone, and an interchange of the two loops around a depth leaves the number alone.

All raise IllegalScheduleError also when the new nest would have more loops than LoopTune's trees, an outermost loop
that its threads cannot share, or a reduction loop too short for the unrolling.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from compiler_dojo.envs.errors import IllegalScheduleError, did_you_mean
from compiler_dojo.envs.loops.nest import MOST_LOOPS, Loop, Nest, Pack
from compiler_dojo.envs.loops.workload import Operand


def shared_loops(nest: Nest) -> int:
    """How many loops the compute and the write nest share: the common prefix, written once in LoopTune's tree."""
    count = 0
    for ours, theirs in zip(nest.loops, nest.write, strict=False):
        if ours != theirs:
            break
        count += 1
    return count


def tree_size(nest: Nest) -> int:
    """Loops of LoopTune's tree; at most :data:`~compiler_dojo.envs.loops.nest.MOST_LOOPS`."""
    return len(nest.loops) + len(nest.write) - shared_loops(nest)


def split(nest: Nest, position: int, factor: int) -> Nest:
    """Let a loop cover ``factor`` of its iterations at once, which a new loop right inside it runs one by one.

    ``split(nest, 2, 16)``::

        m 0:96             m 0:96
          k 0:128            k 0:128
            n 0:256            n 0:256:16
                                 n 0:16

    What the factor does not divide is left to a last, smaller iteration. Where the write nest shares the loop, its
    loop is split too.

    Raises:
        IllegalScheduleError: the loop has fewer iterations than ``factor``.
    """
    loop = _loop(nest, position)
    iterations = nest.extent(position) // loop.step
    if not 2 <= factor <= iterations:
        raise IllegalScheduleError(
            f"loop {position} over {loop.axis} has {iterations} full iterations: it can be split by 2 to that many, "
            f"not by {factor}"
        )
    parts = (Loop(loop.axis, loop.step * factor), loop)
    write = nest.write
    if position < shared_loops(nest):
        write = (*write[:position], *parts, *write[position + 1 :])
    return _changed(
        nest,
        loops=(*nest.loops[:position], *parts, *nest.loops[position + 1 :]),
        write=write,
        tile=None if nest.tile is None else nest.tile + (nest.tile > position),
        packs=tuple(Pack(pack.operand, pack.depth + (pack.depth > position)) for pack in nest.packs),
    )


def interchange(nest: Nest, position: int) -> Nest:
    """Exchange a loop with the next one, the loop inside it.

    ``interchange(nest, 1)``::

        m 0:96             m 0:96
          k 0:128            n 0:256
            n 0:256            k 0:128

    Where the write nest shares the outer one of the two and has the other one too, it follows.

    Raises:
        IllegalScheduleError: there is no next loop, or both run over the same axis.
    """
    outer, inner = _loop(nest, position), _next_loop(nest, position)
    if outer.axis == inner.axis:
        raise IllegalScheduleError(
            f"loops {position} and {position + 1} both run over {outer.axis}: the parts of an axis keep their order"
        )
    write = nest.write
    if position < shared_loops(nest):
        partner = _in_write(nest, position + 1)
        if partner is not None:
            # between the two there may be loops of axes that the other nest does not have here: they stay inside
            write = (*write[:position], write[partner], *write[position:partner], *write[partner + 1 :])
    return _changed(nest, loops=_exchanged(nest.loops, position, position + 1), write=write)


def vectorise(nest: Nest, position: int) -> Nest:
    """Sink the innermost loop of this loop's axis to be the innermost of all: vectors lie along its axis.

    ``vectorise(nest, 0)``::

        m 0:96             k 0:128
          k 0:128            n 0:256
            n 0:256            m 0:96

    The write nest stays as it is.

    Raises:
        IllegalScheduleError: the axis is the innermost one already.
    """
    axis = _loop(nest, position).axis
    source = max(index for index, loop in enumerate(nest.loops) if loop.axis == axis)
    if source == len(nest.loops) - 1:
        raise IllegalScheduleError(f"vectors lie along {axis} already")
    return _changed(
        nest,
        loops=(*nest.loops[:source], *nest.loops[source + 1 :], nest.loops[source]),
        tile=None if nest.tile is None else nest.tile - (nest.tile > source),
        packs=tuple(Pack(pack.operand, pack.depth - (pack.depth > source)) for pack in nest.packs),
    )


def hoist(nest: Nest, position: int) -> Nest:
    """Make a loop the outermost one.

    ``hoist(nest, 2)``::

        m 0:96             n 0:256
          k 0:128            m 0:96
            n 0:256            k 0:128

    Depths outside the loop grow by one: the loops they lie between stay the same. The write nest stays as it is.

    Raises:
        IllegalScheduleError: another loop of the same axis lies outside it, or it is the outermost one.
    """
    loop = _loop(nest, position)
    if position == 0:
        raise IllegalScheduleError(f"loop 0 over {loop.axis} is the outermost one already")
    if any(other.axis == loop.axis for other in nest.loops[:position]):
        raise IllegalScheduleError(f"another loop over {loop.axis} lies outside loop {position}: hoist that one")
    return _changed(
        nest,
        loops=(loop, *nest.loops[:position], *nest.loops[position + 1 :]),
        tile=None if nest.tile is None else nest.tile + (nest.tile <= position),
        packs=tuple(Pack(pack.operand, pack.depth + (pack.depth <= position)) for pack in nest.packs),
    )


def set_tile(nest: Nest, depth: int | None) -> Nest:
    """Let the loops from a depth on be the register tile; None leaves it to the code generator.

    ``set_tile(nest, 2)`` of a nest with 8 rows and 32 columns inside::

        m 0:96:8           m 0:96:8
          n 0:256:32         n 0:256:32
            k 0:128            k 0:128
              m 0:8              tile C[m:8, n:32]
                n 0:32

    Raises:
        IllegalScheduleError: no loop is left inside, or a pack would lie inside the tile.
    """
    if depth is not None:
        if not 0 <= depth < len(nest.loops):
            raise IllegalScheduleError(
                f"a register tile begins at depth 0 to {len(nest.loops) - 1} of this nest, not at {depth}"
            )
        for item in nest.packs:
            if item.depth > depth:
                name = nest.workload.inputs[item.operand].name
                raise IllegalScheduleError(f"{name} is packed at depth {item.depth}, inside a tile from depth {depth}")
    return _changed(nest, tile=depth)


def register_tile(nest: Nest, extents: Mapping[str, int]) -> Nest:
    """Split and reorder so that the register tile has these extents of the output's axes.

    ``register_tile(nest, {"m": 8, "n": 32})``::

        m 0:96             m 0:96:8
          k 0:128            n 0:256:32
            n 0:256            k 0:128
                                 tile C[m:8, n:32]

    The innermost loop of every reduction axis goes into the tile. The loop that steps from tile to tile takes the
    place of the axis' innermost loop; blocks (loops of an axis with larger steps) stay where they are, and the tile
    that the nest had is replaced. Vectors lie along the axis that they lay along before; the write nest is dropped, for
    it has no meaning for such a nest.

    Args:
        nest: the nest.
        extents: elements by output axis; an axis that is not named has one. More than the axis has mean all of it.

    Raises:
        IllegalScheduleError: an extent is not positive, or an axis is none of the output's.
    """
    for axis, extent in extents.items():
        if axis not in nest.workload.spatial_axes:
            known = did_you_mean(axis, nest.workload.spatial_axes)
            raise IllegalScheduleError(f"a register tile has extents of the output's axes, {axis!r} is none: {known}")
        if extent < 1:
            raise IllegalScheduleError(f"the register tile's extent of {axis} must be at least 1, got {extent}")
    last = {loop.axis: index for index, loop in enumerate(nest.loops)}
    stepping = _tile_loops(nest)
    vector = nest.loops[-1].axis
    outer: list[Loop] = []
    kept: list[int] = []  # old positions of the outer loops, for the depths of packs
    for index, loop in enumerate(nest.loops):
        extent = extents.get(loop.axis, 1)
        if loop.axis not in nest.workload.spatial_axes:
            if index != last[loop.axis]:
                outer.append(loop)
                kept.append(index)
        elif index == stepping[loop.axis]:
            if extent < _outer_step(nest, outer, loop.axis):
                outer.append(Loop(loop.axis, extent))
                kept.append(index)
        elif index < stepping[loop.axis] and loop.step > extent:
            outer.append(loop)
            kept.append(index)
    inside = [loop.axis for index, loop in enumerate(nest.loops) if index == last[loop.axis]]
    inside = [axis for axis in inside if axis in nest.workload.reduction_axes or extents.get(axis, 1) > 1]
    inside.sort(key=lambda axis: (axis == vector, axis in nest.workload.spatial_axes))  # stable
    if not inside:
        raise IllegalScheduleError("a register tile of one element of a workload without reduction has no loops")
    return _changed(
        nest,
        loops=(*outer, *(Loop(axis) for axis in inside)),
        write=(),
        tile=len(outer),
        packs=tuple(Pack(item.operand, sum(index < item.depth for index in kept)) for item in nest.packs),
    )


def unroll(nest: Nest, factor: int) -> Nest:
    """Run several steps of the innermost reduction loop as one iteration; 0 leaves it to the code generator.

    ``unroll(nest, 4)`` of a nest with a register tile::

        m 0:96:8               m 0:96:8
          n 0:256:32             n 0:256:32
            k 0:128                k 0:128 unroll 4
              tile C[m:8, n:32]      tile C[m:8, n:32]

    Raises:
        IllegalScheduleError: a negative number, or the workload sums over nothing or over fewer elements than that.
    """
    if factor < 0:
        raise IllegalScheduleError(f"a loop is unrolled 0 times (the code generator chooses) or more, got {factor}")
    return _changed(nest, unroll=factor)


def pack(nest: Nest, operand: int, depth: int) -> Nest:
    """Copy the part of an input that the loops from a depth on read into contiguous storage, before they run.

    ``pack(nest, 1, 1)`` of a nest with a register tile::

        n 0:256:32             n 0:256:32
          m 0:96:8               pack B[k:128, n:32]
            k 0:128              m 0:96:8
              tile C[m:8, n:32]    k 0:128
                                     tile C[m:8, n:32]

    A pack of the same input elsewhere is replaced.

    Raises:
        IllegalScheduleError: no such input, one indexed by sums, no register tile, a depth inside it, or a pack that
            is there already.
    """
    if not 0 <= operand < len(nest.workload.inputs):
        raise IllegalScheduleError(f"the workload has inputs 0 to {len(nest.workload.inputs) - 1}, got {operand}")
    name = nest.workload.inputs[operand].name
    if not can_pack(nest.workload.inputs[operand]):
        raise IllegalScheduleError(f"{name} is indexed by a sum or a multiple of axes; such an input is not packed")
    if nest.tile is None:
        raise IllegalScheduleError("choose a register tile first: a pack is laid out in the order that it is read in")
    if not 0 <= depth <= nest.tile:
        raise IllegalScheduleError(f"{name} can be packed at depths 0 to {nest.tile}, outside the tile, not at {depth}")
    new = Pack(operand, depth)
    if new in nest.packs:
        raise IllegalScheduleError(f"{name} is packed at depth {depth} already")
    others = (item for item in nest.packs if item.operand != operand)
    return _changed(nest, packs=tuple(sorted((*others, new), key=lambda item: (item.depth, item.operand))))


def can_pack(operand: Operand) -> bool:
    """Whether every dimension of an input is indexed by one axis of its own, without coefficient."""
    axes = [axis for index in operand.indices for axis, _ in index]
    return len(axes) == len(set(axes)) == len(operand.indices) and all(
        coefficient == 1 for index in operand.indices for _, coefficient in index
    )


def prefetch(nest: Nest, iterations: int) -> Nest:
    """Fetch the output of the tile that comes this many iterations later; 0 for none.

    ``prefetch(nest, 1)`` changes no loop: while a tile of rows is computed, the output of the next one is loaded.

    Raises:
        IllegalScheduleError: a negative number.
    """
    if iterations < 0:
        raise IllegalScheduleError(f"the output is fetched 0 or more iterations ahead, got {iterations}")
    return _changed(nest, prefetch=iterations)


def parallel(nest: Nest, threads: int) -> Nest:
    """Divide the outermost loop among threads.

    ``parallel(nest, 2)``::

        m 0:96             m 0:96 threads 2
          k 0:128            k 0:128
            n 0:256            n 0:256

    Raises:
        IllegalScheduleError: the loop is a reduction, or has fewer iterations than there are threads.
    """
    if threads < 1:
        raise IllegalScheduleError(f"a nest runs on one thread or more, got {threads}")
    return _changed(nest, threads=threads)


def _changed(nest: Nest, **changes: Any) -> Nest:
    """The nest with other attributes, if it is still one that can be run."""
    new = replace(nest, **changes)
    if len(new.loops) + len(new.write) > MOST_LOOPS and tree_size(new) > MOST_LOOPS:
        raise IllegalScheduleError(f"the nest would have {tree_size(new)} loops; it has at most {MOST_LOOPS}")
    axes = new.workload.reduction_axes
    if new.threads > 1:
        if new.tile == 0:
            raise IllegalScheduleError("all loops would be in the register tile: none is left for threads to divide")
        axis, iterations = new.loops[0].axis, -(-new.extent(0) // new.loops[0].step)
        if axis in axes:
            raise IllegalScheduleError(
                f"the outermost loop would run over {axis}, which is summed over, and {new.threads} threads would "
                "write the same elements; make an output axis the outermost one"
            )
        if new.threads > iterations:
            raise IllegalScheduleError(
                f"the outermost loop would have {iterations} iterations: too few for {new.threads} threads"
            )
    if new.unroll:
        position = max((index for index, loop in enumerate(new.loops) if loop.axis in axes), default=None)
        steps = 0 if position is None else new.extent(position)
        if new.unroll > steps:
            raise IllegalScheduleError(
                f"the innermost reduction loop would have {steps} steps: too few to unroll {new.unroll}"
            )
    return new


def _loop(nest: Nest, position: int) -> Loop:
    if not 0 <= position < len(nest.loops):
        raise IllegalScheduleError(f"the nest has loops 0 to {len(nest.loops) - 1}, there is no loop {position}")
    return nest.loops[position]


def _next_loop(nest: Nest, position: int) -> Loop:
    if position + 1 == len(nest.loops):
        raise IllegalScheduleError(f"loop {position} is the innermost one: there is none to exchange it with")
    return nest.loops[position + 1]


def _exchanged(loops: Sequence[Loop], one: int, other: int) -> tuple[Loop, ...]:
    changed = list(loops)
    changed[one], changed[other] = changed[other], changed[one]
    return tuple(changed)


def _in_write(nest: Nest, position: int) -> int | None:
    """Position in the write nest of the loop that is the compute nest's one at a position: same axis, part and size."""
    loop = nest.loops[position]
    parts = [part for part in nest.loops[: position + 1] if part.axis == loop.axis]
    for index, other in enumerate(nest.write):
        if other == loop and [part for part in nest.write[: index + 1] if part.axis == loop.axis] == parts:
            return index
    return None


def _tile_loops(nest: Nest) -> dict[str, int]:
    """By output axis, the position of the loop that a new register tile's takes the place of.

    It steps from tile to tile where the nest has one, and is the axis' innermost loop otherwise.
    """
    depth = len(nest.loops) if nest.tile is None else nest.tile
    positions: dict[str, int] = {}
    for index, loop in enumerate(nest.loops):
        if index < depth or loop.axis not in positions:
            positions[loop.axis] = index
    return positions


def _outer_step(nest: Nest, outer: Sequence[Loop], axis: str) -> int:
    """Elements of an axis that these outer loops leave to those inside."""
    return next((loop.step for loop in reversed(outer) if loop.axis == axis), nest.workload.sizes[axis])
