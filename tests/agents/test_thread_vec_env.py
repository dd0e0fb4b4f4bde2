"""Environments stepped by threads give exactly what Stable-Baselines3's own, stepped one after the other, give."""

from __future__ import annotations

import threading
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.vec_env import DummyVecEnv

from compiler_dojo.agents.thread_vec_env import ThreadVecEnv


class Walk(gym.Env[Any, Any]):
    """A noisy walk that ends by termination at 3 and by truncation after 5 steps; fails when told to."""

    def __init__(self, barrier: threading.Barrier | None = None) -> None:
        self.observation_space = gym.spaces.Box(-9.0, 9.0, (2,), np.float64)
        self.action_space = gym.spaces.Discrete(3)
        self.closed = False
        self._barrier = barrier

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._position, self._time = 0, 0
        return self._observe(), {"fresh": self.np_random.random()}

    def _observe(self) -> np.ndarray:
        return np.array([self._position, self.np_random.normal()])

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        if self._barrier is not None:
            self._barrier.wait(timeout=60.0)
        if action == 2:
            raise ArithmeticError("the walker fell")
        self._time += 1
        self._position += 1 if action == 1 else -1
        ended = abs(self._position) == 3
        return self._observe(), float(self._position), ended, self._time == 5, {"time": self._time}

    def close(self) -> None:
        self.closed = True


def equal(first: Any, second: Any) -> bool:
    """Whether two values of an info are equal, arrays among them."""
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(equal(first[name], second[name]) for name in first)
    return bool(np.array_equal(first, second))


@pytest.mark.parametrize("threads", [1, 2, 8])
def test_step__equals_the_sequential_vector_environment(threads: int) -> None:
    ours, theirs = ThreadVecEnv([Walk] * 5, threads), DummyVecEnv([Walk] * 5)
    for envs in (ours, theirs):
        envs.seed(7)
    np.testing.assert_array_equal(ours.reset(), theirs.reset())
    rng = np.random.default_rng(0)
    ends = []
    for _ in range(40):
        actions = rng.integers(2, size=5)
        (observations, rewards, dones, infos), expected = ours.step(actions), theirs.step(actions)
        np.testing.assert_array_equal(observations, expected[0])
        np.testing.assert_array_equal(rewards, expected[1])
        np.testing.assert_array_equal(dones, expected[2])
        assert all(equal(info, other) for info, other in zip(infos, expected[3], strict=True))
        assert equal(dict(enumerate(ours.reset_infos)), dict(enumerate(theirs.reset_infos)))
        ends += [info["TimeLimit.truncated"] for info, done in zip(infos, dones, strict=True) if done]
    # both ways to end occurred
    assert set(ends) == {True, False}
    for envs in (ours, theirs):
        envs.close()


def test_step__what_it_returned_is_not_changed_by_the_next() -> None:
    envs = ThreadVecEnv([Walk] * 2, 2)
    envs.seed(0)
    envs.reset()
    first = envs.step(np.array([1, 1]))
    copies = [np.copy(part) for part in first[:3]]
    envs.step(np.array([0, 0]))
    for part, copy in zip(first[:3], copies, strict=True):
        np.testing.assert_array_equal(part, copy)
    envs.close()


def test_step__runs_the_environments_at_the_same_time() -> None:
    # each waits in its step for the other
    barrier = threading.Barrier(2)
    envs = ThreadVecEnv([lambda: Walk(barrier)] * 2, 2)
    envs.reset()
    _, rewards, _, _ = envs.step(np.array([1, 0]))
    assert rewards.tolist() == [1.0, -1.0]
    envs.close()


def test_step__an_error_in_an_environment_reaches_the_caller() -> None:
    envs = ThreadVecEnv([Walk] * 3, 2)
    envs.reset()
    with pytest.raises(ArithmeticError, match="the walker fell"):
        envs.step(np.array([1, 2, 1]))
    envs.close()


def test_close__closes_the_environments_and_ends_the_threads() -> None:
    before = threading.active_count()
    envs = ThreadVecEnv([Walk] * 3, 2)
    envs.reset()
    envs.step(np.array([1, 1, 1]))
    envs.close()
    assert all(env.closed for env in envs.envs)
    assert threading.active_count() == before
