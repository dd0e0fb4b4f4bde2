"""What the just-in-time compiler and the timing loop cost: compile times by part, peaks, overheads, two threads."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from compiler_dojo.envs.loops.jit import Jit
from compiler_dojo.envs.loops.measure import Protocol, measured_peak, peak_kernel, time_kernel
from compiler_dojo.envs.loops.targets import Target, find_target
from compiler_dojo.envs.loops.workload import ITEM_BYTES

EMPTY_KERNEL = """
define void @kernel(ptr %operands, ptr %workspace, i64 %begin, i64 %end) nounwind {
  ret void
}
"""


class CompileCost(NamedTuple):
    """Least milliseconds of each part of a compilation, over several."""

    operations: int
    parse: float
    code: float
    link: float

    @property
    def total(self) -> float:
        """Of all parts; no passes are run."""
        return self.parse + self.code + self.link


def tile_kernel(target: Target, rows: int, steps: int, dtype: str = "float32") -> str:
    """A loop whose body is ``steps`` steps of a register tile of ``rows`` by two vectors: 2 rows steps operations."""
    element = {"float32": "float", "float64": "double"}[dtype]
    size = ITEM_BYTES[dtype]
    lanes = target.vector_bytes // size
    vector = f"<{lanes} x {element}>"
    fma = f"@llvm.{'fma' if target.fma else 'fmuladd'}.v{lanes}f{8 * size}"
    cells = [(row, column) for row in range(rows) for column in range(2)]
    lines = [
        f"declare {vector} {fma}({vector}, {vector}, {vector})",
        "define void @kernel(ptr %operands, ptr %workspace, i64 %begin, i64 %end) nounwind {",
        "entry:",
        "  %a = load ptr, ptr %operands, align 8",
        "  br label %loop",
        "loop:",
        "  %i = phi i64 [ %begin, %entry ], [ %next, %loop ]",
    ]
    lines += [
        f"  %c.0.{r}.{c} = phi {vector} [ zeroinitializer, %entry ], [ %c.{steps}.{r}.{c}, %loop ]" for r, c in cells
    ]
    lines.append(f"  %p = getelementptr {vector}, ptr %a, i64 %i")
    for step in range(steps):
        for column in range(2):
            name = f"{step}.{column}"
            lines.append(f"  %pb.{name} = getelementptr i8, ptr %p, i64 {(2 * step + column) * target.vector_bytes}")
            lines.append(f"  %b.{name} = load {vector}, ptr %pb.{name}, align {size}")
        for row in range(rows):
            name = f"{step}.{row}"
            lines += [
                f"  %pa.{name} = getelementptr i8, ptr %p, i64 {(row * 512 + step) * size}",
                f"  %s.{name} = load {element}, ptr %pa.{name}, align {size}",
                f"  %e.{name} = insertelement {vector} poison, {element} %s.{name}, i64 0",
                f"  %v.{name} = shufflevector {vector} %e.{name}, {vector} poison, <{lanes} x i32> zeroinitializer",
            ]
            lines += [
                f"  %c.{step + 1}.{row}.{c} = call {vector} {fma}({vector} %v.{name}, {vector} %b.{step}.{c}, "
                f"{vector} %c.{step}.{row}.{c})"
                for c in range(2)
            ]
    lines += [
        "  %next = add nsw i64 %i, 1",
        "  %more = icmp slt i64 %next, %end",
        "  br i1 %more, label %loop, label %exit",
    ]
    lines.append("exit:")
    for number, (row, column) in enumerate(cells):
        lines.append(f"  %o.{number} = getelementptr {vector}, ptr %workspace, i64 {number}")
        lines.append(f"  store {vector} %c.{steps}.{row}.{column}, ptr %o.{number}, align {size}")
    return "\n".join([*lines, "  ret void", "}"])


def compile_cost(jit: Jit, ir: str, operations: int, repeats: int) -> CompileCost:
    """Compile the IR several times."""
    seconds = [jit.compile(ir).compile_seconds for _ in range(repeats)]
    parse, _, code, link = (1e3 * min(part) for part in zip(*seconds, strict=True))
    return CompileCost(operations, parse, code, link)


def compile_costs(target: Target, sizes: Sequence[int], repeats: int = 20) -> Iterator[CompileCost]:
    """Of an empty kernel, then of register tiles with about so many vector operations."""
    jit = Jit(target)
    yield compile_cost(jit, EMPTY_KERNEL, 0, repeats)
    rows = target.vector_registers * 3 // 8
    for size in sizes:
        steps = round(size / (2 * rows))
        yield compile_cost(jit, tile_kernel(target, rows, steps), 2 * rows * steps, repeats)


def empty_run_seconds(threads: int, pinned: bool) -> float:
    """What a run of a kernel that does nothing takes."""
    kernel = Jit(find_target()).compile(EMPTY_KERNEL)
    return time_kernel(kernel, [], 0, threads, Protocol(repeats=50, threads=threads, pinned=pinned)).best_seconds


def thread_speedup(threads: int, seconds: float = 1e-3) -> float:
    """How much faster threads are than one in a kernel that takes one of them about so long."""
    target = find_target()
    kernel = Jit(target).compile(peak_kernel(target, "float32", 16))
    factors = np.full(target.vector_bytes // 2, 0.5, np.float32)
    size = 16 * target.vector_bytes

    def best(count: int, team: int) -> float:
        protocol = Protocol(warmup=5, min_seconds=5e-3, repeats=40, threads=team)
        return time_kernel(kernel, [factors], size, count, protocol).best_seconds

    count = int(seconds / (best(10_000, 1) / 10_000))
    return best(count, 1) / best(count, threads)


def main() -> int:
    """Print all figures."""
    names = ["native", "x86-64-v3"] if find_target().triple.startswith("x86_64") else ["native"]
    for target in map(find_target, names):
        print(f"{target.name} ({target.cpu}, {target.vector_bytes} byte vectors)")
        for cost in compile_costs(target, (100, 300, 1000)):
            print(
                f"  {cost.operations:4} vector operations: {cost.total:6.2f} ms = parse {cost.parse:.2f} "
                f"+ code {cost.code:.2f} + link {cost.link:.2f}"
            )
        for dtype in ITEM_BYTES:
            one, two = (measured_peak(target, dtype, threads, again=True) for threads in (1, 2))
            print(f"  peak {dtype}: {one:.1f} GFLOP/s, two threads {two:.1f}")
    print(f"empty kernel: {1e9 * empty_run_seconds(1, False):.1f} ns, two pinned threads", end=" ")
    print(f"{1e9 * empty_run_seconds(2, True):.0f} ns; two threads, 1 ms: {thread_speedup(2):.2f} times one")
    return 0


if __name__ == "__main__":
    sys.exit(main())
