"""From names and paths to agents that schedule loops, and what they choose."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from loop_support import FULL, LOOPTUNE, TARGET, WORKLOAD, save_policy

from compiler_dojo.agents.mlp import MlpPolicy
from compiler_dojo.envs.errors import InvalidConfigError, InvalidRecordError
from compiler_dojo.envs.loops.nest import start_nest
from compiler_dojo.envs.loops.runner import Runner
from compiler_dojo.envs.loops.targets import find_target
from compiler_dojo.envs.loops.tuning import tune
from compiler_dojo.experiments.agents import SHIPPED, UnknownAgentError
from compiler_dojo.experiments.config import from_mapping
from compiler_dojo.experiments.loop_agents import (
    SEARCHES,
    MeasuringReward,
    find_loop_agent,
    policy_agent,
    policy_schedule,
    propose,
    script_agent,
    search_agent,
    shipped_loop_agents,
    varied,
)
from compiler_dojo.experiments.loop_config import LoopTrainConfig
from compiler_dojo.experiments.loop_evaluation import choose
from compiler_dojo.experiments.loop_own import SCRIPT, scripted


def test_script__is_the_published_one() -> None:
    choice = choose(script_agent(TARGET), WORKLOAD, 0)
    assert choice.nest.key == scripted(WORKLOAD).key
    assert choice.actions == tuple(SCRIPT.split())
    assert choice.measurements == 0


def test_policy__does_one_rollout_without_measuring(tmp_path: Path) -> None:
    folder = save_policy(tmp_path, FULL, "tile_4x2", "unroll_4", "stop")
    choice = choose(policy_agent("mine", folder), WORKLOAD, 0)
    assert choice.actions == ("tile_4x2", "unroll_4", "stop")
    assert choice.nest.unroll == 4
    assert choice.measurements == 0
    assert 0 < choice.seconds < 10


def test_policy__acts_in_the_environment_it_was_trained_for_but_for_the_target(tmp_path: Path) -> None:
    folder = save_policy(tmp_path, LOOPTUNE, "split_8")
    assert policy_agent("mine", folder).env == LOOPTUNE
    assert policy_agent("mine", folder, target="native").env.target == "native"
    assert len(choose(policy_agent("mine", folder), WORKLOAD, 0).actions) == LOOPTUNE.budget


def test_policy__measures_as_many_candidates_as_it_may(tmp_path: Path) -> None:
    folder = save_policy(tmp_path, FULL, "tile_4x2", margin=1.0)
    agent = policy_agent("mine", folder, candidates=3, samples=20)
    choice = choose(agent, WORKLOAD, 0)
    assert choice.measurements == 3
    env = FULL.make(WORKLOAD)
    env.reset()
    for action in choice.actions:
        env.step(action)
    assert env.nest.key == choice.nest.key


def test_propose__ranks_different_nests_by_the_reward_and_leaves_the_environment(tmp_path: Path) -> None:
    policy, _ = MlpPolicy.load(save_policy(tmp_path, FULL, "tile_4x2", margin=1.0))
    env = FULL.make(WORKLOAD)
    observation, _ = env.reset(seed=0)
    proposals = propose(env, observation, policy.with_seed(1), 10)
    assert env.nest == FULL.make(WORKLOAD).actions.start(WORKLOAD).nest
    assert len({proposal.nest.key for proposal in proposals}) == len(proposals) > 5
    values = [proposal.gflops for proposal in proposals]
    assert values == sorted(values, reverse=True)
    assert values[0] == pytest.approx(env.reward.gflops(proposals[0].nest))
    again = propose(env, observation, policy.with_seed(1), 10)
    assert again == proposals
    assert propose(env, observation, policy.with_seed(2), 10) != proposals


def test_varied__has_the_best_of_every_tile_and_copy_first(tmp_path: Path) -> None:
    policy, _ = MlpPolicy.load(save_policy(tmp_path, FULL, "tile_4x2", margin=0.0))
    env = FULL.make(WORKLOAD)
    observation, _ = env.reset(seed=0)
    proposals = propose(env, observation, policy.with_seed(1), 40)
    ordered = varied(proposals)
    assert {item.nest.key for item in ordered} == {item.nest.key for item in proposals}
    kinds = []
    for item in ordered:
        tile = item.nest.tile_extents(item.nest.tile) if item.nest.tile is not None else {"m": 0, "n": 0}
        kinds.append((tile["m"], tile["n"], tuple(sorted(pack.operand for pack in item.nest.packs))))
    first = len(set(kinds))
    assert len(set(kinds[:first])) == first > 3
    for part in (ordered[:first], [item for item, kind in zip(ordered, kinds, strict=True) if kind == kinds[0]]):
        assert [item.gflops for item in part] == sorted((item.gflops for item in part), reverse=True)


def test_propose__has_the_most_likely_rollout_among_its_nests(tmp_path: Path) -> None:
    policy, _ = MlpPolicy.load(save_policy(tmp_path, FULL, "tile_6x2", "unroll_2", "stop"))
    env = FULL.make(WORKLOAD)
    observation, _ = env.reset(seed=0)
    names = [
        [env.action_names[action] for action in proposal.actions] for proposal in propose(env, observation, policy, 0)
    ]
    assert sorted(names) == [["tile_6x2"], ["tile_6x2", "unroll_2"]]


def test_schedule__proposes_nests_for_tuning(tmp_path: Path) -> None:
    schedule = policy_schedule(save_policy(tmp_path, FULL, "tile_4x2", margin=1.0), samples=10)
    nests = schedule(WORKLOAD, find_target(TARGET), 1)
    assert len({nest.key for nest in nests}) == len(nests) > 5
    tuned = tune(WORKLOAD, Runner(TARGET), nests, measurements=3, seconds=5.0)
    assert tuned.measurements == 3


@pytest.mark.parametrize("name", SEARCHES)
def test_search__measures_exactly_what_it_may(name: str) -> None:
    agent = search_agent(name, LOOPTUNE, None, 4)
    assert agent.name == f"{name}, 4 measured"
    choice = choose(agent, WORKLOAD, 0)
    assert choice.measurements == 4 or (name == "greedy" and choice.measurements < 4)
    env = LOOPTUNE.make(WORKLOAD)
    env.reset()
    for action in choice.actions:
        env.step(action)
    assert env.nest == choice.nest


def test_search__ends_with_its_time() -> None:
    choice = choose(search_agent("random", LOOPTUNE, 0.05, None), WORKLOAD, 0)
    assert choice.measurements > 0
    assert choice.seconds < 10


def test_search__needs_a_limit() -> None:
    with pytest.raises(InvalidConfigError, match="beam is a search: give it --seconds or --measurements"):
        find_loop_agent("beam", LOOPTUNE)


def test_measuring_reward__counts_different_nests() -> None:
    reward = MeasuringReward(TARGET)
    env = LOOPTUNE.make(WORKLOAD, reward)
    env.reset()
    assert reward.measurements == 1
    for action in ("split_8", "down", "up", "split_4"):
        env.step(action)
    assert reward.measurements == 3
    assert 0 < env.gflops < 2 * reward.peak()


def test_find__knows_scripts_searches_folders_and_run_folders(tmp_path: Path) -> None:
    save_policy(tmp_path / "run" / "agent", FULL, "stop")
    assert find_loop_agent("script", LOOPTUNE).env.target == TARGET
    assert find_loop_agent("script", LOOPTUNE, target="native").env.target == "native"
    assert find_loop_agent("evolution", LOOPTUNE, seconds=2.0).name == "evolution, 2 s"
    assert find_loop_agent(str(tmp_path / "run"), LOOPTUNE).name == "run"
    assert find_loop_agent(str(tmp_path / "run" / "agent"), LOOPTUNE, candidates=20).name == "agent, 20 measured"


def test_find__suggests_the_nearest_name() -> None:
    with pytest.raises(UnknownAgentError, match=r"no agent 'scripts': expected .* did you mean 'script'"):
        find_loop_agent("scripts", LOOPTUNE)


@pytest.mark.parametrize("text", ["{", '{"format": "compiler-dojo-mlp-1"}'])
def test_policy__says_what_is_no_policy(tmp_path: Path, text: str) -> None:
    (tmp_path / "policy.json").write_text(text)
    with pytest.raises(InvalidRecordError, match=r"policy\.json does not describe a policy for loops"):
        policy_agent("mine", tmp_path)


@pytest.mark.parametrize("name", shipped_loop_agents())
def test_shipped__is_small_schedules_and_says_how_it_was_trained(name: str) -> None:
    agent = find_loop_agent(name, LOOPTUNE)
    choice = choose(agent, WORKLOAD, 0)
    assert choice.nest.key != start_nest(WORKLOAD).key
    folder = SHIPPED / name
    assert sum(path.stat().st_size for path in folder.iterdir()) < 300_000
    manifest = json.loads((folder / "manifest.json").read_text())
    config = from_mapping(LoopTrainConfig, manifest["config"])
    assert config.env == agent.env
    assert config.train_workloads == "looptune:train"
    assert manifest["command"].startswith("dojo train --preset loops-")
    assert len(manifest["commit"]) == 40
