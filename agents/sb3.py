"""What learners of Stable-Baselines3 have in common: running, stopping, checkpoints without pickle, logs."""

from __future__ import annotations

import copy
import csv
import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import safe_open
from safetensors.torch import save
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import CSVOutputFormat, Logger, TensorBoardOutputFormat
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor, VecNormalize

from compiler_dojo.agents.files import write_atomically
from compiler_dojo.agents.mlp import MlpPolicy, Normalization
from compiler_dojo.agents.protocols import MakeEnv
from compiler_dojo.agents.thread_vec_env import ThreadVecEnv

CHECKPOINT, PROGRESS = "learner.safetensors", "progress"
RUNNING, MOMENTS = ("obs_rms", "ret_rms"), ("mean", "var", "count")


class SB3Config(Protocol):
    """What this module needs of a learner's hyper-parameters."""

    @property
    def num_envs(self) -> int:
        """Environments that are stepped together."""

    @property
    def threads(self) -> int:
        """That step them; 0 for one per core."""

    @property
    def gamma(self) -> float:
        """The discount."""


class SB3Learner(ABC):
    """Trains a policy with an algorithm of Stable-Baselines3; can be stopped, saved and resumed.

    Observations are standardised by running means, rewards by the running deviation of returns (VecNormalize).

    Args:
        config: hyper-parameters.
        seed: of network and environments.
        log_folder: where TensorBoard and CSV logs go, or None.
    """

    def __init__(self, config: SB3Config, seed: int = 0, log_folder: Path | None = None) -> None:
        self._settings = config
        self.seed = seed
        self.steps_done = 0
        self.seconds_done = 0.0
        self._log_folder = log_folder
        self._model: Any = None
        self._envs: VecNormalize | None = None
        self._saved: dict[str, Any] | None = None

    @abstractmethod
    def _build(self, envs: VecNormalize, seed: int) -> Any:
        """The algorithm, untrained."""

    @abstractmethod
    def _modules(self, model: Any) -> Iterable[torch.nn.Module]:
        """Of the network that chooses actions, in order."""

    def learn(self, make_env: MakeEnv, total_steps: int, callbacks: Sequence[Callable[[int], bool]] = ()) -> MlpPolicy:
        """Train until ``total_steps`` environment steps are done in all, earlier runs included.

        The last rollout is done to its end. A callback that returns False ends the training at once.
        """
        if self._model is not None:
            self._saved = self._capture()
        makers, threads = [make_env] * self._settings.num_envs, self._settings.threads
        envs = DummyVecEnv(makers) if threads == 1 else ThreadVecEnv(makers, threads or None)
        self._envs = VecNormalize(VecMonitor(envs), gamma=self._settings.gamma)
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

    def _make_model(self, envs: VecNormalize) -> Any:
        # episodes after a resume must not repeat those of the first run
        model = self._build(envs, self.seed + self.steps_done)
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
        layers = [(layer.weight, layer.bias) for layer in self._modules(model) if isinstance(layer, torch.nn.Linear)]
        activations = {type(layer) for layer in self._modules(model)} - {torch.nn.Linear}
        # a dict for Dict observations, which this policy does not take
        seen: Any = envs.obs_rms
        mean, variance = (torch.as_tensor(moment, dtype=torch.float32) for moment in (seen.mean, seen.var))
        normalization = Normalization(mean, (variance + envs.epsilon).rsqrt(), envs.clip_obs)
        return MlpPolicy(layers, normalization, "relu" if torch.nn.ReLU in activations else "tanh")

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

    def _require_model(self) -> tuple[Any, VecNormalize]:
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

    def __init__(self, callbacks: Sequence[Callable[[int], bool]], learner: SB3Learner) -> None:
        super().__init__()
        self._callbacks = callbacks
        self._learner = learner
        self._start = time.monotonic() - learner.seconds_done

    def _on_step(self) -> bool:
        self._learner.steps_done = self.num_timesteps
        self._learner.seconds_done = time.monotonic() - self._start
        return all(callback(self.num_timesteps) for callback in self._callbacks)
