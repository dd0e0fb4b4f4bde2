"""PPO on environments small enough to know the answer: solved, masked, exported, saved, resumed and stopped."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from safetensors import safe_open
from sb3_contrib import MaskablePPO
from stable_baselines3 import PPO
from stable_baselines3.common.logger import CSVOutputFormat
from stable_baselines3.common.vec_env import VecNormalize

from compiler_dojo.agents.mlp import MlpPolicy
from compiler_dojo.agents.ppo import CHECKPOINT, PPOConfig, PPOLearner

LENGTH = 5
SMALL = PPOConfig(num_envs=2, n_steps=64, batch_size=64, n_epochs=4, learning_rate=5e-3, layers=(16,))
ROLLOUT = SMALL.num_envs * SMALL.n_steps


class Corridor(gym.Env[Any, Any]):
    """Five cells, left or right; 1 for reaching the last cell, -0.05 a step: the best return is 1 - 4 * 0.05."""

    optimum = 1.0 - 0.05 * (LENGTH - 1)

    def __init__(self) -> None:
        self.observation_space = gym.spaces.Box(0.0, 1.0, (LENGTH,), np.float32)
        self.action_space = gym.spaces.Discrete(2)

    def _observe(self) -> np.ndarray:
        return np.eye(LENGTH, dtype=np.float32)[self._cell]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._cell = self._time = 0
        return self._observe(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._time += 1
        self._cell = int(np.clip(self._cell + (1 if action == 1 else -1), 0, LENGTH - 1))
        arrived = self._cell == LENGTH - 1
        return self._observe(), float(arrived) - 0.05, arrived, self._time >= 3 * LENGTH, {}


class Trapped(Corridor):
    """The corridor with a third action that must not be taken, and that the masks rule out."""

    def __init__(self) -> None:
        super().__init__()
        self.action_space = gym.spaces.Discrete(3)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        if action == 2:
            raise AssertionError("a masked action was taken")
        return super().step(action)

    def action_masks(self) -> np.ndarray:
        return np.array([True, True, False])


class OneReward(gym.Env[Any, Any]):
    """Episodes of one step that pays 0 and 2 in turn, ended by truncation or by termination."""

    def __init__(self, truncates: bool) -> None:
        self.observation_space = gym.spaces.Box(0.0, 1.0, (1,), np.float32)
        self.action_space = gym.spaces.Discrete(2)
        self._truncates = truncates
        self._pay = 0.0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return np.ones(1, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._pay = 2.0 - self._pay
        return np.ones(1, np.float32), self._pay, not self._truncates, self._truncates, {}


def truncated() -> OneReward:
    return OneReward(truncates=True)


def terminated() -> OneReward:
    return OneReward(truncates=False)


def episode_return(env: gym.Env[Any, Any], policy: MlpPolicy) -> float:
    observation, _ = env.reset(seed=0)
    total, ended = 0.0, False
    while not ended:
        actions, _ = policy.act(observation[None], None, deterministic=True)
        observation, reward, done, cut, _ = env.step(int(actions[0]))
        total += float(reward)
        ended = done or cut
    return total


def model_of(learner: PPOLearner) -> PPO | MaskablePPO:
    """The SB3 model inside, for comparing with what the learner hands out."""
    assert learner._model is not None
    return learner._model


def envs_of(learner: PPOLearner) -> VecNormalize:
    """The normalised environments it learned in."""
    assert learner._envs is not None
    return learner._envs


def close_logs(learner: PPOLearner) -> None:
    """An open file is a ResourceWarning when it is collected."""
    model_of(learner).logger.close()


def equal_layers(first: MlpPolicy, second: MlpPolicy) -> bool:
    pairs = zip(first.layers, second.layers, strict=True)
    return all(torch.equal(a, b) for one, other in pairs for a, b in zip(one, other, strict=True))


@pytest.fixture(scope="module")
def solved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PPOLearner]:
    """A learner that has trained on the corridor; not to be changed."""
    learner = PPOLearner(SMALL, seed=0, log_folder=tmp_path_factory.mktemp("logs"))
    learner.learn(Corridor, 8 * ROLLOUT)
    yield learner
    close_logs(learner)


@pytest.fixture
def saved(solved: PPOLearner, tmp_path: Path) -> Path:
    solved.save(tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


def test_learn__solves_the_corridor_exactly(solved: PPOLearner) -> None:
    assert episode_return(Corridor(), solved.policy()) == pytest.approx(Corridor.optimum)
    assert solved.steps_done == 8 * ROLLOUT


def test_learn__writes_tensorboard_and_csv_logs(solved: PPOLearner) -> None:
    folder = solved._log_folder
    assert folder is not None
    assert list(folder.glob("events.out.tfevents.*"))
    with (folder / "progress.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["time/total_timesteps"]) for row in rows] == [ROLLOUT * (i + 1) for i in range(8)]
    assert float(rows[-1]["rollout/ep_rew_mean"]) > float(rows[0]["rollout/ep_rew_mean"])


def test_policy__has_the_logits_and_actions_of_sb3s_own(solved: PPOLearner) -> None:
    observations = np.random.default_rng(0).uniform(size=(64, LENGTH)).astype(np.float32)
    policy, own = solved.policy(), model_of(solved).policy
    normalised = envs_of(solved).normalize_obs(observations)
    with torch.no_grad():
        latent = own.mlp_extractor.forward_actor(own.extract_features(torch.as_tensor(normalised)))
        expected = own.action_net(latent)
    torch.testing.assert_close(policy.logits(observations), expected, rtol=1e-4, atol=1e-5)
    actions, _ = policy.act(observations, None, deterministic=True)
    np.testing.assert_array_equal(actions, own.predict(normalised, deterministic=True)[0])


def test_policy__takes_the_actions_of_sb3s_own_under_masks() -> None:
    learner = PPOLearner(SMALL)
    # a masked action would raise
    policy = learner.learn(Trapped, 8 * ROLLOUT)
    assert isinstance(model_of(learner), MaskablePPO)
    observations = np.eye(LENGTH, dtype=np.float32)
    normalised = envs_of(learner).normalize_obs(observations)
    for mask in ([True, True, False], [False, True, True], [True, False, False]):
        masks = np.tile(np.array(mask), (LENGTH, 1))
        actions, _ = policy.act(observations, None, deterministic=True, mask=masks)
        expected = model_of(learner).policy.predict(normalised, deterministic=True, action_masks=masks)[0]
        np.testing.assert_array_equal(actions, expected)


def test_policy__is_a_copy_that_learning_on_does_not_change(solved: PPOLearner) -> None:
    policy = solved.policy()
    assert policy.layers[0][0].data_ptr() != model_of(solved).policy.mlp_extractor.policy_net[0].weight.data_ptr()


def test_policy__needs_learning_first() -> None:
    with pytest.raises(RuntimeError, match=r"nothing has been learned yet; call learn\(\) first"):
        PPOLearner(SMALL).policy()


def test_save__needs_learning_first(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="nothing has been learned yet"):
        PPOLearner(SMALL).save(tmp_path)


def test_save__is_one_safetensors_file_with_everything_in_it(solved: PPOLearner, saved: Path) -> None:
    assert [path.name for path in saved.iterdir()] == [CHECKPOINT]
    with safe_open(saved / CHECKPOINT, "pt") as file:
        names = set(file.keys())
        progress = file.metadata()
    assert {name.split("/")[0] for name in names} == {"policy", "optimizer", "obs_rms", "ret_rms"}
    assert {f"policy/{name}" for name in model_of(solved).policy.state_dict()} <= names
    assert [json.loads(value)["steps"] for value in progress.values()] == [solved.steps_done]


def test_load__continues_from_exactly_the_saved_weights_and_optimiser(solved: PPOLearner, saved: Path) -> None:
    learner = PPOLearner(SMALL, seed=5)
    learner.load(saved)
    assert learner.steps_done == solved.steps_done
    # no steps are left to do, so what comes out is what went in
    policy = learner.learn(Corridor, solved.steps_done)
    assert equal_layers(policy, solved.policy())
    before, after = (model_of(item).policy.optimizer.state_dict() for item in (solved, learner))
    assert before["state"].keys() == after["state"].keys()
    for index, state in before["state"].items():
        assert all(torch.equal(tensor, after["state"][index][name]) for name, tensor in state.items())
        assert int(state["step"]) == 8 * SMALL.n_epochs * ROLLOUT // SMALL.batch_size
    for group, other in zip(before["param_groups"], after["param_groups"], strict=True):
        assert json.dumps(group) == json.dumps(other)
    for name in ("obs_rms", "ret_rms"):
        first, second = getattr(envs_of(solved), name), getattr(envs_of(learner), name)
        for part in ("mean", "var", "count"):
            np.testing.assert_array_equal(getattr(first, part), getattr(second, part))


def test_load__learning_on_counts_on_from_the_saved_steps(solved: PPOLearner, saved: Path) -> None:
    learner, seen = PPOLearner(SMALL), []

    def note(steps: int) -> bool:
        seen.append(steps)
        return True

    learner.load(saved)
    policy = learner.learn(Corridor, solved.steps_done + ROLLOUT, [note])
    first = solved.steps_done + SMALL.num_envs
    assert seen == list(range(first, solved.steps_done + ROLLOUT + 1, SMALL.num_envs))
    assert learner.steps_done == solved.steps_done + ROLLOUT
    assert not equal_layers(policy, solved.policy())
    learner.save(saved)
    again = PPOLearner(SMALL)
    again.load(saved)
    assert again.steps_done == learner.steps_done


def test_learn__a_callback_that_returns_false_stops_it() -> None:
    learner, seen, others = PPOLearner(SMALL), [], []

    def stop(steps: int) -> bool:
        seen.append(steps)
        return steps < 10

    def other(steps: int) -> bool:
        others.append(steps)
        return True

    learner.learn(Corridor, 10 * ROLLOUT, [other, stop])
    assert seen == [2, 4, 6, 8, 10]
    assert others == seen
    assert learner.steps_done == 10


@pytest.mark.parametrize(("make_env", "value"), [(truncated, 2.0), (terminated, 1.0)])
def test_learn__bootstraps_after_truncation_and_not_after_termination(
    make_env: Callable[[], OneReward], value: float
) -> None:
    # rewards have mean 1 and deviation 1, so that normalising leaves them alone; with gamma 1/2 going on for ever is
    # worth 2 and one step is worth 1
    config = PPOConfig(num_envs=2, n_steps=64, batch_size=128, n_epochs=6, learning_rate=1e-2, gamma=0.5, layers=(16,))
    learner = PPOLearner(config)
    learner.learn(make_env, 10 * ROLLOUT)
    with torch.no_grad():
        seen = torch.as_tensor(envs_of(learner).normalize_obs(np.ones((1, 1), np.float32)))
        found = model_of(learner).policy.predict_values(seen)
    assert found.item() == pytest.approx(value, abs=0.1)


def test_learn__called_again_goes_on_where_it_was() -> None:
    learner = PPOLearner(SMALL)
    first = learner.learn(Corridor, ROLLOUT)
    again = learner.learn(Corridor, ROLLOUT)
    assert learner.steps_done == ROLLOUT
    assert equal_layers(first, again)


@pytest.fixture
def resumed_logs(tmp_path: Path) -> Path:
    """Logs of one rollout, and of another after resuming."""
    logs, checkpoint = tmp_path / "logs", tmp_path / "checkpoint"
    learner = PPOLearner(SMALL, log_folder=logs)
    learner.learn(Corridor, ROLLOUT)
    learner.save(checkpoint)
    close_logs(learner)
    resumed = PPOLearner(SMALL, log_folder=logs)
    resumed.load(checkpoint)
    resumed.learn(Corridor, 2 * ROLLOUT)
    close_logs(resumed)
    return logs


def test_learn__resuming_keeps_the_log_of_the_steps_before(resumed_logs: Path) -> None:
    with (resumed_logs / "progress.csv").open() as file:
        assert [int(row["time/total_timesteps"]) for row in csv.DictReader(file)] == [ROLLOUT, 2 * ROLLOUT]


def test_learn__leaves_no_log_file_open(solved: PPOLearner) -> None:
    csv_format = next(item for item in model_of(solved).logger.output_formats if isinstance(item, CSVOutputFormat))
    assert csv_format.file.closed
