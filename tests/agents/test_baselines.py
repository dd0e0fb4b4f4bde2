"""The policies that learn nothing do exactly what they say."""

import numpy as np
import pytest

from compiler_dojo.agents.baselines import RandomPolicy, SequencePolicy


def draw(policy: RandomPolicy, batch: int, times: int) -> np.ndarray:
    observation = np.zeros((batch, 1), np.float32)
    return np.stack([policy.act(observation, None, deterministic=True)[0] for _ in range(times)])


def test_random_policy__is_seeded() -> None:
    first, again, other = (draw(RandomPolicy(50, seed), 4, 20) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_random_policy__is_uniform_over_all_actions() -> None:
    actions, draws = 7, 14_000
    counts = np.bincount(draw(RandomPolicy(actions, 0), draws, 1)[0], minlength=actions)
    expected = draws / actions
    chi_squared = float(((counts - expected) ** 2 / expected).sum())
    assert len(counts) == actions
    # the 99.9% point of the chi-squared distribution with 6 degrees of freedom
    assert chi_squared < 22.46


@pytest.mark.parametrize("batch", [1, 5])
def test_random_policy__gives_an_action_per_environment_and_no_state(batch: int) -> None:
    policy = RandomPolicy(3, 0)
    assert policy.initial_state(batch) is None
    actions, state = policy.act(np.zeros((batch, 9), np.float32), None, deterministic=False)
    assert actions.shape == (batch,)
    assert actions.dtype == np.int64
    assert state is None


def test_random_policy__takes_masked_actions_too() -> None:
    mask = np.zeros((200, 3), np.bool_)
    mask[:, 0] = True
    actions, _ = RandomPolicy(3, 0).act(np.zeros((200, 1)), None, deterministic=False, mask=mask)
    assert set(actions.tolist()) == {0, 1, 2}


def test_random_policy__gives_an_action_per_environment_for_dict_observations() -> None:
    observation = {"features": np.zeros((5, 9), np.float32), "autophase": np.zeros((5, 56), np.int64)}
    actions, _ = RandomPolicy(3, 0).act(observation, None, deterministic=False)
    assert actions.shape == (5,)


def test_sequence_policy__plays_its_list_and_then_one_action_for_ever() -> None:
    policy = SequencePolicy([4, 2, 4], then=9)
    state, played = policy.initial_state(1), []
    for _ in range(6):
        actions, state = policy.act(np.zeros((1, 3)), state, deterministic=True)
        played.append(int(actions[0]))
    assert played == [4, 2, 4, 9, 9, 9]


def test_sequence_policy__counts_for_each_environment_by_itself() -> None:
    policy = SequencePolicy([10, 11, 12], then=13)
    state = policy.initial_state(3)
    assert state.tolist() == [0, 0, 0]
    actions, state = policy.act(np.zeros((3, 1)), state, deterministic=True)
    assert actions.tolist() == [10, 10, 10]
    state = np.array([0, 2, 7])
    actions, state = policy.act(np.zeros((3, 1)), state, deterministic=True)
    assert actions.tolist() == [10, 12, 13]
    assert state.tolist() == [1, 3, 8]


def test_sequence_policy__leaves_the_state_it_is_given_alone() -> None:
    policy = SequencePolicy([1], then=0)
    state = policy.initial_state(2)
    policy.act(np.zeros((2, 1)), state, deterministic=True)
    assert state.tolist() == [0, 0]


def test_sequence_policy__an_empty_list_is_the_last_action_at_once() -> None:
    policy = SequencePolicy([], then=5)
    actions, _ = policy.act(np.zeros((2, 1)), policy.initial_state(2), deterministic=True)
    assert actions.tolist() == [5, 5]
