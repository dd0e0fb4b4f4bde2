"""The loops as a programmer would write them, compiled by gcc: a peer of the loops benchmark."""

from __future__ import annotations

import ctypes
import dataclasses
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from compiler_dojo.envs.errors import CompilationError
from compiler_dojo.envs.loops.workload import Operand, Workload
from compiler_dojo.experiments.loop_native import NativeFunction, prepared
from compiler_dojo.experiments.loop_peers import Array, PreparedKernel, fastest

FLAGS = ("-O3", "-ffast-math", "-funroll-loops")
"""With them gcc vectorises sums and unrolls; -march comes from the target."""

CTYPES = {"float32": "float", "float64": "double"}


class GccPeer:
    """Plain loops in C, in the fastest of a few orders.

    Orders: that of the start nest; output axes before the summed ones (``ijk`` for a product); and the summed ones
    before the last output axis (``ikj``).

    Args:
        march: what -march is given.
    """

    name = "gcc"

    def __init__(self, march: str = "native") -> None:
        self.flags = (*FLAGS, f"-march={march}")

    def available(self) -> str:
        """Whether gcc is on the path."""
        return "" if shutil.which("gcc") else "there is no gcc on the PATH: apt-get install gcc"

    def prepare(self, workload: Workload, operands: Sequence[Array]) -> PreparedKernel:
        """Compile every order, take the fastest.

        Raises:
            CompilationError: gcc rejects the code, which is our mistake.
        """
        start = time.perf_counter()
        kernels = {}
        for order in orders(workload):
            function = compile_c(c_source(workload, order), self.flags)
            how = f"loops {''.join(order)}, gcc {' '.join(self.flags)}"
            kernels[how] = prepared(function, operands, workload.sizes[order[0]], how, 0.0)
        chosen = kernels[fastest({name: kernel.sample for name, kernel in kernels.items()})]
        return dataclasses.replace(chosen, tuning_seconds=time.perf_counter() - start)


def orders(workload: Workload) -> list[tuple[str, ...]]:
    """Orders of the loops that are worth trying without blocking, each once."""
    outer = tuple(index[0][0] for index in workload.output.indices)
    summed = workload.reduction_axes
    return list(dict.fromkeys([tuple(workload.sizes), (*outer, *summed), (*outer[:-1], *summed, *outer[-1:])]))


def c_source(workload: Workload, order: Sequence[str]) -> str:
    """C of the workload's loops in an order: ``void kernel(void **operands, void *workspace, int64_t, int64_t)``.

    The last two arguments are the iterations of the outermost loop that a call runs; calls that cover a summed
    outermost axis must be made in order.
    """
    return "\n".join(_lines(workload, tuple(order))) + "\n"


def _lines(workload: Workload, order: tuple[str, ...]) -> Iterator[str]:
    ctype = CTYPES[workload.dtype]
    outermost = order[0]
    whole = outermost in workload.reduction_axes
    target = _element(workload, workload.output)
    spatial = [axis for axis in order if axis in workload.output.axes]
    yield "#include <stdint.h>"
    yield "void kernel(void **operands, void *workspace, int64_t begin, int64_t end) {"
    yield "  (void)workspace;"
    for number, operand in enumerate(workload.operands):
        const = "const " if number else ""
        yield f"  {const}{ctype} *restrict {operand.name} = operands[{number}];"
    first = _element(workload, workload.bias) if workload.bias else "0"
    yield from _loops(workload, spatial, outermost, f"{target} = {first};", "begin == 0" if whole else "")
    product = " * ".join(_element(workload, operand) for operand in workload.inputs)
    yield from _loops(workload, order, outermost, f"{target} += {product};", "")
    if workload.relu:
        clamp = f"if ({target} < 0) {target} = 0;"
        yield from _loops(workload, spatial, outermost, clamp, f"end == {workload.sizes[outermost]}" if whole else "")
    yield "}"


def _loops(workload: Workload, order: Sequence[str], outermost: str, body: str, condition: str) -> Iterator[str]:
    """A loop nest around a statement; the workload's outermost axis runs over the call's iterations."""
    indent = "  "
    if condition:
        yield f"{indent}if ({condition})"
        indent += "  "
    for axis in order:
        low, high = ("begin", "end") if axis == outermost else ("0", str(workload.sizes[axis]))
        yield f"{indent}for (int64_t {axis} = {low}; {axis} < {high}; {axis}++)"
        indent += "  "
    yield indent + body


def _element(workload: Workload, operand: Operand) -> str:
    terms = [f"{workload.stride(operand, axis)} * {axis}" for axis in workload.sizes if axis in operand.axes]
    return f"{operand.name}[{' + '.join(terms) or '0'}]"


def compile_c(source: str, flags: Sequence[str]) -> NativeFunction:
    """The function ``kernel`` of a C source; it stays loaded until the process ends.

    Raises:
        CompilationError: gcc rejects it, or takes more than a minute.
    """
    with tempfile.TemporaryDirectory(prefix="dojo-gcc-") as folder:
        path = Path(folder) / "kernel.so"
        command = ["gcc", *flags, "-shared", "-fPIC", "-x", "c", "-", "-o", str(path)]
        try:
            done = subprocess.run(command, input=source, capture_output=True, text=True, check=False, timeout=60)
        except subprocess.TimeoutExpired:
            raise CompilationError("gcc did not finish a loop nest within 60 s: try a smaller one") from None
        if done.returncode != 0:
            raise CompilationError(f"gcc does not compile this kernel:\n{done.stderr.strip()}")
        return NativeFunction(ctypes.CDLL(str(path)))
