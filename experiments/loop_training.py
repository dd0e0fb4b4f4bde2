"""A training run in which loops are scheduled: learn, evaluate on held-out workloads, leave it all in a folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
from gymnasium.spaces import Box
from rich.console import Console

from compiler_dojo.agents.dqn import DQNConfig, DQNLearner
from compiler_dojo.agents.ppo import PPOConfig, PPOLearner
from compiler_dojo.agents.wrappers import StepCost
from compiler_dojo.envs.errors import InvalidConfigError
from compiler_dojo.envs.loops.workload import Workload
from compiler_dojo.envs.loops.workloads import load_workloads
from compiler_dojo.experiments.agents import AGENT, POLICY
from compiler_dojo.experiments.config import from_mapping, to_mapping
from compiler_dojo.experiments.learning import Limits, learn, make_progress, prepare_folder
from compiler_dojo.experiments.loop_agents import policy_agent, script_agent
from compiler_dojo.experiments.loop_config import LoopTrainConfig, shared_reward
from compiler_dojo.experiments.loop_evaluation import (
    MeasuringSettings,
    evaluate,
    read_loop_records,
    rows_of,
    summary_table,
    write_loop_records,
)
from compiler_dojo.experiments.records import RECORDS, drop_torn_line
from compiler_dojo.experiments.report import LOGS

LEARNERS: Mapping[str, tuple[Any, Any]] = {"ppo": (PPOConfig, PPOLearner), "dqn": (DQNConfig, DQNLearner)}


def train(config: LoopTrainConfig, out: Path, console: Console, resume: bool = False) -> None:
    """Run everything; with ``resume``, go on where an interrupted run stopped.

    Raises:
        InvalidConfigError: the folder holds a run already and ``resume`` is not set, or holds another one; or the
            configuration makes no sense.
    """
    config = resolve(config)
    check(config)
    prepare_folder(config, out, resume)
    if not (out / AGENT / POLICY).exists():
        settings, kind = LEARNERS[config.algorithm]
        learner = kind(from_mapping(settings, config.learner, "learner."), config.seed, out / LOGS)
        make_env = partial(_make_env, config, load_workloads(config.train_workloads))
        learn(learner, make_env, Limits(config.steps, config.seconds, config.checkpoint_seconds), out, console)
        learner.policy().save(
            out / AGENT, {"steps": learner.steps_done, "environment": "loops", "env": to_mapping(config.env)}
        )
    _evaluate(config, out, console)
    records = list(read_loop_records(out / RECORDS))
    console.print(summary_table(rows_of(records), f"{config.test_workloads}, never trained on", records))
    console.print(f"run folder: {out}  (config, TensorBoard logs, records, weights)")


def resolve(config: LoopTrainConfig) -> LoopTrainConfig:
    """The configuration with every hyper-parameter of the learner spelled out.

    Raises:
        InvalidConfigError: an unknown hyper-parameter, or a value that makes no sense.
    """
    settings = from_mapping(LEARNERS[config.algorithm][0], config.learner, "learner.")
    return dataclasses.replace(config, learner=to_mapping(settings))


def check(config: LoopTrainConfig) -> None:
    """Find mistakes before anything is written.

    Raises:
        DojoError: an unknown set of workloads, target or reward; a reward that is measured; an observation that is no
            array.
    """
    if not shared_reward(config.env.reward, config.env.target).deterministic:
        raise InvalidConfigError(
            f"training needs a deterministic reward, which {config.env.reward!r} is not: take analytical or learned"
        )
    for workloads in (config.train_workloads, config.test_workloads):
        env = config.env.make(workloads)
        if not isinstance(env.observation_space, Box):
            raise InvalidConfigError(f"the learners need an array to observe; {config.env.observation!r} is none")


def _make_env(config: LoopTrainConfig, workloads: Sequence[Workload]) -> gym.Env[Any, Any]:
    env = config.env.make(workloads)
    return StepCost(env, config.step_cost) if config.step_cost else env


def _evaluate(config: LoopTrainConfig, out: Path, console: Console) -> None:
    """Evaluate the agent and the constant script; workloads that are recorded already are not measured again."""
    path = out / RECORDS
    drop_torn_line(path)
    contenders = [
        policy_agent(config.algorithm, out / AGENT),
        policy_agent(f"{config.algorithm}, {config.candidates} measured", out / AGENT, candidates=config.candidates),
        script_agent(config.env.target),
    ]
    done = list(read_loop_records(path)) if path.exists() else []
    names = {contender.name for contender in contenders}
    complete = {
        record.workload
        for record in done
        if names <= {other.agent for other in done if other.workload == record.workload}
    }
    workloads = [item for item in load_workloads(config.test_workloads) if str(item) not in complete]
    with make_progress(console) as progress:
        task = progress.add_task("evaluating", total=len(workloads), note="")
        for records in evaluate(contenders, workloads, config.env.target, MeasuringSettings(), config.seed):
            write_loop_records(path, records)
            progress.advance(task)
