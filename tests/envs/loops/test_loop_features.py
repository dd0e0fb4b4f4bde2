"""Observations against slow references that follow the text of their specification."""

import math

import numpy as np
import pytest
from making_nests import contraction, convolution, nest, product

from compiler_dojo.envs.loops.actions import ActionSet, LoopTuneActions, State
from compiler_dojo.envs.loops.features import OBSERVATIONS, FullTable, LoopGraph, LoopTuneTable, ScheduleObservation
from compiler_dojo.envs.loops.full_actions import FullActions, VectorUnit
from compiler_dojo.envs.loops.nest import Loop, Nest

TUNE, FULL = LoopTuneActions(), FullActions(VectorUnit(64, 32))
WORKLOADS = [
    product(128, 112, 96),
    convolution(w=56, r=3, o=64, c=16),
    contraction("bmk,bkn->bmn", b=4, m=96, k=128, n=64),
    contraction("ikl,kj,lj->ij", i=96, k=64, l=128, j=128),
    contraction("km,k->m", m=5000, k=1024),
]


def walk(actions: ActionSet, workload, rounds: int, steps: int):
    draw = np.random.default_rng(0)
    for _ in range(rounds):
        state = actions.start(workload)
        for _ in range(steps):
            yield state
            state = actions.apply(state, int(draw.choice(actions.mask(state).nonzero()[0])))


def size_and_tail(sizes: dict[str, int], outside: list[Loop], loop: Loop) -> tuple[int, int]:
    covered = sizes[loop.axis]
    for other in outside:
        if other.axis == loop.axis:
            covered = other.step
    return covered // loop.step, covered % loop.step


def distance(found: Nest, operand, loop: Loop) -> int:
    """Elements between an operand's element of one iteration and that of the next, by ravelled indices."""
    shape = found.workload.shape(operand)
    first = [0] * len(shape)
    second = [sum(factor * loop.step for axis, factor in index if axis == loop.axis) for index in operand.indices]
    weights = [math.prod(shape[dimension + 1 :]) for dimension in range(len(shape))]
    return sum((other - one) * weight for one, other, weight in zip(first, second, weights, strict=True))


def slow_table(state: State) -> np.ndarray:
    """The published observation, from the text of its specification: accesses weighted by the sizes from the root."""
    found = state.nest
    common = 0
    while common < min(len(found.loops), len(found.write)) and found.loops[common] == found.write[common]:
        common += 1
    rows = []
    paths = [(list(found.loops), 0, [*found.workload.inputs, found.workload.output])]
    paths.append((list(found.write), common, [found.workload.output]))
    for number, (path, begin, operands) in enumerate(paths):
        weight = 1
        for depth, loop in enumerate(path):
            full, tail = size_and_tail(found.workload.sizes, path[:depth], loop)
            weight *= full
            if depth < begin:
                continue
            histogram = np.zeros(16)
            for operand in operands:
                stride = distance(found, operand, loop)
                if stride and math.ceil(math.log2(stride)) < 16:
                    histogram[math.ceil(math.log2(stride))] += weight
            cursor = number == 0 and depth == state.cursor
            rows.append([cursor, full, tail, number == 0, *(histogram / (weight * len(operands) or 1))])
    table = np.zeros((10, 20), np.float32)
    table[: len(rows)] = rows
    return table


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: workload.expression)
def test_looptune_table__is_what_the_specification_says(workload) -> None:
    table = LoopTuneTable()
    for state in walk(TUNE, workload, rounds=6, steps=12):
        found = table.observe(state)
        assert found.dtype == np.float32
        assert found in table.space
        np.testing.assert_allclose(found, slow_table(state), rtol=1e-6)


def test_looptune_table__of_the_start_nest() -> None:
    found = LoopTuneTable().observe(State(nest(product(64, 80, 96), "m k n", "m n"), 1))
    assert found[:4, :4].tolist() == [[0, 64, 0, 1], [1, 80, 0, 1], [0, 96, 0, 1], [0, 96, 0, 0]]
    third = np.float32(1 / 3)
    bins = [{4 + 7: 2 * third}, {4: third, 4 + 7: third}, {4: 2 * third}, {4: 1.0}]  # 80 and 96 are in bin 7
    for row, expected in zip(found, bins, strict=False):
        assert {column: row[column] for column in range(4, 20) if row[column]} == pytest.approx(expected)
    assert not found[4:].any()


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: workload.expression)
def test_full_table__describes_boxes_tiles_and_packs(workload) -> None:
    table = FullTable()
    for state in walk(FULL, workload, rounds=4, steps=10):
        found = table.observe(state)
        assert found in table.space
        plain = slow_table(state)
        count = len(state.nest.loops)
        np.testing.assert_allclose(found[:count, 4:20], plain[:count, 4:], rtol=1e-6)
        np.testing.assert_allclose(found[:count, 1:3], np.log2(1 + plain[:count, 1:3]), rtol=1e-6)
        for position in range(count):
            extents = state.nest.tile_extents(position)
            elements = [math.prod(extents[axis] for axis in item.axes) for item in workload.inputs[:2]]
            elements = [*elements, *[1] * (2 - len(elements)), math.prod(extents[a] for a in workload.output.axes)]
            np.testing.assert_allclose(found[position, 23:26], np.log2(elements), rtol=1e-5)
        for item in state.nest.packs:
            assert found[item.depth, 26 + item.operand] == 1
        assert found[:, 26:].sum() == len(state.nest.packs)
        assert found[10, 0] == (state.nest.tile is not None)


def test_graph__is_the_tree_with_its_data() -> None:
    state = State(nest(product(64, 80, 96), "m k n", "m n"), 1)
    graph = LoopGraph().observe(state)
    assert graph in LoopGraph().space
    # loops m k n and n of the write nest; multiply, add, write; A, B, the sum, C
    kinds = graph.nodes[:, :3].argmax(axis=1)
    assert kinds.tolist() == [0] * 4 + [1] * 3 + [2] * 4
    assert graph.nodes[:, 3].nonzero()[0].tolist() == [1]
    edges = [
        (*map(int, link), float(stride))
        for link, (_, _, stride) in zip(graph.edge_links, graph.edges, strict=True)
    ]  # fmt: skip
    tree = [edge[:2] for edge, kind in zip(edges, graph.edges, strict=True) if kind[0]]
    data = [edge for edge, kind in zip(edges, graph.edges, strict=True) if kind[1]]
    assert tree == [(0, 1), (1, 2), (2, 4), (2, 5), (0, 3), (3, 6)]
    assert [edge for edge in data if edge[0] < 4] == [
        (0, 7, 80), (0, 9, 96), (1, 7, 1), (1, 8, 96), (2, 8, 1), (2, 9, 1), (0, 10, 96), (3, 10, 1)
    ]  # fmt: skip
    assert [edge[:2] for edge in data if edge[0] >= 4] == [(7, 4), (8, 4), (4, 5), (5, 9), (9, 6), (6, 10)]


def test_graph__without_a_write_nest_adds_into_the_output() -> None:
    graph = LoopGraph().observe(State(nest(product(64, 80, 96), "m k n")))
    assert len(graph.nodes) == 3 + 2 + 3
    assert [4, 7] in graph.edge_links.tolist()


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: workload.expression)
def test_graph__has_a_tree_over_all_loops_and_statements(workload) -> None:
    observation = LoopGraph()
    for state in walk(TUNE, workload, rounds=3, steps=10):
        graph = observation.observe(state)
        assert graph in observation.space
        tree = graph.edge_links[graph.edges[:, 0] == 1]
        children = tree[:, 1].tolist()
        assert len(children) == len(set(children))
        roots = set(range(int(graph.nodes[:, :2].sum()))) - set(children)
        shared = state.nest.write and state.nest.loops[0] == state.nest.write[0]
        assert len(roots) == (1 if shared or not state.nest.write else 2)


def test_observations__follow_the_protocol() -> None:
    assert all(isinstance(make(), ScheduleObservation) for make in OBSERVATIONS.values())
