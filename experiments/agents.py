"""Agents by the names and paths that users give."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from compiler_dojo.agents.baselines import RandomPolicy, SequencePolicy
from compiler_dojo.envs.errors import DojoError, did_you_mean
from compiler_dojo.envs.pass_ordering import STOP, PassOrderingEnv
from compiler_dojo.experiments.config import EnvConfig, apply_overrides, from_mapping, to_mapping
from compiler_dojo.experiments.evaluation import Contender

AGENT, SEQUENCE = "agent", "sequence.json"


class UnknownAgentError(DojoError, LookupError):
    """No agent has this name, and nothing at this path is one."""


def random_agent(env: EnvConfig, episodes: int) -> Contender:
    """Uniformly random passes."""
    name = f"random policy (mean of {episodes})" if episodes > 1 else "random policy"

    def make(env: PassOrderingEnv, seed: int) -> RandomPolicy:
        return RandomPolicy(len(env.action_names), seed)

    return Contender(name, make, env, episodes, deterministic=False)


def sequence_agent(name: str, passes: Sequence[str], env: EnvConfig, episodes: int = 1) -> Contender:
    """A fixed pass list that stops after its last pass."""

    def make(env: PassOrderingEnv, seed: int) -> SequencePolicy:
        return SequencePolicy([env.action_names.index(item) for item in passes], env.action_names.index(STOP))

    with_stop = from_mapping(EnvConfig, {**to_mapping(env), "stop": True})
    return Contender(name, make, with_stop, episodes)


def policy_agent(name: str, folder: Path, episodes: int = 1) -> Contender:
    """A trained policy, in the environment it was trained for."""
    from compiler_dojo.agents.mlp import MlpPolicy

    policy, description = MlpPolicy.load(folder)
    env = from_mapping(EnvConfig, description["env"], "env.")
    return Contender(name, lambda _env, _seed: policy, env, episodes)


def find_agent(name: str, episodes: int, settings: Sequence[str]) -> Contender:
    """The agent that a user means by a name or path.

    Args:
        name: ``random``, ``-Oz``, a run folder, a policy folder, or a ``sequence.json``.
        episodes: episodes per program.
        settings: environment settings for ``random``, such as ``start=Oz``.

    Raises:
        UnknownAgentError: it is none of these.
    """
    path = Path(name)
    if name == "random":
        return random_agent(from_mapping(EnvConfig, apply_overrides({}, settings)), episodes)
    if name == "-Oz":
        return sequence_agent("-Oz", [], EnvConfig(start="Oz"), episodes)
    if path.suffix == ".json" and path.is_file():
        values = json.loads(path.read_text())
        env = from_mapping(EnvConfig, values["env"], "env.")
        return sequence_agent("best single sequence", values["passes"], env, episodes)
    for folder in (path, path / AGENT):
        if (folder / "policy.json").is_file():
            return policy_agent(path.name, folder, episodes)
    raise UnknownAgentError(
        f"no agent {name!r}: expected a run folder, a policy folder, a {SEQUENCE}, or a name; "
        + did_you_mean(name, ["random", "-Oz"])
    )
