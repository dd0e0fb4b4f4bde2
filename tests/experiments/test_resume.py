"""Runs that were cut off at awkward moments go on."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from compiler_dojo.agents.ppo import PPOConfig
from compiler_dojo.envs.errors import InvalidConfigError
from compiler_dojo.experiments.config import TrainConfig, load_preset
from compiler_dojo.experiments.training import check, resolve, train

PROGRAM = "bundled://graphs/union_find"
SETTINGS = [f"train_programs={PROGRAM}", f"test_programs={PROGRAM}", "steps=128", "random_episodes=1"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    train(config(), folder, Console(quiet=True))
    return folder


def config(*more: str) -> TrainConfig:
    return load_preset(TrainConfig, "debug", [*SETTINGS, *more])


def test_train__resumes_from_a_torn_row_of_the_learning_curve(finished: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(finished, tmp_path / "run")
    shutil.rmtree(folder / "agent")
    curve = folder / "logs" / "progress.csv"
    lines = curve.read_text().splitlines(keepends=True)
    curve.write_text("".join(lines[:-1]) + "45")
    train(config(), folder, Console(quiet=True), resume=True)
    assert (folder / "agent" / "policy.json").exists()
    assert curve.read_text().splitlines()[: len(lines) - 1] == [line.rstrip("\n") for line in lines[:-1]]


def test_train__counts_the_steps_of_the_checkpoint_when_the_policy_is_missing(finished: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(finished, tmp_path / "run")
    before = json.loads((folder / "agent" / "policy.json").read_text())["steps"]
    shutil.rmtree(folder / "agent")
    train(config(), folder, Console(quiet=True), resume=True)
    assert json.loads((folder / "agent" / "policy.json").read_text())["steps"] == before


def test_train__writes_down_every_hyper_parameter(finished: Path) -> None:
    learner = yaml.safe_load((finished / "config.yaml").read_text())["learner"]
    assert set(learner) == {field.name for field in dataclasses.fields(PPOConfig)}
    assert (learner["layers"], learner["gamma"]) == ([32], 0.99)


def test_train__starts_afresh_when_the_first_checkpoint_was_cut_short(finished: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(finished, tmp_path / "run")
    shutil.rmtree(folder / "agent")
    (folder / "checkpoint" / "learner.safetensors").rename(folder / "checkpoint" / "learner.safetensors.new")
    train(config(), folder, Console(quiet=True), resume=True)
    assert (folder / "agent" / "policy.json").exists()


def test_train__leaves_no_temporary_files(finished: Path) -> None:
    assert [path for path in finished.rglob("*") if path.suffix == ".new"] == []


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("env.observation=ir", "PPO needs a vector to observe; 'ir' is none"),
        ("learner.num_envs=0", r"learner\.num_envs must be positive, got 0"),
        ("env.passes=[]", "passes must name at least one pass"),
    ],
)
def test_check__finds_mistakes_before_anything_is_written(setting: str, message: str) -> None:
    with pytest.raises(InvalidConfigError, match=message):
        check(resolve(config(setting)))


def test_config__takes_a_list_of_passes() -> None:
    assert config("env.passes=[sroa, dce]").env.passes == ("sroa", "dce")
