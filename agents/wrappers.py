"""Wrappers that change what is learned, and not what an environment is."""

from __future__ import annotations

from typing import Any, SupportsFloat

import gymnasium as gym

from compiler_dojo.agents.protocols import Mask


class StepCost(gym.Wrapper[Any, Any, Any, Any]):
    """Takes a little from the reward of every step, so that of two ways to the same end the shorter is the better.

    Args:
        env: what is wrapped; its action masks are passed on, it must have them.
        cost: of a step.
    """

    def __init__(self, env: gym.Env[Any, Any], cost: float) -> None:
        super().__init__(env)
        self._cost = cost

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """See :class:`gymnasium.Env`."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation, float(reward) - self._cost, terminated, truncated, info

    def action_masks(self) -> Mask:
        """Those of the environment."""
        masks: Mask = self.env.get_wrapper_attr("action_masks")()
        return masks
