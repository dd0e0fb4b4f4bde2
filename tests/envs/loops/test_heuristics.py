import numpy as np
import pytest

from compiler_dojo.envs.loops.codegen import generate
from compiler_dojo.envs.loops.heuristics import candidates, register_tiles, vector_axes
from compiler_dojo.envs.loops.legality import check_nest
from compiler_dojo.envs.loops.nest import MOST_LOOPS, Nest
from compiler_dojo.envs.loops.reference import evaluate, exact_arrays, interpret
from compiler_dojo.envs.loops.runner import Runner
from compiler_dojo.envs.loops.targets import find_target
from compiler_dojo.envs.loops.workload import Workload
from compiler_dojo.envs.loops.workloads import SETS, parse, parse_text, random_workload

KINDS = (
    "mk,kn->mn m=30 k=20 n=50",
    "mk,kn->nm m=30 k=20 n=50",
    "mk,nk->mn m=30 k=20 n=50 float64",
    "bmk,bkn->bmn b=3 m=10 k=20 n=33",
    "bmk,bnk->bmn b=3 m=10 k=20 n=33",
    "mk,k->m m=40 k=50",
    "km,k->m m=40 k=50",
    "mn->m m=30 n=40",
    "mn->n m=30 n=40",
    "mn-> m=30 n=40",
    "mn->mn|relu m=13 n=21",
    "mn->nm m=13 n=21",
    "(w+s)c,sck->wk w=20 s=3 c=5 k=24",
    "(2h+r)(2w+s)c,rsck->hwk h=5 w=6 r=3 s=3 c=4 k=18",
    "(h+r)(w+s)c,rsc->hwc h=5 w=6 r=3 s=3 c=20",
    "ikl,kr,lr->ir i=12 k=9 l=10 r=8",
    "mk,kn->mn|bias(n),relu m=5 k=300 n=20",
    "mk,kn->mn m=1 k=1 n=1",
)


def best(text: str, threads: int = 1) -> Nest:
    return candidates(parse_text(text), find_target(), threads)[0]


def points(workload: Workload) -> int:
    return int(np.prod([axis.size for axis in workload.axes]))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("text", KINDS)
def test_candidates__are_legal_and_compute_the_workload(text, threads) -> None:
    workload = parse_text(text)
    output, *others = exact_arrays(workload, np.random.default_rng(0))
    nests = candidates(workload, find_target(), threads)
    runner = Runner()
    for nest in nests:
        check_nest(nest)
        assert len(nest.loops) <= MOST_LOOPS
        assert nest.threads in (1, threads)
    for nest in nests[:: max(1, len(nests) // 3)]:
        runner.compile(nest).run((output, *others))
        np.testing.assert_array_equal(output, evaluate(workload, *others))
    assert len({nest.key for nest in nests}) == len(nests)


@pytest.mark.parametrize("name", sorted(SETS))
def test_candidates__are_found_for_every_set(name) -> None:
    for workload in SETS[name]("test")[:3]:
        for nest in candidates(workload, find_target())[:2]:
            generate(nest, find_target())


def test_candidates__of_random_workloads_pass_the_interpreter() -> None:
    rng = np.random.default_rng(1)
    for _ in range(12):
        workload = random_workload(rng)
        nest = candidates(workload, find_target())[0]
        check_nest(nest)
        if points(workload) < 20_000:
            _, *others = exact_arrays(workload, rng)
            np.testing.assert_array_equal(interpret(nest, others), evaluate(workload, *others))


def test_candidates__differ_by_target() -> None:
    workload = parse("mk,kn->mn", m=128, k=128, n=128)
    narrow = find_target()._replace(vector_bytes=16, vector_registers=16)
    for nest in candidates(workload, narrow)[:10]:
        assert nest.tile is not None
        extents = nest.tile_extents(nest.tile)
        assert extents["m"] * -(-extents["n"] // 4) <= 14


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("mk,kn->mn m=64 k=64 n=64", "n"),
        ("bmk,bkn->bmn b=2 m=64 k=64 n=64", "n"),
        ("(w+s)c,sck->wk w=64 s=3 c=16 k=64", "k"),
        ("(h+r)(w+s)c,rsc->hwc h=9 w=9 r=3 s=3 c=64", "c"),
        ("ikl,kr,lr->ir i=64 k=64 l=64 r=32", "r"),
        ("km,k->m m=64 k=64", "m"),
    ],
)
def test_vector_axes__prefers_neighbours_in_the_output(text, first) -> None:
    assert vector_axes(parse_text(text))[0] == first
    assert best(text).loops[-1].axis == first


@pytest.mark.parametrize(
    ("text", "axis"), [("mk,k->m m=256 k=256", "k"), ("mn-> m=9 n=64", "n"), ("mn->m m=64 n=64", "n")]
)
def test_candidates__lay_vectors_along_a_sum_where_the_output_has_none(text, axis) -> None:
    assert best(text).loops[-1].axis == axis


def test_register_tiles__have_rows_of_two_axes_where_one_is_short() -> None:
    tiles = register_tiles(parse("(h+r)(w+s)c,rsck->hwk", h=8, w=4, r=3, s=3, c=8, k=64), find_target(), "k")
    assert any({"h", "w", "k"} == {axis for axis, _ in tile.extents} for tile in tiles)


def test_candidates__divide_the_output_over_threads() -> None:
    nests = candidates(parse("mk,kn->mn", m=960, k=512, n=960), find_target(), 3)
    assert {nest.threads for nest in nests} == {1, 3}
    assert all(-(-nest.extent(0) // nest.loops[0].step) <= 3 for nest in nests if nest.threads > 1)


def test_candidates__start_with_one_thread_where_more_do_not_pay() -> None:
    nests = candidates(parse("mk,kn->mn", m=16, k=16, n=16), find_target(), 2)
    assert nests[0].threads == 1
    assert {nest.threads for nest in nests} == {1, 2}


def test_candidates__run_on_one_thread_what_cannot_be_divided() -> None:
    assert best("mn-> m=30 n=40", threads=2).threads == 1
