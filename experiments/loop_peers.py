"""What a peer of the loops benchmark is, and those that run in this process through Python: NumPy, and we ourselves.

A peer prepares a kernel for one workload on given arrays; the benchmark checks what it computes, and times it in turn
with the others.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from compiler_dojo.envs.errors import DojoError
from compiler_dojo.envs.loops.arrays import aligned
from compiler_dojo.envs.loops.reference import evaluate, random_arrays, tolerance
from compiler_dojo.envs.loops.workload import Operand, Workload

Array = npt.NDArray[Any]

CHOICE_SECONDS = 0.02
"""For how long each of several ways to compute the same is timed before one of them is chosen."""


@dataclass(frozen=True)
class PreparedKernel:
    """A kernel that is bound to arrays.

    Attributes:
        run: one evaluation; the result is in the output array afterwards.
        sample: seconds per evaluation, as a mean over at least the given seconds.
        clock: ``C`` if the timing loop is native code, ``Python`` if each evaluation is called from Python, as users of
            that library do; the overhead of the call is then part of the time.
        how: which call, order or schedule was chosen, in a few words.
        tuning_seconds: what choosing and compiling took.
        threads: that run it.
        in_process: whether it runs in this process, so that its CPU time is known.
    """

    run: Callable[[], object]
    sample: Callable[[float], float]
    clock: str
    how: str
    tuning_seconds: float
    threads: int = 1
    in_process: bool = True


class Peer(Protocol):
    """Something that computes workloads."""

    @property
    def name(self) -> str:
        """Under which it appears in tables."""

    def available(self) -> str:
        """Empty if it can be used, else why not and what to do about it."""

    def prepare(self, workload: Workload, operands: Sequence[Array]) -> PreparedKernel:
        """A kernel that reads and writes these arrays.

        Args:
            workload: what to compute.
            operands: output, inputs, bias: as ``workload.operands``, each C-contiguous.

        Raises:
            DojoError: the peer has no way to compute this workload, or failed; the message says which.
        """


def allocate(workload: Workload, seed: int = 0) -> list[Array]:
    """Arrays for a workload's operands as :func:`random_arrays` makes them, each on a cache line of its own."""
    arrays = random_arrays(workload, np.random.default_rng(seed))
    return [aligned(array) for array in arrays]


def axis_view(workload: Workload, operand: Operand, array: Array) -> tuple[Array, list[str]]:
    """An operand with one dimension per axis instead of one per index: sums of axes become overlapping windows.

    Returns:
        The view, and the axes that its dimensions are, in the workload's order.
    """
    axes = [axis for axis in workload.sizes if axis in operand.axes]
    strides = [workload.stride(operand, axis) * array.itemsize for axis in axes]
    shape = [workload.sizes[axis] for axis in axes]
    return np.lib.stride_tricks.as_strided(array, shape, strides), axes


def sample_calls(call: Callable[[], object], min_seconds: float) -> float:
    """Seconds per call, the mean of as many as take at least ``min_seconds``, called in a Python loop."""
    count = 1
    while True:
        start = time.perf_counter()
        for _ in range(count):
            call()
        seconds = time.perf_counter() - start
        if seconds >= min_seconds:
            return seconds / count
        # a tenth more than what the last try suggests, at most 100 times as many
        count = min(100 * count, int(1.1 * count * min_seconds / max(seconds, 1e-9)) + 1)


def fastest(ways: dict[str, Callable[[float], float]]) -> str:
    """Name of the way whose sample is least; a single one is not timed."""
    if len(ways) == 1:
        return next(iter(ways))
    for sample in ways.values():
        sample(0.0)
    return min(ways, key=lambda name: ways[name](CHOICE_SECONDS))


class NumPyPeer:
    """NumPy's fastest call for the workload, writing into ``out=``.

    What is tried: ``einsum``, ``einsum`` with an optimised order of contraction, which calls BLAS, and ``matmul`` where
    one axis is summed over. Convolutions are overlapping windows of their
    input. Bias and ReLU are further calls.
    """

    name = "numpy"

    def available(self) -> str:
        """NumPy is always here."""
        return ""

    def prepare(self, workload: Workload, operands: Sequence[Array]) -> PreparedKernel:
        """The call that is fastest on these arrays."""
        start = time.perf_counter()
        calls = dict(_numpy_calls(workload, operands))
        epilogue = _numpy_epilogue(workload, operands)

        def whole(call: Callable[[], object]) -> Callable[[], None]:
            def run() -> None:
                call()
                epilogue()

            return run

        runs: dict[str, Callable[[], object]] = (
            {name: whole(call) for name, call in calls.items()} if workload.bias or workload.relu else calls
        )
        samples = {name: _sampler(run) for name, run in runs.items()}
        how = fastest(samples)
        return PreparedKernel(runs[how], samples[how], "Python", how, time.perf_counter() - start)


def _sampler(run: Callable[[], object]) -> Callable[[float], float]:
    return lambda min_seconds: sample_calls(run, min_seconds)


def _numpy_calls(workload: Workload, operands: Sequence[Array]) -> Iterator[tuple[str, Callable[[], object]]]:
    numbers = {axis: number for number, axis in enumerate(workload.sizes)}
    out, out_axes = axis_view(workload, workload.output, operands[0])
    views = [axis_view(workload, item, array) for item, array in zip(workload.inputs, operands[1:], strict=False)]
    arguments: list[Any] = []
    for view, axes in views:
        arguments += [view, [numbers[axis] for axis in axes]]
    arguments.append([numbers[axis] for axis in out_axes])
    # numpy's stubs do not know the form with lists of axes
    einsum: Any = np.einsum
    yield "einsum", lambda: einsum(*arguments, out=out)
    if len(views) > 1 and workload.reduction_axes:
        path = einsum_path(arguments)
        yield "einsum, optimised", lambda: einsum(*arguments, out=out, optimize=path)
    if len(views) == 2 and len(workload.reduction_axes) == 1:
        yield from _matmul(workload, views, out, out_axes)


def einsum_path(arguments: Sequence[Any]) -> Any:
    """NumPy's order of contraction for these arguments, found once instead of in every call."""
    path: Any = np.einsum_path
    return path(*arguments, optimize="optimal")[0]


def _matmul(
    workload: Workload, views: Sequence[tuple[Array, list[str]]], out: Array, out_axes: Sequence[str]
) -> Iterator[tuple[str, Callable[[], object]]]:
    """``matmul`` on transposed views, if every axis is one that it has."""
    (left, left_axes), (right, right_axes) = views
    reduced = workload.reduction_axes[0]
    batch = [axis for axis in out_axes if axis in left_axes and axis in right_axes]
    rows = [axis for axis in left_axes if axis not in right_axes]
    columns = [axis for axis in right_axes if axis not in left_axes]
    if len(columns) > 1 or reduced not in left_axes or reduced not in right_axes:
        return

    def order(view: Array, axes: Sequence[str], wanted: Sequence[str]) -> Array:
        return view.transpose([axes.index(axis) for axis in wanted])

    left = order(left, left_axes, [*batch, *rows, reduced])
    right = order(right, right_axes, [*batch, reduced, *columns])
    result = order(out, out_axes, [*batch, *rows, *columns])
    # a missing row or column is an axis of size 1, and rows before the last one are a batch
    if not columns:
        right, result = right[..., None], result[..., None]
    if not rows:
        left, result = left[..., None, :], result[..., None, :]
    right = np.expand_dims(right, tuple(range(len(batch), len(batch) + len(rows) - 1)))
    yield "matmul", lambda: np.matmul(left, right, out=result)


def _numpy_epilogue(workload: Workload, operands: Sequence[Array]) -> Callable[[], None]:
    out = operands[0]
    bias: Array | None = None
    if workload.bias is not None:
        view, axes = axis_view(workload, workload.bias, operands[-1])
        out_axes = [index[0][0] for index in workload.output.indices]
        ordered = view.transpose([axes.index(axis) for axis in out_axes if axis in axes])
        bias = ordered.reshape([workload.sizes[axis] if axis in axes else 1 for axis in out_axes])

    def run() -> None:
        if bias is not None:
            np.add(out, bias, out=out)
        if workload.relu:
            np.maximum(out, 0, out=out)

    return run


class WrongResultError(DojoError):
    """A kernel that computes something else."""


def check(workload: Workload, operands: Sequence[Array], run: Callable[[], object]) -> None:
    """Evaluate once over an output full of NaN and compare with the reference.

    Raises:
        WrongResultError: an element is wrong or was not written.
    """
    operands[0].fill(np.nan)
    run()
    expected = evaluate(workload, *operands[1:])
    wrong = ~(np.abs(operands[0] - expected) <= tolerance(workload))
    if wrong.any():
        place = tuple(int(number) for number in np.argwhere(wrong)[0])
        raise WrongResultError(
            f"{int(wrong.sum())} of {wrong.size} elements of {workload} are wrong, the first at {place}: expected "
            f"{expected[place]:.7g}, got {operands[0][place]:.7g}: this kernel must not be used"
        )
