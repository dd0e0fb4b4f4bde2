"""The analytical cost model, against cycles worked out by hand and in what must be better than what."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from compiler_dojo.envs.loops.costs import AnalyticalCost
from compiler_dojo.envs.loops.machine import Machine, host_machine
from compiler_dojo.envs.loops.nest import Loop, Nest, Pack, start_nest
from compiler_dojo.envs.loops.random_workloads import random_workload
from compiler_dojo.envs.loops.targets import Target
from compiler_dojo.envs.loops.throughput import boxes, unrolling
from compiler_dojo.envs.loops.workload import Workload
from compiler_dojo.envs.loops.workloads import parse

AVX512 = Target("x86-64-v4", "x86-64-v4", "", "x86_64-unknown-linux-gnu", 64, 32, True)
AVX2 = Target("x86-64-v3", "x86-64-v3", "", "x86_64-unknown-linux-gnu", 32, 16, True)

# two multiply-adds, two loads and one store per cycle, and nothing else costs anything
IDEAL = Machine(
    gigahertz=1.0,
    stores_per_cycle=1.0,
    uops_per_cycle=1e9,
    load_latency=0.0,
    forward_latency=0.0,
    visit_cycles=0.0,
    mispredict_cycles=0.0,
    horizontal_cycles=0.0,
    masked_cycles=0.0,
    l1_bytes=2**30,
    tlb_pages=2**30,
)


def product(m: int = 64, k: int = 64, n: int = 64, dtype: str = "float32") -> Workload:
    return parse("mk,kn->mn", dtype, m=m, k=k, n=n)


def nest(workload: Workload, loops: str, **attributes: object) -> Nest:
    """A nest from text such as ``m8 k m n``: axes with their steps."""
    made = Nest(workload, tuple(Loop(text[0], int(text[1:] or 1)) for text in loops.split()))
    return made.with_(**attributes)


def cycles(made: Nest, machine: Machine = IDEAL, target: Target = AVX512) -> dict[str, float]:
    return AnalyticalCost(target, machine).explain(made)


def test_explain__full_tile_is_bound_by_its_multiply_adds() -> None:
    # 8 x 48 is 24 accumulators: 64 rows / 8, 64 steps each of 24 multiply-adds, two a cycle
    found = cycles(nest(product(n=48), "m8 k m n", tile=1))
    assert found["fma"] == found["bound"] == found["total"] == 8 * 64 * 24 / 2
    assert found["loads"] == 8 * 64 * (8 + 3) / 2  # broadcasts of A, vectors of B
    assert found["stores"] == 8 * 24


def test_explain__single_accumulator_waits_for_its_own_result() -> None:
    # one vector, not unrolled: each of 64 steps waits 4 cycles for the one before; nothing else runs meanwhile
    one = nest(product(m=1, n=16), "m k n", tile=1, unroll=1)
    assert cycles(one)["total"] == 64 * 4
    # eight partial sums hide it all but for adding them up: 7 additions, two a cycle
    split = one.with_(unroll=8)
    assert cycles(split)["latency"] == 64 * 4 / 8
    assert cycles(split)["total"] == max(64 * 4 / 8, 64 / 2, 64 * 2 / 2) + 7 / 2


def test_explain__tile_without_reduction_loads_and_stores_its_output_each_time() -> None:
    # k outside: 64 runs of a tile of 4 vectors; the first begins with zeros
    found = cycles(nest(product(m=1), "m k n", tile=2))
    assert found["stores"] == 64 * 4
    assert found["loads"] == (63 * 4 + 64 * (4 + 1)) / 2  # the output, vectors of B, a broadcast of A


def test_explain__gather_costs_its_elements() -> None:
    transposed = parse("mk,nk->mn", m=64, k=64, n=48)
    plain, gathered = nest(product(n=48), "m8 k m n", tile=1), nest(transposed, "m8 k m n", tile=1)
    assert cycles(gathered)["loads"] == 8 * 64 * (8 / 2 + 3 * 16 * IDEAL.gather_cycles)
    assert cycles(gathered)["total"] > 2 * cycles(plain)["total"]


def test_explain__packing_replaces_gathers() -> None:
    transposed = parse("mk,nk->mn", m=1024, k=256, n=48)
    plain = nest(transposed, "m8 k m n", tile=1)
    packed = plain.with_(packs=(Pack(1, 0),))
    assert cycles(packed)["loads"] == cycles(nest(product(1024, 256, 48), "m8 k m n", tile=1))["loads"]
    assert cycles(packed)["packs"] > 0
    assert cycles(packed, Machine())["total"] < cycles(plain, Machine())["total"]


def test_explain__scatter_costs_its_elements() -> None:
    stored = parse("mk,kn->nm", m=8, k=64, n=48)
    assert cycles(nest(stored, "m k n", tile=0))["stores"] == 24 * 16 * IDEAL.scatter_cycles
    assert cycles(nest(stored, "k m n", tile=1))["stores"] == 64 * 24 * 16 * IDEAL.scatter_cycles


def test_explain__part_filled_vectors_cost_as_much_as_full_ones() -> None:
    full, part = nest(product(n=48), "m8 k m n", tile=1), nest(product(n=33), "m8 k m n", tile=1)
    assert cycles(part)["fma"] == cycles(full)["fma"]
    assert AnalyticalCost(AVX512, IDEAL).gflops(part) < 0.75 * 64


def test_explain__rest_of_an_axis_is_a_smaller_tile() -> None:
    # 13 = 8 + 5 rows
    assert cycles(nest(product(m=13, n=48), "m8 k m n", tile=1))["fma"] == 64 * 13 * 3 / 2


def test_explain__too_many_accumulators_spill() -> None:
    assert cycles(nest(product(m=16, n=48), "m k n", tile=0))["stores"] > 16 * 64


def test_explain__reduction_along_vectors_adds_up_their_lanes() -> None:
    machine = replace(IDEAL, horizontal_cycles=1.0)
    found = cycles(nest(parse("mk,k->m", m=4, k=64), "m k", tile=1), machine)
    # a row is 4 vectors in 4 partial sums: 3 additions; then 16 lanes are halved 4 times
    assert found["fma"] == 4 * 4 / 2
    assert found["horizontal"] == 4 * (3 / 2 + 4)


def test_explain__three_inputs_cost_a_multiplication_more() -> None:
    # D[l,r] * B[k,r] vary along the vectors alone, so their product is formed once for all rows
    mttkrp = parse("ikl,kr,lr->ir", i=8, k=16, l=16, r=16)
    found = cycles(nest(mttkrp, "k l i r", tile=0))
    assert found["fma"] == 16 * 16 * (8 + 1) / 2


def test_explain__instructions_without_fma_are_twice_as_many() -> None:
    made = nest(product(n=16), "m6 k m n", tile=1)
    assert cycles(made, target=AVX2._replace(fma=False))["fma"] == 2 * cycles(made, target=AVX2)["fma"]


def test_explain__moves_nothing_when_all_fits_l1() -> None:
    found = cycles(nest(product(32, 32, 32), "m8 k m n", tile=1), Machine())
    assert (found["l2"], found["l3"], found["memory"], found["tlb"]) == (0, 0, 0, 0)


def test_explain__streams_what_does_not_fit() -> None:
    # rows of B, 4 KiB apart, are read from the first to the last for every row of C: nothing of 4 MiB stays in L2
    machine = replace(Machine(), l2_bytes=2**18, l3_bytes=2**20, overlap=0.0)
    found = cycles(nest(product(64, 1024, 1024), "m k n", tile=2), machine)
    once = 1024 * 1024 * 4 / machine.memory_bandwidth
    assert 63 * once < found["memory"] < 66 * once
    assert found["total"] > found["memory"] + found["bound"]


def test_explain__block_that_fits_is_loaded_once() -> None:
    # panels of 48 columns of B stay in L2 while all rows of A pass
    machine = Machine(l2_bytes=2**19, l3_bytes=2**30)
    streamed = nest(product(1024, 1024, 960), "m8 n48 k m n", tile=2)
    blocked = nest(product(1024, 1024, 960), "n48 m8 k m n", tile=2)
    assert cycles(blocked, machine)["l3"] < 0.3 * cycles(streamed, machine)["l3"]


def test_explain__packing_helps_where_rows_are_4_kibibytes_apart() -> None:
    plain = nest(product(1024, 1024, 1024), "n48 m8 k m n", tile=2)
    packed = plain.with_(packs=(Pack(1, 1),))
    assert cycles(packed, Machine())["tlb"] < 0.5 * cycles(plain, Machine())["tlb"]
    assert cycles(packed, Machine())["total"] < cycles(plain, Machine())["total"]


def test_explain__packing_inside_every_loop_costs_more_than_it_saves() -> None:
    plain = nest(product(), "m8 n32 k m n", tile=2)
    assert cycles(plain.with_(packs=(Pack(0, 2),)), Machine())["total"] > cycles(plain, Machine())["total"]


def test_explain__threads_divide_the_outermost_loop() -> None:
    machine = replace(IDEAL, cores=2)
    made = nest(product(m=512), "m8 k m n", tile=1)
    one, two = cycles(made, machine)["total"], cycles(made.with_(threads=2), machine)["total"]
    assert two == one / 2 + 2 * machine.thread_cycles
    # with three blocks the slower thread has two of them
    odd = nest(product(m=24), "m8 k m n", tile=1)
    assert cycles(odd.with_(threads=2), machine)["total"] == (
        cycles(odd, machine)["total"] * 2 / 3 + 2 * machine.thread_cycles
    )


@pytest.mark.parametrize("size", [48, 96, 192])
def test_seconds__grow_with_the_work(size: int) -> None:
    cost = AnalyticalCost(AVX512, Machine())
    assert cost.seconds(nest(product(k=size), "m8 n48 k m n", tile=2)) < cost.seconds(
        nest(product(k=2 * size), "m8 n48 k m n", tile=2)
    )


@pytest.mark.parametrize("name", ["l2_bandwidth", "l3_bandwidth", "l1_bytes", "l2_bytes", "loads_per_cycle", "overlap"])
def test_seconds__fall_with_a_better_machine(name: str) -> None:
    better = replace(Machine(), **{name: min(type(getattr(Machine(), name))(getattr(Machine(), name) * 2), 2**30)})
    better = replace(better, overlap=min(better.overlap, 1.0))
    for loops, tile in (("m k n", None), ("n48 m8 k m n", 2), ("k m n", None)):
        made = nest(product(256, 256, 256), loops, tile=tile)
        assert cycles(made, better)["total"] <= cycles(made, Machine())["total"] * (1 + 1e-9)


def test_seconds__are_never_below_what_the_arithmetic_takes(make_nest) -> None:
    rng = np.random.default_rng(0)
    cost = AnalyticalCost(AVX512, replace(Machine(), thread_cycles=0.0))
    for _ in range(300):
        made = make_nest(random_workload(rng), rng).with_(threads=1)
        workload = made.workload
        if len(workload.inputs) == 2:
            assert cost.gflops(made) <= cost.peak(workload.dtype) * (1 + 1e-9), made.key
        assert 0 < cost.seconds(made) < float("inf"), made.key


def test_peak__is_lanes_times_units_times_clock() -> None:
    assert AnalyticalCost(AVX512, Machine(gigahertz=3.0)).peak() == 2 * 16 * 2 * 3.0
    assert AnalyticalCost(AVX2, Machine(gigahertz=3.0)).peak("float64") == 2 * 4 * 2 * 3.0
    assert AnalyticalCost(AVX2, Machine(gigahertz=3.0, cores=2)).peak(threads=4) == 2 * 8 * 2 * 3.0 * 2


def test_gflops__equals_in_two_interpreters(make_nest) -> None:
    script = """
from compiler_dojo.envs.loops.costs import AnalyticalCost
from compiler_dojo.envs.loops.machine import Machine
from compiler_dojo.envs.loops.nest import start_nest
from compiler_dojo.envs.loops.targets import Target
from compiler_dojo.envs.loops.workloads import looptune_products
cost = AnalyticalCost(Target("", "", "", "", 64, 32, True), Machine())
print([cost.gflops(start_nest(workload)) for workload in looptune_products("test25")])
"""
    runs = [
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout for _ in "ab"
    ]
    assert runs[0] == runs[1]
    assert len(runs[0]) > 100


def test_seconds__remembers_nests_by_their_code(monkeypatch) -> None:
    cost = AnalyticalCost(AVX512, Machine())
    asked = []
    monkeypatch.setattr(cost, "explain", lambda made: asked.append(made) or {"total": 1.0})
    start = start_nest(product())
    assert cost.seconds(start) == cost.seconds(start.with_(write=())) == cost.seconds(start_nest(product()))
    assert len(asked) == 1


def test_platform_dependent__only_without_a_machine() -> None:
    assert AnalyticalCost(AVX512).platform_dependent
    assert AnalyticalCost(AVX512).machine == host_machine()
    assert not AnalyticalCost(AVX512, Machine()).platform_dependent
    assert AnalyticalCost(AVX512).deterministic


def test_host_machine__keeps_plausible_caches() -> None:
    machine = host_machine()
    assert 2**13 <= machine.l1_bytes <= machine.l2_bytes <= 2**30
    assert machine.l1_ways >= 1
    assert machine.cores >= 1


def test_host_machine__has_defaults_where_sysfs_tells_nothing(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr("compiler_dojo.envs.loops.machine._SYSFS", tmp_path)
    assert replace(host_machine.__wrapped__(), cores=1) == Machine()


def test_host_machine__reads_sysfs(monkeypatch, tmp_path) -> None:
    for index, files in enumerate(
        (
            {"level": "1", "type": "Data", "size": "32K", "ways_of_associativity": "8"},
            {"level": "1", "type": "Instruction", "size": "64K", "ways_of_associativity": "8"},
            {"level": "2", "type": "Unified", "size": "1M", "ways_of_associativity": "16"},
            {"level": "3", "type": "Unified", "size": "16M"},
        )
    ):
        (tmp_path / f"index{index}").mkdir()
        for name, text in files.items():
            (tmp_path / f"index{index}" / name).write_text(text + "\n")
    monkeypatch.setattr("compiler_dojo.envs.loops.machine._SYSFS", tmp_path)
    machine = host_machine.__wrapped__()
    assert (machine.l1_bytes, machine.l1_ways, machine.l2_bytes) == (2**15, 8, 2**20)
    assert machine.l3_bytes == Machine().l3_bytes  # its folder is not complete


@pytest.mark.parametrize(
    ("size", "steps", "expected"),
    [
        (64, (), {64: 1}),
        (64, (6,), {6: 10, 4: 1}),
        (100, (48, 16), {16: 6, 4: 1}),
        (5, (8,), {5: 1}),
    ],
)
def test_boxes__are_the_pieces_of_an_axis(size, steps, expected) -> None:
    assert dict(boxes(size, steps)) == expected


@pytest.mark.parametrize(
    ("unroll", "accumulators", "trips", "expected"),
    [(0, 24, 64, (1, 1)), (0, 4, 64, (4, 2)), (0, 1, 64, (8, 8)), (4, 1, 64, (4, 4)), (8, 1, 3, (3, 3))],
)
def test_unrolling__splits_few_accumulators(unroll, accumulators, trips, expected) -> None:
    made = start_nest(product()).with_(unroll=unroll)
    assert unrolling(made, 0, accumulators, trips) == expected
