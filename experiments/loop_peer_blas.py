"""BLAS called directly, without NumPy around it: a peer of the loops benchmark."""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import shutil
import time
from collections.abc import Sequence
from typing import NamedTuple

from compiler_dojo.envs.errors import InvalidWorkloadError
from compiler_dojo.envs.loops.workload import Workload
from compiler_dojo.experiments.loop_native import prepared
from compiler_dojo.experiments.loop_peer_gcc import CTYPES, compile_c
from compiler_dojo.experiments.loop_peers import Array, PreparedKernel

PREFIX = {"float32": "s", "float64": "d"}


class Group(NamedTuple):
    """Axes that lie in every operand like a single one.

    Attributes:
        size: product of their sizes; 1 if there are none.
        strides: elements from one step to the next in the output and both inputs; 0 where they are absent.
    """

    size: int
    strides: tuple[int, int, int]


class Product(NamedTuple):
    """A workload as a (batched) matrix product: output[b, m, n] = sum over k of left[b, m, k] right[b, k, n]."""

    batch: Group
    m: Group
    n: Group
    k: Group


class BlasPeer:
    """``sgemm`` or ``dgemm`` of the OpenBLAS that SciPy brings, its address called in the native timing loop.

    BLAS counts columns first, so it is given the transposed product of the operands as they lie; nothing is copied.
    A batch is one call per member; a product with a vector is ``sgemv``.
    """

    name = "sgemm"

    def available(self) -> str:
        """Whether there is SciPy, and a gcc for the few lines around the call."""
        if importlib.util.find_spec("scipy") is None:
            return "there is no SciPy, whose BLAS is called: pip install scipy"
        if shutil.which("gcc") is None:
            return "there is no gcc on the PATH, which compiles the lines around the call: apt-get install gcc"
        return ""

    def prepare(self, workload: Workload, operands: Sequence[Array]) -> PreparedKernel:
        """Bind the call.

        Raises:
            InvalidWorkloadError: the workload is not a product of matrices, as they lie in memory.
        """
        start = time.perf_counter()
        product = as_product(workload)
        routine = PREFIX[workload.dtype] + ("gemv" if is_vector(product) else "gemm")
        source = call_source(workload.dtype, product, blas_address(routine))
        function = compile_c(source, ("-O2",))
        return prepared(function, operands, product.batch.size, routine, time.perf_counter() - start)


def as_product(workload: Workload) -> Product:
    """Read a workload as a matrix product.

    Raises:
        InvalidWorkloadError: it is none, or its operands lie in memory as BLAS cannot take them.
    """
    refusal = InvalidWorkloadError(
        f"no BLAS call computes {workload} on its operands as they lie: use it for products of two matrices"
    )
    if len(workload.inputs) != 2 or workload.bias or workload.relu:
        raise refusal
    if any(len(index) > 1 or index[0][1] > 1 for operand in workload.inputs for index in operand.indices):
        raise refusal
    left, right = workload.inputs
    kinds: dict[tuple[bool, bool, bool], list[str]] = {}
    for axis in workload.sizes:
        kinds.setdefault((axis in workload.output.axes, axis in left.axes, axis in right.axes), []).append(axis)
    members = ((True, True, True), (True, True, False), (True, False, True), (False, True, True))
    if set(kinds) - set(members) or members[3] not in kinds:
        raise refusal
    groups = [_merge(workload, kinds.get(member, [])) for member in members]
    found = [group for group in groups if group is not None]
    if len(found) < len(groups):
        raise refusal
    product = Product(*found)
    if any(stride is None for stride in _leading(product)):
        raise refusal
    return product


def _merge(workload: Workload, axes: Sequence[str]) -> Group | None:
    """Several axes as one, if from the last step of each to the next step of the one before it is one more step."""
    operands = (workload.output, *workload.inputs)
    size, strides = 1, (0, 0, 0)
    for axis in sorted(axes, key=lambda axis: max(workload.stride(operand, axis) for operand in operands)):
        own = tuple(workload.stride(operand, axis) for operand in operands)
        if size > 1 and own != tuple(size * stride for stride in strides):
            return None
        if size == 1:
            strides = (own[0], own[1], own[2])
        size *= workload.sizes[axis]
    return Group(size, strides)


def _leading(product: Product) -> tuple[int | None, int | None, int | None]:
    """From row to row of each operand, negative if it lies transposed; None if neither direction is contiguous."""
    m, n, k = product.m, product.n, product.k

    def leading(operand: int, rows: Group, columns: Group) -> int | None:
        if columns.size == 1 or columns.strides[operand] == 1:
            return max(rows.strides[operand], columns.size)
        if rows.size == 1 or rows.strides[operand] == 1:
            return -max(columns.strides[operand], rows.size)
        return None

    return leading(0, m, n), leading(1, m, k), leading(2, k, n)


def call_source(dtype: str, product: Product, address: int) -> str:
    """C of a kernel that calls BLAS once per member of the batch.

    Args:
        dtype: of the operands.
        product: what they are multiplied as.
        address: of ``sgemm`` or ``dgemm`` (Fortran's calling convention), or of ``sgemv`` or ``dgemv`` for a vector.
    """
    ctype = CTYPES[dtype]
    scalars, arguments = _gemv(product) if is_vector(product) else _gemm(product)
    declared = [f"int {name} = {value};" for name, value in scalars.items() if isinstance(value, int)]
    declared += [f"char {name} = '{value}';" for name, value in scalars.items() if isinstance(value, str)]
    pointers = [
        f"{ctype} *{name} = ({ctype} *)operands[{number}] + b * {product.batch.strides[number]};"
        for number, name in enumerate(("c", "a", "b_"))
    ]
    return f"""#include <stdint.h>
typedef void blas();
void kernel(void **operands, void *workspace, int64_t begin, int64_t end) {{
  (void)workspace;
  {ctype} one = 1, zero = 0;
  {" ".join(declared)}
  for (int64_t b = begin; b < end; b++) {{
    {" ".join(pointers)}
    ((blas *){address}ul)({", ".join(arguments)});
  }}
}}
"""


def is_vector(product: Product) -> bool:
    """Whether one of the matrices is a vector."""
    return product.m.size == 1 or product.n.size == 1


def _gemm(product: Product) -> tuple[dict[str, int | str], list[str]]:
    ldc, lda, ldb = (value or 0 for value in _leading(product))
    sizes: dict[str, int | str] = {"m": product.m.size, "n": product.n.size, "k": product.k.size}
    rows_first = ldc > 0
    # what lies in rows is its transpose to BLAS: of a result in rows, the transposed product is computed
    trans = {name: "N" if (ld > 0) == rows_first else "T" for name, ld in (("ta", lda), ("tb", ldb))}
    scalars = {**sizes, **trans, "lda": abs(lda), "ldb": abs(ldb), "ldc": abs(ldc)}
    left, right = ["&ta", "a", "&lda"], ["&tb", "b_", "&ldb"]
    outer, inner = ("&m", "&n"), (left, right)
    if rows_first:
        outer, inner = ("&n", "&m"), (right, left)
    (first, second) = inner
    arguments = [first[0], second[0], *outer, "&k", "&one", *first[1:], *second[1:], "&zero", "c", "&ldc"]
    return scalars, arguments


def _gemv(product: Product) -> tuple[dict[str, int | str], list[str]]:
    _, lda, ldb = (value or 0 for value in _leading(product))
    k = product.k
    if product.n.size == 1:
        rows, matrix, vector, ld, step = product.m, "a", "b_", lda, k.strides[2]
        by_columns = ld < 0
    else:
        rows, matrix, vector, ld, step = product.n, "b_", "a", ldb, k.strides[1]
        by_columns = ld > 0
    # a matrix whose summed axis is contiguous is k x rows to BLAS
    size = (rows.size, k.size) if by_columns else (k.size, rows.size)
    scalars: dict[str, int | str] = {
        "t": "N" if by_columns else "T",
        "m": size[0],
        "n": size[1],
        "ld": abs(ld),
        "step": step or 1,
        "out": rows.strides[0] or 1,
    }
    return scalars, ["&t", "&m", "&n", "&one", matrix, "&ld", vector, "&step", "&zero", "c", "&out"]


def blas_address(routine: str) -> int:
    """Address of a routine of the BLAS that SciPy is linked with."""
    capsule = importlib.import_module("scipy.linalg.cython_blas").__pyx_capi__[routine]
    name = ctypes.pythonapi.PyCapsule_GetName
    name.restype, name.argtypes = ctypes.c_char_p, [ctypes.py_object]
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return int(pointer(capsule, name(capsule)))
