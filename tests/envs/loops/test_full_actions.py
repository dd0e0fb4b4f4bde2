"""The full action set: what it reaches, tiles by registers and workload, masks against what actions do."""

import numpy as np
import pytest
from making_nests import contraction, convolution, product
from test_actions import checked_mask

from compiler_dojo.envs.errors import IllegalScheduleError
from compiler_dojo.envs.loops.actions import State
from compiler_dojo.envs.loops.full_actions import TILES, FullActions, VectorUnit, plan_tiles
from compiler_dojo.envs.loops.legality import check_nest
from compiler_dojo.envs.loops.transforms import tree_size

AVX512, AVX2, NEON = VectorUnit(64, 32), VectorUnit(32, 16), VectorUnit(16, 32)
ACTIONS = FullActions(AVX512, threads=2)


def act(state: State, script: str, actions: FullActions = ACTIONS) -> State:
    for name in script.split():
        state = actions.apply(state, actions.names.index(name))
    return state


def built(script: str, *sizes: int, actions: FullActions = ACTIONS) -> str:
    return str(act(actions.start(product(*sizes)), script, actions).nest)


def test_product_of_256__takes_four_actions() -> None:
    assert built("tile_14x2 swap_down pack_1 unroll_4", 256, 256, 256) == (
        "n 0:256:32\n"
        "  pack B[k:256, n:32]\n"
        "  m 0:256:14\n"
        "    k 0:256 unroll 4\n"
        "      tile C[m:14, n:32]"
    )  # fmt: skip


def test_product_of_1024__takes_nine_actions() -> None:
    script = "tile_14x2 swap_down block_128 block_sum_256 up pack_0 up pack_1 unroll_4"
    assert built(script, 1024, 1024, 1024) == (
        "k 0:1024:256\n"
        "  pack B[k:256, n:1024]\n"
        "  m 0:1024:126\n"
        "    pack A[m:126, k:256]\n"
        "    n 0:1024:32\n"
        "      m 0:126:14\n"
        "        k 0:256 unroll 4\n"
        "          tile C[m:14, n:32]"
    )


def test_product_on_avx2__takes_the_tile_that_fits_16_registers() -> None:
    assert built("tile_6x2 swap_down block_sum_256 pack_1", 512, 512, 512, actions=FullActions(AVX2)) == (
        "k 0:512:256\n  n 0:512:16\n    pack B[k:256, n:16]\n    m 0:512:6\n      k 0:256\n        tile C[m:6, n:16]"
    )


def test_threads__divide_an_output_axis_and_keep_it_outermost() -> None:
    state = act(ACTIONS.start(product(512, 512, 512)), "tile_14x2 swap_down block_sum_256 block_256 parallel")
    assert str(state.nest).startswith("m 0:512:252 threads 2\n  k 0:512:256\n")
    mask = dict(zip(ACTIONS.names, ACTIONS.mask(state), strict=True))
    assert not any(mask[f"block_sum_{size}"] for size in (64, 128, 256, 512))
    assert mask["parallel"]
    assert act(state, "parallel").nest.threads == 1
    with pytest.raises(IllegalScheduleError, match="threads would write the same elements"):
        act(State(state.nest, 0), "swap_down")


def test_parallel__is_not_legal_with_one_thread() -> None:
    actions = FullActions(AVX512)
    state = act(actions.start(product(512, 512, 512)), "tile_14x2", actions)
    assert not actions.mask(state)[actions.names.index("parallel")]
    with pytest.raises(IllegalScheduleError, match="changes nothing"):
        act(state, "parallel", actions)


def test_tile__may_be_chosen_again() -> None:
    assert built("tile_14x2 swap_down block_sum_64 pack_1 tile_8x3", 256, 256, 256) == (
        "k 0:256:64\n"
        "  n 0:256:48\n"
        "    pack B[k:64, n:48]\n"
        "    m 0:256:8\n"
        "      k 0:64\n"
        "        tile C[m:8, n:48]"
    )  # fmt: skip


def test_prefetch__and_a_second_choice_of_unrolling() -> None:
    nest = act(ACTIONS.start(product(256, 256, 256)), "tile_8x2 prefetch unroll_8 unroll_2").nest
    assert (nest.prefetch, nest.unroll) == (1, 2)
    assert act(State(nest), "prefetch").nest.prefetch == 0


@pytest.mark.parametrize(
    ("unit", "dtype", "names"),
    [
        (AVX2, "float32", "1x1 1x4 4x1 8x1 12x1 4x2 6x2 4x3"),
        (AVX2, "float64", "1x1 1x4 4x1 8x1 12x1 4x2 6x2 4x3"),
        (AVX512, "float32", "1x1 1x4 4x1 8x1 12x1 24x1 4x2 6x2 8x2 12x2 14x2 4x3 8x3 9x3 4x4 6x4"),
        (NEON, "float32", "1x1 1x4 4x1 8x1 12x1 24x1 4x2 6x2 8x2 12x2 14x2 4x3 8x3 9x3 4x4 6x4"),
    ],
)
def test_tiles__are_those_that_fit_the_registers(unit, dtype, names) -> None:
    plan = plan_tiles(contraction("mk,kn->mn", dtype, m=256, k=256, n=256), unit)
    found = [f"{rows}x{width}" for (rows, width), extents in zip(TILES, plan.tiles, strict=True) if extents]
    assert " ".join(found) == names


def test_tiles__are_those_that_the_workload_has_room_for() -> None:
    plan = plan_tiles(product(4, 64, 24), AVX512)
    assert [extents for extents in plan.tiles if extents] == [
        {"n": 16, "m": 1},
        {"n": 16, "m": 4},
        {"n": 24, "m": 4},  # the second vector is cut short
    ]


@pytest.mark.parametrize(
    ("workload", "rows", "vector"),
    [
        (product(64, 64, 64), "m", "n"),
        (contraction("mk,nk->mn", m=64, k=64, n=64), "m", "n"),
        (contraction("bmk,bkn->bmn", b=128, m=64, k=64, n=64), "m", "n"),
        (contraction("ikl,kj,lj->ij", i=64, k=64, l=64, j=64), "i", "j"),
        (contraction("mk,k->m", m=64, k=64), "m", "k"),
        (contraction("k,kn->n", k=64, n=64), None, "n"),
        (contraction("ij,ij->ij", i=64, j=64), "i", "j"),
        (contraction("i,i->", i=64), None, "i"),
        (convolution(w=56, r=3, o=64, c=16), "o", "w"),
    ],
    ids=lambda value: getattr(value, "expression", value),
)
def test_tile_axes__reuse_what_was_loaded(workload, rows, vector) -> None:
    plan = plan_tiles(workload, AVX512)
    assert plan.vector == vector
    tiles = [extents for extents in plan.tiles if extents]
    assert {axis for extents in tiles for axis in extents} == {axis for axis in (rows, vector) if axis} - {"k"} - (
        {"i"} if workload.expression == "i,i->" else set()
    )


@pytest.mark.parametrize(
    ("action", "setup", "reason"),
    [
        ("tile_14x2", "", "does not fit the registers or the workload"),
        ("pack_0", "", "needs a register tile"),
        ("block_32", "tile_1x1", "cannot be blocked by 32"),
        ("block_sum_64", "tile_1x1", "no reduction of more than 64 elements"),
        ("unroll_4", "unroll_4", "changes nothing"),
        ("tile_4x1", "tile_4x1", "changes nothing"),
    ],
)
def test_action__is_refused_with_the_reason(action, setup, reason) -> None:
    state = act(ACTIONS.start(product(8, 64, 16)), setup)
    with pytest.raises(IllegalScheduleError, match=reason):
        act(state, action)


@pytest.mark.parametrize(
    "workload",
    [
        product(256, 512, 96),
        product(14, 4, 7),
        convolution(w=56, r=3, o=64, c=16),
        contraction("bmk,bkn->bmn", b=4, m=96, k=128, n=64),
        contraction("ikl,kj,lj->ij", i=96, k=64, l=128, j=128),
        contraction("mk,k->m", m=512, k=1024),
        contraction("ij,ij->ij", i=64, j=100),
        contraction("i,i->", i=512),
    ],
    ids=lambda workload: workload.expression,
)
def test_random_walk__keeps_masks_true(workload) -> None:
    draw = np.random.default_rng(0)
    for _ in range(8):
        state = ACTIONS.start(workload)
        for _ in range(20):
            state = ACTIONS.apply(state, int(draw.choice(checked_mask(ACTIONS, state).nonzero()[0])))
            assert tree_size(state.nest) <= 10
            check_nest(state.nest)
            assert state.cursor == 0 or state.cursor < (state.nest.tile or len(state.nest.loops))
