"""Training runs end to end: what they leave, and how they go on after being killed or losing records."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from experiments_support import Dojo, Done, Run, run_dojo
from safetensors import safe_open

from compiler_dojo.agents.mlp import MlpPolicy
from compiler_dojo.agents.ppo import CHECKPOINT, PPOConfig, PPOLearner
from compiler_dojo.envs.errors import InvalidConfigError
from compiler_dojo.envs.llvm.passes import PASSES, find_pass
from compiler_dojo.envs.programs import load_programs
from compiler_dojo.experiments.config import TrainConfig, from_mapping, load_preset, to_mapping
from compiler_dojo.experiments.evaluation import by_agent
from compiler_dojo.experiments.records import EpisodeRecord, read_records
from compiler_dojo.experiments.training import prepare_folder, resolve

DEBUG = load_preset(TrainConfig, "debug")
AGENTS = ["ppo", "random policy (mean of 2)", "best single sequence"]


def test_debug_run__succeeds_and_prints_a_row_per_agent(debug_run: Run) -> None:
    assert debug_run.done.status == 0, debug_run.done.err
    lines = [line.strip("│ ") for line in debug_run.done.out.splitlines()]
    for name in (*AGENTS, "-Oz"):
        assert any(line.startswith(name) for line in lines)
    for uri in load_programs(DEBUG.test_programs).uris:
        assert any(line.startswith(uri.removeprefix("bundled://")) for line in lines)


def test_debug_run__has_nothing_to_complain_about(debug_run: Run) -> None:
    assert debug_run.done.err == ""


def test_debug_run__leaves_the_resolved_config_and_the_circumstances(debug_run: Run) -> None:
    values = yaml.safe_load((debug_run.folder / "config.yaml").read_text())
    assert from_mapping(TrainConfig, values) == resolve(DEBUG)
    manifest = json.loads((debug_run.folder / "manifest.json").read_text())
    assert manifest["config"] == values == to_mapping(resolve(DEBUG))
    assert "train --preset debug" in manifest["command"]


def test_debug_run__leaves_logs_for_tensorboard_and_a_csv(debug_run: Run) -> None:
    (events,) = (debug_run.folder / "logs").glob("events.out.tfevents.*")
    assert events.stat().st_size > 0
    with (debug_run.folder / "logs" / "progress.csv").open() as file:
        rows = list(csv.DictReader(file))
    rollout = DEBUG.learner["num_envs"] * DEBUG.learner["n_steps"]
    logged = [int(row["time/total_timesteps"]) for row in rows]
    assert logged == list(range(rollout, DEBUG.steps + 1, rollout))[: len(logged)]
    assert len(logged) > 2
    assert all(row["rollout/ep_rew_mean"] for row in rows)


def test_debug_run__learns_from_all_its_steps(debug_run: Run) -> None:
    with (debug_run.folder / "logs" / "progress.csv").open() as file:
        assert int(list(csv.DictReader(file))[-1]["time/total_timesteps"]) == DEBUG.steps


def test_debug_run__leaves_a_checkpoint_and_the_policy_in_it(debug_run: Run) -> None:
    learner = PPOLearner(from_mapping(PPOConfig, DEBUG.learner))
    learner.load(debug_run.folder / "checkpoint")
    assert learner.steps_done == DEBUG.steps
    policy, description = MlpPolicy.load(debug_run.folder / "agent")
    actions = len(PASSES)
    assert description["steps"] == DEBUG.steps
    assert description["env"] == to_mapping(DEBUG.env)
    assert [tuple(weight.shape) for weight, _ in policy.layers] == [(32, 60 + actions), (actions, 32)]
    with safe_open(debug_run.folder / "checkpoint" / CHECKPOINT, "pt") as file:
        assert (file.get_tensor("policy/action_net.weight") == policy.layers[-1][0]).all()


def test_debug_run__leaves_the_best_single_sequence(debug_run: Run) -> None:
    values = json.loads((debug_run.folder / "sequence.json").read_text())
    assert values["env"] == to_mapping(DEBUG.env)
    assert len(values["passes"]) <= DEBUG.env.budget
    for name in values["passes"]:
        find_pass(name)


def test_debug_run__leaves_a_record_per_agent_program_and_episode(debug_run: Run) -> None:
    groups = by_agent(read_records(debug_run.folder / "records.jsonl"))
    assert list(groups) == AGENTS
    uris = list(load_programs(DEBUG.test_programs).uris)
    assert [r.program for r in groups["ppo"]] == uris
    assert [(r.seed, r.program) for r in groups[AGENTS[1]]] == [(seed, uri) for seed in (0, 1) for uri in uris]
    sequence = json.loads((debug_run.folder / "sequence.json").read_text())["passes"]
    assert {r.passes for r in groups["best single sequence"]} == {tuple(sequence)}
    assert all(r.error is None for group in groups.values() for r in group)


def test_debug_run__leaves_a_picture(debug_run: Run) -> None:
    data = (debug_run.folder / "report.png").read_bytes()
    assert data.startswith(b"\x89PNG")
    assert len(data) > 50_000


def test_debug_run__validates(debug_run: Run, dojo: Dojo) -> None:
    done = dojo("validate", debug_run.folder, "--json")
    assert done.status == 0, done.out
    values = json.loads(done.out)
    assert (values["records"], values["executed"]) == (20, 20)
    assert values["undefined_behaviour"] == values["problems"] == []


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def tables(text: str) -> list[str]:
    """The lines of the tables of a run, without the progress bars before and the folder's name after them."""
    lines = [line.strip() for line in text.splitlines()]
    first = next(i for i, line in enumerate(lines) if line.startswith("ppo:"))
    return lines[first:-1]


def test_train__refuses_a_folder_that_holds_a_run(debug_run: Run, dojo: Dojo) -> None:
    before = contents(debug_run.folder)
    done = dojo("train", "--preset", "debug", "--out", debug_run.folder)
    assert done.status == 1
    assert done.err.startswith("InvalidConfigError: ")
    assert "holds a run already: give --resume to go on with it, or another --out" in " ".join(done.err.split())
    assert contents(debug_run.folder) == before


def test_train__resuming_a_finished_run_prints_its_table_and_changes_nothing(
    debug_run: Run, dojo: Dojo, tmp_path: Path
) -> None:
    copy = tmp_path / "run"
    shutil.copytree(debug_run.folder, copy)
    done = dojo("train", "--preset", "debug", "--out", copy, "--resume")
    assert done.status == 0
    assert tables(done.out) == tables(debug_run.done.out)
    assert contents(copy) == contents(debug_run.folder)


def test_prepare_folder__refuses_to_resume_another_configuration(tmp_path: Path) -> None:
    prepare_folder(TrainConfig(), tmp_path / "run", resume=False)
    before = contents(tmp_path)
    message = r"config\.yaml differs from this configuration: a run is resumed as it was started"
    with pytest.raises(InvalidConfigError, match=message):
        prepare_folder(TrainConfig(seed=1), tmp_path / "run", resume=True)
    assert contents(tmp_path) == before


def test_prepare_folder__resuming_keeps_the_first_manifest(tmp_path: Path) -> None:
    prepare_folder(TrainConfig(), tmp_path / "run", resume=False)
    (tmp_path / "run" / "manifest.json").write_text("the first")
    prepare_folder(TrainConfig(), tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "manifest.json").read_text() == "the first"


def test_prepare_folder__resuming_where_nothing_is_starts_a_run(tmp_path: Path) -> None:
    prepare_folder(TrainConfig(), tmp_path / "some" / "run", resume=True)
    assert sorted(contents(tmp_path / "some" / "run")) == ["config.yaml", "manifest.json"]


STEPS = 1500


class Killed:
    """A small run that was killed in the middle of training, and resumed.

    Attributes:
        command: the arguments it was started with.
        folder: the run folder, finished.
        steps: of the last checkpoint before the kill.
        done: what the resumed command did.
        left_over: processes of the killed command that outlived it.
    """

    def __init__(self, base: Path) -> None:
        programs = base / "programs"
        programs.mkdir()
        for uri in ("bundled://compression/run_length", "bundled://parsing/csv_line"):
            (programs / f"{uri.split('/')[-1]}.bc").write_bytes(load_programs(uri, "compilergym")[0].module)
        config: dict[str, Any] = {
            "train_programs": "bundled://graphs/union_find",
            "test_programs": f"{programs}/*.bc",
            "steps": STEPS,
            "sequence_seconds": 30,
            "checkpoint_seconds": 0.1,
            "random_episodes": 4,
            "env": {"budget": 8, "passes": "size"},
            "learner": {"num_envs": 2, "n_steps": 32, "batch_size": 64, "n_epochs": 2, "layers": [8]},
        }
        (base / "small.yaml").write_text(yaml.safe_dump(config))
        self.folder = base / "run"
        self.command = ["train", "--preset", str(base / "small.yaml"), "--out", str(self.folder)]
        self.steps = self._kill_in_training()
        self.done: Done = run_dojo(*self.command, "--resume")

    def checkpointed_steps(self) -> int:
        if not (self.folder / "checkpoint" / CHECKPOINT).exists():
            return 0
        learner = PPOLearner(PPOConfig())
        learner.load(self.folder / "checkpoint")
        return learner.steps_done

    def _kill_in_training(self) -> int:
        command = [sys.executable, "-m", "compiler_dojo.experiments.cli", *self.command]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
            # a second rollout has begun, so that the optimiser has a state to restore
            while self.checkpointed_steps() < 100:
                try:
                    process.wait(timeout=0.02)
                except subprocess.TimeoutExpired:
                    continue
                pytest.fail(f"the run ended before it was killed: {process.communicate()[1]}")
            process.send_signal(signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL
        return self.checkpointed_steps()


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Killed:
    return Killed(tmp_path_factory.mktemp("killed"))


def test_train__resumes_after_a_kill_and_counts_on_from_the_checkpoint(killed: Killed) -> None:
    assert killed.done.status == 0, killed.done.err
    assert 100 <= killed.steps < STEPS
    assert f"resuming after {killed.steps} steps" in killed.done.out
    with (killed.folder / "logs" / "progress.csv").open() as file:
        logged = [int(row["time/total_timesteps"]) for row in csv.DictReader(file)]
    rollout = 64
    # the last rollout is done to its end
    expected = list(range(killed.steps + rollout, STEPS + rollout, rollout))
    assert [steps for steps in logged if steps > killed.steps] == expected
    assert MlpPolicy.load(killed.folder / "agent")[1]["steps"] == expected[-1]
    assert killed.checkpointed_steps() == expected[-1]


def test_train__a_killed_and_resumed_run_is_complete(killed: Killed) -> None:
    groups = by_agent(read_records(killed.folder / "records.jsonl"))
    assert {name: len(group) for name, group in groups.items()} == {
        "ppo": 2,
        "random policy (mean of 4)": 8,
        "best single sequence": 2,
    }
    assert {"checkpoint/learner.safetensors", "sequence.json", "report.png"} <= set(contents(killed.folder))


def key(record: EpisodeRecord) -> tuple[Any, ...]:
    """What is the same whenever an episode is run."""
    return record.agent, record.program, record.seed, record.passes, record.hash, tuple(record.costs.values())


def resume_with(killed: Killed, dojo: Dojo, folder: Path, records: str) -> tuple[Done, str]:
    """Resume a copy of the finished run whose records are these."""
    shutil.copytree(killed.folder, folder)
    (folder / "records.jsonl").write_text(records)
    done = dojo(*killed.command[:-1], folder, "--resume")
    return done, (folder / "records.jsonl").read_text()


def test_train__makes_up_for_an_agent_whose_records_are_lost(killed: Killed, dojo: Dojo, tmp_path: Path) -> None:
    lines = (killed.folder / "records.jsonl").read_text().splitlines(keepends=True)
    kept = "".join(lines[:2])
    done, text = resume_with(killed, dojo, tmp_path / "run", kept)
    assert done.status == 0
    assert text.startswith(kept)
    records = [[key(r) for r in read_records(folder / "records.jsonl")] for folder in (killed.folder, tmp_path / "run")]
    assert records[0] == records[1]


def test_train__makes_up_for_the_episodes_that_are_lost_and_keeps_the_others(
    killed: Killed, dojo: Dojo, tmp_path: Path
) -> None:
    lines = (killed.folder / "records.jsonl").read_text().splitlines(keepends=True)
    kept = "".join(lines[: len(lines) // 2])
    done, text = resume_with(killed, dojo, tmp_path / "run", kept)
    assert done.status == 0
    assert text.startswith(kept)
    records = [[key(r) for r in read_records(folder / "records.jsonl")] for folder in (killed.folder, tmp_path / "run")]
    assert records[0] == records[1]


def test_train__drops_a_last_record_that_was_cut_off(killed: Killed, dojo: Dojo, tmp_path: Path) -> None:
    whole = (killed.folder / "records.jsonl").read_text()
    lines = whole.splitlines(keepends=True)
    kept = "".join(lines[:2])
    done, text = resume_with(killed, dojo, tmp_path / "run", kept + lines[2][:100])
    assert done.status == 0
    assert text.startswith(kept)
    records = [[key(r) for r in read_records(folder / "records.jsonl")] for folder in (killed.folder, tmp_path / "run")]
    assert records[0] == records[1]


def test_train__refuses_records_that_are_broken_in_the_middle(killed: Killed, dojo: Dojo, tmp_path: Path) -> None:
    lines = (killed.folder / "records.jsonl").read_text().splitlines(keepends=True)
    done, text = resume_with(killed, dojo, tmp_path / "run", lines[0] + "nonsense\n" + lines[1])
    assert done.status == 1
    assert "records.jsonl:2 is not JSON" in "".join(done.err.split("\n"))
    assert text == lines[0] + "nonsense\n" + lines[1]
