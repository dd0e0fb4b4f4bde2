"""From the names and paths that users give to contenders."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from compiler_dojo.agents.mlp import MlpPolicy
from compiler_dojo.envs.errors import DojoError, InvalidConfigError, UnknownPassError
from compiler_dojo.envs.llvm.passes import PASS_SETS
from compiler_dojo.experiments.agents import UnknownAgentError, find_agent, random_agent, sequence_agent
from compiler_dojo.experiments.config import EnvConfig, to_mapping
from compiler_dojo.experiments.evaluation import Contender, evaluate

URI = "bundled://graphs/union_find"
ENV = EnvConfig(passes="size", budget=4, observation="autophase")
FAVOURITES = ("sroa", "simplifycfg", "adce", "gvn")


def save_policy(folder: Path) -> None:
    """A policy that likes some passes better than all others, the first of them most, whatever it sees."""
    names = PASS_SETS["size"]
    bias = torch.zeros(len(names))
    for index, name in enumerate(FAVOURITES):
        bias[names.index(name)] = 9.0 - index
    MlpPolicy([(torch.zeros(len(names), 56), bias)]).save(folder, {"env": to_mapping(ENV)})


def passes_of(contender: Contender, seed: int = 0) -> list[tuple[str, ...]]:
    return [record.passes for record in evaluate(contender, URI, seed)]


def test_random_agent__is_named_after_its_episodes() -> None:
    assert random_agent(ENV, 1).name == "random policy"
    assert random_agent(ENV, 10).name == "random policy (mean of 10)"


def test_find_agent__random_takes_settings_and_never_repeats_an_episode() -> None:
    agent = find_agent("random", 3, ["start=Oz", "budget=9"])
    assert agent.env == EnvConfig(start="Oz", budget=9)
    assert agent.episodes == 3
    assert not agent.deterministic
    passes = passes_of(agent)
    assert [len(item) for item in passes] == [9, 9, 9]
    assert len(set(passes)) == 3
    assert passes_of(agent) == passes
    assert passes_of(agent, seed=1)[0] == passes[1]


def test_find_agent__random_refuses_a_setting_that_does_not_exist() -> None:
    with pytest.raises(InvalidConfigError, match="unknown setting 'budgett': did you mean 'budget'"):
        find_agent("random", 1, ["budgett=9"])


def test_find_agent__oz_runs_nothing_more() -> None:
    agent = find_agent("-Oz", 1, [])
    assert (agent.name, agent.env.start, agent.env.stop) == ("-Oz", "Oz", True)
    assert passes_of(agent) == [()]


def test_find_agent__a_sequence_is_run_and_then_stops(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"passes": ["gvn", "sroa"], "env": to_mapping(ENV)}))
    agent = find_agent(str(path), 1, [])
    assert agent.env == EnvConfig(passes="size", budget=4, observation="autophase", stop=True)
    assert passes_of(agent) == [("gvn", "sroa")]


def test_sequence_agent__may_use_the_whole_budget() -> None:
    passes = ["gvn", "sroa", "gvn", "adce"]
    assert passes_of(sequence_agent("four", passes, ENV)) == [tuple(passes)]


@pytest.mark.parametrize("part", ["", "agent"])
def test_find_agent__takes_a_policy_folder_and_the_run_folder_around_it(tmp_path: Path, part: str) -> None:
    run = tmp_path / "my-run"
    save_policy(run / part)
    agent = find_agent(str(run), 1, [])
    assert (agent.name, agent.env, agent.deterministic) == ("my-run", ENV, True)
    (passes,) = passes_of(agent)
    # sroa again changes nothing, and is masked from then on
    assert passes == ("sroa", "sroa", "simplifycfg", "sroa")


def test_policy_agent__draws_other_actions_under_another_seed_and_the_same_under_the_same(tmp_path: Path) -> None:
    save_policy(tmp_path)

    def drawn(seed: int) -> list[tuple[str, ...]]:
        return passes_of(find_agent(str(tmp_path), 1, [])._replace(deterministic=False), seed)

    assert drawn(0) == drawn(0)
    assert len({drawn(seed)[0] for seed in range(5)}) > 1


@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("randm", r"did you mean 'random'\?"),
        ("-oz", r"did you mean '-Oz'\?"),
        ("runs/none", "known: -Oz, demo, random"),
    ],
)
def test_find_agent__an_unknown_name_says_what_is_possible(name: str, end: str) -> None:
    expected = "expected a run folder, a policy folder, a sequence.json, or a name"
    with pytest.raises(UnknownAgentError, match=f"no agent '{name}': {expected}; {end}"):
        find_agent(name, 1, [])


def test_find_agent__a_folder_without_a_policy_is_no_agent(tmp_path: Path) -> None:
    with pytest.raises(UnknownAgentError, match="no agent"):
        find_agent(str(tmp_path), 1, [])


@pytest.mark.parametrize("text", ["{", "{}", "[]", '{"passes": ["dce"]}', '{"env": {}}'])
def test_find_agent__a_file_that_is_no_sequence_is_an_error_of_ours(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mine.json"
    path.write_text(text)
    with pytest.raises(DojoError, match=r"mine\.json"):
        find_agent(str(path), 1, [])


def test_find_agent__a_sequence_with_an_unknown_pass_names_the_nearest(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"passes": ["mem2regg"], "env": {}}))
    with pytest.raises(UnknownPassError, match="did you mean 'mem2reg'"):
        passes_of(find_agent(str(path), 1, []))


@pytest.mark.parametrize("description", ["{", "{}", '{"format": "compiler-dojo-mlp-0"}'])
def test_find_agent__a_folder_of_another_format_is_an_error_of_ours(tmp_path: Path, description: str) -> None:
    save_policy(tmp_path)
    (tmp_path / "policy.json").write_text(description)
    with pytest.raises(DojoError, match=r"policy\.json"):
        find_agent(str(tmp_path), 1, [])


def test_find_agent__refuses_settings_it_would_not_use(tmp_path: Path) -> None:
    save_policy(tmp_path)
    settings = ["budget=9"]
    for name in ("-Oz", str(tmp_path)):
        with pytest.raises(InvalidConfigError, match="budget"):
            find_agent(name, 1, settings)
