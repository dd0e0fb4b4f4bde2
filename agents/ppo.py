"""Proximal Policy Optimization (arXiv 1707.06347) on one machine, by Stable-Baselines3.

Environments that have action masks get sb3-contrib's MaskablePPO (arXiv 2006.14171), which is PPO with masked logits.
"""

from __future__ import annotations

import copy
import csv
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.utils import is_masking_supported
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import CSVOutputFormat, Logger, TensorBoardOutputFormat
from stable_baselines3.common.vec_env import VecMonitor, VecNormalize

from compiler_dojo.agents.files import write_atomically
from compiler_dojo.agents.mlp import MlpPolicy, Normalization
from compiler_dojo.agents.protocols import MakeEnv
from compiler_dojo.agents.thread_vec_env import ThreadVecEnv

CHECKPOINT, PROGRESS = "learner.safetensors", "progress"
RUNNING, MOMENTS = ("obs_rms", "ret_rms"), ("mean", "var", "count")


@dataclass(frozen=True)
class PPOConfig:
    """Hyper-parameters of PPO; names and meaning as in Stable-Baselines3 where not said otherwise.

    Attributes:
        num_envs: environments, stepped by as many threads as there are cores.
        n_steps: steps per environment between two updates.
        layers: widths of the hidden layers of actor and critic, with tanh between them.

    Raises:
        ValueError: a number that must be positive is not.
    """

    num_envs: int = 16
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


class PPOLearner:
    """Trains a policy with PPO; can be stopped, saved and resumed.

    Observations are standardised by running means, rewards by the running deviation of returns (VecNormalize).

    Args:
        config: hyper-parameters.
        seed: of network and environments.
        log_folder: where TensorBoard and CSV logs go, or None.
    """

    def __init__(self, config: PPOConfig, seed: int = 0, log_folder: Path | None = None) -> None:
        self.config = config
        self.seed = seed
        self.steps_done = 0
        self.seconds_done = 0.0
        self._log_folder = log_folder
        self._model: PPO | MaskablePPO | None = None
        self._envs: VecNormalize | None = None
        self._saved: dict[str, Any] | None = None

    def learn(self, make_env: MakeEnv, total_steps: int, callbacks: Sequence[Callable[[int], bool]] = ()) -> MlpPolicy:
        """Train until ``total_steps`` environment steps are done in all, earlier runs included.

        The last rollout is done to its end. A callback that returns False ends the training at once.
        """
        if self._model is not None:
            self._saved = self._capture()
        envs = VecMonitor(ThreadVecEnv([make_env] * self.config.num_envs))
        self._envs = VecNormalize(envs, gamma=self.config.gamma)
        try:
            self._model = self._make_model(self._envs)
            if total_steps > self.steps_done:
                left = total_steps - self.steps_done
                if self._log_folder is not None:
                    self._model.set_logger(_logger(self._log_folder, self.steps_done))
                try:
                    self._model.learn(left, callback=_Forward(callbacks, self), reset_num_timesteps=False)
                finally:
                    self._model.logger.close()
        finally:
            self._envs.close()
        return self.policy()

    def _make_model(self, envs: VecNormalize) -> PPO | MaskablePPO:
        settings = asdict(self.config)
        settings.pop("num_envs")
        policy_settings = {"net_arch": list(settings.pop("layers"))}
        kind = MaskablePPO if is_masking_supported(envs) else PPO
        # episodes after a resume must not repeat those of the first run
        seed = self.seed + self.steps_done
        model = kind("MlpPolicy", envs, policy_kwargs=policy_settings, seed=seed, device="cpu", **settings)
        if self._saved is not None:
            model.set_parameters(self._saved["parameters"], exact_match=True)
            model.num_timesteps = self.steps_done
            for name, moments in self._saved["moments"].items():
                for part, moment in zip(MOMENTS, moments, strict=True):
                    setattr(getattr(envs, name), part, moment)
        return model

    def policy(self) -> MlpPolicy:
        """The policy as it is now."""
        model, envs = self._require_model()
        modules = [*model.policy.mlp_extractor.policy_net, model.policy.action_net]
        layers = [(layer.weight, layer.bias) for layer in modules if isinstance(layer, torch.nn.Linear)]
        # a dict for Dict observations, which this policy does not take
        seen: Any = envs.obs_rms
        mean, variance = (torch.as_tensor(moment, dtype=torch.float32) for moment in (seen.mean, seen.var))
        return MlpPolicy(layers, Normalization(mean, (variance + envs.epsilon).rsqrt(), envs.clip_obs))

    def save(self, path: Path) -> None:
        """Write weights, optimiser, running means and progress; an interrupted write leaves the previous state."""
        captured = self._capture()
        optimizer = captured["parameters"]["policy.optimizer"]
        tensors = {f"policy/{name}": tensor for name, tensor in captured["parameters"]["policy"].items()}
        for index, state in optimizer["state"].items():
            tensors.update({f"optimizer/{index}/{name}": tensor for name, tensor in state.items()})
        for name, moments in captured["moments"].items():
            for part, moment in zip(MOMENTS, moments, strict=True):
                tensors[f"{name}/{part}"] = torch.as_tensor(moment, dtype=torch.float64)
        about = {"steps": self.steps_done, "seconds": self.seconds_done, "groups": optimizer["param_groups"]}
        content = {name: tensor.contiguous() for name, tensor in tensors.items()}
        write_atomically(path / CHECKPOINT, save(content, {PROGRESS: json.dumps(about)}))

    def load(self, path: Path) -> None:
        """Continue from what :meth:`save` wrote."""
        with safe_open(path / CHECKPOINT, "pt") as file:
            progress = json.loads(file.metadata()[PROGRESS])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a mapping
        policy = {name.removeprefix("policy/"): t for name, t in tensors.items() if name.startswith("policy/")}
        state: dict[int, dict[str, torch.Tensor]] = {}
        for name, tensor in tensors.items():
            if name.startswith("optimizer/"):
                _, index, part = name.split("/")
                state.setdefault(int(index), {})[part] = tensor
        self.steps_done = int(progress["steps"])
        self.seconds_done = float(progress["seconds"])
        self._saved = {
            "parameters": {"policy": policy, "policy.optimizer": {"state": state, "param_groups": progress["groups"]}},
            "moments": {
                name: (tensors[f"{name}/mean"].numpy(), tensors[f"{name}/var"].numpy(), float(tensors[f"{name}/count"]))
                for name in RUNNING
            },
        }

    def _capture(self) -> dict[str, Any]:
        """All that learning goes on from: weights, optimiser, and the running means of observations and returns."""
        model, envs = self._require_model()
        moments = {name: tuple(getattr(getattr(envs, name), part) for part in MOMENTS) for name in RUNNING}
        return {"parameters": copy.deepcopy(model.get_parameters()), "moments": moments}

    def _require_model(self) -> tuple[PPO | MaskablePPO, VecNormalize]:
        if self._model is None or self._envs is None:
            raise RuntimeError("nothing has been learned yet; call learn() first")
        return self._model, self._envs


def _logger(folder: Path, steps_done: int) -> Logger:
    """TensorBoard and CSV; the CSV of a resumed run goes on from its checkpoint, where SB3 would empty it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "progress.csv"
    rows = list(csv.DictReader(path.read_text().splitlines(keepends=True))) if path.exists() else []
    table = CSVOutputFormat(str(path))
    for row in rows:
        steps = row.get("time/total_timesteps") or ""  # none in a row that an interruption cut short
        if steps.isdigit() and int(steps) <= steps_done:
            table.write({name: value for name, value in row.items() if value}, {})
    return Logger(str(folder), [TensorBoardOutputFormat(str(folder)), table])


class _Forward(BaseCallback):
    """Calls the learner's callbacks once per vector step."""

    def __init__(self, callbacks: Sequence[Callable[[int], bool]], learner: PPOLearner) -> None:
        super().__init__()
        self._callbacks = callbacks
        self._learner = learner
        self._start = time.monotonic() - learner.seconds_done

    def _on_step(self) -> bool:
        self._learner.steps_done = self.num_timesteps
        self._learner.seconds_done = time.monotonic() - self._start
        return all(callback(self.num_timesteps) for callback in self._callbacks)
