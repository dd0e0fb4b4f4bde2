"""Agents by the names and paths that users give."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from compiler_dojo.agents.baselines import RandomPolicy, SequencePolicy
from compiler_dojo.envs.errors import DojoError, InvalidConfigError, InvalidRecordError, UnknownPassError, did_you_mean
from compiler_dojo.envs.llvm.passes import select_passes
from compiler_dojo.envs.pass_ordering import STOP, PassOrderingEnv
from compiler_dojo.experiments.config import EnvConfig, apply_overrides, from_mapping
from compiler_dojo.experiments.evaluation import Contender

AGENT, SEQUENCE = "agent", "sequence.json"
POLICY = "policy.json"  # agents.mlp's name for it, known without loading torch

SHIPPED = Path(__file__).with_name("policies")
LOOPS = "loops-"
"""With this begin the names of policies that schedule loops."""


def shipped_agents() -> list[str]:
    """Names of the trained policies for pass ordering that come with the package; those for loops are left out."""
    folders = SHIPPED.iterdir() if SHIPPED.is_dir() else ()
    return sorted(folder.name for folder in folders if not folder.name.startswith(LOOPS))


class UnknownAgentError(DojoError, LookupError):
    """No agent has this name, and nothing at this path is one."""


def random_agent(env: EnvConfig, episodes: int) -> Contender:
    """Uniformly random passes."""
    name = f"random policy (mean of {episodes})" if episodes > 1 else "random policy"

    def make(env: PassOrderingEnv, seed: int) -> RandomPolicy:
        return RandomPolicy(len(env.action_names), seed)

    return Contender(name, make, env, episodes, deterministic=False)


def sequence_agent(name: str, passes: Sequence[str], env: EnvConfig, episodes: int = 1) -> Contender:
    """A fixed pass list that stops after its last pass.

    Raises:
        UnknownPassError: a pass that is no action of the environment.
    """
    known = [item.name for item in select_passes(env.passes)]
    for item in passes:
        if item not in known:
            raise UnknownPassError(f"pass {item!r} is no action here: {did_you_mean(item, known)}")

    def make(env: PassOrderingEnv, seed: int) -> SequencePolicy:
        return SequencePolicy([env.action_names.index(item) for item in passes], env.action_names.index(STOP))

    return Contender(name, make, dataclasses.replace(env, stop=True), episodes)


def policy_agent(name: str, folder: Path, episodes: int = 1) -> Contender:
    """A trained policy, in the environment it was trained for.

    Raises:
        InvalidRecordError: the folder holds something else.
    """
    from compiler_dojo.agents.mlp import MlpPolicy

    try:
        policy, description = MlpPolicy.load(folder)
        env = from_mapping(EnvConfig, description["env"], "env.")
    except (ValueError, KeyError, OSError) as error:
        raise InvalidRecordError(f"{folder / POLICY} does not describe a policy: {error}") from error
    return Contender(name, lambda _env, seed: policy.with_seed(seed), env, episodes)


def _sequence_file(path: Path, episodes: int) -> Contender:
    try:
        values = json.loads(path.read_text())
        passes, env = list(values["passes"]), from_mapping(EnvConfig, values["env"], "env.")
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidRecordError(f"{path} is not a sequence: {type(error).__name__} {error}") from error
    return sequence_agent("best single sequence", passes, env, episodes)


def find_agent(name: str, episodes: int, settings: Sequence[str]) -> Contender:
    """The agent that a user means by a name or path.

    Args:
        name: ``random``, ``-Oz``, a shipped policy (``demo``), a run folder, a policy folder, or a ``sequence.json``.
        episodes: episodes per program.
        settings: environment settings for ``random``, such as ``start=Oz``; other agents bring their own.

    Raises:
        UnknownAgentError: it is none of these.
        InvalidConfigError: settings for an agent that brings its own.
        InvalidRecordError: a file that does not hold what its name says.
    """
    path = SHIPPED / name if name in shipped_agents() else Path(name)
    if name == "random":
        return random_agent(from_mapping(EnvConfig, apply_overrides({}, settings)), episodes)
    if settings:
        raise InvalidConfigError(f"{name} acts in the environment it was made for; it takes no {', '.join(settings)}")
    if name == "-Oz":
        return sequence_agent("-Oz", [], EnvConfig(start="Oz"), episodes)
    if path.suffix == ".json" and path.is_file():
        return _sequence_file(path, episodes)
    for folder in (path, path / AGENT):
        if (folder / POLICY).is_file():
            return policy_agent(path.name, folder, episodes)
    raise UnknownAgentError(
        f"no agent {name!r}: expected a run folder, a policy folder, a {SEQUENCE}, or a name; "
        + did_you_mean(name, ["random", "-Oz", *shipped_agents()])
    )
