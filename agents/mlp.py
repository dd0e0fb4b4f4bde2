"""A policy network for vector observations, stored as safetensors and JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file, save
from torch import nn

from compiler_dojo.agents.files import write_atomically
from compiler_dojo.agents.protocols import Actions, Mask

FORMAT = "compiler-dojo-mlp-1"
WEIGHTS, DESCRIPTION = "policy.safetensors", "policy.json"
ACTIVATIONS: dict[str, type[nn.Module]] = {"tanh": nn.Tanh, "relu": nn.ReLU}


class Normalization(NamedTuple):
    """What is done to an observation first: ``clip((observation - mean) * scale, -limit, limit)``.

    Attributes:
        mean: shape of an observation.
        scale: the same.
        limit: positive.
    """

    mean: torch.Tensor
    scale: torch.Tensor
    limit: float


class MlpPolicy:
    """Linear layers with an activation between them; the outputs are the actions' logits.

    Symbols: B is the number of environments acted in at once, A the number of actions.

    Args:
        layers: (weight, bias) of each layer, weights of shape (outputs, inputs).
        normalization: of the inputs, or None.
        activation: ``tanh`` or ``relu``.
        seed: of the generator that draws stochastic actions.
        temperature: what logits are divided by before one is drawn; above 1, unlikely actions become likelier.
    """

    def __init__(
        self,
        layers: Sequence[tuple[torch.Tensor, torch.Tensor]],
        normalization: Normalization | None = None,
        activation: str = "tanh",
        seed: int = 0,
        temperature: float = 1.0,
    ) -> None:
        self.layers = [(weight.detach().clone(), bias.detach().clone()) for weight, bias in layers]
        self.normalization = normalization
        self.activation = activation
        modules: list[nn.Module] = []
        for weight, bias in self.layers:
            linear = nn.Linear(weight.shape[1], weight.shape[0])
            linear.load_state_dict({"weight": weight, "bias": bias})
            modules += [linear, ACTIVATIONS[activation]()]
        self._network = nn.Sequential(*modules[:-1])
        self._generator = torch.Generator().manual_seed(seed)
        self._temperature = temperature

    def initial_state(self, n: int) -> Any:
        """No state."""
        return None

    @torch.no_grad()
    def logits(self, observation: Any) -> torch.Tensor:
        """Shape (B, A) for observations of shape (B, ...), of which all but the first dimension are flattened."""
        inputs = torch.as_tensor(np.asarray(observation), dtype=torch.float32)
        if self.normalization is not None:
            mean, scale, limit = self.normalization
            inputs = ((inputs - mean) * scale).clamp(-limit, limit)
        logits: torch.Tensor = self._network(inputs.flatten(1))
        return logits

    def act(
        self, observation: Any, state: Any, *, deterministic: bool, mask: Mask | None = None
    ) -> tuple[Actions, Any]:
        """The most likely actions, or drawn ones; never a masked one."""
        logits = self.logits(observation)
        if mask is not None:
            # where everything is masked, nothing is: some action must be taken
            allowed = torch.as_tensor(mask | ~mask.any(axis=1, keepdims=True))
            logits = logits.masked_fill(~allowed, -torch.inf)
        if deterministic:
            return logits.argmax(dim=1).numpy(), None
        chances = (logits / self._temperature).softmax(dim=1)
        return torch.multinomial(chances, 1, generator=self._generator)[:, 0].numpy(), None

    def with_seed(self, seed: int, temperature: float = 1.0) -> MlpPolicy:
        """The same network with a generator of its own."""
        return MlpPolicy(self.layers, self.normalization, self.activation, seed, temperature)

    def save(self, folder: Path, about: Mapping[str, Any]) -> None:
        """Write the weights and a description that also holds ``about``."""
        tensors: dict[str, torch.Tensor] = {}
        for index, (weight, bias) in enumerate(self.layers):
            tensors[f"{index}.weight"], tensors[f"{index}.bias"] = weight.contiguous(), bias.contiguous()
        description = {"format": FORMAT, "layers": len(self.layers), "activation": self.activation, **about}
        if self.normalization is not None:
            tensors["mean"], tensors["scale"], description["limit"] = self.normalization
        write_atomically(folder / WEIGHTS, save(tensors))
        write_atomically(folder / DESCRIPTION, json.dumps(description, indent=1) + "\n")

    @classmethod
    def load(cls, folder: Path) -> tuple[MlpPolicy, dict[str, Any]]:
        """Read what :meth:`save` wrote.

        Returns:
            The policy, and its description.

        Raises:
            ValueError: the folder holds another format.
        """
        description = json.loads((folder / DESCRIPTION).read_text())
        if description.get("format") != FORMAT:
            raise ValueError(f"{folder / DESCRIPTION} has format {description.get('format')!r}, expected {FORMAT!r}")
        tensors = load_file(folder / WEIGHTS)
        layers = [(tensors[f"{i}.weight"], tensors[f"{i}.bias"]) for i in range(description["layers"])]
        limit = description.get("limit")
        normalization = None if limit is None else Normalization(tensors["mean"], tensors["scale"], limit)
        return cls(layers, normalization, description["activation"]), description
