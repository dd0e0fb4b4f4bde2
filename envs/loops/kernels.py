"""Kernels for users: compiled for given sizes, tuned, checked at every call."""

from __future__ import annotations

import ctypes
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from compiler_dojo.envs.errors import InvalidArrayError, InvalidConfigError, InvalidRecordError
from compiler_dojo.envs.loops.arrays import (
    ALIGNED,
    C_CONTIGUOUS,
    WRITEABLE,
    Array,
    check_array,
    find_address,
)
from compiler_dojo.envs.loops.c_library import (
    check_name,
    default_name,
    header,
    library_ir,
    link,
    python_module,
)
from compiler_dojo.envs.loops.heuristics import candidates
from compiler_dojo.envs.loops.kernel_cache import KernelCache
from compiler_dojo.envs.loops.nest import Nest
from compiler_dojo.envs.loops.nest_files import nest_from_json, nest_to_json
from compiler_dojo.envs.loops.notation import parse
from compiler_dojo.envs.loops.runner import RunnableKernel, Runner
from compiler_dojo.envs.loops.team import shared_team
from compiler_dojo.envs.loops.tuning import Schedule, Tuning, tune
from compiler_dojo.envs.loops.workload import Workload

_FUNCTION = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
_READABLE = C_CONTIGUOUS | ALIGNED
_WRITABLE = _READABLE | WRITEABLE


class Kernel:
    """A contraction of given sizes as a function of NumPy arrays. Threads may call it at the same time.

    Args:
        nest: what to run.
        runner: compiles it, and times it when the speed is asked for.
        tuning: how the nest was found.

    Attributes:
        nest: the loop nest, with its register tile.
        tuning: how it was found; None when it was given or chosen without measuring.

    Raises:
        IllegalScheduleError: no code can be generated for the nest.
    """

    def __init__(self, nest: Nest, runner: Runner, tuning: Tuning | None = None) -> None:
        self._runner = runner
        self._runnable = runner.compile(nest)
        self.nest = self._runnable.code.nest
        self.tuning = tuning
        workload = nest.workload
        self._names = tuple(operand.name for operand in workload.operands)
        self._shape, *shapes = (workload.shape(operand) for operand in workload.operands)
        self._expected = tuple(enumerate(shapes))
        self._count = len(shapes)
        self._dtype = np.dtype(workload.dtype)
        self._bytes = tuple(math.prod(shape) * self._dtype.itemsize for shape in (self._shape, *shapes))
        self._address = find_address()
        self._team = shared_team(nest.threads) if nest.threads > 1 else None
        self._run = _FUNCTION(self._runnable.compiled.address)
        self._iterations = self._runnable.code.iterations
        self._frames: list[_Frame] = []

    @property
    def workload(self) -> Workload:
        """What it computes."""
        return self.nest.workload

    @property
    def gflops(self) -> float:
        """Billions of floating-point operations per second in the best sample: of the tuning, or measured now."""
        return self.tuning.gflops if self.tuning else self._runner.gflops(self._runnable.nest)

    def write_library(self, path: str | Path, name: str | None = None) -> None:
        """Write a shared object with a C function that computes this, on any thread and on several at a time.

        Args:
            path: of the file.
            name: of the function; by default that of the file, without ``lib`` and suffix.

        Raises:
            InvalidConfigError: no name that a C function can have.
            ToolchainError: there is no linker, or it fails.
        """
        stem = Path(path).name.split(".")[0]
        link(Path(path), self._exported(name or stem.removeprefix("lib")), self.nest.threads)

    def save(self, folder: str | Path, name: str | None = None) -> list[Path]:
        """Write everything that is needed to use the kernel elsewhere.

        Args:
            folder: is made if it does not exist; files of the same names are replaced.
            name: of the C function and, with other suffixes, of the files; by default one from the workload.

        Returns:
            The files: ``libNAME.so``, its header ``NAME.h``, ``NAME.py`` that loads it for NumPy, ``NAME.nest.json``.

        Raises:
            InvalidConfigError: no name that a C function can have.
            ToolchainError: there is no linker, or it fails.
        """
        name = name or default_name(self.workload)
        folder = Path(folder)
        exported = self._exported(name)
        folder.mkdir(parents=True, exist_ok=True)
        library = folder / f"lib{name}.so"
        link(library, exported, self.nest.threads)
        speed = f"{self.gflops:.1f} GFLOP/s on the CPU that it was compiled on" if self.tuning else ""
        texts = {
            f"{name}.h": header(self.nest, self._runner.target, name, speed),
            f"{name}.py": python_module(self.workload, name),
            f"{name}.nest.json": json.dumps(nest_to_json(self.nest), indent=1) + "\n",
        }
        for file, text in texts.items():
            (folder / file).write_text(text, encoding="utf-8")
        return [library, *(folder / file for file in texts)]

    def _exported(self, name: str) -> bytes:
        """The relocatable object with the C function."""
        check_name(name)
        ir = library_ir(self._runnable.code, name)
        return self._runner.jit.compile(ir, name).object

    def __call__(self, *arrays: Array, out: Array | None = None) -> Array:
        """Compute the result.

        Args:
            arrays: the inputs in the expression's order, then the bias if there is one: contiguous in row-major order,
                of the workload's shapes and dtype.
            out: where the result goes; by default a new array.

        Returns:
            ``out``, or the new array.

        Raises:
            InvalidArrayError: an array does not fit, or ``out`` shares memory with an input.
        """
        if len(arrays) != self._count:
            raise InvalidArrayError(
                f"{self.workload.expression} takes {self._count} arrays ({', '.join(self._names[1:])}), "
                f"got {len(arrays)}"
            )
        dtype, address = self._dtype, self._address
        # taken and put back whole: whoever calls meanwhile, on whichever thread, has another
        frame = self._frames.pop() if self._frames else _Frame(self._runnable)
        slots = frame.slots
        for number, shape in self._expected:
            array = arrays[number]
            if (
                type(array) is not np.ndarray
                or array.shape != shape
                or array.dtype is not dtype
                or array.flags.num & _READABLE != _READABLE
            ):
                check_array(array, self._names[number + 1], shape, dtype)
            slots[number + 1] = address(array)
        if out is None:
            out = np.empty(self._shape, dtype)
            slots[0] = address(out)
        else:
            if (
                type(out) is not np.ndarray
                or out.shape != self._shape
                or out.dtype is not dtype
                or out.flags.num & _WRITABLE != _WRITABLE
            ):
                check_array(out, "out", self._shape, dtype, written=True)
            begin = slots[0] = address(out)
            end = begin + self._bytes[0]
            for number in range(1, self._count + 1):
                if begin < slots[number] + self._bytes[number] and slots[number] < end:
                    raise InvalidArrayError(
                        f"out shares memory with {self._names[number]}, which is read meanwhile: pass another array"
                    )
        if self._team is None:
            self._run(slots, frame.workspace, 0, self._iterations)
        else:
            code = self._runnable.code
            self._team.run(self._runnable.compiled, (out, *arrays), code.workspace_bytes, code.iterations)
        self._frames.append(frame)
        return out

    def __repr__(self) -> str:
        return f"<Kernel {self.workload}>"


class _Frame:
    """What a call needs besides arrays: the list of their addresses, and memory for packed operands."""

    def __init__(self, runnable: RunnableKernel) -> None:
        self.slots = (ctypes.c_size_t * len(runnable.nest.workload.operands))()
        self._memory = np.empty(runnable.code.workspace_bytes + 64, np.uint8)
        self.workspace = -(-self._memory.ctypes.data // 64) * 64


def compile_kernel(
    expression: str,
    *,
    dtype: str = "float32",
    target: str = "native",
    threads: int = 1,
    seconds: float = 0.5,
    tune: bool = True,
    nest: Nest | str | Path | None = None,
    cache: bool = True,
    **sizes: int,
) -> Kernel:
    """Compile a contraction for given sizes, such as ``compile("mk,kn->mn", m=256, k=256, n=256)``.

    Args:
        expression: what to compute, as :func:`compiler_dojo.envs.loops.notation.parse` reads it.
        dtype: ``float32`` or ``float64``.
        target: the CPU to generate code for: ``native``, ``generic``, or a level of the x86-64 psABI.
        threads: that compute together at most; small workloads are faster on one.
        seconds: for tuning, in which candidates are compiled and measured.
        tune: whether to measure; without, the analytical cost model chooses, which takes some 50 ms.
        nest: a nest to compile as it is, or the path of a ``.nest.json`` file; then nothing is tuned.
        cache: whether to look for a tuned nest on disk, and to keep what is found there.
        sizes: of each axis.

    Raises:
        InvalidWorkloadError: the expression, a size or the dtype is not one that is supported.
        InvalidConfigError: no such target, or this machine cannot run its code; numbers that make no sense; a nest of
            another workload.
        IllegalScheduleError: no code can be generated for the nest.
        InvalidRecordError: the file holds no nest.
    """
    workload = parse(expression, dtype, **sizes)
    runner = Runner(target)
    if nest is not None:
        return Kernel(_given(nest, workload), runner)
    if threads < 1:
        raise InvalidConfigError(f"threads is {threads}: a kernel needs at least 1")
    if not tune:
        return Kernel(candidates(workload, runner.target, threads)[0], runner)
    tuning = tuned(workload, runner, threads, seconds, cache=KernelCache() if cache else None)
    return Kernel(tuning.nest, runner, tuning)


def tuned(
    workload: Workload,
    runner: Runner,
    threads: int = 1,
    seconds: float = 0.5,
    measurements: int = 20,
    schedule: Schedule = candidates,
    name: str = "heuristics",
    cache: KernelCache | None = None,
    again: bool = False,
    advance: Callable[[int, Nest, float], None] = lambda number, nest, gflops: None,
) -> Tuning:
    """The tuning of a workload, from the cache or new.

    Args:
        workload: what is computed.
        runner: compiles and times.
        threads: that compute together at most; small workloads are faster on one.
        seconds: for proposing and measuring candidates.
        measurements: candidates that are measured at most.
        schedule: proposes them.
        name: of the schedule, for the cache.
        cache: where tunings are kept; None for nowhere.
        again: tune even if there is one in the cache.
        advance: as :func:`.tuning.tune`.
    """
    if cache is not None and not again:
        known = cache.get(workload, runner.target, threads, name, seconds)
        if known is not None:
            return replace(known, cached=True)

    def proposals() -> Iterator[Nest]:  # a generator, so that the time it takes counts
        yield from schedule(workload, runner.target, threads)

    tuning = tune(workload, runner, proposals(), measurements, seconds, advance)
    if cache is not None:
        cache.put(workload, runner.target, threads, name, seconds, tuning)
    return tuning


def _given(nest: Nest | str | Path, workload: Workload) -> Nest:
    if not isinstance(nest, Nest):
        path = Path(nest)
        try:
            nest = nest_from_json(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise InvalidRecordError(f"{path} cannot be read as a nest: {error}") from error
    if nest.workload != workload:
        raise InvalidConfigError(f"the nest is of {nest.workload}, not of {workload}: pass its expression and sizes")
    return nest
