"""What an agent does to a nest: a cursor over its loops, the protocol of action sets, and LoopTune's seven actions."""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from compiler_dojo.envs.errors import IllegalScheduleError
from compiler_dojo.envs.loops import transforms
from compiler_dojo.envs.loops.nest import MOST_LOOPS, Nest, start_nest
from compiler_dojo.envs.loops.workload import Workload


class State(NamedTuple):
    """A nest and the loop of it that actions refer to.

    Attributes:
        nest: the nest.
        cursor: position among the loops of the compute nest. The loops that only the write nest has are never reached:
            LoopTune's cursor would have to pass the statements inside the compute nest, and does not.
    """

    nest: Nest
    cursor: int = 0


@runtime_checkable
class ActionSet(Protocol):
    """Actions by index. An action is masked out if and only if :meth:`apply` refuses it."""

    @property
    def names(self) -> tuple[str, ...]:
        """One per action."""

    def start(self, workload: Workload) -> State:
        """Where an episode begins."""

    def mask(self, state: State) -> npt.NDArray[np.bool_]:
        """Which actions are legal, bool of shape (actions,)."""

    def apply(self, state: State, action: int) -> State:
        """The state after a legal action, which differs from the one before.

        Raises:
            IllegalScheduleError: the action is not legal here; the message says why.
        """


def move(state: State, direction: int, loops: int) -> State:
    """The cursor one loop further in (1) or out (-1), within the first ``loops`` of the nest."""
    cursor = state.cursor + direction
    if not 0 <= cursor < loops:
        side = "outermost" if direction < 0 else "innermost"
        raise IllegalScheduleError(f"the cursor is on the {side} loop that it can reach")
    return State(state.nest, cursor)


def is_legal(actions: ActionSet, state: State, action: int) -> bool:
    """Whether an action can be applied, by trying it."""
    try:
        actions.apply(state, action)
    except IllegalScheduleError:
        return False
    return True


SPLITS = (4, 8, 16)
LANES = 8
"""What LoopTune's innermost loop must be a multiple of: the float32 lanes of AVX2, which LoopNest wrote code for."""


class LoopTuneActions:
    """The seven actions of LoopTune (arXiv 2309.01825), in the published order.

    ``up`` and ``down`` move the cursor to the loop outside and inside. ``swap_up`` and ``swap_down`` exchange its loop
    with that one, and the cursor stays on its loop; two loops of one axis are not exchanged, the cursor moves all the
    same. ``split_f`` lets the loop cover f of its iterations, which a new loop inside runs; the cursor stays on the
    outer part. The write nest follows where it shares the outer loop concerned.

    Legal is what leaves at most 10 loops in the tree and an innermost loop of one iteration or a multiple of 8 (or the
    innermost loop that there was: workloads exist that start with another). The published agents are not masked: what
    is not legal is a step that changes nothing.
    """

    names = ("up", "down", "swap_up", "swap_down", *(f"split_{factor}" for factor in SPLITS))

    def start(self, workload: Workload) -> State:
        """Nothing split, the cursor on the outermost loop."""
        return State(start_nest(workload))

    def mask(self, state: State) -> npt.NDArray[np.bool_]:
        """Which of the seven are legal."""
        nest, cursor = state
        last = len(nest.loops) - 1
        roomy = len(nest.loops) + len(nest.write) < MOST_LOOPS
        iterations = nest.trips(cursor)[0]
        return np.array(
            (
                cursor > 0,
                cursor < last,
                cursor > 0 and self._can_swap(state, cursor - 1, roomy),
                cursor < last and self._can_swap(state, cursor, roomy),
                *(
                    factor <= iterations
                    and (cursor < last or factor % LANES == 0)
                    and (roomy or is_legal(self, state, action))
                    for action, factor in enumerate(SPLITS, 4)
                ),
            ),
            np.bool_,
        )

    def apply(self, state: State, action: int) -> State:
        """See :class:`ActionSet`."""
        nest, cursor = state
        if action < 2:
            return move(state, 2 * action - 1, len(nest.loops))
        if action < 4:
            moved = move(state, 2 * action - 5, len(nest.loops))
            if nest.loops[cursor].axis == nest.loops[moved.cursor].axis:
                return moved
            new = State(transforms.interchange(nest, min(cursor, moved.cursor)), moved.cursor)
        else:
            new = State(transforms.split(nest, cursor, SPLITS[action - 4]), cursor)
        size = new.nest.trips(len(new.nest.loops) - 1)[0]
        before = (nest.loops[-1], nest.trips(len(nest.loops) - 1)[0])
        if size != 1 and size % LANES and (new.nest.loops[-1], size) != before:
            raise IllegalScheduleError(
                f"the innermost loop would have {size} iterations; LoopTune wants 1 or a multiple of {LANES}"
            )
        return new

    def _can_swap(self, state: State, position: int, roomy: bool) -> bool:
        """Whether the loop at a position may be exchanged with the next one."""
        nest = state.nest
        if nest.loops[position].axis == nest.loops[position + 1].axis:
            return True
        if position + 2 == len(nest.loops):
            size = nest.trips(position)[0]
            if size != 1 and size % LANES:
                return False
        return roomy or is_legal(self, state, 2 if position < state.cursor else 3)
