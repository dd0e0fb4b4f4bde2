"""Which loop nests mean something: those that code is generated for and that can be interpreted."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from compiler_dojo.envs.errors import IllegalScheduleError, did_you_mean
from compiler_dojo.envs.loops.nest import Loop, Nest


def check_nest(nest: Nest) -> None:
    """Demand that a nest runs every point of the iteration space once and that its packs and threads are possible.

    Whether the register tile fits the registers is for the code generator to say, which knows the target.

    Raises:
        IllegalScheduleError: it is not so; the message says why.
    """
    _check_loops(nest, nest.loops, tuple(nest.workload.sizes), "loop")
    if nest.write:
        _check_loops(nest, nest.write, nest.workload.spatial_axes, "loop of the write")
    if nest.tile is not None and not 0 <= nest.tile <= len(nest.loops):
        raise IllegalScheduleError(
            f"the register tile is at depth {nest.tile}: depths are 0 to {len(nest.loops)}, as many as there are loops"
        )
    for name, value, least in (
        ("unroll", nest.unroll, 0),
        ("prefetch", nest.prefetch, 0),
        ("threads", nest.threads, 1),
    ):
        if value < least:
            raise IllegalScheduleError(f"{name} is {value}: at least {least}")
    _check_packs(nest)
    _check_threads(nest)


def _check_loops(nest: Nest, loops: Sequence[Loop], axes: Collection[str], what: str) -> None:
    steps: dict[str, int] = {}
    for loop in loops:
        axis, step = loop.axis, loop.step
        if axis not in axes:
            raise IllegalScheduleError(f"a {what} is over {axis!r} in {nest.workload}: {did_you_mean(axis, axes)}")
        if step < 1:
            raise IllegalScheduleError(f"a {what} over {axis!r} has step {step}: at least 1")
        if axis in steps and step > steps[axis]:
            raise IllegalScheduleError(
                f"a {what} over {axis!r} with step {step} is inside one with step {steps[axis]}: "
                "steps of an axis do not grow inwards"
            )
        steps[axis] = step
    for axis in axes:
        if axis not in steps:
            raise IllegalScheduleError(f"no {what} is over {axis!r} in {nest.workload}: each axis needs one")
        if steps[axis] != 1:
            raise IllegalScheduleError(
                f"the innermost {what} over {axis!r} has step {steps[axis]}: it needs step 1, add one inside"
            )


def _check_packs(nest: Nest) -> None:
    inputs = nest.workload.inputs
    deepest = len(nest.loops) if nest.tile is None else nest.tile
    packed = set()
    for pack in nest.packs:
        if not 0 <= pack.operand < len(inputs):
            raise IllegalScheduleError(
                f"a pack of input {pack.operand}: inputs of {nest.workload} are 0 to {len(inputs) - 1}"
            )
        name = inputs[pack.operand].name
        if pack.operand in packed:
            raise IllegalScheduleError(f"input {name} is packed twice: leave one pack")
        packed.add(pack.operand)
        if any(len(index) > 1 for index in inputs[pack.operand].indices):
            raise IllegalScheduleError(f"input {name} of {nest.workload} has an index sum: it cannot be packed")
        if not 0 <= pack.depth <= deepest:
            raise IllegalScheduleError(
                f"input {name} is packed at depth {pack.depth}: from 0 to {deepest}, where the register tile begins"
            )


def _check_threads(nest: Nest) -> None:
    if nest.threads == 1:
        return
    outermost = nest.loops[0].axis
    if outermost in nest.workload.reduction_axes:
        raise IllegalScheduleError(
            f"{nest.threads} threads divide the outermost loop, over {outermost!r}, which is summed over: "
            "move a loop of the output outside"
        )
    if nest.tile == 0:
        raise IllegalScheduleError(
            f"{nest.threads} threads divide the outermost loop, which is part of the register tile: "
            "begin the tile further inside"
        )
