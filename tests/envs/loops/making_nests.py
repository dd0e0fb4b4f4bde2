"""Workloads made by hand, and ways to write nests shortly."""

from compiler_dojo.envs.loops.nest import Loop, Nest
from compiler_dojo.envs.loops.workload import Axis, Operand, Workload


def contraction(expression: str, dtype: str = "float32", **sizes: int) -> Workload:
    """A contraction of single-letter axes, such as ``mk,kn->mn``."""
    inputs, output = expression.split("->")
    axes = dict.fromkeys(inputs.replace(",", ""))

    def operand(name: str, letters: str) -> Operand:
        return Operand(name, tuple(((letter, 1),) for letter in letters))

    return Workload(
        expression,
        tuple(Axis(axis, sizes[axis]) for axis in axes),
        operand("C", output),
        tuple(operand(name, letters) for name, letters in zip(("A", "B", "D"), inputs.split(","), strict=False)),
        dtype,
    )


def product(m: int, k: int, n: int) -> Workload:
    return contraction("mk,kn->mn", m=m, k=k, n=n)


def convolution(w: int, r: int, o: int, c: int) -> Workload:
    """One row of a convolution: C[o, w] sums A[c, w+r] B[o, c, r]."""
    return Workload(
        "c(w+r),ocr->ow",
        (Axis("c", c), Axis("w", w), Axis("r", r), Axis("o", o)),
        Operand("C", ((("o", 1),), (("w", 1),))),
        (
            Operand("A", ((("c", 1),), (("w", 1), ("r", 1)))),
            Operand("B", ((("o", 1),), (("c", 1),), (("r", 1),))),
        ),
    )


def loops(text: str) -> tuple[Loop, ...]:
    """``m16 k n`` as loops: axis, then step."""
    return tuple(Loop(word[0], int(word[1:] or 1)) for word in text.split())


def nest(workload: Workload, compute: str, write: str = "", tile: int | None = None) -> Nest:
    return Nest(workload, loops(compute), loops(write), tile)


def short(found: Nest) -> str:
    """``m16 k n | m16 n``: compute and write nest."""

    def words(items: tuple[Loop, ...]) -> str:
        return " ".join(f"{loop.axis}{loop.step if loop.step > 1 else ''}" for loop in items)

    return f"{words(found.loops)} | {words(found.write)}"
