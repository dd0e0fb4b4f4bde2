import json
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import compiler_dojo
from compiler_dojo.envs.errors import (
    IllegalScheduleError,
    InvalidArrayError,
    InvalidConfigError,
    InvalidRecordError,
    InvalidWorkloadError,
    ToolchainError,
)
from compiler_dojo.envs.loops.kernels import Kernel, compile_kernel
from compiler_dojo.envs.loops.nest import Loop, Nest, Pack, start_nest
from compiler_dojo.envs.loops.reference import evaluate, exact_arrays
from compiler_dojo.envs.loops.runner import Runner
from compiler_dojo.envs.loops.workloads import parse, parse_text

PRODUCT = parse("mk,kn->mn", m=20, k=30, n=40)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("DOJO_CACHE", str(folder))
    return folder


@pytest.fixture(scope="module")
def product() -> Kernel:
    return compile_kernel("mk,kn->mn", m=20, k=30, n=40, tune=False)


def operands(kernel: Kernel, seed: int = 0) -> list[np.ndarray]:
    return list(exact_arrays(kernel.workload, np.random.default_rng(seed))[1:])


@pytest.mark.parametrize(
    "text",
    [
        "mk,kn->mn m=20 k=30 n=40 float64",
        "mk,kn->mn|bias(n),relu m=7 k=9 n=35",
        "ikl,kr,lr->ir i=9 k=8 l=7 r=16",
        "(2h+r)(2w+s)c,rsck->hwk h=5 w=6 r=3 s=3 c=4 k=18",
        "mn-> m=9 n=50",
        "m->m m=70",
    ],
)
def test_kernel__computes_the_workload(text) -> None:
    workload = parse_text(text)
    sizes = workload.sizes
    kernel = compile_kernel(workload.expression, dtype=workload.dtype, tune=False, **sizes)
    arrays = operands(kernel)
    result = kernel(*arrays)
    assert type(result) is np.ndarray
    assert (result.shape, result.dtype) == (workload.shape(workload.output), np.dtype(workload.dtype))
    np.testing.assert_array_equal(result, evaluate(workload, *arrays))


def test_kernel__writes_where_it_is_told(product) -> None:
    arrays = operands(product)
    out = np.full((20, 40), np.nan, np.float32)
    assert product(*arrays, out=out) is out
    np.testing.assert_array_equal(out, evaluate(PRODUCT, *arrays))
    np.testing.assert_array_equal(product(*arrays), out)


def test_kernel__gives_a_new_array_each_time(product) -> None:
    first, second = product(*operands(product, 1)), product(*operands(product, 2))
    assert not np.shares_memory(first, second)
    np.testing.assert_array_equal(first, evaluate(PRODUCT, *operands(product, 1)))


def test_kernel__takes_equal_dtypes_subclasses_and_read_only_inputs(product, tmp_path) -> None:
    a, b = operands(product)
    b.flags.writeable = False
    mapped = np.memmap(tmp_path / "a", np.float32, "w+", shape=a.shape)
    mapped[:] = a
    tagged = a.view(np.dtype(np.float32, metadata={"unit": "m"}))
    for other in (mapped, tagged):
        np.testing.assert_array_equal(product(other, b), product(a, b))


@pytest.mark.parametrize("count", [0, 1, 3])
def test_kernel__refuses_a_wrong_number_of_arrays(product, count) -> None:
    with pytest.raises(InvalidArrayError, match=rf"mk,kn->mn takes 2 arrays \(A, B\), got {count}"):
        product(*[np.zeros((20, 30), np.float32)] * count)


@pytest.mark.parametrize(
    ("number", "array", "message"),
    [
        (0, np.zeros((20, 31), np.float32), r"A must be a float32 array of shape \(20, 30\)"),
        (1, np.zeros((40, 30), np.float32).T, "B must be .* pass np.ascontiguousarray"),
        (1, np.zeros((30, 40)), "B must be .* got dtype float64"),
        (0, np.zeros((20, 30), np.dtype("float32").newbyteorder("S")), "another byte order"),
        (0, 1.0, "A must be .* got float"),
    ],
)
def test_kernel__refuses_arrays_that_do_not_fit(product, number, array, message) -> None:
    arrays = operands(product)
    arrays[number] = array
    with pytest.raises(InvalidArrayError, match=message):
        product(*arrays)
    product(*operands(product))


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (np.zeros((40, 20), np.float32), "out must be .* got shape"),
        (np.zeros((20, 80), np.float32)[:, ::2], "out must be .* strides"),
        (np.broadcast_to(np.float32(0), (20, 40)), "out must be"),
        ([0.0], "out must be .* got list"),
    ],
)
def test_kernel__refuses_an_output_that_does_not_fit(product, out, message) -> None:
    with pytest.raises(InvalidArrayError, match=message):
        product(*operands(product), out=out)


def test_kernel__refuses_a_read_only_output(product) -> None:
    out = np.zeros((20, 40), np.float32)
    out.flags.writeable = False
    with pytest.raises(InvalidArrayError, match=r"out must be .* read-only"):
        product(*operands(product), out=out)


@pytest.mark.parametrize("begin", [1, 20, 39])
def test_kernel__refuses_an_output_that_overlaps_an_input(begin) -> None:
    kernel = compile_kernel("mk,kn->mn", m=20, k=20, n=20, tune=False)
    memory = np.zeros((60, 20), np.float32)
    a, b = memory[20:40], np.zeros((20, 20), np.float32)
    for arrays, name in (((a, b), "A"), ((b, a), "B")):
        out = memory[begin : begin + 20]
        with pytest.raises(InvalidArrayError, match=f"out shares memory with {name}, which is read meanwhile"):
            kernel(*arrays, out=out)
    kernel(a, b, out=memory[:20])
    kernel(a, b, out=memory[40:])


def test_kernel__refuses_an_output_that_overlaps_the_bias() -> None:
    kernel = compile_kernel("mk,kn->mn|bias(mn)", m=4, k=4, n=4, tune=False)
    a, b, bias = operands(kernel)
    with pytest.raises(InvalidArrayError, match="out shares memory with bias"):
        kernel(a, b, bias, out=bias)


@pytest.mark.parametrize("threads", [1, 2])
def test_kernel__is_called_by_many_threads_at_once(threads) -> None:
    workload = parse("mk,kn->mn", m=48, k=64, n=64)
    loops = (Loop("n", 32), Loop("m", 4), Loop("k"), Loop("m"), Loop("n"))
    nest = Nest(workload, loops, tile=2, packs=(Pack(0, 0), Pack(1, 1)), threads=threads)
    kernel = Kernel(nest, Runner())
    wrong: list[int] = []

    def call(seed: int) -> None:
        arrays = operands(kernel, seed)
        wanted = evaluate(workload, *arrays)
        wrong.extend(seed for _ in range(50) if not np.array_equal(kernel(*arrays), wanted))

    callers = [threading.Thread(target=call, args=(seed,)) for seed in range(6)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert wrong == []


def test_compile__tunes_and_keeps_what_it_found(own_cache) -> None:
    first = compile_kernel("mk,kn->mn", m=20, k=30, n=40, seconds=0.05)
    assert first.tuning is not None
    assert not first.tuning.cached
    assert len(list((own_cache / "loops" / "kernels").iterdir())) == 1
    second = compile_kernel("mk, kn -> mn", n=40, k=30, m=20, seconds=0.05)
    assert second.tuning is not None
    assert second.tuning.cached
    assert second.nest == first.nest
    assert second.gflops == first.gflops == first.tuning.gflops
    np.testing.assert_array_equal(second(*operands(second)), first(*operands(first)))


def test_compile__without_cache_keeps_nothing(own_cache) -> None:
    compile_kernel("mk,kn->mn", m=20, k=30, n=40, seconds=0.01, cache=False)
    assert list(own_cache.iterdir()) == []


def test_compile__without_tuning_measures_nothing_until_asked(own_cache) -> None:
    kernel = compile_kernel("mk,kn->mn", m=20, k=30, n=40, tune=False)
    assert kernel.tuning is None
    assert kernel.gflops > 0
    assert list(own_cache.iterdir()) == []


def test_compile__takes_a_nest_as_it_is(tmp_path) -> None:
    nest = start_nest(PRODUCT).with_(tile=2)
    kernel = compile_kernel("mk,kn->mn", m=20, k=30, n=40, nest=nest)
    assert (kernel.nest, kernel.tuning) == (nest, None)
    *_, path = kernel.save(tmp_path)
    assert compile_kernel("mk,kn->mn", m=20, k=30, n=40, nest=path).nest == nest
    with pytest.raises(InvalidConfigError, match=r"the nest is of .* k=30 .*, not of .* k=31"):
        compile_kernel("mk,kn->mn", m=20, k=31, n=40, nest=path)


def test_compile__refuses_files_that_hold_no_nest(tmp_path) -> None:
    path = tmp_path / "some.nest.json"
    sizes = {"m": 20, "k": 30, "n": 40}
    with pytest.raises(InvalidRecordError, match="cannot be read as a nest"):
        compile_kernel("mk,kn->mn", nest=path, **sizes)
    for text in ("{", "{}", "\0"):
        path.write_text(text)
        with pytest.raises(InvalidRecordError, match="nest"):
            compile_kernel("mk,kn->mn", nest=path, **sizes)


def test_compile__says_what_is_wrong() -> None:
    with pytest.raises(InvalidWorkloadError, match="no size for n"):
        compile_kernel("mk,kn->mn", m=20, k=30)
    with pytest.raises(InvalidWorkloadError, match="unknown dtype"):
        compile_kernel("mk,kn->mn", m=20, k=30, n=4, dtype="float16")
    with pytest.raises(InvalidConfigError, match="no target 'x86-64-v9'"):
        compile_kernel("mk,kn->mn", m=20, k=30, n=4, target="x86-64-v9")
    with pytest.raises(InvalidConfigError, match="threads is 0"):
        compile_kernel("mk,kn->mn", m=20, k=30, n=4, threads=0)
    with pytest.raises(InvalidConfigError, match="some time"):
        compile_kernel("mk,kn->mn", m=20, k=30, n=4, seconds=0)
    with pytest.raises(IllegalScheduleError, match="vector registers"):
        compile_kernel(
            "mk,kn->mn", m=90, k=30, n=90, nest=start_nest(parse("mk,kn->mn", m=90, k=30, n=90)).with_(tile=0)
        )


@pytest.mark.parametrize("target", ["generic", "native"])
def test_compile__generates_code_for_a_target(target) -> None:
    kernel = compile_kernel("mk,kn->mn", m=20, k=30, n=40, target=target, tune=False)
    np.testing.assert_array_equal(kernel(*operands(kernel)), evaluate(PRODUCT, *operands(kernel)))


def test_compile__runs_on_as_many_threads_as_pay() -> None:
    kernel = compile_kernel("mk,kn->mn", m=64, k=30, n=64, threads=2, seconds=0.05)
    assert kernel.nest.threads in (1, 2)
    np.testing.assert_array_equal(kernel(*operands(kernel)), evaluate(kernel.workload, *operands(kernel)))


def test_write_library__names_the_function_after_the_file(product, tmp_path) -> None:
    product.write_library(tmp_path / "libmul.so")
    assert [path.name for path in tmp_path.iterdir()] == ["libmul.so"]
    assert b"mul\0" in (tmp_path / "libmul.so").read_bytes()
    with pytest.raises(InvalidConfigError, match="no C function can be called 'a-b'"):
        product.write_library(tmp_path / "a-b.so")


def test_save__writes_what_is_needed_elsewhere(product, tmp_path) -> None:
    files = product.save(tmp_path / "new" / "folder")
    stem = "dojo_mk_kn_mn_20x30x40_float32"
    assert [path.name for path in files] == [f"lib{stem}.so", f"{stem}.h", f"{stem}.py", f"{stem}.nest.json"]
    assert json.loads(files[-1].read_text())["workload"] == str(PRODUCT)
    product.save(tmp_path / "new" / "folder")
    assert len(list((tmp_path / "new" / "folder").iterdir())) == 4


def test_save__without_a_linker_says_how_to_get_one(product, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolchainError, match="needs clang or gcc, and neither was found: install one"):
        product.save(tmp_path)


def test_repr__names_the_workload(product) -> None:
    assert repr(product) == "<Kernel mk,kn->mn m=20 k=30 n=40 float32>"


def test_package__loads_loops_when_it_is_asked_for() -> None:
    script = """
import sys, compiler_dojo
assert "compiler_dojo.loops" not in sys.modules and "compiler_dojo.envs.loops" not in sys.modules
compiler_dojo.loops.compile
heavy = {"torch", "rich", "typer", "yaml", "matplotlib", "pyarrow"}
print(sorted(heavy & set(sys.modules)), [line for line in open("/proc/self/maps") if "libLLVM" in line])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[] []\n", "")


def test_package__has_no_other_attributes() -> None:
    assert compiler_dojo.loops.compile is compile_kernel
    with pytest.raises(AttributeError, match="no attribute 'loop'"):
        _ = compiler_dojo.loop  # type: ignore[attr-defined]
