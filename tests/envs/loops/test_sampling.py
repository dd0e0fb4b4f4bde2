"""Random nests: legal, compilable, reproducible, of every kind."""

import numpy as np
import pytest

from compiler_dojo.envs.loops.codegen import generate, resolve_tile, vectors_of
from compiler_dojo.envs.loops.legality import check_nest
from compiler_dojo.envs.loops.nest import MOST_LOOPS
from compiler_dojo.envs.loops.random_workloads import random_workload
from compiler_dojo.envs.loops.sampling import sample_nest
from compiler_dojo.envs.loops.targets import Target
from compiler_dojo.envs.loops.workloads import parse

TARGETS = [
    Target("x86-64-v4", "x86-64-v4", "", "x86_64-unknown-linux-gnu", 64, 32, True),
    Target("x86-64", "x86-64", "", "x86_64-unknown-linux-gnu", 16, 16, False),
]


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_sample_nest__is_legal_and_fits_the_registers(target) -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        workload = random_workload(rng)
        nest = sample_nest(workload, target, rng)
        check_nest(nest)
        assert len(nest.loops) <= MOST_LOOPS
        resolved = resolve_tile(nest, target)
        lanes = target.vector_bytes // workload.item_bytes
        assert vectors_of(resolved, resolved.tile, lanes) <= target.vector_registers, nest.key


def test_sample_nest__has_code() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        assert "fma" in generate(sample_nest(parse("mk,kn->mn", m=40, k=24, n=50), TARGETS[0], rng), TARGETS[0]).ir


def test_sample_nest__follows_from_the_generator_alone() -> None:
    workload = parse("ikl,kr,lr->ir", i=32, k=16, l=24, r=16)
    one, two = (
        [sample_nest(workload, TARGETS[0], rng) for _ in range(20)] for rng in map(np.random.default_rng, (5, 5))
    )
    assert one == two
    assert len({nest.key for nest in one}) > 15


def test_sample_nest__tries_everything() -> None:
    rng = np.random.default_rng(2)
    nests = [sample_nest(parse("mk,kn->mn", m=256, k=256, n=256), TARGETS[0], rng) for _ in range(400)]
    assert {nest.tile is None for nest in nests} == {True, False}
    assert {nest.loops[-1].axis for nest in nests} == {"m", "k", "n"}
    assert {pack.operand for nest in nests for pack in nest.packs} == {0, 1}
    assert len({nest.unroll for nest in nests}) > 3
    assert {nest.prefetch for nest in nests} == {0, 1, 2}
    assert len({tuple(loop.axis for loop in nest.loops) for nest in nests}) > 50
    assert {nest.threads for nest in nests} == {1}
