"""How long a step of the loop environment takes, with rewards that measure and with one that does not."""

from __future__ import annotations

import statistics
import time

import numpy as np

from compiler_dojo.envs.loop_schedule import LoopScheduleEnv
from compiler_dojo.envs.loops.nest import Nest
from compiler_dojo.envs.loops.runner import Runner

EPISODES, MEASURED_EPISODES = 40, 10
"""Episodes of random legal actions, of ten steps each."""

PRODUCT = "mk,kn->mn m=128 k=128 n=128"


class NoReward:
    """Says the same of every nest: what is left of a step is the environment's own time."""

    deterministic = True
    platform_dependent = False

    def gflops(self, nest: Nest) -> float:
        """One."""
        return 1.0


def step_microseconds(target: str, actions: str = "looptune") -> float:
    """Median of a step that measures nothing, over held-out products."""
    env = LoopScheduleEnv("looptune:test", actions=actions, reward=NoReward(), target=target)
    _step_seconds(env, EPISODES // 4, 1)
    return 1e6 * statistics.median(_step_seconds(env, EPISODES, 0))


def measured_step_milliseconds(target: str) -> float:
    """Median of a step that compiles and measures a nest of a product of 128^3 that was not measured before."""
    env = LoopScheduleEnv(PRODUCT, reward=Runner(target), target=target)
    return 1e3 * statistics.median(_step_seconds(env, MEASURED_EPISODES, 0, only_changes=True))


def _step_seconds(env: LoopScheduleEnv, episodes: int, first_seed: int, only_changes: bool = False) -> list[float]:
    seconds = []
    known: set[str] = set()
    for seed in range(first_seed, first_seed + episodes):
        _, info = env.reset(seed=seed)
        rng = np.random.default_rng(seed)
        known.add(env.nest.key)
        ended = False
        while not ended:
            action = int(rng.choice(np.flatnonzero(info["action_mask"])))
            start = time.perf_counter()
            _, _, terminated, truncated, info = env.step(action)
            taken = time.perf_counter() - start
            if not only_changes or env.nest.key not in known:
                seconds.append(taken)
            known.add(env.nest.key)
            ended = terminated or truncated
    return seconds
