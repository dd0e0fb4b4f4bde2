import json
import multiprocessing
from pathlib import Path

import pytest

from compiler_dojo.envs.loops.kernel_cache import KernelCache, generator_version
from compiler_dojo.envs.loops.nest import Loop, Nest, start_nest
from compiler_dojo.envs.loops.targets import find_target
from compiler_dojo.envs.loops.team import Timing
from compiler_dojo.envs.loops.tuning import Tuning
from compiler_dojo.envs.loops.workloads import parse

PRODUCT = parse("mk,kn->mn", m=8, k=8, n=8)
TUNING = Tuning(start_nest(PRODUCT), Timing(1e-6, 2e-6, 0.1, 30), 7, 0.4, Timing(3e-6, 3e-6, 0.0, 3))
KEY = (PRODUCT, find_target(), 1, "heuristics", 0.5)


def write_many(folder: Path, begin: float) -> None:
    cache = KernelCache(folder)
    for number in range(50):
        cache.put(*KEY, Tuning(TUNING.nest, Timing(begin + number, 1.0, 0.0, 1), 1, 1.0))
        assert cache.get(*KEY) is not None


def test_cache__gives_back_what_was_put(tmp_path) -> None:
    cache = KernelCache(tmp_path / "new")
    assert cache.get(*KEY) is None
    cache.put(*KEY, TUNING)
    assert KernelCache(tmp_path / "new").get(*KEY) == TUNING
    assert [path.suffix for path in (tmp_path / "new").iterdir()] == [".json"]


def test_cache__tells_apart_what_kernels_depend_on(tmp_path) -> None:
    cache = KernelCache(tmp_path)
    cache.put(*KEY, TUNING)
    workload, target, threads, schedule, seconds = KEY
    for other in (
        (parse("mk,kn->mn", m=9, k=8, n=8), target, threads, schedule, seconds),
        (parse("mk,kn->mn", "float64", m=8, k=8, n=8), target, threads, schedule, seconds),
        (workload, find_target("generic"), threads, schedule, seconds),
        (workload, target, 2, schedule, seconds),
        (workload, target, threads, "start", seconds),
    ):
        assert cache.get(*other) is None


def test_cache__is_of_use_for_the_same_time_or_less(tmp_path) -> None:
    cache = KernelCache(tmp_path)
    cache.put(*KEY, TUNING)
    assert cache.get(*KEY[:-1], 0.1) == TUNING
    assert cache.get(*KEY[:-1], 2.0) is None


def test_cache__lies_in_the_cache_folder(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("DOJO_CACHE", str(tmp_path))
    KernelCache().put(*KEY, TUNING)
    assert len(list((tmp_path / "loops" / "kernels").glob("*.json"))) == 1


def damage_text(text: str) -> bytes:
    return text[:100].encode()


def damage_bytes(text: str) -> bytes:
    return b"\xff" + text.encode()


def damage_nest(text: str) -> bytes:
    value = json.loads(text)
    value["nest"]["tile"] = 99
    return json.dumps(value).encode()


def damage_workload(text: str) -> bytes:
    value = json.loads(text)
    value["nest"]["workload"] = "mk,kn->mn m=4 k=8 n=8 float32"
    return json.dumps(value).encode()


def damage_timing(text: str) -> bytes:
    value = json.loads(text)
    value["timing"]["best_seconds"] = 0
    return json.dumps(value).encode()


def damage_key(text: str) -> bytes:
    value = json.loads(text)
    value["key"]["threads"] = 2
    return json.dumps(value).encode()


def damage_kind(text: str) -> bytes:
    return b"[]"


@pytest.mark.parametrize(
    "damage",
    [damage_text, damage_bytes, damage_nest, damage_workload, damage_timing, damage_key, damage_kind],
)
def test_cache__warns_of_a_damaged_entry_and_writes_it_anew(tmp_path, damage) -> None:
    cache = KernelCache(tmp_path)
    cache.put(*KEY, TUNING)
    path = next(tmp_path.iterdir())
    path.write_bytes(damage(path.read_text()))
    with pytest.warns(UserWarning, match=r"\.json is damaged and will be written anew"):
        assert cache.get(*KEY) is None
    cache.put(*KEY, TUNING)
    assert cache.get(*KEY) == TUNING


def test_cache__warns_of_a_folder_that_cannot_be_written(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.warns(UserWarning, match="the tuned kernel is not kept: .* set DOJO_CACHE"):
        KernelCache(tmp_path / "file").put(*KEY, TUNING)


def test_cache__is_shared_by_processes(tmp_path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=write_many, args=(tmp_path, begin)) for begin in (1000.0, 2000.0)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0]
    found = KernelCache(tmp_path).get(*KEY)
    assert found is not None
    assert found.timing.best_seconds in (1049.0, 2049.0)
    assert len(list(tmp_path.iterdir())) == 1


def test_cache__keeps_nests_with_all_their_parts(tmp_path) -> None:
    nest = Nest(PRODUCT, (Loop("n", 4), Loop("m"), Loop("k"), Loop("n")), tile=2, unroll=2, prefetch=1)
    KernelCache(tmp_path).put(*KEY, Tuning(nest, TUNING.timing, 1, 0.1))
    found = KernelCache(tmp_path).get(*KEY)
    assert found is not None
    assert found.nest == nest


def test_generator_version__is_one_short_hash() -> None:
    assert len(generator_version()) == 16
    assert generator_version() == generator_version()
