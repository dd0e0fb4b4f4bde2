"""What an agent can be: a policy, a learner of policies, or a search.

Everything that acts implements one of them, and sees environments through Gymnasium's API only; searches also need
``fork()`` and ``action_masks()``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, SupportsFloat, runtime_checkable

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


class ForkableEnv(Protocol):
    """An environment in an episode, of which copies can be made."""

    def fork(self) -> ForkableEnv:
        """A copy in the same state of the same episode."""
        ...

    def step(self, action: Any, /) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """Gymnasium's."""
        ...

    def action_masks(self) -> Mask:
        """Which actions are legal, bool of shape (actions,)."""
        ...

    def close(self) -> None:
        """Free it."""
        ...


@dataclass(frozen=True)
class Budget:
    """What a search may spend; the limit that is reached first ends it.

    Attributes:
        steps: environment steps, those of forks too.
        seconds: wall-clock time; the step during which it ends is the last.
        measurements: as ``counter`` counts them. A step may make one at most, which holds where a reward measures
            only states that are new.
        counter: how many measurements were made up to now, whoever made them.

    Raises:
        ValueError: there is no limit, one is negative, or measurements are limited and not counted.
    """

    steps: int | None = None
    seconds: float | None = None
    measurements: int | None = None
    counter: Callable[[], int] | None = None

    def __post_init__(self) -> None:
        limits = [limit for limit in (self.steps, self.seconds, self.measurements) if limit is not None]
        if not limits or min(limits) < 0:
            raise ValueError(f"a budget has a limit that is not negative on steps, seconds or measurements, got {self}")
        if self.measurements is not None and self.counter is None:
            raise ValueError("a budget of measurements needs a counter of them")


class SearchResult(NamedTuple):
    """What a search found, and what that cost.

    Attributes:
        actions: from the state in which the search began; the shortest that reach the value.
        value: sum of their rewards; 0 with no actions.
        steps: environment steps taken.
        seconds: wall-clock time.
        measurements: made, where the budget counts them, else 0.
        improvements: (steps, seconds, value) whenever a better value was found.
    """

    actions: tuple[int, ...]
    value: float
    steps: int
    seconds: float
    measurements: int
    improvements: tuple[tuple[int, float, float], ...]


@runtime_checkable
class Search(Protocol):
    """Looks for the actions of the largest return by trying them in forks of an environment."""

    def search(self, env: ForkableEnv, budget: Budget, rng: np.random.Generator) -> SearchResult:
        """Search from the state that the environment is in, in which it is left.

        The end of an episode is not needed: what counts is the sum of rewards up to any step, which where rewards
        telescope is the gain in whatever they are differences of.
        """
        ...
