"""Kernels in LLVM IR, written by hand: element-wise sums and a small matrix product on vectors."""

from compiler_dojo.envs.loops.targets import Target
from compiler_dojo.envs.loops.workload import ITEM_BYTES

ELEMENTS = {"float32": "float", "float64": "double"}


def operand(number: int, name: str) -> str:
    return f"""
  %{name}.slot = getelementptr ptr, ptr %operands, i64 {number}
  %{name} = load ptr, ptr %{name}.slot, align 8"""


def add_kernel(symbol: str = "kernel", shift: int = 0, operation: str = "fadd") -> str:
    """out[i] = a[i] + b[i + shift] for float32."""
    return f"""
define void @{symbol}(ptr %operands, ptr %workspace, i64 %begin, i64 %end) nounwind {{
entry:
{operand(0, "out")}
{operand(1, "a")}
{operand(2, "b")}
  br label %loop

loop:
  %i = phi i64 [ %begin, %entry ], [ %next, %loop ]
  %pa = getelementptr float, ptr %a, i64 %i
  %x = load float, ptr %pa, align 4
  %j = add i64 %i, {shift}
  %pb = getelementptr float, ptr %b, i64 %j
  %y = load float, ptr %pb, align 4
  %z = {operation} float %x, %y
  %po = getelementptr float, ptr %out, i64 %i
  store float %z, ptr %po, align 4
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %end
  br i1 %more, label %loop, label %exit

exit:
  ret void
}}
"""


def lanes_of(target: Target, dtype: str) -> int:
    return target.vector_bytes // ITEM_BYTES[dtype]


def product_kernel(target: Target, dtype: str, rows: int, depth: int) -> str:
    """C[rows, lanes] = A[rows, depth] B[depth, lanes], a vector wide; [begin, end) are rows of C."""
    element, align = ELEMENTS[dtype], ITEM_BYTES[dtype]
    lanes = lanes_of(target, dtype)
    vector = f"<{lanes} x {element}>"
    fma = f"@llvm.{'fma' if target.fma else 'fmuladd'}.v{lanes}f{8 * align}"
    steps = "".join(
        f"""
  %pa{k} = getelementptr {element}, ptr %row.a, i64 {k}
  %s{k} = load {element}, ptr %pa{k}, align {align}
  %i{k} = insertelement {vector} poison, {element} %s{k}, i64 0
  %a{k} = shufflevector {vector} %i{k}, {vector} poison, <{lanes} x i32> zeroinitializer
  %pb{k} = getelementptr {vector}, ptr %b, i64 {k}
  %b{k} = load {vector}, ptr %pb{k}, align {align}
  %c{k + 1} = call {vector} {fma}({vector} %a{k}, {vector} %b{k}, {vector} {f"%c{k}" if k else "zeroinitializer"})"""
        for k in range(depth)
    )
    return f"""
declare {vector} {fma}({vector}, {vector}, {vector})

define void @kernel(ptr %operands, ptr %workspace, i64 %begin, i64 %end) nounwind {{
entry:
{operand(0, "c")}
{operand(1, "a")}
{operand(2, "b")}
  br label %loop

loop:
  %row = phi i64 [ %begin, %entry ], [ %next, %loop ]
  %first = mul i64 %row, {depth}
  %row.a = getelementptr {element}, ptr %a, i64 %first
{steps}
  %pc = getelementptr {vector}, ptr %c, i64 %row
  store {vector} %c{depth}, ptr %pc, align {align}
  %next = add i64 %row, 1
  %more = icmp slt i64 %next, %end
  br i1 %more, label %loop, label %exit

exit:
  ret void
}}
"""


COUNT_KERNEL = """
define void @kernel(ptr %operands, ptr %workspace, i64 %begin, i64 %end) nounwind {
entry:
  %out = load ptr, ptr %operands, align 8
  %address = ptrtoint ptr %workspace to i64
  br label %loop

loop:
  %i = phi i64 [ %begin, %entry ], [ %next, %loop ]
  %p = getelementptr [3 x i64], ptr %out, i64 %i
  %runs = load i64, ptr %p, align 8
  %one.more = add i64 %runs, 1
  store i64 %one.more, ptr %p, align 8
  %p.begin = getelementptr i64, ptr %p, i64 1
  store i64 %begin, ptr %p.begin, align 8
  %p.workspace = getelementptr i64, ptr %p, i64 2
  store i64 %address, ptr %p.workspace, align 8
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %end
  br i1 %more, label %loop, label %exit

exit:
  ret void
}
"""
"""For each iteration: how often it was run, the begin of the part that it was in, and the address of its workspace."""
