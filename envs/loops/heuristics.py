"""A family of nests that good ones are among: register tiles and cache blocks, ranked by the analytical cost model.

The structure is GotoBLAS' (Goto and van de Geijn, "Anatomy of high-performance matrix multiplication", TOMS 2008),
for contractions of any kind: rows by vectors of the output in registers, a panel of the operand that the vectors lie in
reused by all rows, copied where that pays, and the sum in blocks that fit the caches.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from compiler_dojo.envs.loops.costs import AnalyticalCost
from compiler_dojo.envs.loops.nest import Loop, Nest, Pack
from compiler_dojo.envs.loops.targets import Target
from compiler_dojo.envs.loops.transforms import can_pack
from compiler_dojo.envs.loops.workload import Workload

REDUCTION_BLOCKS = (128, 256)
"""Elements of a sum that are added up before the next rows: the panel of a block then stays in a cache."""

STREAMED_BLOCKS = (8, 32)
"""The same where nothing is reused: as many rows of a matrix are read side by side."""

ROW_BLOCKS = (192,)
"""Rows whose part of a block stays in the second-level cache."""

ALIKE = 0.9
"""Share of the best estimate from which on nests are taken to be alike: the model is not more exact than that."""

MOST_TILES = 8
MOST_STRUCTURES = 10
MOST_VECTORS = 6


class RegisterTile(NamedTuple):
    """What is kept in registers.

    Attributes:
        vector: axis that vectors lie along.
        extents: elements of each axis of the output, where more than one.
    """

    vector: str
    extents: tuple[tuple[str, int], ...]


class Structure(NamedTuple):
    """The loops around a register tile, and the copies.

    Attributes:
        loops: axes outermost first; with a block size, or 0 for the tile's extent.
        packs: operands to copy, each at the outset (``start``), at the block of the sum (``block``), or as soon as
            its part is known (``panel``).
    """

    loops: tuple[tuple[str, int], ...]
    packs: tuple[tuple[int, str], ...] = ()


def candidates(workload: Workload, target: Target, threads: int = 1) -> list[Nest]:
    """Nests worth measuring, the most promising first.

    Args:
        workload: what is computed.
        target: the vectors and registers that there are.
        threads: at most; the best nest for one thread is among the candidates, which small workloads want.
    """
    cost = AnalyticalCost(target)
    found: dict[str, list[Nest]] = {}
    alone: list[Nest] = []
    for vector, tiles in _promising(workload, target, cost).items():
        structures = list(_structures(workload, vector, tiles[0]))
        structures.sort(key=lambda item: -cost.gflops(_build(workload, tiles[0], item)))
        for structure in structures[:MOST_STRUCTURES]:
            nests = [_build(workload, tile, structure) for tile in tiles]
            nests.sort(key=lambda nest: -cost.gflops(nest))
            if threads > 1:
                alone.append(nests[0])
                nests = [other for nest in nests for other in _divided(nest, threads)] or nests
                nests.sort(key=lambda nest: -cost.gflops(nest))
            found[f"{vector} {structure}"] = nests
    if alone:
        found["alone"] = sorted(alone, key=lambda nest: -cost.gflops(nest))[:1]
    return _spread(sorted(found.values(), key=lambda nests: -cost.gflops(nests[0])), cost)


def _spread(families: list[list[Nest]], cost: AnalyticalCost) -> list[Nest]:
    """Nests of families that differ in their tiles, so that the first ones differ in both.

    What the model rates alike comes in this order: the best tile of the first family, the second of the second, and so
    on. Others follow by their rating.
    """
    limit = ALIKE * cost.gflops(families[0][0])
    alike = [[nest for nest in nests if cost.gflops(nest) >= limit] for nests in families]
    alike = [nests for nests in alike if nests]
    order = [
        nests[(number + shift) % len(nests)]
        for shift in range(max(map(len, alike)))
        for number, nests in enumerate(alike)
        if shift < len(nests)
    ]
    others = sorted(itertools.chain.from_iterable(families), key=lambda nest: -cost.gflops(nest))
    return list({nest.key: nest for nest in (*order, *others)}.values())


def _promising(workload: Workload, target: Target, cost: AnalyticalCost) -> dict[str, list[RegisterTile]]:
    """The best register tiles by vector axis, of those axes that the best tile of all is not twice as fast as."""
    tiles: dict[str, list[RegisterTile]] = {}
    speed: dict[RegisterTile, float] = {}
    for vector in vector_axes(workload):
        tiles[vector] = register_tiles(workload, target, vector)
        plain = list(_orders(workload, vector, tiles[vector][0]))[:2]
        speed |= {tile: max(cost.gflops(_build(workload, tile, order)) for order in plain) for tile in tiles[vector]}
        tiles[vector].sort(key=lambda tile: -speed[tile])
    best = max(speed[ordered[0]] for ordered in tiles.values())
    return {vector: ordered[:MOST_TILES] for vector, ordered in tiles.items() if 2 * speed[ordered[0]] > best}


def vector_axes(workload: Workload) -> list[str]:
    """Axes that vectors may lie along, at most three.

    They are the last axis of the output and those along which the fewest operands have gaps between their elements.
    """
    last = [workload.output.indices[-1][0][0]] if workload.output.indices else []
    gaps = {axis: sum(workload.stride(item, axis) > 1 for item in workload.operands) for axis in workload.sizes}
    wide = [axis for axis in gaps if workload.sizes[axis] > 1] or list(gaps)
    wide.sort(key=lambda axis: (gaps[axis], axis not in workload.output.axes, -workload.sizes[axis]))
    contiguous = [axis for axis in wide if gaps[axis] == gaps[wide[0]]]
    summed = [
        axis
        for axis in wide
        if axis in workload.reduction_axes and any(workload.stride(item, axis) == 1 for item in workload.inputs)
    ]
    return list(dict.fromkeys((*last, *contiguous, *summed)))[:3]


def register_tiles(workload: Workload, target: Target, vector: str) -> list[RegisterTile]:
    """Register tiles whose vectors lie along an axis, as high as the registers allow, and evenly dividing heights."""
    lanes = target.vector_bytes // workload.item_bytes
    sizes = workload.sizes
    rows = row_axes(workload, vector)
    across = vector in workload.output.axes
    most = -(-sizes[vector] // lanes) if across else 1
    tiles: dict[RegisterTile, None] = {}
    # a tile of one vector loads an element for every multiply-add where an input is broadcast
    broadcast = any(vector not in item.axes for item in workload.inputs)
    least = min(most, 2) if across and broadcast else 1
    widths = range(least, min(most, MOST_VECTORS) + 1) if rows else [n for n in (1, 2, 4, 8, 12) if n < 2 * most]
    for vectors in widths:
        own = ((vector, min(vectors * lanes, sizes[vector])),) if across else ()
        highest = max(1, (target.vector_registers - 1 - vectors) // vectors)
        for extents in _heights(rows, sizes, highest):
            kept = sorted((axis, extent) for axis, extent in (*extents, *own) if extent > 1)
            tiles[RegisterTile(vector, tuple(kept))] = None
    return list(tiles)


def row_axes(workload: Workload, vector: str) -> list[str]:
    """Axes of the output for which a loaded vector is used again, else any other; the best first, at most two."""
    others = [axis for axis in workload.spatial_axes if axis != vector]
    reusing = [
        axis for axis in others if any(vector in item.axes and axis not in item.axes for item in workload.inputs)
    ]
    order = [index[0][0] for index in workload.output.indices]
    ranked = sorted(reusing or others, key=lambda axis: (-workload.sizes[axis], -order.index(axis)))
    return [axis for axis in ranked if workload.sizes[axis] > 1][:2]


def _heights(rows: list[str], sizes: dict[str, int], highest: int) -> Iterator[tuple[tuple[str, int], ...]]:
    """Extents of the rows: of one axis, and of another where all of the first leaves registers."""
    if not rows:
        yield ()
    for first in rows:
        second = next((axis for axis in rows if axis != first), None)
        for height in sorted(_even(sizes[first], highest), reverse=True):
            yield ((first, height),)
            if second and height == sizes[first] and highest // height > 1:
                for other in _even(sizes[second], highest // height):
                    yield (first, height), (second, other)


def _even(size: int, highest: int) -> set[int]:
    """Heights up to the highest that cut an axis into few, or into equal pieces."""
    highest = min(size, highest)
    divisor = max(height for height in range(1, highest + 1) if size % height == 0)
    pieces = -(-size // highest)
    return {highest, -(-size // pieces), *({divisor} if 2 * divisor > highest else ())}


def _orders(workload: Workload, vector: str, tile: RegisterTile) -> Iterator[Structure]:
    """Orders of the loops over the output: tiles of one panel first, or panels of one tile."""
    inside = {axis for axis, _ in tile.extents}
    rows = [axis for axis in reversed(row_axes(workload, vector)) if axis in inside]
    columns = [vector] if vector in workload.output.axes else []
    others = [axis for axis in workload.spatial_axes if axis not in rows and axis != vector]
    orders = ((*others, *columns, *rows), (*others, *rows, *columns), (*columns, *others, *rows))
    for order in dict.fromkeys(orders):
        yield Structure(tuple((axis, 0) for axis in order))


def _structures(workload: Workload, vector: str, tile: RegisterTile) -> Iterator[Structure]:
    """All orders with blocks and packs."""
    summed = [axis for axis in workload.reduction_axes if axis != vector]
    longest = max(summed, key=workload.sizes.__getitem__, default=None)
    rows = row_axes(workload, vector)
    for order in _orders(workload, vector, tile):
        yield from _packed(workload, vector, order)
        sizes = REDUCTION_BLOCKS if rows else STREAMED_BLOCKS
        for size in sizes if longest else ():
            assert longest is not None
            if size < workload.sizes[longest]:
                block = (longest, size)
                yield from _packed(workload, vector, Structure((block, *order.loops)))
                for height in ROW_BLOCKS if rows else ():
                    if 2 * height <= workload.sizes[rows[0]]:
                        yield from _packed(workload, vector, Structure((block, (rows[0], height), *order.loops)))


def _packed(workload: Workload, vector: str, structure: Structure) -> Iterator[Structure]:
    """The structure with the copies that may pay: inputs that are read more than once."""
    spatial = set(workload.spatial_axes)
    choices: list[list[tuple[int, str] | None]] = []
    for number, operand in enumerate(workload.inputs):
        own: list[tuple[int, str] | None] = [None]
        if can_pack(operand) and spatial - operand.axes:
            along = vector in operand.axes
            blocked = structure.loops[0][1] > 0
            own.append((number, "block" if blocked else "start"))
            if along:
                own.append((number, "panel"))
        choices.append(own)
    for packs in itertools.product(*choices):
        yield structure._replace(packs=tuple(pack for pack in packs if pack))


def _build(workload: Workload, tile: RegisterTile, structure: Structure) -> Nest:
    extents, sizes = dict(tile.extents), workload.sizes
    steps = dict(sizes)
    outer: list[Loop] = []
    block = 0
    for axis, size in structure.loops:
        extent = extents.get(axis, 1)
        step = -(-size // extent) * extent if size else extent
        if step < steps[axis]:
            outer.append(Loop(axis, step))
            steps[axis] = step
        elif sizes[axis] == 1 and not size:
            outer.append(Loop(axis))  # an axis of one element needs a loop all the same
        if size and axis in workload.reduction_axes:
            block = len(outer)
    rows = [axis for axis in workload.spatial_axes if extents.get(axis, 1) > 1 and axis != tile.vector]
    summed = [axis for axis in workload.reduction_axes if axis != tile.vector]
    last = [tile.vector] if tile.vector in workload.reduction_axes or extents.get(tile.vector, 1) > 1 else []
    inner = tuple(Loop(axis) for axis in (*summed, *rows, *last))
    packs = tuple(Pack(number, _depth(workload, outer, number, place, block)) for number, place in structure.packs)
    ordered = tuple(sorted(packs, key=lambda pack: (pack.depth, pack.operand)))
    return Nest(workload, (*outer, *inner), tile=len(outer), packs=ordered)


def _depth(workload: Workload, outer: list[Loop], operand: int, place: str, block: int) -> int:
    if place == "panel":
        axes = workload.inputs[operand].axes
        return max((position + 1 for position, loop in enumerate(outer) if loop.axis in axes), default=0)
    return block if place == "block" else 0


def _divided(nest: Nest, threads: int) -> Iterator[Nest]:
    """The nest with an axis of the output cut into a part per thread, around everything else."""
    for axis in nest.workload.spatial_axes:
        steps = [loop.step for loop in nest.loops if loop.axis == axis]
        size = nest.workload.sizes[axis]
        grain = next((step for step in reversed(steps[:-1]) if step <= -(-size // threads)), 1)
        part = math.ceil(size / threads / grain) * grain
        if part >= size:
            continue
        # loops that step over more than a part are not needed any more
        kept = [index for index, loop in enumerate(nest.loops) if loop.axis != axis or loop.step < part]
        removed = [index for index in range(len(nest.loops)) if index not in kept]
        assert nest.tile is not None
        yield replace(
            nest,
            loops=(Loop(axis, part), *(nest.loops[index] for index in kept)),
            tile=nest.tile + 1 - sum(index < nest.tile for index in removed),
            packs=tuple(
                pack._replace(depth=pack.depth + 1 - sum(index < pack.depth for index in removed))
                for pack in nest.packs
            ),
            threads=threads,
        )
