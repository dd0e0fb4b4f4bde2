"""Kernels compiled from hand-written IR: what they compute, how they are closed, and what is said of wrong IR."""

import gc
import re
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from guarded import run_guarded
from writing_kernels import add_kernel, lanes_of, product_kernel

from compiler_dojo.envs.errors import (
    InvalidConfigError,
    InvalidProgramError,
    PassFailedError,
    SessionClosedError,
    UnreadableProgramError,
)
from compiler_dojo.envs.loops.jit import CompiledKernel, Jit
from compiler_dojo.envs.loops.targets import Target, find_target

ROWS, DEPTH = 5, 7


def targets_here() -> list[Target]:
    names = ["native", "generic"]
    if find_target().triple.startswith("x86_64"):
        names += ["x86-64-v2", "x86-64-v3", "x86-64-v4"]
    return [target for target in map(find_target, names) if not target.missing_features()]


@pytest.fixture(scope="module")
def jit() -> Jit:
    return Jit(find_target(), verify=True)


def run_add(kernel: CompiledKernel) -> float:
    out, a, b = (np.full(4, value, np.float32) for value in (0, 3, 2))
    kernel((out, a, b), None, 1, 3)
    assert out[0] == out[3] == 0
    assert out[1] == out[2]
    return float(out[1])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("target", targets_here(), ids=lambda target: target.name)
def test_kernel__multiplies_matrices_on_every_instruction_set_of_this_machine(target: Target, dtype: str) -> None:
    rng = np.random.default_rng(1)
    a = rng.standard_normal((ROWS, DEPTH)).astype(dtype)
    b = rng.standard_normal((DEPTH, lanes_of(target, dtype))).astype(dtype)
    kernel = Jit(target, verify=True).compile(product_kernel(target, dtype, ROWS, DEPTH))
    c, *_ = run_guarded(kernel, [np.zeros((ROWS, b.shape[1]), dtype), a, b], 0, 0, ROWS)
    np.testing.assert_allclose(c, a @ b, rtol=1e-5 if dtype == "float32" else 1e-13, atol=1e-6)


def test_kernel__uses_the_registers_of_its_target() -> None:
    for target in targets_here():
        assembly = Jit(target).compile(product_kernel(target, "float32", ROWS, DEPTH)).assembly()
        register = {16: "xmm0", 32: "ymm0", 64: "zmm0"}[target.vector_bytes]
        if target.triple.startswith("x86_64"):
            assert register in assembly
            assert ("vfmadd" in assembly) == target.fma
        else:
            assert "fmla" in assembly


def test_kernel__runs_the_iterations_it_is_given(jit) -> None:
    assert run_add(jit.compile(add_kernel())) == 5


def test_kernels__of_one_symbol_name_live_side_by_side(jit) -> None:
    add, subtract = jit.compile(add_kernel()), jit.compile(add_kernel(operation="fsub"))
    assert (run_add(add), run_add(subtract)) == (5, 1)
    add.close()
    assert run_add(subtract) == 1
    assert run_add(jit.compile(add_kernel(operation="fmul"))) == 6
    assert run_add(subtract) == 1


def test_compile__takes_another_symbol(jit) -> None:
    assert run_add(jit.compile(add_kernel("sum_of_two"), "sum_of_two")) == 5


def test_compile__says_where_its_time_went(jit) -> None:
    kernel = jit.compile(add_kernel())
    assert min(kernel.compile_seconds) >= 0
    assert kernel.compile_seconds.code > 0
    assert kernel.seconds == sum(kernel.compile_seconds)


def test_compile__runs_the_pipeline() -> None:
    kernel = Jit(find_target(), pipeline="loop-unroll<full-unroll-max=0;runtime>,sroa").compile(add_kernel())
    assert run_add(kernel) == 5
    ir = "define void @kernel(ptr %o, ptr %w, i64 %b, i64 %e) {\n  call void @helper(ptr %o)\n  ret void\n}\n"
    ir += "define internal void @helper(ptr %o) alwaysinline {\n  store ptr null, ptr %o\n  ret void\n}\n"
    inlining = Jit(find_target(), pipeline="always-inline")
    assert "helper" in Jit(find_target()).assembly(ir)
    assert "helper" not in inlining.assembly(ir)


def test_object__defines_the_symbol(jit, tmp_path: Path) -> None:
    path = tmp_path / "kernel.o"
    path.write_bytes(jit.compile(add_kernel("my_sum"), "my_sum").object)
    assert " T my_sum" in subprocess.run(["nm", path], capture_output=True, text=True, check=True).stdout


def test_kernel__calls_functions_of_the_process(jit) -> None:
    ir = """
declare ptr @memset(ptr, i32, i64)
define void @kernel(ptr %operands, ptr %workspace, i64 %begin, i64 %end) {
  %out = load ptr, ptr %operands
  %same = call ptr @memset(ptr %out, i32 7, i64 %end)
  ret void
}"""
    out = np.zeros(4, np.uint8)
    jit.compile(ir)([out], None, 0, 3)
    assert out.tolist() == [7, 7, 7, 0]


def test_kernel__that_was_closed_is_not_called(jit) -> None:
    kernel = jit.compile(add_kernel())
    kernel.close()
    kernel.close()
    uses: list[Callable[[], object]] = [
        lambda: run_add(kernel),
        lambda: kernel.address,
        lambda: kernel.object,
    ]
    for use in uses:
        with pytest.raises(SessionClosedError, match="this kernel was closed: compile it again"):
            use()


def test_jit__that_was_closed_compiles_no_more_but_its_kernels_live() -> None:
    jit = Jit(find_target())
    kernel = jit.compile(add_kernel())
    jit.close()
    with pytest.raises(SessionClosedError, match="this Jit was closed"):
        jit.compile(add_kernel())
    with pytest.raises(SessionClosedError, match="this Jit was closed"):
        kernel.assembly()
    assert run_add(kernel) == 5
    kernel.close()


def test_kernels__leave_no_memory_behind(jit) -> None:
    def compile_many() -> None:
        for _ in range(300):
            jit.compile(add_kernel())
        gc.collect()

    def mappings() -> int:
        return len(Path("/proc/self/maps").read_text().splitlines())

    compile_many()
    before = mappings()
    compile_many()
    assert mappings() < before + 20


def test_compile__by_several_threads_at_once(jit) -> None:
    barrier = threading.Barrier(4)

    def compile_some(number: int) -> set[float]:
        barrier.wait()
        operation, expected = [("fadd", 5.0), ("fsub", 1.0), ("fmul", 6.0), ("fdiv", 1.5)][number]
        results = {run_add(jit.compile(add_kernel(operation=operation))) for _ in range(20)}
        return results ^ {expected}

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(compile_some, range(4))) == [set()] * 4


@pytest.mark.parametrize(
    ("ir", "error", "message"),
    [
        ("", InvalidProgramError, "kernel: the module defines no function 'kernel'"),
        ("declare void @kernel()", InvalidProgramError, "the module defines no function 'kernel'"),
        ("define void @kernel( {", UnreadableProgramError, "kernel:1:23: error: expected type"),
        ("define void @kernel() {\n  fadd float 1.0, %y\n  ret void\n}", UnreadableProgramError, "undefined value"),
        ("int main() { return 0; }", UnreadableProgramError, "expected top-level entity"),
        (
            "declare void @no_such_function()\ndefine void @kernel() {\n  call void @no_such_function()\n  ret void\n}",
            InvalidProgramError,
            r"Symbols not found: \[ no_such_function \]",
        ),
        (
            "define void @kernel() {\n  br label %b\na:\n  %x = add i64 1, 2\n  br label %b\nb:\n  %y = add i64 %x, 1\n"
            "  ret void\n}",
            InvalidProgramError,
            "the module does not verify: Instruction does not dominate all uses",
        ),
        (
            'define void @kernel() {\n  call void asm "no_such_instruction", ""()\n  ret void\n}',
            InvalidProgramError,
            "invalid instruction mnemonic",
        ),
    ],
)
def test_compile__of_wrong_ir(jit, ir: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        jit.compile(ir)
    assert run_add(jit.compile(add_kernel())) == 5


def test_assembly__of_wrong_ir(jit) -> None:
    with pytest.raises(UnreadableProgramError, match="assembly: kernel:1:1: error"):
        jit.assembly("nonsense")


def test_pipeline__that_does_not_exist() -> None:
    with pytest.raises(PassFailedError, match="unknown pass name 'no-such-pass'"):
        Jit(find_target(), pipeline="no-such-pass").compile(add_kernel())


def test_jit__for_a_cpu_that_this_machine_is_not() -> None:
    native = find_target()
    foreign = native._replace(name="later", features=native.features + ",+a-later-extension")
    with pytest.raises(InvalidConfigError, match="kernels for later do not run on this machine, which lacks a-l"):
        Jit(foreign)


def test_jit__for_an_architecture_that_llvm_does_not_know() -> None:
    with pytest.raises(InvalidProgramError, match="this libLLVM has no target for 'abacus-unknown-none'"):
        Jit(find_target()._replace(triple="abacus-unknown-none"))


STUB = """
void LLVMGetVersion(unsigned *major, unsigned *minor, unsigned *patch) {{ *major = 19; *minor = *patch = 0; }}
void *LLVMContextCreate(void) {{ return 0; }}
{empty}
"""


def test_jit__needs_a_libllvm_with_orc(run_python, tmp_path: Path) -> None:
    header = Path(__file__).resolve().parents[3] / "envs/llvm/native/src/llvm_c.h"
    table = header.read_text().split("#define LLVM_C_FUNCTIONS(X)")[1].split("#define LLVM_C_OPTIONAL(X)")[0]
    names = set(re.findall(r"X\([^,()]+, (\w+),", table)) - {"ContextCreate"}
    source, path = tmp_path / "stub.c", tmp_path / "libLLVM.so"
    source.write_text(STUB.format(empty="\n".join(f"int LLVM{name}(void) {{ return 0; }}" for name in names)))
    subprocess.run(["cc", "-shared", "-fPIC", "-w", "-o", path, source], check=True)
    script = "from compiler_dojo.envs.loops.targets import find_target\nfind_target()"
    message = r"NativeLibraryError: .*this libLLVM \(19.0.0\) cannot compile kernels: it lacks LLVM"
    assert re.search(message, run_python(script, DOJO_LIBLLVM=str(path)).stderr)
