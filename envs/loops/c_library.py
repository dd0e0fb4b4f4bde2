"""A kernel as a C function in a shared object: its wrapper as LLVM IR, its header, a Python module that loads it."""

from __future__ import annotations

import keyword
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from compiler_dojo.envs.errors import InvalidConfigError, ToolchainError
from compiler_dojo.envs.llvm.library import load_library
from compiler_dojo.envs.loops.codegen import Code
from compiler_dojo.envs.loops.nest import Nest
from compiler_dojo.envs.loops.targets import Target
from compiler_dojo.envs.loops.workload import Index, Operand, Workload

MOST_STACK_BYTES = 32 * 2**10
"""Packed operands up to this size are kept on the stack, others on the heap."""

LINK_SECONDS = 60

C_TYPES = {"float32": "float", "float64": "double"}

_KEYWORDS = frozenset(
    """auto break case char const continue default do double else enum extern float for goto if inline int long
    register restrict return short signed sizeof static struct switch typedef union unsigned void volatile while
    main abort aligned_alloc free pthread_create pthread_join""".split()
)


def default_name(workload: Workload) -> str:
    """A C name from the expression, the sizes and the type, such as ``dojo_mk_kn_mn_64x32x48_float32``."""
    expression = re.sub("[^a-z0-9]+", "_", workload.expression).strip("_")
    return f"dojo_{expression}_{'x'.join(str(axis.size) for axis in workload.axes)}_{workload.dtype}"


def check_name(name: str) -> None:
    """Demand that a C function can have the name.

    Raises:
        InvalidConfigError: it is no identifier, or taken.
    """
    if not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name) or name in _KEYWORDS or keyword.iskeyword(name):
        raise InvalidConfigError(
            f"no C function can be called {name!r}: choose a name of letters, digits and underscores that C and Python "
            "leave free"
        )


def library_ir(code: Code, name: str) -> str:
    """The kernel's module with ``void name(output, inputs..., bias)`` beside it, which brings the workspace.

    With threads, it starts all but one, and runs the parts of those that cannot be started itself.
    """
    body = f'@"{name}.kernel"'
    ir = code.ir.replace("define void @kernel(", f"define internal void {body}(")
    count = len(code.nest.workload.operands)
    threads = min(code.nest.threads, code.iterations)
    each = -(-code.workspace_bytes // 64) * 64
    on_heap = each * threads > MOST_STACK_BYTES
    parameters = ", ".join(f"ptr noalias %operand{number}" for number in range(count))
    lines = [f"define void @{name}({parameters}) #0 {{", f"  %operands = alloca [{count} x ptr], align 8"]
    for number in range(count):
        lines += [
            f"  %slot{number} = getelementptr i8, ptr %operands, i64 {8 * number}",
            f"  store ptr %operand{number}, ptr %slot{number}, align 8",
        ]
    declarations = []
    if on_heap:
        declarations += ["declare ptr @aligned_alloc(i64, i64)", "declare void @free(ptr)", "declare void @abort()"]
        lines += [
            f"  %workspace = call ptr @aligned_alloc(i64 64, i64 {each * threads})",
            "  %none = icmp eq ptr %workspace, null",
            "  br i1 %none, label %fail, label %run",
            "fail:",
            "  call void @abort()",
            "  unreachable",
            "run:",
        ]
    else:
        lines.append(f"  %workspace = alloca [{max(1, each * threads)} x i8], align 64")
    bounds = _bounds(code.iterations, threads)
    lines += [
        *_starts(name, bounds, each),
        f"  call void {body}(ptr %operands, ptr %workspace, i64 0, i64 {bounds[1]})",
    ]
    lines += _joins(threads)
    lines += [*(["  call void @free(ptr %workspace)"] if on_heap else []), "  ret void", "}"]
    if threads > 1:
        declarations += ["declare i32 @pthread_create(ptr, ptr, ptr, ptr)", "declare i32 @pthread_join(i64, ptr)"]
        lines += _work(name, body)
    return "\n".join([ir, *lines, *declarations, ""])


def _bounds(iterations: int, threads: int) -> list[int]:
    """Where the parts of the threads begin, and the end."""
    return [iterations * number // threads for number in range(threads + 1)]


def _starts(name: str, bounds: list[int], workspace_bytes: int) -> list[str]:
    lines = []
    for number in range(1, len(bounds) - 1):
        lines += [f"  %thread{number} = alloca i64, align 8", f"  %task{number} = alloca [4 x i64], align 8"]
    for number in range(1, len(bounds) - 1):
        task = f"%task{number}"
        lines += [
            f"  store ptr %operands, ptr {task}, align 8",
            f"  %place{number} = getelementptr i8, ptr {task}, i64 8",
            f"  %own{number} = getelementptr i8, ptr %workspace, i64 {workspace_bytes * number}",
            f"  store ptr %own{number}, ptr %place{number}, align 8",
            f"  %begin{number} = getelementptr i8, ptr {task}, i64 16",
            f"  store i64 {bounds[number]}, ptr %begin{number}, align 8",
            f"  %end{number} = getelementptr i8, ptr {task}, i64 24",
            f"  store i64 {bounds[number + 1]}, ptr %end{number}, align 8",
            f"  %status{number} = call i32 @pthread_create(ptr %thread{number}, ptr null, "
            f'ptr @"{name}.work", ptr {task})',
            f"  %refused{number} = icmp ne i32 %status{number}, 0",
            f"  br i1 %refused{number}, label %alone{number}, label %started{number}",
            f"alone{number}:",
            f'  %ran{number} = call ptr @"{name}.work"(ptr {task})',
            f"  br label %started{number}",
            f"started{number}:",
        ]
    return lines


def _joins(threads: int) -> list[str]:
    lines = []
    for number in range(1, threads):
        lines += [
            f"  br i1 %refused{number}, label %joined{number}, label %join{number}",
            f"join{number}:",
            f"  %id{number} = load i64, ptr %thread{number}, align 8",
            f"  %left{number} = call i32 @pthread_join(i64 %id{number}, ptr null)",
            f"  br label %joined{number}",
            f"joined{number}:",
        ]
    return lines


def _work(name: str, body: str) -> list[str]:
    return [
        f'define internal ptr @"{name}.work"(ptr %task) #0 {{',
        "  %operands = load ptr, ptr %task, align 8",
        "  %workspace.slot = getelementptr i8, ptr %task, i64 8",
        "  %workspace = load ptr, ptr %workspace.slot, align 8",
        "  %begin.slot = getelementptr i8, ptr %task, i64 16",
        "  %begin = load i64, ptr %begin.slot, align 8",
        "  %end.slot = getelementptr i8, ptr %task, i64 24",
        "  %end = load i64, ptr %end.slot, align 8",
        f"  call void {body}(ptr %operands, ptr %workspace, i64 %begin, i64 %end)",
        "  ret ptr null",
        "}",
    ]


def find_linker() -> str:
    """Path of a compiler driver that links shared objects.

    Raises:
        ToolchainError: there is none.
    """
    major = load_library().version[0]
    for name in (f"clang-{major}", "clang", "cc", "gcc"):
        if path := shutil.which(name):
            return path
    raise ToolchainError(
        "linking a library needs clang or gcc, and neither was found: install one, such as "
        f"`apt-get install clang-{major}`"
    )


def link(path: Path, content: bytes, threads: int = 1) -> None:
    """Link a relocatable object to a shared one, which replaces what is at the path in one step.

    Raises:
        ToolchainError: there is no linker, or it fails.
    """
    linker = find_linker()
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".partial-") as folder:
        source, done = Path(folder) / "kernel.o", Path(folder) / path.name
        source.write_bytes(content)
        command = [linker, "-shared", f"-Wl,-soname,{path.name}", "-o", str(done), str(source)]
        result = subprocess.run(
            [*command, *(["-pthread"] if threads > 1 else [])],
            capture_output=True,
            text=True,
            check=False,
            timeout=LINK_SECONDS,
        )
        if result.returncode != 0:
            raise ToolchainError(
                f"{linker} does not link {path}: {result.stderr.strip()[-1000:]}; try another compiler"
            )
        os.replace(done, path)


def header(nest: Nest, target: Target, name: str, speed: str = "") -> str:
    """The C header, with the shapes, the loop nest and an example in its comment."""
    workload = nest.workload
    kind = C_TYPES[workload.dtype]
    output, *others = workload.operands
    parameters = [f"{kind} *DOJO_RESTRICT {output.name}"]
    parameters += [f"const {kind} *DOJO_RESTRICT {operand.name}" for operand in others]
    shapes = [f" *   {_array(workload, operand)}" for operand in workload.operands]
    return "\n".join(
        [
            f"/* {formula(workload)}",
            " *",
            f" * {workload}",
            " *",
            " * Arrays are contiguous in row-major order, and the output shares no memory with the others:",
            *shapes,
            " *",
            f" * Compiled by CompilerDojo for the CPU {target.cpu}{f', {speed}' if speed else ''}; the loop nest is",
            *(f" *   {line}" for line in nest.lines()),
            f" * {_remark(nest)}",
            " *",
            " * Example:",
            " *",
            f' *   #include "{name}.h"',
            *(f" *   static {kind} {operand.name}{_brackets(workload, operand)};" for operand in workload.operands),
            " *   int main(void) {",
            f" *       {name}({', '.join(_first(workload, operand) for operand in workload.operands)});",
            " *   }",
            " *",
            f" *   cc example.c -L. -l{name} -Wl,-rpath,. -o example",
            " */",
            f"#ifndef {name.upper()}_H",
            f"#define {name.upper()}_H",
            "",
            "#ifndef DOJO_RESTRICT",
            "#ifdef __cplusplus",
            "#define DOJO_RESTRICT __restrict",
            "#else",
            "#define DOJO_RESTRICT restrict",
            "#endif",
            "#endif",
            "",
            "#ifdef __cplusplus",
            'extern "C" {',
            "#endif",
            "",
            f"void {name}({', '.join(parameters)});",
            "",
            "#ifdef __cplusplus",
            "}",
            "#endif",
            "",
            "#endif",
            "",
        ]
    )


def _remark(nest: Nest) -> str:
    threads = f"Each call starts {nest.threads - 1} of its {nest.threads} threads. " if nest.threads > 1 else ""
    return f"{threads}Threads may call it at the same time. It aborts when memory for copies of operands is missing."


def formula(workload: Workload) -> str:
    """The workload with its indices, such as ``C[m, n] = sum over k of A[m, k] * B[k, n]``."""
    product = " * ".join(_indexed(operand) for operand in workload.inputs)
    if workload.reduction_axes:
        product = f"sum over {', '.join(workload.reduction_axes)} of {product}"
    if workload.bias:
        product = f"{_indexed(workload.bias)} + {product}"
    if workload.relu:
        product = f"max(0, {product})"
    return f"{_indexed(workload.output)} = {product}"


def _indexed(operand: Operand) -> str:
    return f"{operand.name}[{', '.join(map(_term, operand.indices))}]"


def _term(index: Index) -> str:
    return " + ".join(f"{coefficient} {axis}" if coefficient > 1 else axis for axis, coefficient in index)


def _array(workload: Workload, operand: Operand) -> str:
    return f"{operand.name}{_brackets(workload, operand)}"


def _brackets(workload: Workload, operand: Operand) -> str:
    return "".join(f"[{extent}]" for extent in workload.shape(operand) or (1,))


def _first(workload: Workload, operand: Operand) -> str:
    """The address of an array's first element, in C."""
    dimensions = len(workload.shape(operand) or (1,))
    return operand.name if dimensions == 1 else f"&{operand.name}{'[0]' * dimensions}"


def python_module(workload: Workload, name: str) -> str:
    """A Python module that loads the shared object beside it, and needs nothing but NumPy."""
    output, *others = workload.operands
    arguments = ", ".join(operand.name for operand in others)
    listed = arguments + ("," if len(others) == 1 else "")
    shapes = "".join(f'    "{operand.name}": {workload.shape(operand)},\n' for operand in others)
    pointers = ", ".join(f"{operand.name}.ctypes" for operand in workload.operands)
    return f'''"""{formula(workload)}; {workload}"""

import ctypes
from pathlib import Path

import numpy as np

_function = ctypes.CDLL(str(Path(__file__).resolve().with_name("lib{name}.so"))).{name}
_function.argtypes = [ctypes.c_void_p] * {len(workload.operands)}
_function.restype = None
_SHAPES = {{
{shapes}}}


def {name}({arguments}):
    """Compute the result of NumPy arrays, which are copied where their type or layout is another."""
    {listed} = (np.ascontiguousarray(array, np.{workload.dtype}) for array in ({listed}))
    for array, (name, shape) in zip(({listed}), _SHAPES.items()):
        if array.shape != shape:
            raise ValueError(f"{{name}} must have shape {{shape}}, got {{array.shape}}")
    {output.name} = np.empty({workload.shape(output)}, np.{workload.dtype})
    _function({pointers})
    return {output.name}
'''
