"""Configurations of the loop-scheduling environment and of training in it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

from compiler_dojo.envs.errors import InvalidConfigError
from compiler_dojo.envs.loop_schedule import LoopScheduleEnv
from compiler_dojo.envs.loops.rewards import ScheduleReward, make_reward


@lru_cache(maxsize=4)
def shared_reward(name: str, target: str) -> ScheduleReward:
    """A reward that all environments of the process share, and with it what it remembers."""
    return make_reward(name, target)


@dataclass(frozen=True)
class LoopEnvConfig:
    """The environment an agent lives in; see :class:`compiler_dojo.envs.loop_schedule.LoopScheduleEnv`."""

    actions: Literal["looptune", "full"] = "looptune"
    reward: str = "analytical"
    observation: str | None = None
    budget: int = 10
    stop: bool | None = None
    target: str = "native"
    threads: int = 1

    def make(self, workloads: Any, reward: ScheduleReward | None = None) -> LoopScheduleEnv:
        """The environment over these workloads, with the configured reward or another."""
        settings = dataclasses.asdict(self)
        settings["reward"] = shared_reward(self.reward, self.target) if reward is None else reward
        return LoopScheduleEnv(workloads, **settings)


@dataclass(frozen=True)
class LoopTrainConfig:
    """A training run in which loops are scheduled.

    Attributes:
        environment: what tells these settings from those of other environments.
        env: the environment; its reward must be deterministic, so that training does not need the clock.
        algorithm: who learns.
        learner: hyper-parameters that differ from :class:`~compiler_dojo.agents.ppo.PPOConfig` or
            :class:`~compiler_dojo.agents.dqn.DQNConfig`.
        step_cost: taken from the reward of every step in training, as a share of the peak: it makes the agent stop when
            nothing is left to gain.
        train_workloads: what is learned on.
        test_workloads: what is evaluated on, never seen in training.
        steps: environment steps at most; the last rollout is done to its end.
        seconds: training time at most; whichever comes first ends the training.
        checkpoint_seconds: time between two checkpoints.
        candidates: nests that the evaluation measures per workload, the rollout's and the most promising of samples.
        seed: of everything random.
    """

    environment: Literal["loops"] = "loops"
    env: LoopEnvConfig = LoopEnvConfig()
    algorithm: Literal["ppo", "dqn"] = "ppo"
    learner: Mapping[str, Any] = field(default_factory=dict)
    step_cost: float = 0.0
    train_workloads: str = "looptune:train"
    test_workloads: str = "looptune:test25"
    steps: int = 2_000_000
    seconds: float = 600.0
    checkpoint_seconds: float = 30.0
    candidates: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "seconds", "checkpoint_seconds", "candidates"):
            if not getattr(self, name) > 0:
                raise InvalidConfigError(f"{name} must be positive, got {getattr(self, name)}")
