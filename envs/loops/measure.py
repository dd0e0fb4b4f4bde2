"""Timing kernels by a stated protocol, remembering the results, and the peak that a machine's arithmetic can reach."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_dojo.envs.errors import InvalidConfigError
from compiler_dojo.envs.llvm.library import load_library
from compiler_dojo.envs.llvm.once import once
from compiler_dojo.envs.loops.jit import CompiledKernel, Jit
from compiler_dojo.envs.loops.records import RecordFile
from compiler_dojo.envs.loops.targets import Target
from compiler_dojo.envs.loops.team import Protocol, Timing, shared_team
from compiler_dojo.envs.loops.workload import ITEM_BYTES
from compiler_dojo.envs.programs.folders import cache_folder

__all__ = ["Protocol", "Timing", "TimingCache", "cpu_model", "measured_peak", "shared_team", "time_kernel"]

Array = npt.NDArray[Any]

PUBLISHED_PROTOCOL = Protocol(warmup=1, min_seconds=10e-3, repeats=10)
"""Of LoopTune (arXiv 2309.01825, section 4): the best of 10 evaluations of 10 ms."""

PEAK_PROTOCOL = Protocol(warmup=20, min_seconds=1e-3, repeats=100)
"""Many short samples: one that nothing disturbed is enough, as the best counts."""

PEAK_STEPS = 10_000
"""Iterations of the peak kernel's loop in a run: about 0.2 ms."""


def time_kernel(
    kernel: CompiledKernel, operands: Sequence[Array], workspace_bytes: int, count: int, protocol: Protocol
) -> Timing:
    """Time runs of a kernel's iterations [0, ``count``) of its outermost loop.

    Args:
        kernel: what to run.
        operands: in the kernel's order; they must have what it was generated for, which is not checked.
        workspace_bytes: scratch memory of each thread, aligned to 64 bytes.
        count: iterations, which the protocol's threads share.
        protocol: how often, and where.

    Raises:
        InvalidConfigError: threads are to be pinned and are more than the CPUs that this process may use.
        SessionClosedError: the kernel was closed.
    """
    return shared_team(protocol.threads).time(kernel, operands, workspace_bytes, count, protocol)


class TimingCache:
    """Timings by nest, target and protocol, in memory and on request in a file that outlives the process.

    Those of a file count only for the CPU model and the libLLVM they were taken with.

    Args:
        path: the file, as of :class:`~compiler_dojo.envs.loops.records.RecordFile`; the same errors.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._records = RecordFile(path)
        self._place = f"{cpu_model()} | LLVM {'.'.join(map(str, load_library().version))}" if path else ""

    def get(self, nest_key: str, target: Target, protocol: Protocol) -> Timing | None:
        """What was put under the key, or None."""
        value = self._records.get(self._key(nest_key, target, protocol))
        return None if value is None else Timing(*value)

    def put(self, nest_key: str, target: Target, protocol: Protocol, timing: Timing) -> None:
        """Remember a timing."""
        self._records.put(self._key(nest_key, target, protocol), list(timing))

    def __len__(self) -> int:
        return len(self._records)

    def _key(self, nest_key: str, target: Target, protocol: Protocol) -> str:
        return f"{nest_key} | {target.name} | {astuple(protocol)} | {self._place}"


@once
def cpu_model() -> str:
    """What the system calls this CPU: its name and, as names may be vague, its family, model and stepping."""
    wanted = ("model name", "cpu family", "model", "stepping", "CPU implementer", "CPU part", "CPU variant")
    found = dict[str, str]()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        found.setdefault(name.strip(), value.strip())
    return " ".join(found[name] for name in wanted if name in found) or platform.machine()


def measured_peak(target: Target, dtype: str = "float32", threads: int = 1, again: bool = False) -> float:
    """Most GFLOP/s that fused multiplications and additions on registers reach here.

    Measured once (0.1 s) and then remembered, per CPU model, on disk.

    Args:
        target: whose instructions to use; this machine must have them.
        dtype: ``float32`` or ``float64``.
        threads: that compute at once.
        again: measure even if it is known; the greater figure is kept, as disturbances only ever lessen it.

    Raises:
        InvalidConfigError: there are no kernels of this data type, or this machine lacks the target's features.
    """
    if dtype not in ITEM_BYTES:
        raise InvalidConfigError(f"no kernels of {dtype}; known: {', '.join(ITEM_BYTES)}")
    records = _peak_records(cache_folder("loops") / "peaks.jsonl")
    key = f"{cpu_model()} | {target.name} | {dtype} | {threads}"
    known = records.get(key)
    if known is not None and not again:
        return float(known)
    peak = max(_measure_peak(target, dtype, threads), known or 0.0)
    records.put(key, peak)
    return peak


@once
def _peak_records(path: Path) -> RecordFile:
    return RecordFile(path)


def _measure_peak(target: Target, dtype: str, threads: int) -> float:
    protocol = Protocol(PEAK_PROTOCOL.warmup, PEAK_PROTOCOL.min_seconds, PEAK_PROTOCOL.repeats, threads)
    lanes = target.vector_bytes // ITEM_BYTES[dtype]
    accumulators = target.vector_registers * 3 // 4
    jit = Jit(target)
    kernel = jit.compile(peak_kernel(target, dtype, accumulators))
    factors = np.full(2 * lanes, 0.5, dtype)
    timing = time_kernel(kernel, [factors], accumulators * target.vector_bytes, threads * PEAK_STEPS, protocol)
    kernel.close()
    jit.close()
    return 2 * lanes * accumulators * threads * PEAK_STEPS / timing.best_seconds / 1e9


def peak_kernel(target: Target, dtype: str, accumulators: int) -> str:
    """A loop of nothing but ``a = a * x + y`` for so many vectors a; x and y come from the operand, a to the workspace.

    The vectors must be at least as many as the latency of the operation times how many start in a cycle (4 x 2 on
    recent x86-64), and leave registers for x and y.
    """
    element = {"float32": "float", "float64": "double"}[dtype]
    lanes, align = target.vector_bytes // ITEM_BYTES[dtype], ITEM_BYTES[dtype]
    vector, suffix = f"<{lanes} x {element}>", f"v{lanes}f{8 * ITEM_BYTES[dtype]}"
    operation = f"@llvm.{'fma' if target.fma else 'fmuladd'}.{suffix}"
    phis = (f"%a{i} = phi {vector} [ %x, %entry ], [ %b{i}, %loop ]" for i in range(accumulators))
    steps = (
        f"%b{i} = call {vector} {operation}({vector} %a{i}, {vector} %x, {vector} %y)" for i in range(accumulators)
    )
    stores = (
        f"%p{i} = getelementptr {vector}, ptr %workspace, i64 {i}\n  store {vector} %b{i}, ptr %p{i}, align {align}"
        for i in range(accumulators)
    )
    newline = "\n  "
    return f"""
declare {vector} {operation}({vector}, {vector}, {vector})

define void @kernel(ptr %operands, ptr %workspace, i64 %begin, i64 %end) nounwind {{
entry:
  %factors = load ptr, ptr %operands, align 8
  %x = load {vector}, ptr %factors, align {align}
  %second = getelementptr {vector}, ptr %factors, i64 1
  %y = load {vector}, ptr %second, align {align}
  br label %loop

loop:
  %i = phi i64 [ %begin, %entry ], [ %next, %loop ]
  {newline.join(phis)}
  {newline.join(steps)}
  %next = add nsw i64 %i, 1
  %more = icmp slt i64 %next, %end
  br i1 %more, label %loop, label %exit

exit:
  {newline.join(stores)}
  ret void
}}
"""
