"""Generated kernels: random nests of random workloads give exactly what the reference gives."""

import numpy as np
import pytest

from compiler_dojo.envs.errors import IllegalScheduleError
from compiler_dojo.envs.loops.codegen import Code, generate
from compiler_dojo.envs.loops.jit import Jit
from compiler_dojo.envs.loops.nest import Loop, Nest, Pack
from compiler_dojo.envs.loops.notation import parse
from compiler_dojo.envs.loops.random_workloads import random_workload
from compiler_dojo.envs.loops.reference import evaluate, exact_arrays
from compiler_dojo.envs.loops.targets import find_target

FENCE = 64


def result_of(jit: Jit, code: Code, arrays: tuple[np.ndarray, ...]) -> np.ndarray:
    """Run a kernel's parts, the last one first, with a workspace full of NaN and a fence behind it."""
    kernel = jit.compile(code.ir)
    memory = np.full(64 + code.workspace_bytes + FENCE, 255, np.uint8)
    workspace = memory[-memory.ctypes.data % 64 :]
    for part in reversed(np.array_split(np.arange(code.iterations), code.nest.threads)):
        if len(part):
            kernel(arrays, workspace, int(part[0]), int(part[-1]) + 1)
    assert (workspace[code.workspace_bytes :] == 255).all()
    return arrays[0]


@pytest.mark.parametrize("name", ["native", "x86-64-v3"])
def test_generate__gives_exactly_what_the_reference_gives(name: str, make_nest) -> None:
    target = find_target(name)
    jit, rng, done = Jit(target, verify=True), np.random.default_rng(0), 0
    while done < 60:
        workload = random_workload(rng, 10_000)
        try:
            code = generate(make_nest(workload, rng), target)
        except IllegalScheduleError:
            continue
        if len(code.ir) > 100_000:
            continue
        arrays = exact_arrays(workload, rng)
        result = result_of(jit, code, arrays)
        np.testing.assert_array_equal(result, evaluate(workload, *arrays[1:]), err_msg=code.nest.key)
        done += 1


@pytest.mark.parametrize(
    ("order", "tile", "packs"),
    [
        ((Loop("k", 3), Loop("m"), Loop("k")), 0, (Pack(0, 0),)),
        ((Loop("m"), Loop("k")), 0, (Pack(0, 0), Pack(1, 0))),
        ((Loop("m"), Loop("k")), 2, ()),
    ],
    ids=["stride of a split reduction", "several vectors of a packed row", "reduction outside the tile"],
)
def test_generate__sums_along_vectors(order: tuple[Loop, ...], tile: int, packs: tuple[Pack, ...]) -> None:
    workload = parse("mk,k->m", m=3, k=100)
    target = find_target()
    arrays = exact_arrays(workload, np.random.default_rng(1))
    code = generate(Nest(workload, order, tile=tile, packs=packs), target)
    np.testing.assert_array_equal(result_of(Jit(target), code, arrays), arrays[1] @ arrays[2])


def test_generate__refuses_a_pack_inside_the_tile_that_it_chose() -> None:
    workload = parse("mk,kn->mn", m=2, k=3, n=4)
    nest = Nest(workload, (Loop("m"), Loop("k"), Loop("n")), packs=(Pack(1, 2),))
    with pytest.raises(IllegalScheduleError, match="input B is packed at depth 2: from 0 to 0"):
        generate(nest, find_target())
