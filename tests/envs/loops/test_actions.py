"""LoopTune's action set: every published rule by example, and masks against what actions do."""

import numpy as np
import pytest
from making_nests import convolution, nest, product, short

from compiler_dojo.envs.errors import IllegalScheduleError
from compiler_dojo.envs.loops.actions import ActionSet, LoopTuneActions, State
from compiler_dojo.envs.loops.full_actions import FullActions
from compiler_dojo.envs.loops.legality import check_nest
from compiler_dojo.envs.loops.transforms import tree_size

ACTIONS = LoopTuneActions()
SCRIPT = "split_4 swap_down swap_down down split_16 swap_up swap_up swap_up"


def act(state: State, script: str) -> State:
    for name in script.split():
        state = ACTIONS.apply(state, ACTIONS.names.index(name))
    return state


def shown(state: State) -> str:
    return f"{short(state.nest)} @{state.cursor}"


def test_sets__follow_the_protocol() -> None:
    assert isinstance(ACTIONS, ActionSet)
    assert isinstance(FullActions(), ActionSet)


def test_names__are_the_published_ones_in_their_order() -> None:
    assert " ".join(ACTIONS.names) == "up down swap_up swap_down split_4 split_8 split_16"


def test_start__is_the_unsplit_nest_with_the_cursor_at_its_root() -> None:
    assert shown(ACTIONS.start(product(64, 80, 96))) == "m k n | m n @0"


@pytest.mark.parametrize(
    ("script", "result"),
    [
        ("down", "m k n | m n @1"),
        ("down down up", "m k n | m n @1"),
        ("swap_down", "k m n | m n @1"),
        ("swap_down swap_down", "k n m | m n @2"),
        ("down swap_down", "m n k | m n @2"),
        ("down swap_down up swap_up", "n m k | n m @0"),  # both loops are shared: the write nest follows
        ("down swap_up", "k m n | m n @0"),
        ("split_16", "m16 m k n | m16 m n @0"),  # shared: the write nest's loop is split too
        ("split_16 swap_down", "m16 m k n | m16 m n @1"),  # one axis: the cursor moves all the same
        ("split_16 down swap_up", "m16 m k n | m16 m n @0"),
        ("split_16 split_4", "m64 m16 m k n | m64 m16 m n @0"),  # the outer part is split: inner = 16
        ("split_16 down split_4", "m16 m4 m k n | m16 m4 m n @1"),
        ("swap_down split_4", "k m4 m n | m n @1"),  # not shared any more
        ("down down split_8", "m k n8 n | m n @2"),
    ],
)
def test_script__leads_to_the_published_nest(script, result) -> None:
    assert shown(act(ACTIONS.start(product(128, 128, 128)), script)) == result


def test_split__leaves_the_remainder_as_a_tail() -> None:
    state = act(ACTIONS.start(product(112, 80, 96)), "split_16 split_4")
    # 112 = 1 * (4 * 16) + 48; then inner loops of 4 and 16
    assert [state.nest.trips(position) for position in range(3)] == [(1, 48), (4, 0), (16, 0)]


def test_constant_script__gives_the_published_recipe() -> None:
    state = ACTIONS.start(product(128, 160, 192))
    steps = [shown(state)]
    for name in SCRIPT.split():
        state = act(state, name)
        steps.append(f"{name}: {shown(state)}")
    assert steps == [
        "m k n | m n @0",
        "split_4: m4 m k n | m4 m n @0",
        "swap_down: m4 m k n | m4 m n @1",
        "swap_down: m4 k m n | m4 m n @2",
        "down: m4 k m n | m4 m n @3",
        "split_16: m4 k m n16 n | m4 m n @3",
        "swap_up: m4 k n16 m n | m4 m n @2",
        "swap_up: m4 n16 k m n | m4 m n @1",
        "swap_up: n16 m4 k m n | m4 m n @0",
    ]


@pytest.mark.parametrize(
    ("setup", "action", "reason"),
    [
        ("", "up", "on the outermost loop"),
        ("down down", "down", "on the innermost loop"),  # a statement comes next
        ("", "swap_up", "on the outermost loop"),
        ("down down", "swap_down", "on the innermost loop"),
        ("down down", "split_4", "would have 4 iterations; LoopTune wants 1 or a multiple of 8"),
        ("split_4 swap_down swap_down", "swap_down", "would have 4 iterations"),
        ("split_4 down", "split_8", "has 4 full iterations"),
        (
            "split_4 split_4 split_4 down down down down split_4 split_4 down down split_4 down down",
            "split_8",
            "at most 10",
        ),
    ],
)
def test_action__is_refused_where_it_is_illegal(setup, action, reason) -> None:
    state = act(ACTIONS.start(product(256, 256, 256)), setup)
    assert not ACTIONS.mask(state)[ACTIONS.names.index(action)]
    with pytest.raises(IllegalScheduleError, match=reason):
        act(state, action)


def test_innermost_loop__of_another_size_may_stay_as_it_is() -> None:
    state = State(nest(convolution(w=56, r=3, o=64, c=16), "o w c r", "o w"))
    assert shown(act(state, "swap_down")) == "w o c r | w o @1"
    with pytest.raises(IllegalScheduleError, match="would have 3 iterations"):
        act(State(nest(state.nest.workload, "o r w", "o w"), 1), "swap_down")


@pytest.mark.parametrize("sizes", [(64, 80, 256), (112, 144, 96)])
def test_random_walk__keeps_masks_true_and_trees_small(sizes) -> None:
    draw = np.random.default_rng(0)
    for _ in range(30):
        state = ACTIONS.start(product(*sizes))
        for _ in range(25):
            state = ACTIONS.apply(state, int(draw.choice(checked_mask(ACTIONS, state).nonzero()[0])))
            assert tree_size(state.nest) <= 10
            check_nest(state.nest)
            last = state.nest.trips(len(state.nest.loops) - 1)[0]
            assert last == 1 or last % 8 == 0
            assert 0 <= state.cursor < len(state.nest.loops)


def checked_mask(actions: ActionSet, state: State) -> np.ndarray:
    """The mask, after every action was tried: legal if and only if it applies, and then it changes the state."""
    mask = actions.mask(state)
    assert mask.shape == (len(actions.names),)
    assert mask.dtype == np.bool_
    for action, legal in enumerate(mask):
        after = after_action(actions, state, action)
        assert legal == (after is not None), actions.names[action]
        assert after != state
    return mask


def after_action(actions: ActionSet, state: State, action: int) -> State | None:
    try:
        return actions.apply(state, action)
    except IllegalScheduleError:
        return None
