"""Stable-Baselines3's vector environment with the environments stepped by threads of one process."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.vec_env import DummyVecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn


class ThreadVecEnv(DummyVecEnv):
    """For environments that spend their time outside Python's global lock, as compilers do.

    Beside processes it costs no pickling and no start-up, and what one environment learns of a program (its -Oz
    baseline) serves all. More environments than threads even out the very different durations of steps.

    Args:
        env_fns: one factory per environment.
        threads: by default one per core.
    """

    def __init__(self, env_fns: Sequence[Callable[[], gym.Env[Any, Any]]], threads: int | None = None) -> None:
        super().__init__(list(env_fns))
        self._pool = ThreadPoolExecutor(threads or len(os.sched_getaffinity(0)))

    def step_wait(self) -> VecEnvStepReturn:
        """Step all environments; a finished one is reset at once, as Stable-Baselines3 expects."""
        outcomes = list(self._pool.map(self._step_one, range(self.num_envs)))
        for index, (observation, reward, done, info) in enumerate(outcomes):
            self._save_obs(index, observation)
            self.buf_rews[index] = reward
            self.buf_dones[index] = done
            self.buf_infos[index] = info
        return self._obs_from_buf(), np.copy(self.buf_rews), np.copy(self.buf_dones), list(self.buf_infos)

    def _step_one(self, index: int) -> tuple[Any, float, bool, dict[str, Any]]:
        env = self.envs[index]
        observation, reward, terminated, truncated, info = env.step(self.actions[index])
        done = terminated or truncated
        info["TimeLimit.truncated"] = truncated and not terminated
        if done:
            info["terminal_observation"] = observation
            observation, self.reset_infos[index] = env.reset()
        return observation, float(reward), done, info

    def close(self) -> None:
        """Close the environments and the threads."""
        self._pool.shutdown()
        super().close()
