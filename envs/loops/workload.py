"""A tensor contraction: what is computed, over which axes, from which operands."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

ITEM_BYTES = {"float32": 4, "float64": 8}
"""Data types of operands and results, with their size."""

Index = tuple[tuple[str, int], ...]
"""One dimension's index, a sum of axes times coefficients: ``h+2r`` is ``(("h", 1), ("r", 2))``."""


class Axis(NamedTuple):
    """An iteration variable that runs from 0 to ``size`` - 1."""

    name: str
    size: int


@dataclass(frozen=True)
class Operand:
    """A tensor, contiguous in row-major order, and how the iteration indexes it.

    Attributes:
        name: ``A``, ``B``, ... for inputs, ``C`` for the output, ``bias``.
        indices: one per dimension.
    """

    name: str
    indices: tuple[Index, ...]

    @cached_property
    def axes(self) -> frozenset[str]:
        """The axes it depends on."""
        return frozenset(axis for index in self.indices for axis, _ in index)


@dataclass(frozen=True)
class Workload:
    """The sum over the axes that the output lacks of the product of the inputs; then bias and ReLU.

    Made from text by :func:`compiler_dojo.envs.loops.workloads.parse`.

    Attributes:
        expression: the text it was made from, such as ``mk,kn->mn``.
        axes: in the order of the start nest, which is the order in which the inputs mention them.
        output: every axis of it is a dimension of its own, without coefficient.
        inputs: one to three.
        dtype: of every operand and of the sum, ``float32`` or ``float64``.
        bias: added to the sum; its axes are axes of the output.
        relu: whether negative results become zero.
    """

    expression: str
    axes: tuple[Axis, ...]
    output: Operand
    inputs: tuple[Operand, ...]
    dtype: str = "float32"
    bias: Operand | None = None
    relu: bool = False

    @cached_property
    def _hash(self) -> int:
        return hash((self.expression, self.axes, self.dtype, self.relu))

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def sizes(self) -> dict[str, int]:
        """Size of each axis, by name."""
        return {axis.name: axis.size for axis in self.axes}

    @cached_property
    def reduction_axes(self) -> tuple[str, ...]:
        """Axes that are summed over."""
        return tuple(axis.name for axis in self.axes if axis.name not in self.output.axes)

    @cached_property
    def spatial_axes(self) -> tuple[str, ...]:
        """Axes of the output, in the start nest's order."""
        return tuple(axis.name for axis in self.axes if axis.name in self.output.axes)

    @property
    def operands(self) -> tuple[Operand, ...]:
        """Output, inputs, then the bias if there is one: the order of a kernel's pointers."""
        return (self.output, *self.inputs, *((self.bias,) if self.bias else ()))

    @property
    def item_bytes(self) -> int:
        """Size of an element."""
        return ITEM_BYTES[self.dtype]

    @cached_property
    def flops(self) -> int:
        """Floating-point operations: each point of the iteration space counts its multiplications and one addition."""
        return math.prod(axis.size for axis in self.axes) * len(self.inputs)

    def shape(self, operand: Operand) -> tuple[int, ...]:
        """Shape of an operand: the least that holds every index."""
        return tuple(
            1 + sum(coefficient * (self.sizes[axis] - 1) for axis, coefficient in index) for index in operand.indices
        )

    def stride(self, operand: Operand, axis: str) -> int:
        """Elements from one step of an axis to the next in an operand; 0 when it does not depend on the axis."""
        total = 0
        for index, dimension in zip(operand.indices, self._dimension_strides(operand), strict=True):
            total += dimension * sum(coefficient for name, coefficient in index if name == axis)
        return total

    def _dimension_strides(self, operand: Operand) -> Iterator[int]:
        shape = self.shape(operand)
        for dimension in range(len(shape)):
            yield math.prod(shape[dimension + 1 :])

    def __str__(self) -> str:
        return f"{self.expression} {' '.join(f'{a.name}={a.size}' for a in self.axes)} {self.dtype}"
