"""Peers compute what the reference does, are timed by one protocol, and say why where they cannot."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from experiments_support import Dojo, table_row
from rich.console import Console

from compiler_dojo.envs.errors import (
    CompilationError,
    InvalidConfigError,
    InvalidRecordError,
    InvalidWorkloadError,
    ToolchainError,
)
from compiler_dojo.envs.loops.jit import KERNEL_TYPE, pointers
from compiler_dojo.envs.loops.reference import evaluate, tolerance
from compiler_dojo.envs.loops.targets import find_target
from compiler_dojo.envs.loops.workload import Workload
from compiler_dojo.envs.loops.workloads import parse, parse_text
from compiler_dojo.experiments import bench_loops
from compiler_dojo.experiments.bench_loops import Entry, Results, Settings, ThreadsError, measure, one_thread, usable
from compiler_dojo.experiments.bench_loops_report import aims, disturbance, ratio, report
from compiler_dojo.experiments.loop_choice import choose_own, choose_peers, choose_workloads
from compiler_dojo.experiments.loop_own import SCRIPT, OurPeer, scripted
from compiler_dojo.experiments.loop_peer_blas import BlasPeer, as_product
from compiler_dojo.experiments.loop_peer_gcc import GccPeer, c_source, compile_c, orders
from compiler_dojo.experiments.loop_peer_tvm import TvmPeer, TvmProcess
from compiler_dojo.experiments.loop_peers import (
    Array,
    NumPyPeer,
    PreparedKernel,
    WrongResultError,
    allocate,
    check,
    sample_calls,
)
from compiler_dojo.experiments.roofline import draw_roofline

QUICK = Settings(repeats=2, min_seconds=0.0)
PRODUCT = parse("mk,kn->mn", m=9, k=7, n=11)

KINDS = [
    "mk,kn->mn m=9 k=7 n=11",
    "km,nk->nm m=9 k=7 n=11",
    "bmk,bnk->bmn b=3 m=5 k=6 n=7",
    "mk,k->m m=9 k=7",
    "km,k->m m=9 k=7",
    "k,kn->n k=7 n=9",
    "bk,bk->b b=3 k=4",
    "(w+s)c,sck->wk w=10 s=3 c=4 k=5",
    "(2h+r)(2w+2s)c,rsck->hwk h=4 w=5 r=3 s=2 c=3 k=7",
    "(h+r)(w+s)c,rsc->hwc h=4 w=5 r=3 s=2 c=6",
    "(2h)(2w)c,ck->hwk h=4 w=5 c=6 k=7",
    "ikl,kr,lr->ir i=5 k=6 l=7 r=8",
    "mn->m m=5 n=9",
    "mn,mn->mn m=5 n=9",
    "mk,kn->mn|bias(n),relu m=5 k=6 n=7",
    "mk,kn->nm|bias(mn),relu m=5 k=6 n=7",
    "mn->n|relu m=5 n=6",
]

PRODUCTS = [
    ("mk,kn->mn m=9 k=7 n=11", "gemm"),
    ("mk,kn->nm m=9 k=7 n=11", "gemm"),
    ("km,nk->mn m=9 k=7 n=11", "gemm"),
    ("km,kn->nm m=9 k=7 n=11", "gemm"),
    ("bmk,bnk->bmn b=3 m=5 k=6 n=7", "gemm"),
    ("mbk,bkn->bmn b=3 m=5 k=6 n=7", "gemm"),
    ("hwc,ck->hwk h=4 w=5 c=6 k=7", "gemm"),
    ("mkl,kln->mn m=4 k=5 l=6 n=7", "gemm"),
    ("mk,k->m m=9 k=7", "gemv"),
    ("km,k->m m=9 k=7", "gemv"),
    ("k,kn->n k=7 n=9", "gemv"),
    ("k,nk->n k=7 n=9", "gemv"),
    ("bk,bk->b b=3 k=4", "gemv"),
]


RECIPE = [("n", 16), ("m", 4), ("k", 1), ("m", 1), ("n", 1)]


class BrokenPeer:
    """Leaves one element of the result as it was, or writes a wrong one."""

    def __init__(self, wrong: float) -> None:
        self.name = "broken"
        self.wrong = wrong

    def available(self) -> str:
        return ""

    def prepare(self, workload: Workload, operands: Sequence[Array]) -> PreparedKernel:
        def run() -> None:
            operands[0][...] = evaluate(workload, *operands[1:])
            operands[0].flat[-1] += self.wrong

        return PreparedKernel(run, lambda seconds: sample_calls(run, seconds), "Python", "", 0.0)


@pytest.mark.parametrize("text", KINDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gcc_peer__computes_every_kind_of_workload_in_every_order(text: str, dtype: str) -> None:
    workload = parse_text(f"{text} {dtype}")
    for order in orders(workload):
        operands = allocate(workload)
        function = compile_c(c_source(workload, order), ("-O1", "-w"))
        size = workload.sizes[order[0]]
        # two calls that share the outermost loop, as the last two arguments allow
        for begin, end in ((0, size // 2), (size // 2, size)):
            KERNEL_TYPE(function.address)(pointers(operands), None, begin, end)
        np.testing.assert_allclose(operands[0], evaluate(workload, *operands[1:]), rtol=0, atol=tolerance(workload))


@pytest.mark.parametrize("text", KINDS)
def test_numpy_peer__computes_every_kind_of_workload(text: str) -> None:
    workload = parse_text(text)
    operands = allocate(workload)
    check(workload, operands, NumPyPeer().prepare(workload, operands).run)


def test_numpy_peer__takes_matmul_for_a_large_product() -> None:
    workload = parse("mk,kn->mn", m=96, k=96, n=96)
    assert NumPyPeer().prepare(workload, allocate(workload)).how in ("matmul", "einsum, optimised")


@pytest.mark.parametrize(("text", "routine"), PRODUCTS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_blas_peer__equals_numpy(text: str, routine: str, dtype: str) -> None:
    pytest.importorskip("scipy")
    workload = parse_text(f"{text} {dtype}")
    operands = allocate(workload)
    kernel = BlasPeer().prepare(workload, operands)
    check(workload, operands, kernel.run)
    result = operands[0].copy()
    NumPyPeer().prepare(workload, operands).run()
    np.testing.assert_allclose(result, operands[0], rtol=0, atol=2 * tolerance(workload))
    assert (kernel.how, kernel.clock) == (("s" if dtype == "float32" else "d") + routine, "C")
    assert kernel.sample(0.0) > 0.0


@pytest.mark.parametrize("text", ["ikl,kr,lr->ir", "mn->m", "(w+s)c,sck->wk", "mk,kn->mn|relu", "mkl,lkn->mn"])
def test_blas_peer__refuses_what_is_no_product(text: str) -> None:
    sizes = {axis: 4 for axis in set(text) if axis in "iklrmnwsc" and axis in text.partition("->")[0]}
    with pytest.raises(InvalidWorkloadError, match="no BLAS call computes"):
        as_product(parse(text, **sizes))


@pytest.mark.parametrize("text", KINDS)
def test_our_peer__computes_every_kind_of_workload(text: str) -> None:
    (peer,) = choose_own("start", "native")
    workload = parse_text(text)
    operands = allocate(workload)
    check(workload, operands, peer.prepare(workload, operands).run)


def test_scripted__is_looptunes_recipe() -> None:
    loops = scripted(parse("mk,kn->mn", m=128, k=128, n=128)).loops
    assert [(loop.axis, loop.step) for loop in loops] == RECIPE
    assert len(SCRIPT.split()) == 8


@pytest.mark.parametrize("wrong", [np.nan, 0.01])
def test_measure__detects_a_peer_that_computes_wrongly(wrong: float) -> None:
    good, broken = measure({"set": [PRODUCT]}, [NumPyPeer(), BrokenPeer(wrong)], QUICK)
    assert good.error == ""
    assert broken.error.startswith("WrongResultError: 1 of 99 elements of mk,kn->mn m=9 k=7 n=11 float32 are wrong")
    assert broken.median_seconds == 0.0


def test_check__says_which_element_is_wrong() -> None:
    operands = allocate(PRODUCT)
    with pytest.raises(WrongResultError, match=r"the first at \(8, 10\): expected"):
        check(PRODUCT, operands, BrokenPeer(1.0).prepare(PRODUCT, operands).run)


def test_measure__keeps_why_a_peer_cannot_compute_a_workload() -> None:
    workload = parse("mn->m", m=4, n=5)
    numpy_entry, blas_entry = measure({"set": [workload]}, [NumPyPeer(), BlasPeer()], QUICK)
    assert numpy_entry.gflops == pytest.approx(workload.flops / numpy_entry.median_seconds / 1e9)
    assert numpy_entry.best_seconds <= numpy_entry.median_seconds
    assert numpy_entry.intensity == 20 / (4 * (4 + 20))
    assert blas_entry.error.startswith("InvalidWorkloadError: no BLAS call")


def test_measure__times_peers_in_turn() -> None:
    calls: list[str] = []

    class Recorder(BrokenPeer):
        def prepare(self, workload: Workload, operands: Sequence[Array]) -> PreparedKernel:
            kernel = super().prepare(workload, operands)

            def sample(seconds: float) -> float:
                calls.append(self.name)
                return kernel.sample(seconds)

            return dataclasses.replace(kernel, sample=sample)

    first, second = Recorder(0.0), Recorder(0.0)
    first.name, second.name = "first", "second"
    measure({"set": [PRODUCT]}, [first, second], Settings(repeats=3, min_seconds=0.0))
    warmup, rounds = calls[:2], [calls[2:4], calls[4:6], calls[6:]]
    assert warmup == ["first", "second"]
    assert rounds == [["first", "second"], ["second", "first"], ["first", "second"]]


def test_measure__runs_on_one_cpu_and_gives_the_others_back() -> None:
    seen: list[set[int]] = []

    class Looker(BrokenPeer):
        def prepare(self, workload: Workload, operands: Sequence[Array]) -> PreparedKernel:
            kernel = super().prepare(workload, operands)

            def run() -> None:
                seen.append(os.sched_getaffinity(0))
                kernel.run()

            return dataclasses.replace(kernel, run=run)

    before = os.sched_getaffinity(0)
    measure({"set": [PRODUCT]}, [Looker(0.0)], QUICK)
    assert {len(cpus) for cpus in seen} == {1}
    assert os.sched_getaffinity(0) == before


def test_one_thread__refuses_a_blas_that_uses_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_loops, "MOST_OTHER_THREADS", -1.0)
    with pytest.raises(ThreadsError, match="set OPENBLAS_NUM_THREADS=1"), one_thread():
        pass


def test_compile_c__passes_on_what_gcc_says() -> None:
    with pytest.raises(CompilationError, match=r"gcc does not compile this kernel:\n.*error"):
        compile_c("int kernel(", ())


def test_usable__says_why_peers_are_not(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    peers = [NumPyPeer(), GccPeer(), BlasPeer(), TvmPeer(None, "x86-64"), TvmPeer(TvmProcess(tmp_path / "no"), "", 64)]
    found, reasons = usable(peers)
    assert [peer.name for peer in found] == ["numpy"]
    assert reasons["gcc"] == "there is no gcc on the PATH: apt-get install gcc"
    assert "apt-get install gcc" in reasons["sgemm"] or "pip install scipy" in reasons["sgemm"]
    assert "--tvm-python" in reasons["tvm"]
    assert "pip install apache-tvm==0.27.0" in reasons["tvm"]
    assert "cannot be run (No such file or directory)" in reasons["metaschedule"]
    with pytest.raises(ToolchainError, match="--tvm-python"):
        peers[3].prepare(PRODUCT, allocate(PRODUCT))


def test_our_peer__needs_a_target_that_runs_here() -> None:
    target = find_target()._replace(name="other", features="+nonsense")
    assert OurPeer("start", scripted, target).available() == "this machine cannot run code for other: take native"


def test_tvm_peer__says_what_its_interpreter_answered(tmp_path: Path) -> None:
    """This Python has no TVM; the script says so instead of ending."""
    pytest.importorskip("numpy")
    reason = TvmPeer(TvmProcess(Path(sys.executable)), "x86-64").available()
    assert "failed to version: ModuleNotFoundError: No module named 'tvm'" in reason
    silent = tmp_path / "python"
    silent.write_text("#!/bin/sh\nexit 3\n")
    silent.chmod(0o755)
    assert "ended while it was asked to version" in TvmPeer(TvmProcess(silent), "x86-64").available()


def test_tvm_peer__refuses_a_cache_that_is_none(tmp_path: Path) -> None:
    cache = tmp_path / "cache.json"
    cache.write_text("what")
    peer = TvmPeer(TvmProcess(Path(sys.executable)), "x86-64", 64, cache)
    with pytest.raises(InvalidRecordError, match="give another --tvm-cache"):
        peer.prepare(PRODUCT, allocate(PRODUCT))


@pytest.mark.slow
@pytest.mark.skipif("DOJO_TVM_PYTHON" not in os.environ, reason="DOJO_TVM_PYTHON names no Python with TVM")
@pytest.mark.parametrize("text", KINDS)
def test_tvm_peer__computes_every_kind_of_workload(text: str) -> None:
    workload = parse_text(text)
    peer = TvmPeer(TvmProcess(Path(os.environ["DOJO_TVM_PYTHON"])), find_target().cpu)
    (entry,) = measure({"set": [workload]}, [peer], QUICK)
    assert entry.error == ""


def make_results(entries: Sequence[Entry], **changes: float) -> Results:
    return Results(entries, QUICK, "native", "a CPU", 100.0, {"L2": 50.0, "memory": 5.0}, ["full"], {}, **changes)


def make_entry(peer: str, seconds: float, workload: str = "mk,kn->mn m=512 k=512 n=512 float32") -> Entry:
    return Entry("large", workload, peer, "", "C", "", 0.1, seconds, seconds, 50.0, 20.0, peak=100.0)


def test_ratio__is_over_the_best_of_several_on_common_workloads() -> None:
    other = "mk,kn->mn m=9 k=9 n=9 float32"
    entries = [
        make_entry("full", 1.0),
        make_entry("numpy", 3.0),
        make_entry("gcc", 2.0),
        make_entry("full", 1.0, other),
    ]
    results = make_results(entries)
    found = ratio(results, "full", ("numpy", "gcc"), lambda entry: True)
    assert found == (2.0, 2.0, 2.0)
    assert ratio(results, "full", "sgemm", lambda entry: True) is None


def test_aims__say_reached_missed_or_not_measured() -> None:
    entries = [make_entry("full", 1.0), make_entry("numpy", 3.0), make_entry("metaschedule", 1.1)]
    rows = {row.measure: row for row in aims(make_results(entries, step_microseconds=80.0))}
    assert rows["512^3 over numpy"][1:] == (">= 1.00x", "3.00x (3.00..3.00)", "reached")
    assert rows["512^3 over MetaSchedule, 64 trials"].verdict == "missed"
    assert rows["environment step without measuring"][1:] == ("<= 50 us", "80 us", "missed")
    assert rows["384^3 over numpy"][2:] == ("", "not measured")


def test_report__shows_failures_and_reasons() -> None:
    failed = Entry("large", "mk,kn->mn m=512 k=512 n=512 float32", "numpy", "WrongResultError: all")
    results = dataclasses.replace(make_results([make_entry("full", 1.0), failed]), unavailable={"tvm": "no TVM"})
    shown = Console(record=True, width=200, file=open(os.devnull, "w"))  # noqa: SIM115
    report(results, shown)
    text = shown.export_text()
    assert "0 of 1" in text
    assert "tvm was not measured: no TVM" in text
    shown.file.close()


def test_draw_roofline__leaves_failures_out(tmp_path: Path) -> None:
    failed = Entry("large", "mk,kn->mn m=512 k=512 n=512 float32", "numpy", "WrongResultError: all")
    for number, entries in enumerate(([make_entry("full", 1.0), failed], [failed])):
        path = tmp_path / f"{number}.png"
        draw_roofline(make_results(entries), path)
        assert path.read_bytes().startswith(b"\x89PNG")


def test_choose__names_what_is_near() -> None:
    with pytest.raises(InvalidConfigError, match="no peer is called 'nunpy': did you mean 'numpy'"):
        choose_peers("nunpy")
    with pytest.raises(InvalidConfigError, match="no schedule is called 'starts': did you mean 'start'"):
        choose_own("starts", "native")
    with pytest.raises(InvalidConfigError, match="target"):
        choose_peers("gcc", "x86-64-v9")
    assert [peer.name for peer in choose_peers("numpy, gcc,sgemm,tvm,metaschedule")] == [
        "numpy",
        "gcc",
        "sgemm",
        "tvm",
        "metaschedule",
    ]
    assert [peer.name for peer in choose_own("start,script", "native", 2)] == [
        "start",
        "script",
        "start x2",
        "script x2",
    ]
    assert [len(group) for group in choose_workloads(["looptune:test25", "mttkrp"], 3).values()] == [3, 3]


def test_report__says_when_others_used_the_machine() -> None:
    quiet = [dataclasses.replace(make_entry("full", 1.0), cpus=0.99), make_entry("metaschedule", 1.0)]
    assert disturbance(make_results(quiet)) == ""
    starved = dataclasses.replace(make_entry("full x2", 1.0), threads=2, cpus=1.0)
    message = disturbance(make_results([*quiet, starved]))
    assert message.startswith("DISTURBED: in 1 of 2 measurements")
    assert "as little as 50% of its CPUs" in message


def test_bench_loops__prints_tables_and_writes_json_and_picture(dojo: Dojo, tmp_path: Path) -> None:
    # its rows do not fit one register tile, so that two threads have a loop to divide
    product = "mk,kn->mn m=64 k=8 n=48 float32"
    picture, file = tmp_path / "roofline.png", tmp_path / "found.json"
    done = dojo(
        "bench",
        "loops",
        "--sets",
        product,
        "--peers",
        "numpy,gcc,tvm",
        "--agent",
        "start",
        "--repeats",
        1,
        "--min-seconds",
        0.0,
        "--threads",
        2,
        "--json",
        file,
        "--picture",
        picture,
    )
    assert done.status == 0, done.err
    assert len(table_row(done.out, product)) == 5
    assert "tvm was not measured: no interpreter with TVM was given" in done.out
    assert picture.read_bytes().startswith(b"\x89PNG")
    found = json.loads(file.read_text())
    assert [entry["peer"] for entry in found["entries"]] == ["numpy", "gcc", "start", "start x2"]
    assert not any(entry["error"] for entry in found["entries"])
    assert [entry["threads"] for entry in found["entries"]] == [1, 1, 1, 2]
    assert all(entry["gflops"] > 0.0 for entry in found["entries"])
    assert set(found["bandwidths"]) == {"L1", "L2", "L3", "memory"}
    measured = {aim["measure"] for aim in found["aims"] if aim["verdict"] != "not measured"}
    assert measured == {"environment step without measuring", "environment step with measuring, 128^3"}
