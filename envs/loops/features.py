"""What an agent sees of a nest: LoopTune's table of loops, the graph form, and a table for the full action set."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Protocol, runtime_checkable

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from compiler_dojo.envs.loops.actions import State
from compiler_dojo.envs.loops.nest import MOST_LOOPS, Loop, Nest
from compiler_dojo.envs.loops.transforms import shared_loops
from compiler_dojo.envs.loops.workload import Workload

LOOP_FEATURES = 20
BINS = 16
LARGEST = float(2**24)
"""Bound of sizes and tails in the observation spaces: the integers that float32 counts exactly."""


@runtime_checkable
class ScheduleObservation(Protocol):
    """What an environment shows of a state."""

    @property
    def space(self) -> gym.Space[Any]:
        """Of which every observation is an element."""

    def observe(self, state: State) -> Any:
        """The observation."""


class _Axes:
    """What observations need to know of a workload, worked out once.

    Attributes:
        strides: by axis, the stride of every input, then of the output; in elements.
        boxes: by axis, whether input 0, input 1 (0 where there is none) and the output depend on it.
        spatial: by axis, whether it is one of the output.
        sizes: logarithms to the base of 2 of the elements of input 0, input 1 and the output.
        histograms: of the loops met so far; float32 of shape (at least that many, 16).
    """

    def __init__(self, workload: Workload) -> None:
        operands = (*workload.inputs, workload.output)
        self.strides = {axis: tuple(workload.stride(item, axis) for item in operands) for axis in workload.sizes}
        axes = [item.axes for item in workload.inputs[:2]]
        axes = [*axes, *[frozenset[str]()] * (2 - len(axes)), workload.output.axes]
        self.boxes = {axis: tuple(float(axis in having) for having in axes) for axis in workload.sizes}
        self.spatial = {axis: float(axis in workload.output.axes) for axis in workload.sizes}
        self.logs = {axis: math.log2(size) for axis, size in workload.sizes.items()}
        self.sizes = tuple(sum(self.logs[axis] for axis in having) for having in axes)
        self.histograms = np.zeros((16, BINS), np.float32)
        self._rows: dict[tuple[str, int, bool], int] = {}

    def row(self, loop: Loop, write: bool = False) -> int:
        """Row of :attr:`histograms` for a loop of the compute or the write nest."""
        key = (loop.axis, loop.step, write)
        row = self._rows.get(key)
        if row is None:
            row = self._rows[key] = len(self._rows)
            if row == len(self.histograms):
                self.histograms = np.concatenate([self.histograms, np.zeros_like(self.histograms)])
            strides = [stride * loop.step for stride in self.strides[loop.axis]]
            self.histograms[row] = shares(strides[-1:] if write else strides)
        return row


@lru_cache(maxsize=4096)
def _axes(workload: Workload) -> _Axes:
    return _Axes(workload)


def shares(strides: Sequence[int]) -> tuple[float, ...]:
    """The part of strides s with ceil(log2(s)) = 0, ..., 15; 0 stands for an access that does not move."""
    bins = [0.0] * BINS
    for stride in strides:
        column = (stride - 1).bit_length()  # ceil(log2(s)) in integers
        if stride and column < BINS:
            bins[column] += 1 / len(strides)
    return tuple(bins)


def write_loops(nest: Nest) -> tuple[Loop, ...]:
    """The loops that only the write nest has."""
    return nest.write[shared_loops(nest) :]


def trips(sizes: Mapping[str, int], loops: Sequence[Loop]) -> list[tuple[int, int]]:
    """Full iterations and tail of every loop of a nest of loops over axes of these sizes."""
    left = dict(sizes)
    found = []
    for axis, step in [(loop.axis, loop.step) for loop in loops]:
        found.append(divmod(left[axis], step))
        left[axis] = step
    return found


class LoopTuneTable:
    """LoopTune's observation (arXiv 2309.01825, section 4.2): float32 of shape (10 loops, 20).

    | column | content |
    | --- | --- |
    | 0 | whether the cursor is on the loop |
    | 1 | full iterations |
    | 2 | elements left for a smaller, last iteration |
    | 3 | whether the loop is one of the compute nest |
    | 4-19 | share of the accesses along the loop with a stride s: column 4 + ceil(log2(s)) |

    Rows are the loops of the tree in its order: those of the compute nest, then those that only the write nest has.
    Rows without a loop are zero. Every input and the output is one access along a loop of the compute nest, the output
    alone along one of the write nest. Its stride is the distance in elements between two iterations of the loop. One
    that does not move counts among the accesses but is in no column; nor is a stride above 2^15. (The published
    histogram weighs accesses by the product of the loop sizes from the root, which all accesses along a loop share:
    normalised per loop, the shares are these.)
    """

    def __init__(self) -> None:
        high = np.ones((MOST_LOOPS, LOOP_FEATURES), np.float32)
        high[:, 1:3] = LARGEST
        self.space: gym.Space[Any] = gym.spaces.Box(np.zeros_like(high), high, dtype=np.float32)

    def observe(self, state: State) -> npt.NDArray[np.float32]:
        """The table."""
        nest, cursor = state
        axes = _axes(nest.workload)
        sizes = nest.workload.sizes
        cells = [(0.0, full, tail, 1.0) for full, tail in trips(sizes, nest.loops)]
        histograms = [axes.row(loop) for loop in nest.loops]
        if nest.write:
            shared = shared_loops(nest)
            cells += [(0.0, full, tail, 0.0) for full, tail in trips(sizes, nest.write)[shared:]]
            histograms += [axes.row(loop, True) for loop in nest.write[shared:]]
        table = np.zeros((MOST_LOOPS, LOOP_FEATURES), np.float32)
        table[: len(cells), :4] = cells
        table[: len(cells), 4:] = axes.histograms[histograms]
        table[cursor, 0] = 1.0
        return table


FULL_COLUMNS = 28


class FullTable:
    """For the full action set: float32 of shape (11, 28), one row per loop and one for the nest.

    Rows 0-9 are the loops of the compute nest:

    | column | content |
    | --- | --- |
    | 0 | whether the cursor is on the loop |
    | 1, 2 | log2(1 + full iterations), log2(1 + tail) |
    | 3 | 1: the row is a loop |
    | 4-19 | shares of strides, as in :class:`LoopTuneTable` |
    | 20, 21 | whether it runs over an output axis; whether it is part of the register tile |
    | 22 | log2(step) |
    | 23-25 | log2 of how many elements the loops from here on read of input 0 and 1 and write of the output |
    | 26, 27 | whether input 0, input 1 is packed right before the loop |

    Row 10 is the nest. Columns 0-7: whether a register tile was chosen, log2(its elements), log2(1 + unrolling),
    prefetching, log2(threads), log2(flops), log2(bytes of an element), loops.
    """

    def __init__(self) -> None:
        self.space: gym.Space[Any] = gym.spaces.Box(0.0, 64.0, (MOST_LOOPS + 1, FULL_COLUMNS), np.float32)

    def observe(self, state: State) -> npt.NDArray[np.float32]:
        """The table."""
        nest, cursor = state
        workload = nest.workload
        axes = _axes(workload)
        tile = len(nest.loops) if nest.tile is None else nest.tile
        inside = dict(axes.logs)
        boxes = axes.sizes
        rows = []
        elements = 0.0
        for position, (loop, (full, tail)) in enumerate(
            zip(nest.loops, trips(workload.sizes, nest.loops), strict=True)
        ):
            if position == tile:
                elements = boxes[2]
            log_step = _log2(loop.step)
            rows.append(
                (
                    position == cursor,
                    _log2(1 + full),
                    _log2(1 + tail),
                    1.0,
                    axes.spatial[loop.axis],
                    position >= tile,
                    log_step,
                    *boxes,
                )
            )
            shrunk = inside[loop.axis] - log_step
            boxes = tuple(box - shrunk * has for box, has in zip(boxes, axes.boxes[loop.axis], strict=True))
            inside[loop.axis] = log_step
        table = np.zeros((MOST_LOOPS + 1, FULL_COLUMNS), np.float32)
        cells = np.array(rows, np.float32)
        histograms = [axes.row(loop) for loop in nest.loops]  # before the array is read: it may grow
        table[: len(rows), :4] = cells[:, :4]
        table[: len(rows), 4:20] = axes.histograms[histograms]
        table[: len(rows), 20:26] = cells[:, 4:]
        for item in nest.packs:
            if item.operand < 2:
                table[item.depth, 26 + item.operand] = 1.0
        table[MOST_LOOPS, :8] = (
            nest.tile is not None,
            elements,
            _log2(1 + nest.unroll),
            nest.prefetch,
            _log2(nest.threads),
            _log2(workload.flops),
            _log2(workload.item_bytes),
            len(rows),
        )
        return np.maximum(table, 0.0)  # a loop over more than its axis has leaves boxes of less than one element


_log2 = lru_cache(maxsize=1 << 16)(math.log2)


NODE_FEATURES, EDGE_FEATURES = 8, 3


class LoopGraph:
    """LoopTune's graph: loops, statements and data as nodes, the tree and the accesses as edges.

    Node columns (float32): 0-2 whether it is a loop, a statement, data; 3 cursor; 4 full iterations; 5 tail; 6 whether
    a loop or statement belongs to the compute nest; 7 index among the nodes of its kind. Loops come first, in the
    tree's order; then the statements multiply, add and, where there is a write nest, write; then the inputs, the sum
    (where there is a write nest) and the output.

    Edge columns: 0 whether it is one of the tree, from loop to loop or statement; 1 whether it is one of data: from a
    loop to the data that it moves over, from data to the statement that reads it, and from a statement to what it
    makes; 2 the stride in elements, of edges from loops.
    """

    def __init__(self) -> None:
        self.space: gym.Space[Any] = gym.spaces.Graph(
            node_space=gym.spaces.Box(0.0, LARGEST, (NODE_FEATURES,), np.float32),
            edge_space=gym.spaces.Box(0.0, LARGEST**2, (EDGE_FEATURES,), np.float32),
        )

    def observe(self, state: State) -> gym.spaces.GraphInstance:
        """The graph."""
        nest, cursor = state
        workload = nest.workload
        shared, alone = shared_loops(nest), write_loops(nest)
        sizes = trips(workload.sizes, nest.loops) + trips(workload.sizes, nest.write)[shared:]
        count, inner = len(nest.loops), len(nest.loops) + len(alone)
        statements = 3 if nest.write else 2
        data = len(workload.inputs) + (2 if nest.write else 1)
        nodes = np.zeros((inner + statements + data, NODE_FEATURES), np.float32)
        for row, (full, tail) in enumerate(sizes):
            nodes[row] = (1, 0, 0, row == cursor, full, tail, row < count, row)
        multiply, add, write = range(inner, inner + 3)
        for row in range(statements):
            nodes[inner + row] = (0, 1, 0, 0, 0, 0, row < 2, row)
        first = inner + statements
        for row in range(data):
            nodes[first + row] = (0, 0, 1, 0, 0, 0, 0, row)
        edges: list[tuple[int, int, int, int, int]] = []  # from, to, tree, data, stride

        def chain(rows: list[int], ends: list[int]) -> None:
            edges.extend((one, other, 1, 0, 0) for one, other in itertools.pairwise(rows))
            edges.extend((rows[-1], end, 1, 0, 0) for end in ends)

        chain(list(range(count)), [multiply, add])
        strides = _axes(workload).strides
        made = first + len(workload.inputs)  # the sum, or the output itself
        for row, loop in enumerate(nest.loops):
            for operand, stride in enumerate(strides[loop.axis]):
                if stride:
                    edges.append((row, first + operand, 0, 1, stride * loop.step))
        edges.extend((first + operand, multiply, 0, 1, 0) for operand in range(len(workload.inputs)))
        edges += [(multiply, add, 0, 1, 0), (add, made, 0, 1, 0)]
        if nest.write:
            path = [*range(shared), *range(count, inner)]
            chain(path[max(shared - 1, 0) :], [write])  # the shared loops are chained already
            for row, loop in zip(path, nest.write, strict=True):
                edges.append((row, made + 1, 0, 1, strides[loop.axis][-1] * loop.step))
            edges += [(made, write, 0, 1, 0), (write, made + 1, 0, 1, 0)]
        table = np.array(edges, np.int64)
        return gym.spaces.GraphInstance(nodes, table[:, 2:].astype(np.float32), table[:, :2])


OBSERVATIONS: Mapping[str, type[LoopTuneTable] | type[FullTable] | type[LoopGraph]] = {
    "looptune": LoopTuneTable,
    "full": FullTable,
    "graph": LoopGraph,
}
"""Every observation that has a name."""
