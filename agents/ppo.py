"""Proximal Policy Optimization (arXiv 1707.06347) on one machine, by Stable-Baselines3.

Environments that have action masks get sb3-contrib's MaskablePPO (arXiv 2006.14171), which is PPO with masked logits.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.utils import is_masking_supported
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecNormalize

from compiler_dojo.agents.sb3 import CHECKPOINT, SB3Learner

__all__ = ["CHECKPOINT", "PPOConfig", "PPOLearner"]


@dataclass(frozen=True)
class PPOConfig:
    """Hyper-parameters of PPO; names and meaning as in Stable-Baselines3 where not said otherwise.

    Attributes:
        num_envs: environments that are stepped together.
        threads: that step them; 0 for one per core, which suits environments that wait for a compiler.
        n_steps: steps per environment between two updates.
        layers: widths of the hidden layers of actor and critic, with tanh between them.

    Raises:
        ValueError: a number that must be positive is not.
    """

    num_envs: int = 16
    threads: int = 0
    n_steps: int = 64
    batch_size: int = 256
    n_epochs: int = 6
    learning_rate: float = 1e-3
    gamma: float = 0.99
    gae_lambda: float = 0.95
    clip_range: float = 0.2
    ent_coef: float = 0.01
    vf_coef: float = 0.5
    max_grad_norm: float = 0.5
    layers: tuple[int, ...] = (128, 128)

    def __post_init__(self) -> None:
        for name in ("num_envs", "n_steps", "batch_size", "n_epochs", "learning_rate"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")


class PPOLearner(SB3Learner):
    """Trains a policy with PPO; see :class:`~compiler_dojo.agents.sb3.SB3Learner`."""

    def __init__(self, config: PPOConfig, seed: int = 0, log_folder: Path | None = None) -> None:
        super().__init__(config, seed, log_folder)
        self.config = config

    def _build(self, envs: VecNormalize, seed: int) -> PPO | MaskablePPO:
        settings = asdict(self.config)
        del settings["num_envs"], settings["threads"]
        policy_settings = {"net_arch": list(settings.pop("layers"))}
        kind = MaskablePPO if is_masking_supported(envs) else PPO
        return kind("MlpPolicy", envs, policy_kwargs=policy_settings, seed=seed, device="cpu", **settings)

    def _modules(self, model: Any) -> Iterable[torch.nn.Module]:
        return [*model.policy.mlp_extractor.policy_net, model.policy.action_net]
