"""What the tests of loops share: random legal nests."""

from collections.abc import Callable

import numpy as np
import pytest

from compiler_dojo.envs.loops.nest import Loop, Nest, Pack
from compiler_dojo.envs.loops.workload import Workload

MakeNest = Callable[[Workload, np.random.Generator], Nest]


def random_chain(axis: str, size: int, rng: np.random.Generator) -> list[Loop]:
    """The loops over one axis: up to two splits, of any step, also ones that do not divide or exceed the size."""
    steps = rng.integers(2, size + 3, size=int(rng.integers(0, 3)))
    return [Loop(axis, int(step)) for step in sorted(set(steps), reverse=True)] + [Loop(axis)]


def random_order(chains: list[list[Loop]], rng: np.random.Generator) -> tuple[Loop, ...]:
    """All loops in any order that keeps that of each axis."""
    waiting = [list(chain) for chain in chains]
    loops = []
    while any(waiting):
        loops.append(waiting[rng.choice([number for number, chain in enumerate(waiting) if chain])].pop(0))
    return tuple(loops)


@pytest.fixture
def make_nest() -> MakeNest:
    """Any legal nest of a workload: splits, order, register tile, packs, threads."""

    def make(workload: Workload, rng: np.random.Generator) -> Nest:
        loops = random_order([random_chain(axis.name, axis.size, rng) for axis in workload.axes], rng)
        tile = None if rng.random() < 0.2 else int(rng.integers(len(loops) + 1))
        deepest = len(loops) if tile is None else tile
        packs = tuple(
            Pack(number, int(rng.integers(deepest + 1)))
            for number, operand in enumerate(workload.inputs)
            if rng.random() < 0.5 and all(len(index) == 1 for index in operand.indices)
        )
        divisible = tile != 0 and loops[0].axis in workload.spatial_axes
        return Nest(
            workload,
            loops,
            tile=tile,
            unroll=int(rng.integers(4)),
            packs=packs,
            prefetch=int(rng.integers(3)),
            threads=int(rng.integers(1, 5)) if divisible else 1,
        )

    return make
