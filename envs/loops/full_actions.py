"""The action set that reaches the machine's peak: register tiles, cache blocks, packs, unrolling, threads."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from compiler_dojo.envs.errors import IllegalScheduleError
from compiler_dojo.envs.loops import transforms
from compiler_dojo.envs.loops.actions import State, is_legal, move
from compiler_dojo.envs.loops.nest import MOST_LOOPS, Nest, start_nest
from compiler_dojo.envs.loops.workload import Workload

TILES = (
    (1, 1), (1, 4), (4, 1), (8, 1), (12, 1), (24, 1), (4, 2), (6, 2), (8, 2), (12, 2), (14, 2), (4, 3), (8, 3), (9, 3),
    (4, 4), (6, 4),
)  # fmt: skip
"""Register tiles: elements of one axis by vectors of another. 4x3 and 6x2 use up AVX2's 16 registers, 14x2, 9x3 and 6x4
AVX-512's 32."""
REDUCTION_BLOCKS = (64, 128, 256, 512)
BLOCKS = (32, 64, 128, 256, 512)
PACKABLE = (0, 1)
UNROLLS = (1, 2, 4, 8)


class VectorUnit(NamedTuple):
    """What a register tile has to fit into: the size of a vector register in bytes, and how many there are."""

    vector_bytes: int
    vector_registers: int


class TilePlan(NamedTuple):
    """The register tiles of a workload.

    Attributes:
        vector: axis that vectors lie along.
        tiles: extents by axis, one mapping per entry of :data:`TILES`; None where the tile does not fit.
        same: by extents of the output's axes, the tiles that have them.
        reduction: the axis that ``block_sum_*`` blocks, the largest one; None without reduction.
        packable: which of the first inputs can be packed.
    """

    vector: str
    tiles: tuple[dict[str, int] | None, ...]
    same: dict[tuple[int, ...], list[int]]
    reduction: str | None
    packable: tuple[bool, ...]


@lru_cache(maxsize=256)
def plan_tiles(workload: Workload, unit: VectorUnit) -> TilePlan:
    """Choose the axes of register tiles and rule out tiles that need too many registers or exceed the workload.

    A tile of r rows by v vectors holds r * v sums, v vectors of one input and one element of the other.
    """
    rows, vector = _tile_axes(workload)
    lanes = unit.vector_bytes // workload.item_bytes
    sums = vector in workload.reduction_axes
    tiles: list[dict[str, int] | None] = []
    for height, width in TILES:
        fits = (
            height * width + width + 1 <= unit.vector_registers
            and (height == 1 or (rows is not None and height <= workload.sizes[rows]))
            and (width - 1) * lanes < workload.sizes[vector]
            and (not sums or width == 1)
        )
        extents = {} if sums else {vector: min(width * lanes, workload.sizes[vector])}
        if rows is not None:
            extents[rows] = height
        tiles.append(extents if fits else None)
    same: dict[tuple[int, ...], list[int]] = {}
    for index, tile in enumerate(tiles):
        if tile is not None:
            same.setdefault(tuple(tile.get(axis, 1) for axis in workload.spatial_axes), []).append(index)
    sizes = workload.sizes
    return TilePlan(
        vector,
        tuple(tiles),
        same,
        max(workload.reduction_axes, key=sizes.__getitem__, default=None),
        tuple(index < len(workload.inputs) and transforms.can_pack(workload.inputs[index]) for index in PACKABLE),
    )


def _tile_axes(workload: Workload) -> tuple[str | None, str]:
    """Rows and vectors of register tiles.

    Vectors lie along the output's last axis if another axis of the output makes use of a loaded vector again;
    otherwise along the axis that needs the fewest gathers.
    """
    spatial = workload.spatial_axes
    vector = _last_axis(workload)
    rows = _reusing(workload, vector) if vector else None
    if vector is None or rows is None:
        names = [axis.name for axis in workload.axes]
        vector = min(names, key=lambda axis: (_gathers(workload, axis), axis not in spatial, axis != vector))
        rows = _reusing(workload, vector)
    if rows is None:
        others = (axis for axis in spatial if axis != vector)
        rows = max(others, key=workload.sizes.__getitem__, default=None)
    return rows, vector


def _last_axis(workload: Workload) -> str | None:
    return workload.output.indices[-1][0][0] if workload.output.indices else None


def _reusing(workload: Workload, vector: str) -> str | None:
    """The largest output axis that an input lacks which has the vectors' axis."""
    lacking = (
        axis
        for axis in workload.spatial_axes
        if axis != vector and any(vector in item.axes and axis not in item.axes for item in workload.inputs)
    )
    return max(lacking, key=workload.sizes.__getitem__, default=None)


def _gathers(workload: Workload, axis: str) -> int:
    """Operands whose elements along an axis are not neighbours."""
    return sum(workload.stride(item, axis) > 1 for item in (workload.output, *workload.inputs))


class FullActions:
    """A masked set that builds GotoBLAS-like nests in a few steps. The cursor moves over the loops outside the tile.

    | action | effect |
    | --- | --- |
    | ``tile_RxV`` | the register tile: R elements of one output axis by V vectors along another; may be chosen again |
    | ``up``, ``down`` | the cursor |
    | ``swap_up``, ``swap_down`` | exchange its loop with the next one outside or inside; the cursor follows |
    | ``block_sum_S`` | block the largest reduction axis by S; the new loop is the outermost one |
    | ``block_S`` | block the axis of the cursor's loop by about S, a multiple of its step; the same |
    | ``pack_I`` | copy what the loops from the cursor on read of input I, before they run |
    | ``unroll_U`` | steps of the innermost reduction loop in one iteration |
    | ``prefetch`` | fetch the next tile's output ahead, or no longer |
    | ``parallel`` | divide the outermost loop among the threads, or no longer |

    New blocks become the outermost loop: the order in which they are made is the order of the loops, from the inside.
    The product of two 1,024 x 1,024 matrices on AVX-512 takes ``tile_14x2 swap_down block_128 block_sum_256 up pack_0
    up pack_1 unroll_4``, in which ``pack_0`` copies a block of A that fits the second cache level and ``pack_1`` a
    panel of B; one of 256 x 256 ``tile_14x2 swap_down pack_1 unroll_4``.

    Args:
        unit: the vector registers, or the name of a target (looked up when the first mask is asked for).
        threads: for ``parallel``; with 1 the action is never legal.
    """

    names: tuple[str, ...] = (
        *(f"tile_{height}x{width}" for height, width in TILES),
        *("up", "down", "swap_up", "swap_down"),
        *(f"block_sum_{size}" for size in REDUCTION_BLOCKS),
        *(f"block_{size}" for size in BLOCKS),
        *(f"pack_{operand}" for operand in PACKABLE),
        *(f"unroll_{factor}" for factor in UNROLLS),
        *("prefetch", "parallel"),
    )

    def __init__(self, unit: VectorUnit | str = "native", threads: int = 1) -> None:
        self._given = unit
        self.threads = threads

    @cached_property
    def unit(self) -> VectorUnit:
        """The vector registers that tiles are chosen for."""
        if isinstance(self._given, VectorUnit):
            return self._given
        from compiler_dojo.envs.loops.targets import find_target

        target = find_target(self._given)
        return VectorUnit(target.vector_bytes, target.vector_registers)

    def start(self, workload: Workload) -> State:
        """The start nest without its write nest, of which nothing of this set depends."""
        return State(start_nest(workload).with_(write=()))

    def mask(self, state: State) -> npt.NDArray[np.bool_]:
        """Which actions are legal."""
        nest, cursor = state
        plan = plan_tiles(nest.workload, self.unit)
        reach, tiled = _reach(nest), nest.tile is not None
        legal = [extents is not None for extents in plan.tiles]
        if nest.tile is not None:
            here = nest.tile_extents(nest.tile)
            for index in plan.same.get(tuple(here[axis] for axis in nest.workload.spatial_axes), ()):
                legal[index] = False
        axes = [loop.axis for loop in nest.loops]
        legal += [
            cursor > 0,
            cursor + 1 < reach,
            0 < cursor < reach and axes[cursor - 1] != axes[cursor],
            cursor + 1 < reach and axes[cursor] != axes[cursor + 1],
        ]
        size = nest.workload.sizes[plan.reduction] if plan.reduction and axes.count(plan.reduction) == 1 else 0
        legal += [tiled and block < size for block in REDUCTION_BLOCKS]
        legal += [factor is not None for factor in _block_factors(state, BLOCKS)]
        packed = {(item.operand, item.depth) for item in nest.packs}
        legal += [tiled and plan.packable[operand] and (operand, cursor) not in packed for operand in PACKABLE]
        steps = _unrollable(nest)
        legal += [factor <= steps and factor != nest.unroll for factor in UNROLLS]
        legal += [tiled, max(self.threads, nest.threads) > 1]
        # what holds of few loops that nothing else depends on need not hold of others
        if (
            max(self.threads, nest.threads) > 1
            or len(nest.loops) > MOST_LOOPS - 2
            or (nest.unroll > 1 and len(nest.workload.reduction_axes) > 1)
        ):
            legal = [likely and is_legal(self, state, index) for index, likely in enumerate(legal)]
        return np.array(legal, np.bool_)

    def apply(self, state: State, action: int) -> State:
        """See :class:`~compiler_dojo.envs.loops.actions.ActionSet`."""
        nest, cursor = state
        name = self.names[action]
        kind, _, argument = name.rpartition("_")
        if kind == "tile":
            return self._tile(state, action)
        if name in ("up", "down"):
            return move(state, 1 if name == "down" else -1, _reach(nest))
        if kind == "swap":
            moved = move(state, 1 if argument == "down" else -1, _reach(nest))
            return State(transforms.interchange(nest, min(cursor, moved.cursor)), moved.cursor)
        if kind == "unroll":
            return State(_other(nest, transforms.unroll(nest, int(argument))), cursor)
        if name == "parallel":
            threads = 1 if nest.threads > 1 else self.threads
            return State(_other(nest, transforms.parallel(nest, threads)), cursor)
        if nest.tile is None:
            raise IllegalScheduleError(f"{name} needs a register tile: choose one first")
        if kind == "block_sum":
            return self._block_sum(state, int(argument))
        if kind == "block":
            return self._block(state, int(argument))
        if kind == "pack":
            return State(transforms.pack(nest, int(argument), cursor), cursor)
        return State(transforms.prefetch(nest, int(not nest.prefetch)), cursor)

    def _tile(self, state: State, action: int) -> State:
        plan = plan_tiles(state.nest.workload, self.unit)
        extents = plan.tiles[action]
        if extents is None:
            raise IllegalScheduleError(f"{self.names[action]} does not fit the registers or the workload")
        nest = state.nest
        if nest.tile is not None:
            here = nest.tile_extents(nest.tile)
            if action in plan.same.get(tuple(here[axis] for axis in nest.workload.spatial_axes), ()):
                raise IllegalScheduleError(f"{self.names[action]} changes nothing: the nest has this register tile")
        if nest.loops[-1].axis != plan.vector:
            nest = transforms.vectorise(nest, [loop.axis for loop in nest.loops].index(plan.vector))
        nest = transforms.register_tile(nest, extents)
        return State(nest, min(state.cursor, max(_reach(nest) - 1, 0)))

    def _block_sum(self, state: State, size: int) -> State:
        nest = state.nest
        axis = plan_tiles(nest.workload, self.unit).reduction
        positions = [index for index, loop in enumerate(nest.loops) if loop.axis == axis]
        if len(positions) != 1 or nest.extent(positions[0]) <= size:
            raise IllegalScheduleError(f"there is no reduction of more than {size} elements that is not blocked yet")
        position = positions[0]
        return State(transforms.hoist(transforms.split(nest, position, size), position), state.cursor + 1)

    def _block(self, state: State, size: int) -> State:
        (factor,) = _block_factors(state, (size,))
        if factor is None:
            raise IllegalScheduleError(
                f"the cursor's axis cannot be blocked by {size}: it has too few elements, or a block already"
            )
        nest = transforms.split(state.nest, state.cursor, factor)
        if state.cursor > 0:
            nest = transforms.hoist(nest, state.cursor)
        return State(nest, state.cursor + 1)


def _reach(nest: Nest) -> int:
    """How many loops the cursor moves over."""
    return len(nest.loops) if nest.tile is None else nest.tile


def _block_factors(state: State, sizes: Sequence[int]) -> list[int | None]:
    """Iterations of the cursor's loop that make blocks of about these sizes; None where there can be none."""
    nest, cursor = state
    if nest.tile is None or cursor >= nest.tile:
        return [None] * len(sizes)
    axis, step = nest.loops[cursor].axis, nest.loops[cursor].step
    if [loop.axis for loop in nest.loops[: nest.tile]].count(axis) > 1:
        return [None] * len(sizes)
    extent = nest.extent(cursor)
    factors = [round(size / step) for size in sizes]
    return [factor if factor >= 2 and factor * step < extent else None for factor in factors]


def _unrollable(nest: Nest) -> int:
    """Steps of the innermost reduction loop; 0 without one."""
    axes = nest.workload.reduction_axes
    for position in reversed(range(len(nest.loops))):
        if nest.loops[position].axis in axes:
            return nest.extent(position)
    return 0


def _other(before: Nest, after: Nest) -> Nest:
    if after == before:
        raise IllegalScheduleError("this changes nothing")
    return after
