"""Proximal Policy Optimization (arXiv 1707.06347) on one machine, by Stable-Baselines3."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import configure
from stable_baselines3.common.vec_env import SubprocVecEnv, VecMonitor

from compiler_dojo.agents.mlp import MlpPolicy
from compiler_dojo.agents.protocols import MakeEnv

WEIGHTS, STATE = "learner.safetensors", "learner.json"


@dataclass(frozen=True)
class PPOConfig:
    """Hyper-parameters of PPO; names and meaning as in Stable-Baselines3.

    Attributes:
        num_envs: environments stepped in parallel, each in a process of its own. More than there are cores
            evens out the passes' very different durations.
        n_steps: steps per environment between two updates.
        layers: widths of the hidden layers of actor and critic, with tanh between them.
    """

    num_envs: int = 8
    n_steps: int = 128
    batch_size: int = 256
    n_epochs: int = 6
    learning_rate: float = 5e-4
    gamma: float = 0.99
    gae_lambda: float = 0.95
    clip_range: float = 0.2
    ent_coef: float = 0.01
    vf_coef: float = 0.5
    max_grad_norm: float = 0.5
    layers: tuple[int, ...] = (256, 256)


class PPOLearner:
    """Trains a policy with PPO; can be stopped, saved and resumed.

    Args:
        config: hyper-parameters.
        seed: of network and environments.
        log_folder: where TensorBoard and CSV logs go, or None.
    """

    def __init__(self, config: PPOConfig, seed: int = 0, log_folder: Path | None = None) -> None:
        self.config = config
        self.seed = seed
        self.steps_done = 0
        self._log_folder = log_folder
        self._model: PPO | None = None
        self._saved: dict[str, Any] | None = None

    def learn(self, make_env: MakeEnv, total_steps: int, callbacks: Sequence[Callable[[int], bool]] = ()) -> MlpPolicy:
        """Train until ``total_steps`` environment steps are done in all, earlier runs included."""
        # the environments inherit this: one thread each, or they fight over the cores
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        # SB3 copies the seed of an environment per process; after resuming, episodes must not repeat the first run's
        seed = self.seed + self.steps_done
        workers = VecMonitor(SubprocVecEnv([make_env] * self.config.num_envs, start_method="forkserver"))
        try:
            self._model = self._make_model(workers, seed)
            if total_steps > self.steps_done:
                self._model.learn(
                    total_steps - self.steps_done, callback=_Forward(callbacks, self), reset_num_timesteps=False
                )
            self.steps_done = self._model.num_timesteps
        finally:
            workers.close()
        return self.policy()

    def _make_model(self, workers: VecMonitor, seed: int) -> PPO:
        settings = asdict(self.config)
        settings.pop("num_envs")
        policy_settings = {"net_arch": list(settings.pop("layers"))}
        model = PPO("MlpPolicy", workers, policy_kwargs=policy_settings, seed=seed, device="cpu", **settings)
        if self._log_folder is not None:
            model.set_logger(configure(str(self._log_folder), ["tensorboard", "csv"]))
        if self._saved is not None:
            model.set_parameters(self._saved, exact_match=True)
            model.num_timesteps = self.steps_done
        return model

    def policy(self) -> MlpPolicy:
        """The policy as it is now."""
        policy = self._require_model().policy
        modules = [*policy.mlp_extractor.policy_net, policy.action_net]
        linear = [module for module in modules if isinstance(module, torch.nn.Linear)]
        return MlpPolicy([(layer.weight, layer.bias) for layer in linear], "tanh")

    def save(self, path: Path) -> None:
        """Write weights, optimiser and progress; an interrupted write leaves the previous one."""
        parameters = self._require_model().get_parameters()
        tensors = {f"policy/{name}": tensor for name, tensor in parameters["policy"].items()}
        optimizer = parameters["policy.optimizer"]
        for index, state in optimizer["state"].items():
            tensors.update({f"optimizer/{index}/{name}": tensor for name, tensor in state.items()})
        path.mkdir(parents=True, exist_ok=True)
        about = {"steps": self._require_model().num_timesteps, "groups": optimizer["param_groups"]}
        # progress first into the weights' own header, so that both change in one rename
        temporary = path / (WEIGHTS + ".new")
        save_file({k: v.contiguous() for k, v in tensors.items()}, temporary, {STATE: json.dumps(about)})
        os.replace(temporary, path / WEIGHTS)

    def load(self, path: Path) -> None:
        """Continue from what :meth:`save` wrote."""
        from safetensors import safe_open

        with safe_open(path / WEIGHTS, "pt") as file:
            about = json.loads(file.metadata()[STATE])
        policy: dict[str, torch.Tensor] = {}
        state: dict[int, dict[str, torch.Tensor]] = {}
        for name, tensor in load_file(path / WEIGHTS).items():
            kind, rest = name.split("/", 1)
            if kind == "policy":
                policy[rest] = tensor
            else:
                index, part = rest.split("/")
                state.setdefault(int(index), {})[part] = tensor
        self.steps_done = int(about["steps"])
        self._saved = {"policy": policy, "policy.optimizer": {"state": state, "param_groups": about["groups"]}}

    def _require_model(self) -> PPO:
        if self._model is None:
            raise RuntimeError("nothing has been learned yet; call learn() first")
        return self._model


class _Forward(BaseCallback):
    """Calls the learner's callbacks once per vector step."""

    def __init__(self, callbacks: Sequence[Callable[[int], bool]], learner: PPOLearner) -> None:
        super().__init__()
        self._callbacks = callbacks
        self._learner = learner

    def _on_step(self) -> bool:
        self._learner.steps_done = self.num_timesteps
        return bool(np.all([callback(self.num_timesteps) for callback in self._callbacks]))
