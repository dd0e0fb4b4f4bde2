"""How much of each operand the loops from a depth on touch, in cache lines and pages, and what that moves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from compiler_dojo.envs.loops.workload import Operand, Workload

_MOST_CACHED = 20_000


class Footprint(NamedTuple):
    """What a box of an operand occupies.

    Attributes:
        lines: cache lines, expected over alignments.
        pages: pages of memory.
        per_set: lines that compete for the same set of L1.
    """

    lines: float
    pages: float
    per_set: float


class Layout:
    """Where the elements of an operand lie, and the footprints of boxes of it.

    Args:
        workload: whose operand it is.
        operand: one of its operands.
        line_bytes: of a cache line.
        page_bytes: of a page.
        l1_sets: sets of the L1 cache.
    """

    def __init__(self, workload: Workload, operand: Operand, line_bytes: int, page_bytes: int, l1_sets: int) -> None:
        names = list(workload.sizes)
        self.axes = tuple(i for i, name in enumerate(names) if name in operand.axes)
        self.strides = tuple(workload.stride(operand, name) for name in names)
        self.item_bytes = workload.item_bytes
        self.line_bytes, self.page_bytes, self.l1_sets = line_bytes, page_bytes, l1_sets
        shape = workload.shape(operand)
        # innermost dimension first: its index, and the elements from one step of it to the next
        self._dimensions = [
            (tuple((names.index(axis), coefficient) for axis, coefficient in index), math.prod(shape[position + 1 :]))
            for position, index in reversed(list(enumerate(operand.indices)))
        ]
        self._cache: dict[tuple[int, ...], Footprint] = {}

    def footprint(self, extents: Sequence[int]) -> Footprint:
        """Of the box with these extents, one per axis of the workload."""
        key = tuple([extents[axis] for axis in self.axes])
        found = self._cache.get(key)
        if found is None:
            if len(self._cache) >= _MOST_CACHED:
                self._cache.clear()
            found = self._cache[key] = self._measure(extents)
        return found

    def _measure(self, extents: Sequence[int]) -> Footprint:
        run = 1  # elements from the first to the last of what is contiguous, or as good as
        rows: list[tuple[int, int]] = []  # (count, bytes from one to the next), inner first
        for index, stride in self._dimensions:
            span, points = 1, 1
            for axis, coefficient in index:
                span += coefficient * (extents[axis] - 1)
                points *= extents[axis]
            if not rows and (run == stride or stride * self.item_bytes < self.line_bytes):
                run += (span - 1) * stride
            elif span > 1:
                rows.append((min(span, points), stride * self.item_bytes))
        run_bytes = run * self.item_bytes
        lines = _units(run_bytes, self.line_bytes, self.item_bytes, all(not step % self.line_bytes for _, step in rows))
        sets, reach, apart = lines, run_bytes, 1
        for count, step in rows:
            lines *= count
            sets *= min(count, self.l1_sets * self.line_bytes // math.gcd(step, self.l1_sets * self.line_bytes))
            if apart == 1 and step < self.page_bytes:
                reach += (count - 1) * step
            else:
                apart *= count
        pages = apart * _units(reach, self.page_bytes, self.line_bytes, False)
        return Footprint(lines, pages, lines / min(max(sets, 1.0), self.l1_sets))


def _units(length: int, unit: int, grain: int, aligned: bool) -> float:
    """Expected number of units (lines, pages) that a run of bytes touches when it starts at any multiple of a grain."""
    if aligned and not length % unit:
        return length / unit
    return 1 + max(length - grain, 0) / unit


class Reference(NamedTuple):
    """An array as the loops use it, by depth: index d tells of one run of the loops from depth d on.

    Attributes:
        footprints: what these loops touch of it.
        deepest: depth at which it is accessed: loops inside do not touch it.
        moved: times that a miss counts: twice where lines are also written back.
    """

    footprints: Sequence[Footprint]
    deepest: int
    moved: float


# An array keeps its lines up to FITS of a level's capacity and loses all of them at SPILLS of it; linear between.
FITS, SPILLS = 0.7, 1.3


class Traffic:
    """What the loops of a nest fetch into each level of the memory hierarchy.

    A level keeps what one iteration of a loop touches, for the next iteration, when that fits. So the outermost depth
    whose footprint fits is loaded once per run of the loop around it. What fits as a whole is there from the run
    before: kernels are timed warm.

    Args:
        references: arrays.
        visits: how often each depth is reached, from 1 at depth 0.

    Attributes:
        lines: cache lines that one run of the loops from each depth on touches.
        pages: the same in pages.
    """

    def __init__(self, references: Sequence[Reference], visits: Sequence[float]) -> None:
        self._references = references
        self._visits = visits
        lines, pages = [0.0] * len(visits), [0.0] * len(visits)
        for footprints, deepest, _ in references:
            for depth in range(deepest + 1):
                footprint = footprints[depth]
                lines[depth] += footprint[0]
                pages[depth] += footprint[1]
        self.lines, self.pages = lines, pages

    def misses(self, capacity: float, pages: bool = False, ways: float = math.inf) -> float:
        """Lines (or pages) that are fetched into a level from behind it during one run of the whole nest.

        Args:
            capacity: in lines or pages.
            pages: count pages in place of lines.
            ways: lines per set from which on an array loses its own lines.
        """
        which = 1 if pages else 0
        used, visits = self.pages if pages else self.lines, self._visits
        # kept[d]: share of the footprint of depth d that survives one run of it; the innermost body always does
        kept = [1.0] * len(visits)
        for depth in range(len(visits) - 2, -1, -1):
            share = used[depth] / capacity
            if share > FITS:
                kept[depth] = fitting(share)
                if kept[depth] == 0.0:
                    kept[:depth] = [0.0] * depth
                    break
        total = 0.0
        for footprints, deepest, moved in self._references:
            own = kept
            if footprints[0][2] > ways * FITS:
                own = [min(share, fitting(footprints[d][2] / ways)) for d, share in enumerate(kept)]
            elif kept[0] == 1.0:
                continue
            missed, inner = 0.0, 1.0
            for depth in range(len(visits) - 1, -1, -1):
                lost, inner = inner - own[depth], own[depth]
                if lost > 0.0:
                    at = depth if depth < deepest else deepest
                    missed += lost * visits[at] * footprints[at][which]
                    if own[depth] == 0.0:
                        break
            total += missed if pages else missed * moved
        return total


def fitting(used: float) -> float:
    """Share of an array that stays in a level, of whose capacity it would use so much."""
    return 1.0 if used <= FITS else 0.0 if used >= SPILLS else (SPILLS - used) / (SPILLS - FITS)
