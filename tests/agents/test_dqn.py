"""DQN on a corridor: solved, exported, saved and resumed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from compiler_dojo.agents.dqn import DQNConfig, DQNLearner
from compiler_dojo.agents.mlp import MlpPolicy
from compiler_dojo.agents.protocols import Learner

CELLS = 4
SMALL = DQNConfig(
    num_envs=2,
    threads=1,
    learning_rate=5e-3,
    learning_starts=100,
    batch_size=32,
    gamma=0.9,
    target_update_interval=50,
    exploration_fraction=0.5,
    layers=(16,),
)


class Corridor(gym.Env[Any, Any]):
    """Cells in a row, shown as a table of two rows; left or right; 1 for reaching the last and -0.1 a step."""

    def __init__(self) -> None:
        self.observation_space = gym.spaces.Box(0.0, 1.0, (2, CELLS), np.float32)
        self.action_space = gym.spaces.Discrete(2)

    def _observe(self) -> np.ndarray:
        return np.stack([np.eye(CELLS, dtype=np.float32)[self._cell], np.zeros(CELLS, np.float32)])

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._cell = self._time = 0
        return self._observe(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._time += 1
        self._cell = max(self._cell + (1 if action == 1 else -1), 0)
        arrived = self._cell == CELLS - 1
        return self._observe(), float(arrived) - 0.1, arrived, self._time >= 20, {}


@pytest.fixture(scope="module")
def solved() -> DQNLearner:
    learner = DQNLearner(SMALL)
    learner.learn(Corridor, 1500)
    return learner


def steps_to_the_end(policy: MlpPolicy) -> int:
    env = Corridor()
    observation, _ = env.reset(seed=0)
    for step in range(1, 21):
        actions, _ = policy.act(observation[None], None, deterministic=True)
        observation, _, arrived, _, _ = env.step(actions[0])
        if arrived:
            return step
    return 0


def test_learn__finds_the_shortest_way(solved: DQNLearner) -> None:
    assert steps_to_the_end(solved.policy()) == CELLS - 1
    assert solved.steps_done == 1500


def test_policy__has_the_values_of_sb3s_own(solved: DQNLearner) -> None:
    observations = np.random.default_rng(0).uniform(size=(16, 2, CELLS)).astype(np.float32)
    model, envs = solved._require_model()
    seen = torch.as_tensor(envs.normalize_obs(observations))
    with torch.no_grad():
        expected = model.policy.q_net(seen)
    torch.testing.assert_close(solved.policy().logits(observations), expected, rtol=1e-4, atol=1e-5)


def test_policy__takes_the_legal_action_of_the_largest_value(solved: DQNLearner) -> None:
    observation, _ = Corridor().reset(seed=0)
    actions, _ = solved.policy().act(observation[None], None, deterministic=True, mask=np.array([[True, False]]))
    assert actions.tolist() == [0]


def test_load__continues_from_the_saved_weights(solved: DQNLearner, tmp_path: Path) -> None:
    solved.save(tmp_path)
    learner = DQNLearner(SMALL, seed=3)
    learner.load(tmp_path)
    assert learner.steps_done == 1500
    policy = learner.learn(Corridor, 1500)
    for one, other in zip(policy.layers, solved.policy().layers, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    learner.learn(Corridor, 1700)
    assert learner.steps_done == 1700
    # it gathers experience anew before it learns from it
    assert learner._model.learning_starts == 1600
    assert isinstance(learner, Learner)


def test_config__refuses_what_makes_no_sense() -> None:
    with pytest.raises(ValueError, match="buffer_size must be positive, got 0"):
        DQNConfig(buffer_size=0)
