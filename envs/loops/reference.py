"""What workloads and loop nests compute, by NumPy: the oracle of every kernel."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from compiler_dojo.envs.errors import InvalidArrayError
from compiler_dojo.envs.loops.legality import check_nest
from compiler_dojo.envs.loops.nest import Nest, Pack
from compiler_dojo.envs.loops.workload import Operand, Workload

Array = NDArray[np.floating]
Ranges = Mapping[str, tuple[int, int]]
"""Begin and end of the part of each axis that is run."""

Reader = Callable[[Ranges], Array]
"""Gives the elements of an operand for a box of the iteration space, one dimension per axis."""

_CONFIDENCE = 8.0
"""Standard deviations: a correct sum of n terms exceeds the bound with probability below 2 exp(-8**2 / 2) = 3e-14."""

_TILE_POINTS = 4096
"""Points that a tile has at most where the nest leaves it to the code generator."""


def evaluate(workload: Workload, *arrays: Array) -> Array:
    """The result of a workload, summed in float64 and then rounded.

    Args:
        workload: what is computed.
        arrays: the inputs, then the bias if there is one, of the workload's shapes and dtype.

    Raises:
        InvalidArrayError: there are more or fewer arrays, or one has another shape or dtype.
    """
    _check_arrays(workload, arrays)
    operands = workload.operands[1:]
    views = [
        _by_axis(workload, *pair) for pair in zip(operands, [array.astype(float) for array in arrays], strict=True)
    ]
    sums = np.einsum(_subscripts(workload), *views[: len(workload.inputs)], optimize=True)
    return np.array(_finish(workload, sums, views[-1]), workload.dtype, order="C")


def random_arrays(workload: Workload, rng: np.random.Generator) -> tuple[Array, ...]:
    """Operands in a kernel's order: output, inputs, then the bias if there is one.

    The output is filled with NaN, so that elements that a kernel does not write, or reads, show in the result; the
    others are uniform in -1 to 1. Results are to be compared within :func:`tolerance`.
    """
    output, *others = workload.operands
    return (
        np.full(workload.shape(output), np.nan, workload.dtype),
        *(rng.uniform(-1, 1, workload.shape(operand)).astype(workload.dtype) for operand in others),
    )


def exact_arrays(workload: Workload, rng: np.random.Generator) -> tuple[Array, ...]:
    """As :func:`random_arrays`, but of integers from -2 to 2: then every order of summing gives exactly the same.

    That holds as long as no sum exceeds what the dtype can count to: with three float32 inputs, for up to 2 million
    terms. A term that is left out or added twice shows, however many there are.
    """
    output, *others = workload.operands
    return (
        np.full(workload.shape(output), np.nan, workload.dtype),
        *(rng.integers(-2, 3, workload.shape(operand)).astype(workload.dtype) for operand in others),
    )


def tolerance(workload: Workload) -> float:
    """How far a correct result for :func:`random_arrays` may be from :func:`evaluate`'s, per element.

    With n terms of p factors, each rounding changes its result by a factor 1 + d, abs(d) <= u = eps / 2. A term goes
    through at most r = n + p roundings, whatever the order of summing (p - 1 products, n sums with the bias, and the
    one of the reference itself), so that errors add up to at most r * u * sum(abs(terms)), to first order. With
    independent roundings of mean zero, sqrt(r) takes the place of r, times a factor for the confidence that is asked
    for (Higham and Mary, SIAM J. Sci. Comput. 41(5), 2019, Theorem 3.1). It is the smaller of both counts, with
    abs(terms) <= 1. In float64 the reference errs as much as what it is compared with.

    That is of use up to a few thousand terms; beyond, one missing term can hide in it: take :func:`exact_arrays`.
    """
    terms = math.prod(workload.sizes[axis] for axis in workload.reduction_axes) + (workload.bias is not None)
    roundings = terms + len(workload.inputs)
    unit = float(np.finfo(workload.dtype).eps) / 2
    both = 2 if workload.dtype == "float64" else 1
    return both * min(roundings, _CONFIDENCE * math.sqrt(roundings)) * unit * terms


def interpret(nest: Nest, arrays: Sequence[Array]) -> Array:
    """The result of a nest, run as it says: slow, for small workloads.

    Loops run in their order, packs are copied, threads run one after the other, the last one first. Within the
    register tile NumPy computes; the order of its loops, unrolling and prefetching have no part in the result. It sums
    in the workload's dtype, and keeps unfinished sums in the output.

    Args:
        nest: what is run.
        arrays: the inputs, then the bias if there is one, as for :func:`evaluate`.

    Raises:
        IllegalScheduleError: the nest is not legal.
        InvalidArrayError: as :func:`evaluate`.
    """
    check_nest(nest)
    _check_arrays(nest.workload, arrays)
    run = _Run(nest, arrays)
    iterations = np.arange(-(-nest.extent(0) // nest.loops[0].step))
    for part in reversed(np.array_split(iterations, nest.threads)):
        if len(part):
            run.call(int(part[0]), int(part[-1]) + 1)
    assert (run.visits == 1).all(), f"points of the iteration space were not run once:\n{nest}"
    return run.output


class _Run:
    """One run of a nest: its output so far, and how often each point of the iteration space was run."""

    def __init__(self, nest: Nest, arrays: Sequence[Array]) -> None:
        self.nest, self.workload = nest, nest.workload
        self.tile = _tile_depth(nest)
        views = [_by_axis(self.workload, *pair) for pair in zip(self.workload.operands[1:], arrays, strict=True)]
        self.inputs = [_plain(view, operand) for view, operand in zip(views, self.workload.inputs, strict=False)]
        self.bias = _plain(views[-1], self.workload.bias) if self.workload.bias else None
        self.output = np.full(self.workload.shape(self.workload.output), np.nan, self.workload.dtype)
        self.visits = np.zeros(tuple(self.workload.sizes.values()), np.uint8)

    def call(self, begin: int, end: int) -> None:
        """Run these iterations of the outermost loop; all of them where it is part of the tile."""
        axis, step = self.nest.loops[0].axis, self.nest.loops[0].step
        ranges = {name: (0, size) for name, size in self.workload.sizes.items()}
        inputs = self._packed(0, ranges, self.inputs)
        if self.tile == 0:
            self._tile(ranges, inputs)
            return
        for iteration in range(begin, end):
            part = (iteration * step, min((iteration + 1) * step, self.workload.sizes[axis]))
            self._loops(1, {**ranges, axis: part}, inputs)

    def _loops(self, position: int, ranges: Ranges, inputs: list[Reader]) -> None:
        inputs = self._packed(position, ranges, inputs)
        if position == self.tile:
            self._tile(ranges, inputs)
            return
        loop = self.nest.loops[position]
        begin, end = ranges[loop.axis]
        for start in range(begin, end, loop.step):
            self._loops(position + 1, {**ranges, loop.axis: (start, min(start + loop.step, end))}, inputs)

    def _packed(self, position: int, ranges: Ranges, inputs: list[Reader]) -> list[Reader]:
        result = list(inputs)
        for pack in self.nest.packs:
            if pack.depth == position:
                result[pack.operand] = _copied(self.nest, self.tile, pack, ranges, inputs[pack.operand])
        return result

    def _tile(self, ranges: Ranges, inputs: list[Reader]) -> None:
        workload, reduced = self.workload, self.workload.reduction_axes
        self.visits[_slices(ranges, workload.sizes)] += 1
        place = _slices(ranges, _letters(workload.output))
        result = np.einsum(_subscripts(workload), *(read(ranges) for read in inputs))
        if any(ranges[axis][0] > 0 for axis in reduced):
            result = result + self.output[place]
        if all(ranges[axis][1] == workload.sizes[axis] for axis in reduced):
            result = _finish(workload, result, self.bias(ranges) if self.bias else None)
        self.output[place] = result


def _tile_depth(nest: Nest) -> int:
    if nest.tile is not None:
        return nest.tile
    least = max([int(nest.threads > 1), *(pack.depth for pack in nest.packs)])
    depths = range(least, len(nest.loops))
    return next((d for d in depths if math.prod(nest.tile_extents(d).values()) <= _TILE_POINTS), len(nest.loops))


def pack_places(nest: Nest, tile: int, pack: Pack, shape: Sequence[int]) -> NDArray[np.intp]:
    """Where each element of an operand's box goes in its packed copy: the order in which the nest reads them.

    That is the order of the loops from the pack's depth on; in each step of the tile, of the other axes, the one that
    vectors lie along last.

    Args:
        nest: has the pack.
        tile: depth of the register tile.
        pack: of an operand without index sums.
        shape: of the box, one dimension per axis of the operand.
    """
    axes, spatial = _letters(nest.workload.inputs[pack.operand]), nest.workload.spatial_axes
    within = dict(zip(axes, np.indices(shape), strict=True))
    keys = []
    for position, loop in enumerate(nest.loops[pack.depth :], start=pack.depth):
        if loop.axis in axes and (position < tile or loop.axis not in spatial):
            iteration, within[loop.axis] = np.divmod(within[loop.axis], loop.step)
            keys.append(iteration)
    keys += [within[axis] for axis in sorted(axes, key=lambda axis: axis == nest.loops[-1].axis)]
    order = np.lexsort([key.ravel() for key in reversed(keys)])
    return np.argsort(order).reshape(shape)


def _copied(nest: Nest, tile: int, pack: Pack, ranges: Ranges, read: Reader) -> Reader:
    """Copy a box of an operand into contiguous storage, and read it there from then on."""
    axes = _letters(nest.workload.inputs[pack.operand])
    box = read(ranges)
    places = pack_places(nest, tile, pack, box.shape)
    storage = np.empty(box.size, box.dtype)
    storage[places] = box

    def read_copy(inner: Ranges) -> Array:
        part = {axis: (inner[axis][0] - ranges[axis][0], inner[axis][1] - ranges[axis][0]) for axis in axes}
        return storage[places[_slices(part, axes)]]

    return read_copy


def _plain(view: Array, operand: Operand) -> Reader:
    return lambda ranges: view[_slices(ranges, _letters(operand))]


def _slices(ranges: Ranges, axes: Sequence[str] | Mapping[str, int]) -> tuple[slice, ...]:
    return tuple(slice(*ranges[axis]) for axis in axes)


def _letters(operand: Operand) -> str:
    return "".join(axis for index in operand.indices for axis, _ in index)


def _subscripts(workload: Workload) -> str:
    return f"{','.join(map(_letters, workload.inputs))}->{_letters(workload.output)}"


def _by_axis(workload: Workload, operand: Operand, array: Array) -> Array:
    """A view of an operand with one dimension per axis: where indices are sums, elements are in it several times."""
    shape = [workload.sizes[axis] for axis in _letters(operand)]
    strides = [
        coefficient * stride
        for index, stride in zip(operand.indices, array.strides, strict=True)
        for _, coefficient in index
    ]
    return np.lib.stride_tricks.as_strided(array, shape, strides, writeable=False)


def _finish(workload: Workload, sums: Array, bias: Array | None) -> Array:
    """Add the bias, whose dimensions may be fewer than the output's and in another order, and apply ReLU."""
    if workload.bias is not None and bias is not None:
        axes, output = _letters(workload.bias), _letters(workload.output)
        ordered = bias.transpose([axes.index(axis) for axis in output if axis in axes])
        sums = sums + np.expand_dims(ordered, [place for place, axis in enumerate(output) if axis not in axes])
    return np.where(sums < 0, sums.dtype.type(0), sums) if workload.relu else sums


def _check_arrays(workload: Workload, arrays: Sequence[Array]) -> None:
    operands = workload.operands[1:]
    if len(arrays) != len(operands):
        raise InvalidArrayError(
            f"{len(arrays)} arrays for {workload}: pass {', '.join(operand.name for operand in operands)}"
        )
    for operand, array in zip(operands, arrays, strict=True):
        if array.shape != workload.shape(operand) or array.dtype != workload.dtype:
            raise InvalidArrayError(
                f"{operand.name} of {workload} is {array.dtype} of shape {array.shape}: "
                f"pass {workload.dtype} of shape {workload.shape(operand)}"
            )
