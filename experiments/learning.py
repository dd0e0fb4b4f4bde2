"""What training runs in all environments have in common: their folder, and learning that survives interruptions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from compiler_dojo.agents.files import write_atomically
from compiler_dojo.agents.protocols import MakeEnv
from compiler_dojo.agents.sb3 import CHECKPOINT as LEARNER
from compiler_dojo.agents.sb3 import SB3Learner
from compiler_dojo.envs.errors import InvalidConfigError
from compiler_dojo.experiments.config import to_mapping
from compiler_dojo.experiments.records import MANIFEST, make_manifest

CONFIG, CHECKPOINT = "config.yaml", "checkpoint"


class Limits(NamedTuple):
    """How long to learn.

    Attributes:
        steps: environment steps at most; the last rollout is done to its end.
        seconds: at most.
        checkpoint_seconds: between two checkpoints.
    """

    steps: int
    seconds: float
    checkpoint_seconds: float


def prepare_folder(config: Any, out: Path, resume: bool) -> None:
    """Create the run folder with the resolved config and the manifest, or check that it belongs to this config.

    Raises:
        InvalidConfigError: the folder holds a run already and ``resume`` is not set, or holds another one.
    """
    text = yaml.safe_dump(to_mapping(config), sort_keys=False)
    path = out / CONFIG
    if path.exists():
        if not resume:
            raise InvalidConfigError(f"{out} holds a run already: give --resume to go on with it, or another --out")
        if path.read_text() != text:
            raise InvalidConfigError(f"{path} differs from this configuration: a run is resumed as it was started")
        return
    manifest = json.dumps(make_manifest(to_mapping(config)), indent=1)
    write_atomically(out / MANIFEST, manifest + "\n")
    write_atomically(path, text)


def make_progress(console: Console) -> Progress:
    """Progress bars, each with a note."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[note]}"))
    return Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console)


def learn(learner: SB3Learner, make_env: MakeEnv, limits: Limits, out: Path, console: Console) -> None:
    """Learn to the end from the last checkpoint in a run folder, or from the beginning, and leave checkpoints."""
    checkpoint = out / CHECKPOINT
    if (checkpoint / LEARNER).exists():
        learner.load(checkpoint)
        console.print(f"resuming after {learner.steps_done} steps and {learner.seconds_done:.0f} s")
    saved = learner.seconds_done
    with make_progress(console) as progress:
        name = type(learner).__name__.removesuffix("Learner")
        task = progress.add_task(f"training {name}", total=1.0, note="starting environments")

        def on_step(steps: int) -> bool:
            nonlocal saved
            spent = learner.seconds_done
            share = max(steps / limits.steps, spent / limits.seconds)
            progress.update(task, completed=min(share, 1.0), note=f"{steps:,} steps, {steps / max(spent, 1e-9):,.0f}/s")
            if spent - saved > limits.checkpoint_seconds:
                learner.save(checkpoint)
                saved = spent
            return spent < limits.seconds

        learner.learn(make_env, limits.steps, [on_step])
        progress.update(task, completed=1.0)
    learner.save(checkpoint)
