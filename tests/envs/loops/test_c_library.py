import ctypes
import importlib.util
import subprocess
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiler_dojo.envs.errors import InvalidConfigError, ToolchainError
from compiler_dojo.envs.loops.c_library import check_name, default_name, find_linker, formula, header, library_ir, link
from compiler_dojo.envs.loops.codegen import generate
from compiler_dojo.envs.loops.heuristics import candidates
from compiler_dojo.envs.loops.jit import Jit, find_target
from compiler_dojo.envs.loops.kernels import Kernel
from compiler_dojo.envs.loops.nest import Loop, Nest, Pack
from compiler_dojo.envs.loops.reference import evaluate, exact_arrays
from compiler_dojo.envs.loops.runner import Runner
from compiler_dojo.envs.loops.workload import Workload
from compiler_dojo.envs.loops.workloads import parse, parse_text

TEXTS = (
    "mk,kn->mn m=20 k=30 n=40",
    "mk,kn->mn m=20 k=30 n=40 float64",
    "mk,kn->mn|bias(n),relu m=7 k=9 n=35",
    "ikl,kr,lr->ir i=9 k=8 l=7 r=16",
    "mn-> m=9 n=50",
    "(2h+r)c,rck->hk h=9 r=3 c=4 k=20",
)

PROGRAM = """
#include <stdio.h>
#include <stdlib.h>
#include "kernel_under_test.h"

static TYPE *take(size_t count, FILE *file) {
    TYPE *array = malloc(count * sizeof *array);
    if (array == NULL || (file != NULL && fread(array, sizeof *array, count, file) != count))
        exit(1);
    return array;
}

int main(int count, char **arguments) {
    if (count != 3)
        return 1;
    FILE *in = fopen(arguments[1], "rb"), *out = fopen(arguments[2], "wb");
    TYPE *result = take(OUTPUT, NULL);
    OPERANDS
    kernel_under_test(result, LIST);
    return fwrite(result, sizeof *result, OUTPUT, out) != OUTPUT || fclose(in) || fclose(out);
}
"""


def packed(threads: int, size: int = 64) -> Nest:
    workload = parse("mk,kn->mn", m=size, k=size, n=size)
    loops = (Loop("n", 32), Loop("m", 4), Loop("k"), Loop("m"), Loop("n"))
    return Nest(workload, loops, tile=2, packs=(Pack(0, 0), Pack(1, 1)), threads=threads)


def run_program(folder: Path, workload: Workload, arrays: list[np.ndarray], language: str) -> np.ndarray:
    """Compile a program in C or C++ against the header and the library, and run it."""
    names = [operand.name for operand in workload.operands[1:]]
    text = PROGRAM.replace("TYPE", "float" if workload.dtype == "float32" else "double")
    reads = "".join(
        f"{'float' if workload.dtype == 'float32' else 'double'} *{name} = take({array.size}, in);\n    "
        for name, array in zip(names, arrays, strict=True)
    )
    shape = workload.shape(workload.output)
    text = text.replace("OPERANDS", reads).replace("LIST", ", ".join(names)).replace("OUTPUT", str(int(np.prod(shape))))
    if language == "c++":
        text = text.replace("= malloc", f"= ({'float' if workload.dtype == 'float32' else 'double'} *)malloc")
    source = "program.c" if language == "c" else "program.cpp"
    (folder / source).write_text(text)
    command = [find_linker(), source, "-Wall", "-Werror", "-L.", "-lkernel_under_test", "-Wl,-rpath,.", "-o", "program"]
    subprocess.run(command, cwd=folder, check=True)
    (folder / "in").write_bytes(b"".join(array.tobytes() for array in arrays))
    subprocess.run(["./program", "in", "out"], cwd=folder, check=True)
    return np.fromfile(folder / "out", workload.dtype).reshape(shape)


def load_module(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("language", ["c", "c++"])
@pytest.mark.parametrize("text", TEXTS[:3])
def test_library__is_called_from_c(tmp_path, text, language) -> None:
    workload = parse_text(text)
    Kernel(candidates(workload, find_target())[0], Runner()).save(tmp_path, "kernel_under_test")
    arrays = list(exact_arrays(workload, np.random.default_rng(0))[1:])
    np.testing.assert_array_equal(run_program(tmp_path, workload, arrays, language), evaluate(workload, *arrays))


@pytest.mark.parametrize("text", TEXTS)
def test_header__is_c_that_compiles_with_its_example(tmp_path, text) -> None:
    workload = parse_text(text)
    name = default_name(workload)
    Kernel(candidates(workload, find_target())[0], Runner()).save(tmp_path)
    comment = (tmp_path / f"{name}.h").read_text().split("*/")[0]
    example = comment.split("Example:\n")[1].split("cc example.c")[0]
    (tmp_path / "example.c").write_text("\n".join(line[3:] for line in example.splitlines()) + "\n")
    command = [find_linker(), "-Wall", "-Werror", "-std=c99", "-pedantic", "example.c", "-L.", f"-l{name}"]
    subprocess.run([*command, "-Wl,-rpath,.", "-o", "example"], cwd=tmp_path, check=True)
    subprocess.run(["./example"], cwd=tmp_path, check=True)


@pytest.mark.parametrize("text", TEXTS)
def test_python_module__loads_the_library(tmp_path, text) -> None:
    workload = parse_text(text)
    name = default_name(workload)
    Kernel(candidates(workload, find_target())[0], Runner()).save(tmp_path)
    function = getattr(load_module(tmp_path / f"{name}.py"), name)
    arrays = list(exact_arrays(workload, np.random.default_rng(0))[1:])
    wanted = evaluate(workload, *arrays)
    np.testing.assert_array_equal(function(*arrays), wanted)
    np.testing.assert_array_equal(function(*[np.asfortranarray(array, np.float64) for array in arrays]), wanted)
    with pytest.raises(ValueError, match="A must have shape"):
        function(*[array[:1] for array in arrays])


@pytest.mark.parametrize(("threads", "size"), [(1, 64), (1, 256), (2, 64), (3, 200), (7, 64)])
def test_library__brings_its_workspace_and_its_threads(tmp_path, threads, size) -> None:
    nest = packed(threads, size)
    Kernel(nest, Runner()).write_library(tmp_path / "libproduct.so")
    function = ctypes.CDLL(str(tmp_path / "libproduct.so")).product
    a, b = exact_arrays(nest.workload, np.random.default_rng(0))[1:]
    wanted, wrong = evaluate(nest.workload, a, b), []

    def call() -> None:
        c = np.full(wanted.shape, np.nan, np.float32)
        for _ in range(20):
            function(c.ctypes, a.ctypes, b.ctypes)
            wrong.extend([1] * (not np.array_equal(c, wanted)))

    callers = [threading.Thread(target=call) for _ in range(3)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert wrong == []


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("size", [64, 256])
def test_library_ir__verifies(threads, size) -> None:
    target = find_target()
    Jit(target, verify=True).compile(
        library_ir(generate(packed(threads, size), target), "main_product"), "main_product"
    )


def test_library__exports_its_function_alone(tmp_path) -> None:
    Kernel(packed(2), Runner()).write_library(tmp_path / "libproduct.so")
    library = ctypes.CDLL(str(tmp_path / "libproduct.so"))
    assert library.product
    for hidden in ("kernel", "product.kernel", "product.work"):
        with pytest.raises(AttributeError):
            library[hidden]


@pytest.mark.parametrize("name", ["kernel", "_f", "dojo_2"])
def test_check_name__takes_identifiers(name) -> None:
    check_name(name)


@pytest.mark.parametrize("name", ["", "2a", "a b", "a-b", "for", "lambda", "free", "é"])
def test_check_name__refuses_what_is_none_or_taken(name) -> None:
    with pytest.raises(InvalidConfigError, match="no C function can be called"):
        check_name(name)


@pytest.mark.parametrize("text", [*TEXTS, "mk,kn->mn|relu m=1 k=1 n=1"])
def test_default_name__is_an_identifier(text) -> None:
    check_name(default_name(parse_text(text)))


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("mk,kn->mn m=2 k=3 n=4", "C[m, n] = sum over k of A[m, k] * B[k, n]"),
        ("mk,kn->mn|bias(n),relu m=2 k=3 n=4", "C[m, n] = max(0, bias[n] + sum over k of A[m, k] * B[k, n])"),
        ("(2w+s)c,sck->wk w=2 s=3 c=4 k=5", "C[w, k] = sum over s, c of A[2 w + s, c] * B[s, c, k]"),
        ("mn-> m=2 n=3", "C[] = sum over m, n of A[m, n]"),
        ("m->m|relu m=2", "C[m] = max(0, A[m])"),
    ],
)
def test_formula__is_what_the_workload_computes(text, written) -> None:
    assert formula(parse_text(text)) == written


def test_header__tells_shapes_nest_and_speed() -> None:
    text = header(packed(2), find_target(), "product", "99.0 GFLOP/s here")
    for part in (
        "C[64][64]",
        "void product(float *DOJO_RESTRICT C, const float *DOJO_RESTRICT A, const float *DOJO_RESTRICT B);",
        "pack B[k:64, n:32]",
        "99.0 GFLOP/s here",
        "Each call starts 1 of its 2 threads.",
    ):
        assert part in text


def test_link__tells_what_the_linker_says(tmp_path) -> None:
    with pytest.raises(ToolchainError, match=r"does not link .*libnone\.so"):
        link(tmp_path / "libnone.so", b"no object")
    assert list(tmp_path.iterdir()) == []
