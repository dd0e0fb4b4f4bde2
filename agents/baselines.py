"""Policies that learn nothing: what every agent is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from compiler_dojo.agents.protocols import Actions, Mask


class RandomPolicy:
    """Uniformly random actions.

    Args:
        actions: how many the environment has.
        seed: of the generator.
    """

    def __init__(self, actions: int, seed: int) -> None:
        self._actions = actions
        self._rng = np.random.default_rng(seed)

    def initial_state(self, n: int) -> Any:
        """No state."""
        return None

    def act(
        self, observation: Any, state: Any, *, deterministic: bool, mask: Mask | None = None
    ) -> tuple[Actions, Any]:
        """Draw an action per environment, masked ones too; there is no deterministic form."""
        while isinstance(observation, dict):
            observation = next(iter(observation.values()))
        return self._rng.integers(self._actions, size=len(observation)), None


class SequencePolicy:
    """The same actions in every episode, whatever is observed, and then one action for ever (``stop``, or the last).

    Args:
        actions: indices in the environment's action space.
        then: the action after the last.
    """

    def __init__(self, actions: Sequence[int], then: int) -> None:
        self._actions = np.array([*actions, then], np.int64)

    def initial_state(self, n: int) -> Any:
        """How many actions each episode has taken, int64 of shape (n,)."""
        return np.zeros(n, np.int64)

    def act(
        self, observation: Any, state: Any, *, deterministic: bool, mask: Mask | None = None
    ) -> tuple[Actions, Any]:
        """The next action of each episode."""
        return self._actions[np.minimum(state, len(self._actions) - 1)], state + 1
