"""Generated code against the interpreter and NumPy, on nests of every kind and for every vector width there is."""

import numpy as np
import pytest
from guarded import OutOfBoundsError, run_guarded

from compiler_dojo.envs.errors import IllegalScheduleError
from compiler_dojo.envs.loops.codegen import generate, resolve_tile, vectors_of
from compiler_dojo.envs.loops.jit import Jit, find_target
from compiler_dojo.envs.loops.nest import Loop, Nest, Pack, start_nest
from compiler_dojo.envs.loops.random_workloads import random_workload
from compiler_dojo.envs.loops.reference import evaluate, exact_arrays, interpret, random_arrays, tolerance
from compiler_dojo.envs.loops.runner import RunnableKernel
from compiler_dojo.envs.loops.sampling import sample_nest
from compiler_dojo.envs.loops.workloads import parse

TARGETS = [target for target in map(find_target, ("native", "x86-64-v3", "generic")) if not target.missing_features()]


@pytest.fixture(scope="module", params=TARGETS, ids=lambda target: target.name)
def jit(request):
    return Jit(request.param, verify=True)


def kernel_of(nest, jit) -> RunnableKernel:
    code = generate(nest, jit.target)
    return RunnableKernel(nest, code, jit.compile(code.ir))


def run(nest, jit, seed=0):
    arrays = random_arrays(nest.workload, np.random.default_rng(seed))
    kernel_of(nest, jit).run(arrays)
    return arrays


def assert_right(nest, jit, seed=0, interpreted=True) -> None:
    output, *inputs = run(nest, jit, seed)
    bound = tolerance(nest.workload)
    np.testing.assert_array_less(np.abs(output - evaluate(nest.workload, *inputs)), bound + 1e-30, err_msg=nest.key)
    if interpreted:
        assert np.all(np.abs(output - interpret(nest, inputs)) <= 2 * bound), nest.key


def lanes(jit) -> int:
    return jit.target.vector_bytes // 4


@pytest.mark.parametrize("seed", range(40))
def test_generate__agrees_with_the_interpreter_and_numpy_on_random_nests(seed, jit) -> None:
    rng = np.random.default_rng(seed)
    workload = random_workload(rng, 20_000)
    assert_right(start_nest(workload), jit, seed)
    assert_right(sample_nest(workload, jit.target, rng), jit, seed)


@pytest.mark.parametrize("seed", range(20))
def test_generate__gives_exactly_what_numpy_gives_for_any_legal_nest(seed, jit, make_nest) -> None:
    """Splits of any factor, any order, tile and packs, where samples would not go; integers, so nothing is rounded."""
    rng = np.random.default_rng(seed)
    for _ in range(4):
        workload = random_workload(rng, 10_000)
        nest = make_nest(workload, rng)
        try:
            kernel = kernel_of(nest, jit)
        except IllegalScheduleError:
            continue
        output, *inputs = exact_arrays(workload, rng)
        kernel.run([output, *inputs])
        np.testing.assert_array_equal(output, evaluate(workload, *inputs), err_msg=nest.key)


@pytest.mark.parametrize(
    ("order", "tile", "packs"),
    [
        ((Loop("k", 3), Loop("m"), Loop("k")), 0, (Pack(0, 0),)),
        ((Loop("m"), Loop("k")), 0, (Pack(0, 0), Pack(1, 0))),
        ((Loop("m"), Loop("k")), 2, ()),
    ],
    ids=["stride of a split reduction", "several vectors of a packed row", "reduction outside the tile"],
)
def test_generate__sums_along_vectors(order, tile, packs, jit) -> None:
    workload = parse("mk,k->m", m=3, k=100)
    output, *inputs = exact_arrays(workload, np.random.default_rng(1))
    kernel_of(Nest(workload, order, tile=tile, packs=packs), jit).run([output, *inputs])
    np.testing.assert_array_equal(output, evaluate(workload, *inputs))


def test_generate__refuses_a_pack_inside_the_tile_that_it_chose(jit) -> None:
    workload = parse("mk,kn->mn", m=2, k=3, n=4)
    with pytest.raises(IllegalScheduleError, match="input B is packed at depth 2: from 0 to 0"):
        generate(start_nest(workload).with_(packs=(Pack(1, 2),)), jit.target)


EXPRESSIONS = {
    "mk,kn->mn": {"m": 13, "k": 17, "n": 37},
    "km,nk->mn": {"m": 13, "k": 17, "n": 37},
    "mk,kn->nm": {"m": 35, "k": 9, "n": 14},
    "bmk,bkn->bmn": {"b": 3, "m": 5, "k": 7, "n": 19},
    "mk,k->m": {"m": 21, "k": 77},
    "(2h+r)c,rck->hk": {"h": 11, "r": 3, "c": 5, "k": 33},
    "(h+r)(w+s)c,rsc->hwc": {"h": 6, "w": 5, "r": 3, "s": 3, "c": 18},
    "ikl,kr,lr->ir": {"i": 9, "k": 6, "l": 7, "r": 21},
    "mn->m": {"m": 9, "n": 70},
    "mn->n": {"m": 9, "n": 70},
    "mk,kn->mn|bias(n),relu": {"m": 13, "k": 17, "n": 37},
    "mk,kn->mn|bias(mn)": {"m": 13, "k": 17, "n": 37},
}


@pytest.mark.parametrize("expression", EXPRESSIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_generate__runs_each_kind_of_workload_in_every_rotation_of_its_loops(expression, dtype, jit) -> None:
    workload = parse(expression, dtype, **EXPRESSIONS[expression])
    nest = start_nest(workload)
    for turn in range(len(nest.loops)):
        assert_right(nest.with_(loops=nest.loops[turn:] + nest.loops[:turn]), jit, turn, interpreted=False)


def test_generate__adds_bias_and_relu_only_after_the_last_product(jit) -> None:
    workload = parse("mk,kn->mn|bias(n),relu", m=6, k=20, n=2 * lanes(jit) + 1)
    loops = (Loop("k", 8), Loop("m", 4), Loop("k"), Loop("m"), Loop("n"))
    assert_right(Nest(workload, loops, tile=2), jit)


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_generate__packs_either_operand_at_any_depth(depth, jit) -> None:
    workload = parse("mk,kn->mn", m=21, k=22, n=75)
    loops = (Loop("n", 2 * lanes(jit)), Loop("m", 4), Loop("k"), Loop("m"), Loop("n"))
    for packs in ((Pack(0, depth),), (Pack(1, depth),), (Pack(0, depth), Pack(1, depth))):
        assert_right(Nest(workload, loops, tile=2, packs=packs), jit)


@pytest.mark.parametrize("unroll", [1, 2, 3, 8, 100])
def test_generate__unrolls_the_reduction_by_any_factor(unroll, jit) -> None:
    workload = parse("mk,kn->mn", m=5, k=23, n=4 * lanes(jit) + 3)
    assert_right(Nest(workload, (Loop("m", 2), Loop("k"), Loop("m"), Loop("n")), tile=1, unroll=unroll), jit)


def test_generate__divides_the_outermost_loop(jit) -> None:
    workload = parse("mk,kn->mn", m=23, k=9, n=2 * lanes(jit) + 1)
    nest = Nest(workload, (Loop("m", 4), Loop("k"), Loop("m"), Loop("n")), tile=1)
    kernel = kernel_of(nest, jit)
    assert kernel.code.iterations == 6
    whole, parts = run(nest, jit), random_arrays(workload, np.random.default_rng(0))
    for begin, end in ((2, 3), (0, 2), (5, 6), (3, 5), (4, 4)):
        kernel.compiled(parts, None, begin, end)
    np.testing.assert_array_equal(parts[0], whole[0])


@pytest.mark.parametrize("threads", [2, 3])
def test_generate__runs_on_threads_that_pack_for_themselves(threads, jit) -> None:
    workload = parse("mk,kn->mn", m=23, k=19, n=2 * lanes(jit) + 1)
    loops = (Loop("m", 4), Loop("k"), Loop("m"), Loop("n"))
    assert_right(Nest(workload, loops, tile=1, packs=(Pack(0, 1), Pack(1, 1)), threads=threads), jit)


def test_generate__lets_infinities_through_and_invents_no_nan(jit) -> None:
    workload = parse("mk,k->m", m=3, k=lanes(jit) + 1)
    arrays = random_arrays(workload, np.random.default_rng(0))
    arrays[1][0, :], arrays[2][:] = np.inf, 1.0
    kernel_of(start_nest(workload), jit).run(arrays)
    assert arrays[0][0] == np.inf
    assert np.isfinite(arrays[0][1:]).all()


def test_generate__refuses_a_tile_beyond_the_registers(jit) -> None:
    workload = parse("mk,kn->mn", m=64, k=8, n=64)
    nest = Nest(workload, (Loop("k"), Loop("m"), Loop("n")), tile=1)
    with pytest.raises(IllegalScheduleError, match=r"the register tile needs \d+ vector registers and .* has \d+"):
        generate(nest, jit.target)


def test_generate__refuses_nests_that_mean_nothing(jit) -> None:
    workload = parse("mk,kn->mn", m=8, k=8, n=8)
    with pytest.raises(IllegalScheduleError, match="no loop is over 'n'"):
        generate(Nest(workload, (Loop("m"), Loop("k"))), jit.target)


def test_resolve_tile__takes_the_outermost_depth_that_fits(jit) -> None:
    fits = start_nest(parse("mk,kn->mn", m=64, k=8, n=2 * lanes(jit)))
    assert resolve_tile(fits, jit.target).tile == 1
    assert vectors_of(fits, 1, lanes(jit)) == 2
    wide = resolve_tile(start_nest(parse("mk,kn->mn", m=4, k=8, n=100 * lanes(jit))), jit.target)
    assert wide.loops[-2:] == (Loop("n", 8 * lanes(jit)), Loop("n"))
    assert wide.tile == 3


def test_generate__keeps_accumulators_in_registers(jit) -> None:
    """The innermost loop of a tile reads its operands and stores nothing."""
    rows = 3 if jit.target.vector_registers == 16 else 8
    workload = parse("mk,kn->mn", m=rows, k=64, n=2 * lanes(jit))
    nest = Nest(workload, (Loop("k"), Loop("m"), Loop("n")), tile=0, unroll=1)
    assembly = jit.assembly(generate(nest, jit.target).ir)
    blocks = assembly.split("\n.LBB")
    inner = max(blocks, key=lambda block: block.count("fmadd" if jit.target.fma else "mulps"))
    assert "(%rsp)" not in inner
    multiplies = inner.count("vfmadd") if jit.target.fma else inner.count("mulps")
    assert multiplies == 2 * rows


@pytest.mark.parametrize("seed", range(12))
def test_generate__stays_within_its_arrays_and_its_workspace(seed, jit) -> None:
    rng = np.random.default_rng(seed)
    workload = random_workload(rng, 5_000)
    code = generate(sample_nest(workload, jit.target, rng), jit.target)
    arrays = random_arrays(workload, rng)
    output, *_ = run_guarded(jit.compile(code.ir), arrays, code.workspace_bytes, 0, code.iterations)
    assert np.all(np.abs(output - evaluate(workload, *arrays[1:])) <= tolerance(workload)), code.nest.key


def test_generate__masks_are_what_keeps_it_there(jit) -> None:
    """Whole vectors in place of masked ones touch what is behind the arrays."""
    workload = parse("mk,kn->mn", m=3, k=3, n=lanes(jit) - 1)
    ir = generate(start_nest(workload), jit.target).ir
    unmasked = ir.replace("i1 0", "i1 1")
    assert unmasked != ir
    arrays = random_arrays(workload, np.random.default_rng(0))
    with pytest.raises(OutOfBoundsError):
        run_guarded(jit.compile(unmasked), arrays, 0, 0, 3)
