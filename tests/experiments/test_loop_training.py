"""Training runs in which loops are scheduled: what they leave, and that they go on after being killed."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from experiments_support import Dojo
from loop_support import WORKLOAD

from compiler_dojo.agents.dqn import DQNConfig
from compiler_dojo.agents.mlp import MlpPolicy
from compiler_dojo.agents.ppo import CHECKPOINT, PPOConfig, PPOLearner
from compiler_dojo.agents.wrappers import StepCost
from compiler_dojo.envs.errors import InvalidConfigError
from compiler_dojo.experiments.config import from_mapping, preset_names, read_preset, to_mapping
from compiler_dojo.experiments.loop_config import LoopEnvConfig, LoopTrainConfig, shared_reward
from compiler_dojo.experiments.loop_evaluation import read_loop_records, replay
from compiler_dojo.experiments.loop_training import check, resolve

DEBUG = from_mapping(LoopTrainConfig, read_preset("loops-debug"))


def start(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "compiler_dojo.experiments.cli", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("name", [name for name in preset_names() if name.startswith("loops-")])
def test_preset__makes_sense(name: str) -> None:
    values = read_preset(name)
    assert values["environment"] == "loops"
    config = from_mapping(LoopTrainConfig, values)
    settings = PPOConfig if config.algorithm == "ppo" else DQNConfig
    assert from_mapping(settings, resolve(config).learner) == from_mapping(settings, config.learner)


def test_train__survives_a_kill_and_leaves_a_policy_and_records(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    arguments = ["train", "--preset", "loops-debug", "--out", folder, "--set", "checkpoint_seconds=0.1"]
    arguments += ["--set", "steps=1500", "--set", "learner.num_envs=4"]
    checkpoint = folder / "checkpoint" / CHECKPOINT
    with start(*arguments) as process:
        while not checkpoint.exists():
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    learner = PPOLearner(PPOConfig())
    learner.load(folder / "checkpoint")
    assert 0 < learner.steps_done < 1500
    with start(*arguments, "--resume") as process:
        out, err = process.communicate()
    assert process.returncode == 0, err
    assert f"resuming after {learner.steps_done} steps" in out
    _, description = MlpPolicy.load(folder / "agent")
    assert description["steps"] >= 1500
    assert from_mapping(LoopEnvConfig, description["env"]) == DEBUG.env
    records = list(read_loop_records(folder / "records.jsonl"))
    assert [record.agent for record in records] == ["ppo", "ppo, 3 measured", "script"]
    for record in records:
        replay(record)
    with (folder / "logs" / "progress.csv").open() as file:
        steps = [int(row["time/total_timesteps"]) for row in csv.DictReader(file)]
    assert steps == sorted(set(steps))
    assert json.loads((folder / "manifest.json").read_text())["config"]["environment"] == "loops"


def test_train__dqn_learns_and_resumes_without_measuring_again(dojo: Dojo, tmp_path: Path) -> None:
    config = {
        "environment": "loops",
        "algorithm": "dqn",
        "env": {"target": "x86-64-v3", "actions": "full", "budget": 3},
        "step_cost": 0.01,
        "test_workloads": "mk,kn->mn m=16 k=16 n=16",
        "steps": 200,
        "candidates": 2,
        "learner": {"num_envs": 2, "threads": 1, "learning_starts": 50, "batch_size": 16, "layers": [8]},
    }
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(config))
    arguments = ["train", "--preset", tmp_path / "small.yaml", "--out", tmp_path / "run"]
    done = dojo(*arguments)
    assert done.status == 0, done.err
    before = (tmp_path / "run" / "records.jsonl").read_bytes()
    again = dojo(*arguments, "--resume")
    assert again.status == 0, again.err
    assert (tmp_path / "run" / "records.jsonl").read_bytes() == before
    refused = dojo(*arguments)
    assert refused.status == 1
    assert "holds a run already" in " ".join(refused.err.split())


def settings(**changes: Any) -> LoopTrainConfig:
    return from_mapping(LoopTrainConfig, {**to_mapping(DEBUG), **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"env": {"reward": "measured"}}, "training needs a deterministic reward, which 'measured' is not"),
        ({"env": {"observation": "graph"}}, "the learners need an array to observe; 'graph' is none"),
        ({"train_workloads": "looptunes"}, "no set of workloads is called 'looptunes'"),
        ({"learner": {"gama": 0.9}}, r"unknown setting 'learner\.gama': did you mean 'gamma'"),
    ],
)
def test_check__finds_mistakes_before_anything_is_written(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(Exception, match=message):
        check(resolve(settings(**changes)))


def test_config__refuses_what_makes_no_sense() -> None:
    with pytest.raises(InvalidConfigError, match="candidates must be positive, got 0"):
        LoopTrainConfig(candidates=0)


def test_shared_reward__is_one_for_all_environments() -> None:
    config = LoopEnvConfig(target="x86-64-v3")
    assert config.make(WORKLOAD).reward is config.make(WORKLOAD).reward is shared_reward("analytical", "x86-64-v3")


def test_step_cost__is_taken_from_every_reward_and_masks_are_passed_on() -> None:
    env = StepCost(LoopEnvConfig("full", target="x86-64-v3").make(WORKLOAD), 0.25)
    _, info = env.reset(seed=0)
    np.testing.assert_array_equal(env.action_masks(), info["action_mask"].astype(bool))
    action = int(np.flatnonzero(env.action_masks())[0])
    before = info["gflops"] / info["peak"]
    _, reward, _, _, info = env.step(action)
    assert reward == pytest.approx(info["gflops"] / info["peak"] - before - 0.25)
