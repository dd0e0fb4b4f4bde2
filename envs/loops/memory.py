"""Vectors in memory: where a nest's operands lie, and the loads and stores of their elements in LLVM IR."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from compiler_dojo.envs.loops.emitter import Emitter, Value
from compiler_dojo.envs.loops.jit import Target
from compiler_dojo.envs.loops.nest import Nest

IR_TYPES = {"float32": ("float", "f32"), "float64": ("double", "f64")}


class Layout(NamedTuple):
    """Where an operand is at a place in the nest.

    Attributes:
        pointer: the first element of the box that the loops from here on cover.
        strides: bytes per iteration of each loop of the nest.
        elements: elements per step of each axis within the register tile.
    """

    pointer: Value
    strides: tuple[int, ...]
    elements: Mapping[str, int]


class Memory:
    """Loads and stores of the vectors along one axis of the register tile.

    Attributes:
        emit: where instructions go.
        axis: along which vectors lie.
        across: whether it is an axis of the output; vectors of a reduction axis hold partial sums.
        lanes: elements of a vector.
        scalar: IR type of an element.
        vector: IR type of a vector.
        suffix: of intrinsics on elements.
    """

    def __init__(self, nest: Nest, target: Target) -> None:
        workload = nest.workload
        self.emit = Emitter()
        self.axis = nest.loops[-1].axis
        self.across = self.axis in workload.output.axes
        self.item_bytes = workload.item_bytes
        self.lanes = target.vector_bytes // workload.item_bytes
        self.scalar, self.suffix = IR_TYPES[workload.dtype]
        self.vector = f"<{self.lanes} x {self.scalar}>"
        self.overloaded = f"v{self.lanes}{self.suffix}"

    def moved(self, layout: Layout, position: int, index: Value | int) -> Layout:
        """The layout in an iteration of the loop at a position."""
        return layout._replace(pointer=self.emit.offset(layout.pointer, layout.strides[position], index))

    def address(self, layout: Layout, place: Mapping[str, int], vector: int = 0) -> Value:
        """Address of the element at a place of the tile, and of so many vectors after it."""
        elements = sum(layout.elements[axis] * index for axis, index in place.items())
        elements += layout.elements[self.axis] * vector * self.lanes
        return self.emit.offset(layout.pointer, self.item_bytes, elements)

    def load_scalar(self, layout: Layout, place: Mapping[str, int]) -> Value:
        """One element."""
        return self.emit.value(f"load {self.scalar}, ptr {self.address(layout, place)}, align {self.item_bytes}")

    def store_scalar(self, value: Value, layout: Layout, place: Mapping[str, int]) -> None:
        """Store one element."""
        self.emit.do(f"store {self.scalar} {value}, ptr {self.address(layout, place)}, align {self.item_bytes}")

    def load(self, layout: Layout, place: Mapping[str, int], vector: int, count: int) -> Value:
        """The elements for a vector of the tile, of which ``count`` lanes are used; nothing else is read.

        An operand that does not depend on the axis has one element for all lanes.
        """
        stride = layout.elements[self.axis]
        if stride == 0:
            return self.splat(self.load_scalar(layout, place))
        address = self.address(layout, place, vector)
        if stride == 1 and count == self.lanes:
            return self.emit.value(f"load {self.vector}, ptr {address}, align {self.item_bytes}")
        mask, bits = self._mask(count), f"<{self.lanes} x i1>"
        if stride == 1:
            return self.emit.call(
                self.vector,
                f"llvm.masked.load.{self.overloaded}.p0",
                f"ptr, i32, {bits}, {self.vector}",
                f"ptr {address}, i32 {self.item_bytes}, {mask}, {self.vector} zeroinitializer",
            )
        return self.emit.call(
            self.vector,
            f"llvm.masked.gather.{self.overloaded}.v{self.lanes}p0",
            f"<{self.lanes} x ptr>, i32, {bits}, {self.vector}",
            f"{self._pointers(address, stride)}, i32 {self.item_bytes}, {mask}, {self.vector} zeroinitializer",
        )

    def store(self, value: Value, layout: Layout, place: Mapping[str, int], vector: int, count: int) -> None:
        """Store the first ``count`` lanes."""
        address, stride = self.address(layout, place, vector), layout.elements[self.axis]
        if stride == 1 and count == self.lanes:
            self.emit.do(f"store {self.vector} {value}, ptr {address}, align {self.item_bytes}")
            return
        mask, bits = self._mask(count), f"<{self.lanes} x i1>"
        name, kind, where = (
            (f"store.{self.overloaded}.p0", "ptr", f"ptr {address}")
            if stride == 1
            else (
                f"scatter.{self.overloaded}.v{self.lanes}p0",
                f"<{self.lanes} x ptr>",
                self._pointers(address, stride),
            )
        )
        self.emit.call(
            "void",
            f"llvm.masked.{name}",
            f"{self.vector}, {kind}, i32, {bits}",
            f"{self.vector} {value}, {where}, i32 {self.item_bytes}, {mask}",
        )

    def splat(self, value: Value) -> Value:
        """A vector of equal elements."""
        one = self.emit.value(f"insertelement {self.vector} poison, {self.scalar} {value}, i64 0")
        zeros = f"<{self.lanes} x i32> zeroinitializer"
        return self.emit.value(f"shufflevector {self.vector} {one}, {self.vector} poison, {zeros}")

    def only(self, value: Value, count: int) -> Value:
        """The first ``count`` lanes, zeros in the others."""
        return self.emit.value(f"select {self._mask(count)}, {self.vector} {value}, {self.vector} zeroinitializer")

    def _mask(self, count: int) -> str:
        bits = ", ".join(f"i1 {int(lane < count)}" for lane in range(self.lanes))
        return f"<{self.lanes} x i1> <{bits}>"

    def _pointers(self, address: Value, stride: int) -> str:
        offsets = ", ".join(f"i64 {lane * stride * self.item_bytes}" for lane in range(self.lanes))
        pointers = self.emit.value(f"getelementptr inbounds i8, ptr {address}, <{self.lanes} x i64> <{offsets}>")
        return f"<{self.lanes} x ptr> {pointers}"
