"""What an agent sees of a nest: LoopTune's table of loops, the graph form, and a table for the full action set."""

from __future__ import annotations

import math
from collections.abc import Mapping
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


@lru_cache(maxsize=1024)
def _strides(workload: Workload) -> dict[str, tuple[int, ...]]:
    """By axis, the stride of every input, then of the output; in elements."""
    operands = (*workload.inputs, workload.output)
    return {axis: tuple(workload.stride(item, axis) for item in operands) for axis in workload.sizes}


def write_loops(nest: Nest) -> tuple[Loop, ...]:
    """The loops that only the write nest has."""
    return nest.write[shared_loops(nest) :]


def write_trips(nest: Nest) -> list[tuple[int, int]]:
    """Full iterations and tail of every loop that only the write nest has."""
    steps = dict(nest.workload.sizes)
    trips = []
    for loop in nest.write:
        trips.append(divmod(steps[loop.axis], loop.step))
        steps[loop.axis] = loop.step
    return trips[shared_loops(nest) :]


def compute_trips(nest: Nest) -> list[tuple[int, int]]:
    """Full iterations and tail of every loop of the compute nest."""
    steps = dict(nest.workload.sizes)
    trips = []
    for loop in nest.loops:
        trips.append(divmod(steps[loop.axis], loop.step))
        steps[loop.axis] = loop.step
    return trips


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
        table = np.zeros((MOST_LOOPS, LOOP_FEATURES), np.float32)
        fill_loops(table, state)
        return table


def fill_loops(table: npt.NDArray[np.float32], state: State) -> None:
    """Write LoopTune's columns of a state into the first columns of a table of zeros, one row per loop."""
    nest, cursor = state
    strides = _strides(nest.workload)
    accesses = len(nest.workload.inputs) + 1
    share = 1.0 / accesses
    cells: list[float] = []
    row = [0.0] * LOOP_FEATURES
    for position, (loop, (full, tail)) in enumerate(zip(nest.loops, compute_trips(nest), strict=True)):
        values = row.copy()
        values[0] = float(position == cursor)
        values[1] = full
        values[2] = tail
        values[3] = 1.0
        for stride in strides[loop.axis]:
            column = (stride * loop.step - 1).bit_length()  # ceil(log2(s)) in integers
            if stride and column < BINS:
                values[4 + column] += share
        cells += values
    rows = len(nest.loops)
    if nest.write:
        for loop, (full, tail) in zip(write_loops(nest), write_trips(nest), strict=True):
            values = row.copy()
            values[1] = full
            values[2] = tail
            column = (strides[loop.axis][-1] * loop.step - 1).bit_length()
            if column < BINS:
                values[4 + column] = 1.0
            cells += values
            rows += 1
    table[:rows, :LOOP_FEATURES] = np.array(cells, np.float32).reshape(rows, LOOP_FEATURES)


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
        nest = state.nest
        table = np.zeros((MOST_LOOPS + 1, FULL_COLUMNS), np.float32)
        count = len(nest.loops)
        fill_loops(table, state)
        np.log2(1.0 + table[:count, 1:3], out=table[:count, 1:3])
        table[:count, 20:] = self._loops(nest)
        workload = nest.workload
        tile = 0.0
        if nest.tile is not None:
            extents = nest.tile_extents(nest.tile)
            tile = sum(math.log2(extents[axis]) for axis in workload.spatial_axes)
        table[MOST_LOOPS, :8] = (
            nest.tile is not None,
            tile,
            math.log2(1 + nest.unroll),
            nest.prefetch,
            math.log2(nest.threads),
            math.log2(workload.flops),
            math.log2(workload.item_bytes),
            count,
        )
        return table

    def _loops(self, nest: Nest) -> list[list[float]]:
        """Columns 20 and on."""
        workload = nest.workload
        output = workload.output.axes
        operands = [item.axes for item in (*workload.inputs[:2], workload.output)]
        if len(operands) == 2:
            operands.insert(1, frozenset())
        packs = {(item.operand, item.depth) for item in nest.packs}
        inside = {axis: math.log2(size) for axis, size in workload.sizes.items()}
        tile = len(nest.loops) if nest.tile is None else nest.tile
        rows = []
        for position, loop in enumerate(nest.loops):
            step = math.log2(loop.step)
            boxes = [sum([inside[axis] for axis in axes]) for axes in operands]
            rows.append(
                [loop.axis in output, position >= tile, step, *boxes, (0, position) in packs, (1, position) in packs]
            )
            inside[loop.axis] = step
        return rows


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
        count, inner = len(nest.loops), len(nest.loops) + len(alone)
        statements = 3 if nest.write else 2
        data = len(workload.inputs) + (2 if nest.write else 1)
        nodes = np.zeros((inner + statements + data, NODE_FEATURES), np.float32)
        for row, (full, tail) in enumerate([*compute_trips(nest), *(write_trips(nest) if alone else [])]):
            nodes[row] = (1, 0, 0, row == cursor, full, tail, row < count, row)
        multiply, add, write = range(inner, inner + 3)
        for row in range(statements):
            nodes[inner + row] = (0, 1, 0, 0, 0, 0, row < 2, row)
        first = inner + statements
        for row in range(data):
            nodes[first + row] = (0, 0, 1, 0, 0, 0, 0, row)
        edges: list[tuple[int, int, int, int, int]] = []  # from, to, tree, data, stride

        def chain(rows: list[int], ends: list[int]) -> None:
            edges.extend((one, other, 1, 0, 0) for one, other in zip(rows, rows[1:], strict=False))
            edges.extend((rows[-1], end, 1, 0, 0) for end in ends)

        chain(list(range(count)), [multiply, add])
        strides = _strides(workload)
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
