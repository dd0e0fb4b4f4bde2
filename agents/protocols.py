"""What an agent can be: a policy, or a learner of policies.

Everything that acts implements one of them, and sees environments through Gymnasium's API only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import gymnasium as gym
import numpy as np
import numpy.typing as npt

MakeEnv = Callable[[], gym.Env[Any, Any]]
Actions = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@runtime_checkable
class Policy(Protocol):
    """Chooses one action after the other.

    Symbols: B is the number of environments acted in at once, A the number of actions.
    """

    def initial_state(self, n: int) -> Any:
        """The state with which ``n`` episodes begin; None for a policy without memory."""
        ...

    def act(
        self, observation: Any, state: Any, *, deterministic: bool, mask: Mask | None = None
    ) -> tuple[Actions, Any]:
        """Choose actions.

        Args:
            observation: shape (B, ...).
            state: what :meth:`initial_state` or the last call gave.
            deterministic: take the best action instead of drawing one.
            mask: bool of shape (B, A), False where an action would do nothing; a policy may ignore it.

        Returns:
            The actions, int64 of shape (B,), and the next state.
        """
        ...


@runtime_checkable
class Learner(Protocol):
    """Learns a policy from episodes."""

    def learn(self, make_env: MakeEnv, total_steps: int, callbacks: Sequence[Callable[[int], bool]]) -> Policy:
        """Train for ``total_steps`` environment steps; a callback gets the steps done and returns False to stop."""
        ...

    def save(self, path: Path) -> None:
        """Write all that is needed to go on learning, as safetensors and JSON."""
        ...

    def load(self, path: Path) -> None:
        """Go on from what :meth:`save` wrote."""
        ...
