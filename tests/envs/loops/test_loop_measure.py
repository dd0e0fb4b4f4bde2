"""Timing of kernels, the memory of timings, and the peak of the machine."""

from pathlib import Path

import numpy as np
import pytest
from writing_kernels import add_kernel

from compiler_dojo.envs.errors import InvalidConfigError
from compiler_dojo.envs.loops import measure
from compiler_dojo.envs.loops.jit import Jit
from compiler_dojo.envs.loops.measure import (
    Protocol,
    Timing,
    TimingCache,
    cpu_model,
    measured_peak,
    peak_kernel,
    time_kernel,
)
from compiler_dojo.envs.loops.records import RecordFile
from compiler_dojo.envs.loops.targets import find_target

TIMING = Timing(1e-6, 2e-6, 0.5, 77)
QUICK = Protocol(warmup=0, min_seconds=1e-4, repeats=2)


@pytest.fixture
def cache_folder(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setenv("DOJO_CACHE", str(tmp_path))
    monkeypatch.setattr(measure, "PEAK_PROTOCOL", QUICK)
    return tmp_path / "loops"


def test_time_kernel__takes_longer_for_more_iterations() -> None:
    kernel = Jit(find_target()).compile(add_kernel())
    arrays = [np.ones(100_000, np.float32) for _ in range(3)]
    few, many = (time_kernel(kernel, arrays, 0, count, QUICK) for count in (1, 100_000))
    assert few.best_seconds * 100 < many.best_seconds


def test_timing_cache__tells_nests_targets_and_protocols_apart() -> None:
    cache = TimingCache()
    native, generic = find_target(), find_target("generic")
    cache.put("nest", native, QUICK, TIMING)
    assert cache.get("nest", native, QUICK) == TIMING
    assert cache.get("other", native, QUICK) is None
    assert cache.get("nest", generic, QUICK) is None
    assert cache.get("nest", native, Protocol()) is None
    assert len(cache) == 1


def test_timing_cache__outlives_the_process_on_the_same_cpu(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "timings.jsonl"
    TimingCache(path).put("nest", find_target(), QUICK, TIMING)
    assert TimingCache(path).get("nest", find_target(), QUICK) == TIMING
    monkeypatch.setattr(measure, "cpu_model", lambda: "another CPU")
    assert TimingCache(path).get("nest", find_target(), QUICK) is None


def test_cpu_model__is_what_the_system_says() -> None:
    words = Path("/proc/cpuinfo").read_text()
    assert cpu_model()
    assert all(word in words for word in cpu_model().split())


@pytest.mark.parametrize("name", ["native", "generic"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_peak_kernel__computes_with_registers_alone(name: str, dtype: str) -> None:
    target = find_target(name)
    jit = Jit(target, verify=True)
    ir = peak_kernel(target, dtype, 12)
    kernel = jit.compile(ir)
    lanes = target.vector_bytes // np.dtype(dtype).itemsize
    results = np.zeros(12 * lanes, dtype)
    kernel([np.full(2 * lanes, 0.5, dtype)], results, 0, 3)
    assert set(results) == {0.9375}
    loop = kernel.assembly().split(".LBB0_1:")[1].split("LBB0_1")[0]
    if target.fma and target.triple.startswith("x86_64"):
        assert loop.count("vfmadd") == 12
    assert "(%" not in loop


def test_measured_peak__is_measured_once_and_remembered_on_disk(cache_folder: Path, monkeypatch) -> None:
    target = find_target()
    peak = measured_peak(target)
    assert peak > 1
    assert measured_peak(target) == peak
    records = RecordFile(cache_folder / "peaks.jsonl")
    assert records.get(f"{cpu_model()} | native | float32 | 1") == peak
    monkeypatch.setattr(measure, "_measure_peak", lambda *_: peak / 2)
    assert measured_peak(target, again=True) == peak
    assert measured_peak(target, "float64") == peak / 2


def test_measured_peak__of_two_threads_counts_both(cache_folder: Path) -> None:
    assert measured_peak(find_target(), "float64", threads=2) > 1


def test_measured_peak__of_a_type_that_kernels_do_not_have(cache_folder: Path) -> None:
    with pytest.raises(InvalidConfigError, match="no kernels of int8; known: float32, float64"):
        measured_peak(find_target(), "int8")
