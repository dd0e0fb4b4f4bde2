"""A training run: learn, find the best single sequence, evaluate on held-out programs, and leave it all in a folder."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from gymnasium.spaces import Box
from rich.console import Console
from rich.progress import Progress, TaskID

from compiler_dojo.agents.files import write_atomically
from compiler_dojo.agents.ppo import PPOConfig, PPOLearner
from compiler_dojo.agents.sequence_search import greedy_sequence
from compiler_dojo.envs.errors import InvalidConfigError
from compiler_dojo.envs.pass_ordering import PassOrderingEnv
from compiler_dojo.experiments.agents import AGENT, POLICY, SEQUENCE, policy_agent, random_agent, sequence_agent
from compiler_dojo.experiments.config import EnvConfig, TrainConfig, from_mapping, to_mapping
from compiler_dojo.experiments.evaluation import Contender, by_agent, evaluate, program_table, rows_of, summary_table
from compiler_dojo.experiments.learning import Limits, learn, make_progress, prepare_folder
from compiler_dojo.experiments.records import RECORDS, EpisodeRecord, drop_torn_line, read_records, write_records
from compiler_dojo.experiments.report import LOGS, PICTURE, draw_run


def train(config: TrainConfig, out: Path, console: Console, resume: bool = False) -> None:
    """Run everything; with ``resume``, go on where an interrupted run stopped.

    Raises:
        InvalidConfigError: the folder holds a run already and ``resume`` is not set, or holds another one.
    """
    config = resolve(config)
    check(config)
    prepare_folder(config, out, resume)
    if not (out / AGENT / POLICY).exists():
        learner = PPOLearner(from_mapping(PPOConfig, config.learner, "learner."), config.seed, out / LOGS)
        make_env = partial(config.env.make, config.train_programs)
        learn(learner, make_env, Limits(config.steps, config.seconds, config.checkpoint_seconds), out, console)
        learner.policy().save(out / AGENT, {"steps": learner.steps_done, "env": to_mapping(config.env)})
    if not (out / SEQUENCE).exists():
        _find_sequence(config, out, console)
    records = _evaluate(config, out, console)
    draw_run(out)
    groups = by_agent(records)
    console.print(program_table(groups["ppo"]))
    console.print(summary_table(rows_of(records), f"{config.test_programs}, never trained on"))
    console.print(f"run folder: {out}  (config, TensorBoard logs, records, weights, {PICTURE})")


def resolve(config: TrainConfig) -> TrainConfig:
    """The configuration with every hyper-parameter of the learner spelled out.

    Raises:
        InvalidConfigError: an unknown hyper-parameter, or a value that makes no sense.
    """
    return dataclasses.replace(config, learner=to_mapping(from_mapping(PPOConfig, config.learner, "learner.")))


def check(config: TrainConfig) -> None:
    """Find mistakes before anything is written.

    Raises:
        DojoError: an unknown program set, pass, observation or lowering, or one that PPO cannot use.
    """
    for programs in (config.train_programs, config.test_programs):
        env = _unwrapped(config.env, programs)
        if not isinstance(env.observation_space, Box) or len(env.observation_space.shape) != 1:
            raise InvalidConfigError(f"PPO needs a vector to observe; {config.env.observation!r} is none")
        env.close()


def _find_sequence(config: TrainConfig, out: Path, console: Console) -> None:
    """Greedy search on the training programs, from the same start and with the same budget."""
    first = _unwrapped(config.env, config.train_programs)
    envs = []
    for uri in first.programs.uris:
        env = _unwrapped(config.env, first.programs)
        env.reset(seed=config.seed, options={"program": uri})
        envs.append(env)
    candidates = range(len(first.passes))
    with make_progress(console) as progress:
        task = progress.add_task("best single sequence", total=1.0, note="")

        def on_action(share: float, found: list[int]) -> None:
            progress.update(task, completed=min(share, 1.0), note=f"{len(found)} passes")

        found = greedy_sequence(envs, candidates, config.env.budget, config.sequence_seconds, progress=on_action)
        progress.update(task, completed=1.0, note=f"{len(found)} passes")
    names = [first.passes[action].name for action in found]
    for env in (first, *envs):
        env.close()
    if not names:
        console.print("no pass helped, or the time for the search was too short: the best single sequence is empty")
    write_atomically(out / SEQUENCE, json.dumps({"passes": names, "env": to_mapping(config.env)}, indent=1) + "\n")


def _unwrapped(config: EnvConfig, programs: Any) -> PassOrderingEnv:
    env = config.make(programs).unwrapped
    assert isinstance(env, PassOrderingEnv)
    return env


def _evaluate(config: TrainConfig, out: Path, console: Console) -> list[EpisodeRecord]:
    """Evaluate the agent and its baselines; records that exist already are kept."""
    path = out / RECORDS
    drop_torn_line(path)
    done = list(read_records(path)) if path.exists() else []
    sequence: Mapping[str, Any] = json.loads((out / SEQUENCE).read_text())
    contenders = [
        policy_agent("ppo", out / AGENT),
        random_agent(config.env, config.random_episodes),
        sequence_agent("best single sequence", list(sequence["passes"]), config.env),
    ]
    with make_progress(console) as progress:
        for contender in contenders:
            run_contender(contender, config.test_programs, config.seed, path, done, progress)
    return list(read_records(path))


def run_contender(
    contender: Contender, programs: Any, seed: int, path: Path, done: list[EpisodeRecord], progress: Progress
) -> None:
    """Evaluate one contender, appending each record as it comes; what was recorded before is kept."""
    recorded = {(record.program, record.seed) for record in done if record.agent == contender.name}
    episodes = contender.episodes * len(_unwrapped(contender.env, programs).programs)
    if len(recorded) >= episodes:
        return
    task: TaskID = progress.add_task(f"evaluating {contender.name}", total=episodes, note="")
    for record in evaluate(contender, programs, seed):
        if (record.program, record.seed) not in recorded:
            write_records(path, [record])
        progress.advance(task)
