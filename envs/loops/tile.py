"""The register tile: accumulators that stay in registers while the reduction loops of the tile run."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence

from compiler_dojo.envs.loops.emitter import Value
from compiler_dojo.envs.loops.jit import Target
from compiler_dojo.envs.loops.memory import Layout, Memory
from compiler_dojo.envs.loops.nest import Nest

HIDDEN_FMAS = 8
"""Independent accumulators that keep two multiply-add units of four cycles' latency busy."""

BODY_FMAS = 24
"""Vector multiply-adds that an iteration of the innermost loop should have, where the tile is small."""

MOST_UNROLL = 8

Extents = Mapping[str, int]


class Tile:
    """Emits register tiles of one nest; tiles at the ends of axes are smaller ones."""

    def __init__(self, nest: Nest, tile: int, target: Target, memory: Memory) -> None:
        self.nest, self.target, self.memory, self.emit = nest, target, memory, memory.emit
        self.workload = nest.workload
        self.rows = [axis for axis in self.workload.spatial_axes if axis != memory.axis]
        self.reductions = [
            position
            for position in range(tile, len(nest.loops))
            if nest.loops[position].axis in self.workload.reduction_axes
        ]
        self.before = tile - 1

    def run(self, extents: Extents, layouts: Sequence[Layout], first: Value | bool, last: Value | bool) -> None:
        """Emit a tile.

        Args:
            extents: of every axis.
            layouts: of the output, the inputs, and the bias if there is one.
            first: whether nothing has been added to the output's elements yet.
            last: whether nothing will be afterwards: then bias and ReLU follow.
        """
        memory = self.memory
        self.places = [
            (dict(zip(self.rows, index, strict=True)), vector, count)
            for index in itertools.product(*(range(extents[axis]) for axis in self.rows))
            for vector, count in self._vectors(extents)
        ]
        output, inputs = layouts[0], list(layouts[1 : 1 + len(self.workload.inputs)])
        if self.nest.prefetch and self.before >= 0:
            self._prefetch(output)
        self.unroll = self._unroll(extents)
        self.sets = min(self.unroll, -(-HIDDEN_FMAS // len(self.places)))
        zero = ["zeroinitializer"] * len(self.places)
        start = self._either(first, lambda: zero, lambda: self._load(output)) if memory.across else zero
        sums = self._reduce(0, extents, inputs, [*start, *zero * (self.sets - 1)])
        results = self._added_up(sums)
        if not memory.across:
            results = [self._across(value) for value in results]
            results = self._either(first, lambda: results, lambda: self._add_scalars(results, output))
        if self.workload.bias or self.workload.relu:
            plain = results
            results = self._either(last, lambda: self._finish(plain, layouts[-1]), lambda: plain)
        for (place, vector, count), value in zip(self.places, results, strict=True):
            if memory.across:
                memory.store(value, output, place, vector, count)
            else:
                memory.store_scalar(value, output, place)

    def _vectors(self, extents: Extents) -> list[tuple[int, int]]:
        if not self.memory.across:
            return [(0, self.memory.lanes)]
        width, lanes = extents[self.memory.axis], self.memory.lanes
        return [(vector, min(lanes, width - vector * lanes)) for vector in range(-(-width // lanes))]

    def _either(
        self, condition: Value | bool, yes: Callable[[], list[Value]], no: Callable[[], list[Value]]
    ) -> list[Value]:
        if isinstance(condition, bool):
            return yes() if condition else no()
        kind = self.memory.vector if self.memory.across else self.memory.scalar
        return self.emit.branch(condition, yes, no, [kind] * len(self.places))

    def _load(self, output: Layout) -> list[Value]:
        return [self.memory.load(output, place, vector, count) for place, vector, count in self.places]

    def _prefetch(self, output: Layout) -> None:
        ahead = self.memory.moved(output, self.before, self.nest.prefetch)
        for place, vector, _ in self.places:
            address = self.memory.address(ahead, place, vector)
            self.emit.call("void", "llvm.prefetch.p0", "ptr, i32, i32, i32", f"ptr {address}, i32 1, i32 3, i32 1")

    def _unroll(self, extents: Extents) -> int:
        """Steps of the innermost reduction loop in one iteration."""
        if not self.reductions:
            return 1
        trips, rest = self._trips(self.reductions[-1], extents)
        trips += rest > 0
        if self.nest.unroll:
            return min(self.nest.unroll, trips)
        wanted = min(MOST_UNROLL, trips, -(-BODY_FMAS // len(self.places)))
        return next((count for count in range(wanted, wanted // 2, -1) if trips % count == 0), wanted)

    def _trips(self, position: int, extents: Extents) -> tuple[int, int]:
        loop = self.nest.loops[position]
        return divmod(extents[loop.axis], self._step(position))

    def _step(self, position: int) -> int:
        """Elements per iteration; vectors of partial sums take several at once."""
        if position == len(self.nest.loops) - 1 and not self.memory.across:
            return self.memory.lanes
        return self.nest.loops[position].step

    def _stride(self, layout: Layout, position: int) -> int:
        if position == len(self.nest.loops) - 1 and not self.memory.across:
            return layout.strides[position] * self.memory.lanes
        return layout.strides[position]

    def _reduce(self, number: int, extents: Extents, inputs: list[Layout], sums: list[Value]) -> list[Value]:
        """The reduction loops from a number on; ``sums`` has every accumulator, ``sets`` times over."""
        if number == len(self.reductions):
            return self._step_of(extents, inputs, sums, 0, 1)
        emit, position = self.emit, self.reductions[number]
        axis, step = self.nest.loops[position].axis, self._step(position)
        trips, rest = self._trips(position, extents)
        strides = [self._stride(layout, position) for layout in inputs]
        innermost = number == len(self.reductions) - 1
        unroll = self.unroll if innermost else 1

        def moved(layouts: list[Layout], index: int) -> list[Layout]:
            return [
                layout._replace(pointer=emit.offset(layout.pointer, stride, index))
                for layout, stride in zip(layouts, strides, strict=True)
            ]

        def steps(layouts: list[Layout], values: list[Value], begin: int, end: int, extent: int) -> list[Value]:
            for index in range(begin, end):
                there = moved(layouts, index)
                if innermost:
                    values = self._step_of(extents, there, values, index % self.sets, extent)
                else:
                    values = self._reduce(number + 1, {**extents, axis: extent}, there, values)
            return values

        rounds, left = divmod(trips, unroll)
        if rounds > 1:
            moving = [index for index, stride in enumerate(strides) if stride]
            carried = [(self.memory.vector, value) for value in sums]
            carried += [("ptr", inputs[index].pointer) for index in moving]

            def body(_: Value, values: list[Value]) -> list[Value]:
                here = list(inputs)
                for index, pointer in zip(moving, values[len(sums) :], strict=True):
                    here[index] = inputs[index]._replace(pointer=pointer)
                after = steps(here, values[: len(sums)], 0, unroll, step)
                following = moved(here, unroll)
                return [*after, *(following[index].pointer for index in moving)]

            values = emit.loop(0, rounds, carried, body)
            sums = values[: len(sums)]
        elif rounds:
            sums = steps(inputs, sums, 0, unroll, step)
        sums = steps(inputs, sums, trips - left, trips, step)
        if rest:
            sums = steps(inputs, sums, trips, trips + 1, rest)
        return sums

    def _step_of(
        self, extents: Extents, inputs: list[Layout], sums: list[Value], which: int, lanes: int
    ) -> list[Value]:
        """One step of the reduction: a multiply-add for each accumulator, each operand's element loaded once."""
        memory = self.memory
        loaded: dict[tuple[object, ...], Value] = {}
        lanes = min(lanes, memory.lanes) if not memory.across else memory.lanes

        def element(operand: int, place: Mapping[str, int], vector: int, count: int) -> Value:
            axes = self.workload.inputs[operand].axes
            own = {axis: index for axis, index in place.items() if axis in axes}
            key = (operand, *own.values(), vector if memory.axis in axes else None)
            if key not in loaded:
                value = memory.load(inputs[operand], own, vector, count)
                # a lane that is not there must not turn an infinity of another operand into NaN
                if not memory.across and count < memory.lanes and memory.axis not in axes:
                    value = memory.only(value, count)
                loaded[key] = value
            return loaded[key]

        def product(operands: tuple[int, ...], place: Mapping[str, int], vector: int, count: int) -> Value:
            if len(operands) == 1:
                return element(operands[0], place, vector, count)
            axes = frozenset().union(*(self.workload.inputs[operand].axes for operand in operands))
            own = [index for axis, index in place.items() if axis in axes]
            key = (operands, *own, vector if memory.axis in axes else None)
            if key not in loaded:
                one, other = (product((operand,), place, vector, count) for operand in operands)
                loaded[key] = self.emit.value(f"fmul {memory.vector} {one}, {other}")
            return loaded[key]

        result = list(sums)
        factors = self._factors()
        base = which * len(self.places)
        for number, (place, vector, count) in enumerate(self.places):
            values = [product(f, place, vector, count if memory.across else lanes) for f in factors]
            result[base + number] = self._multiply_add(values, result[base + number])
        return result

    def _factors(self) -> list[tuple[int, ...]]:
        """The operands as at most two factors: of three, the two that share most accumulators are multiplied first."""
        inputs = self.workload.inputs
        if len(inputs) < 3:
            return [(number,) for number in range(len(inputs))]
        spatial = set(self.workload.spatial_axes)
        pairs = itertools.combinations(range(3), 2)
        pair = min(pairs, key=lambda pair: len((inputs[pair[0]].axes | inputs[pair[1]].axes) & spatial))
        return [pair, tuple({0, 1, 2} - set(pair))]

    def _multiply_add(self, values: list[Value], total: Value) -> Value:
        vector = self.memory.vector
        if len(values) == 1:
            return self.emit.value(f"fadd {vector} {total}, {values[0]}")
        if not self.target.fma:
            product = self.emit.value(f"fmul {vector} {values[0]}, {values[1]}")
            return self.emit.value(f"fadd {vector} {total}, {product}")
        return self.emit.call(
            vector,
            f"llvm.fma.{self.memory.overloaded}",
            f"{vector}, {vector}, {vector}",
            f"{vector} {values[0]}, {vector} {values[1]}, {vector} {total}",
        )

    def _added_up(self, sums: list[Value]) -> list[Value]:
        """One sum from each accumulator's sets."""
        size = len(self.places)
        parts = [sums[start : start + size] for start in range(0, len(sums), size)]
        while len(parts) > 1:
            half = -(-len(parts) // 2)
            for low, high in zip(parts[: len(parts) - half], parts[half:], strict=True):
                low[:] = [
                    self.emit.value(f"fadd {self.memory.vector} {a}, {b}") for a, b in zip(low, high, strict=True)
                ]
            parts = parts[:half]
        return parts[0]

    def _across(self, value: Value) -> Value:
        memory = self.memory
        name = f"llvm.vector.reduce.fadd.{memory.overloaded}"
        memory.emit.declarations[name] = f"declare {memory.scalar} @{name}({memory.scalar}, {memory.vector})"
        start = f"{memory.scalar} -0.0"
        return memory.emit.value(f"call reassoc {memory.scalar} @{name}({start}, {memory.vector} {value})")

    def _add_scalars(self, values: list[Value], output: Layout) -> list[Value]:
        return [
            self.emit.value(f"fadd {self.memory.scalar} {value}, {self.memory.load_scalar(output, place)}")
            for (place, _, _), value in zip(self.places, values, strict=True)
        ]

    def _finish(self, values: list[Value], bias: Layout) -> list[Value]:
        """Bias and ReLU."""
        memory = self.memory
        kind = memory.vector if memory.across else memory.scalar
        zero = "zeroinitializer" if memory.across else "0.0"
        result = []
        for (place, vector, count), value in zip(self.places, values, strict=True):
            if self.workload.bias:
                own = {axis: index for axis, index in place.items() if axis in self.workload.bias.axes}
                added = memory.load(bias, own, vector, count) if memory.across else memory.load_scalar(bias, own)
                value = self.emit.value(f"fadd {kind} {value}, {added}")
            if self.workload.relu:
                negative = self.emit.value(f"fcmp olt {kind} {value}, {zero}")
                bits = f"<{memory.lanes} x i1>" if memory.across else "i1"
                value = self.emit.value(f"select {bits} {negative}, {kind} {zero}, {kind} {value}")
            result.append(value)
        return result
