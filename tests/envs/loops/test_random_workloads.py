"""Random workloads: legal, within their limit, and of every kind."""

import math

import numpy as np

from compiler_dojo.envs.loops.nest import MOST_LOOPS, start_nest
from compiler_dojo.envs.loops.notation import parse_text
from compiler_dojo.envs.loops.random_workloads import random_workload


def test_random_workload__is_legal_and_small_enough() -> None:
    rng = np.random.default_rng(0)
    for most in (1, 100, 2_000_000):
        for _ in range(100):
            workload = random_workload(rng, most)
            nest = start_nest(workload)
            assert parse_text(str(workload)) == workload
            assert math.prod(workload.sizes.values()) <= most
            assert len(nest.loops) + len(nest.write) <= MOST_LOOPS


def test_random_workload__covers_every_kind() -> None:
    rng = np.random.default_rng(1)
    workloads = [random_workload(rng) for _ in range(500)]
    indices = [index for workload in workloads for operand in workload.inputs for index in operand.indices]
    sizes = {size for workload in workloads for size in workload.sizes.values()}
    assert {len(workload.inputs) for workload in workloads} == {1, 2, 3}
    assert {len(workload.spatial_axes) for workload in workloads} == {0, 1, 2, 3, 4}
    assert {len(workload.reduction_axes) for workload in workloads} == {0, 1, 2, 3}
    assert {(bool(workload.bias), workload.relu) for workload in workloads} >= {
        (False, True),
        (True, False),
        (True, True),
    }
    assert {workload.dtype for workload in workloads} == {"float32", "float64"}
    assert {len(index) for index in indices} >= {1, 2}
    assert {coefficient for index in indices for _, coefficient in index} == {1, 2, 3}
    assert {1, 7, 64, 131} <= sizes
    assert any(
        workload.spatial_axes != tuple(index[0][0] for index in workload.output.indices) for workload in workloads
    )


def test_random_workload__follows_its_generator() -> None:
    one, other = (random_workload(np.random.default_rng(7)) for _ in range(2))
    assert one == other
