"""Deep Q-learning (Mnih et al., Nature 2015) on one machine, by Stable-Baselines3.

It knows no masks: in training, an action that is not legal must be a step that changes nothing. The policy that comes
out takes the legal action of the largest value.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from stable_baselines3 import DQN
from stable_baselines3.common.vec_env import VecNormalize

from compiler_dojo.agents.sb3 import SB3Learner


@dataclass(frozen=True)
class DQNConfig:
    """Hyper-parameters of DQN; names and meaning as in Stable-Baselines3 where not said otherwise.

    Attributes:
        num_envs: environments that are stepped together.
        threads: that step them; 0 for one per core, which suits environments that wait for a compiler.
        train_freq: vector steps between two rounds of ``gradient_steps`` updates.
        layers: widths of the hidden layers, with ReLU between them.

    Raises:
        ValueError: a number that must be positive is not.
    """

    num_envs: int = 16
    threads: int = 0
    learning_rate: float = 5e-4
    buffer_size: int = 100_000
    learning_starts: int = 2_000
    batch_size: int = 256
    gamma: float = 0.95
    train_freq: int = 1
    gradient_steps: int = 1
    target_update_interval: int = 1_000
    exploration_fraction: float = 0.3
    exploration_final_eps: float = 0.05
    layers: tuple[int, ...] = (128, 128)

    def __post_init__(self) -> None:
        for name in ("num_envs", "learning_rate", "buffer_size", "batch_size", "train_freq", "gradient_steps"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")


class DQNLearner(SB3Learner):
    """Trains a policy with DQN; see :class:`~compiler_dojo.agents.sb3.SB3Learner`.

    A checkpoint does not hold the replayed experience: a resumed run gathers ``learning_starts`` steps of new one
    before it goes on to learn.
    """

    def __init__(self, config: DQNConfig, seed: int = 0, log_folder: Path | None = None) -> None:
        super().__init__(config, seed, log_folder)
        self.config = config

    def _build(self, envs: VecNormalize, seed: int) -> DQN:
        settings = asdict(self.config)
        del settings["num_envs"], settings["threads"]
        policy_settings = {"net_arch": list(settings.pop("layers"))}
        settings["learning_starts"] += self.steps_done
        return DQN("MlpPolicy", envs, policy_kwargs=policy_settings, seed=seed, device="cpu", **settings)

    def _modules(self, model: Any) -> Iterable[torch.nn.Module]:
        return list(model.policy.q_net.q_net)
