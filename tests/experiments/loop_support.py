"""What the tests of loop scheduling share: a policy that always does the same, and settings that take no time."""

from __future__ import annotations

from pathlib import Path

import torch

from compiler_dojo.agents.mlp import MlpPolicy
from compiler_dojo.envs.loop_schedule import LoopScheduleEnv
from compiler_dojo.envs.loops.workloads import parse
from compiler_dojo.experiments.config import to_mapping
from compiler_dojo.experiments.loop_config import LoopEnvConfig
from compiler_dojo.experiments.loop_evaluation import MeasuringSettings

TARGET = "x86-64-v3"
WORKLOAD = parse("mk,kn->mn", m=32, k=24, n=48)
OTHER = parse("mk,kn->mn", m=24, k=32, n=32)
FAST = MeasuringSettings(repeats=2, min_seconds=1e-5)
LOOPTUNE = LoopEnvConfig(target=TARGET)
FULL = LoopEnvConfig("full", target=TARGET, budget=4)


def save_policy(folder: Path, env: LoopEnvConfig, *favourites: str, margin: float = 30.0) -> Path:
    """A policy that likes some actions better than others, the first most, whatever it sees."""
    names = LoopScheduleEnv(WORKLOAD, env.actions, "analytical", target=env.target).action_names
    shape = LoopScheduleEnv(WORKLOAD, env.actions, "analytical", target=env.target).observation_space.shape
    assert shape is not None
    bias = torch.zeros(len(names))
    for index, name in enumerate(favourites):
        bias[names.index(name)] = margin * (len(favourites) - index)
    MlpPolicy([(torch.zeros(len(names), shape[0] * shape[1]), bias)]).save(folder, {"env": to_mapping(env)})
    return folder
