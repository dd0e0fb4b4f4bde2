"""Whoever schedules loop nests, by the names and paths that users give: policies, searches, the constant script."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from compiler_dojo.agents.protocols import Budget, Policy, Search
from compiler_dojo.agents.search import BeamSearch, EvolutionarySearch, GreedySearch, RandomSearch
from compiler_dojo.envs.errors import InvalidConfigError, InvalidRecordError, did_you_mean
from compiler_dojo.envs.loop_schedule import LoopScheduleEnv
from compiler_dojo.envs.loops.measure import measured_peak
from compiler_dojo.envs.loops.nest import Nest
from compiler_dojo.envs.loops.rewards import ScheduleReward
from compiler_dojo.envs.loops.runner import Runner
from compiler_dojo.envs.loops.targets import Target
from compiler_dojo.envs.loops.tuning import Schedule, tune
from compiler_dojo.envs.loops.workload import Workload
from compiler_dojo.experiments.agents import AGENT, LOOPS, POLICY, SHIPPED, UnknownAgentError
from compiler_dojo.experiments.config import from_mapping
from compiler_dojo.experiments.loop_config import LoopEnvConfig
from compiler_dojo.experiments.loop_own import SCRIPT

if TYPE_CHECKING:
    from compiler_dojo.agents.mlp import MlpPolicy

SAMPLES = 48
"""Rollouts that a policy draws where the best of several nests are measured."""

TEMPERATURE = 2.5
"""Of these rollouts: a trained policy is so sure that it would propose only a handful of nests."""

TUNING_SECONDS = 0.35
"""For measuring the candidates of a policy."""

SEARCHES: Mapping[str, Search] = {
    "random": RandomSearch(),
    "greedy": GreedySearch(),
    "greedy-2": GreedySearch(lookahead=2),
    "beam": BeamSearch(width=4),
    "beam-depth": BeamSearch(width=4, order="depth"),
    "beam-64": BeamSearch(width=64),
    "evolution": EvolutionarySearch(),
}


class Choice(NamedTuple):
    """The nest that an agent chose.

    Attributes:
        nest: the nest.
        actions: names of those that make it from the start.
        seconds: that choosing took, measurements included.
        measurements: nests that were measured.
    """

    nest: Nest
    actions: tuple[str, ...]
    seconds: float
    measurements: int = 0


class LoopContender(NamedTuple):
    """An agent in an evaluation.

    Attributes:
        name: what the table calls it.
        env: where it acts.
        reward: of its environment; None for the configured one.
        choose: its nest for the workload of the episode that has begun, from the first observation and a seed.
    """

    name: str
    env: LoopEnvConfig
    reward: ScheduleReward | None
    choose: Callable[[LoopScheduleEnv, np.ndarray, int], Choice]


class MeasuringReward:
    """Measured GFLOP/s; counts the nests that it had to measure.

    Attributes:
        measurements: the count.
    """

    deterministic = False
    platform_dependent = True

    def __init__(self, target: str) -> None:
        self._runner = Runner(target)
        self._known: set[str] = set()

    @property
    def measurements(self) -> int:
        """Different nests that were measured."""
        return len(self._known)

    def gflops(self, nest: Nest) -> float:
        """Of the best sample; equal nests are measured once."""
        found = self._runner.gflops(nest)
        self._known.add(nest.key)
        return found

    def peak(self, dtype: str = "float32", threads: int = 1) -> float:
        """Measured."""
        return measured_peak(self._runner.target, dtype, threads)


class Proposal(NamedTuple):
    """A nest that a policy led to.

    Attributes:
        nest: the nest.
        actions: indices of those that make it from the start.
        gflops: what the environment's reward says of it.
    """

    nest: Nest
    actions: tuple[int, ...]
    gflops: float


def roll_out(env: LoopScheduleEnv, observation: np.ndarray, policy: Policy) -> tuple[str, ...]:
    """Take the policy's most likely actions to the end of the episode; their names."""
    taken, ended = [], False
    state = policy.initial_state(1)
    while not ended:
        mask = env.action_masks()[None]
        actions, state = policy.act(observation[None], state, deterministic=True, mask=mask)
        observation, _, terminated, truncated, info = env.step(actions[0])
        taken.append(str(info["action"]))
        ended = terminated or truncated
    return tuple(taken)


def propose(env: LoopScheduleEnv, observation: np.ndarray, policy: Policy, samples: int) -> list[Proposal]:
    """Different nests on the way of sampled rollouts, those that the environment's reward rates highest first.

    The environment, which is at the start of an episode, stays there. One of the rollouts takes the most likely
    actions.
    """
    found: dict[str, Proposal] = {}
    for deterministic, count in ((True, 1), (False, samples)):
        envs = [env.fork() for _ in range(count)]
        taken: list[tuple[int, ...]] = [()] * count
        observations = np.repeat(observation[None], count, axis=0)
        state = policy.initial_state(count)
        running = list(range(count))
        while running:
            masks = np.stack([item.action_masks() for item in envs])
            actions, state = policy.act(observations, state, deterministic=deterministic, mask=masks)
            left = []
            for index in running:
                item = envs[index]
                observations[index], _, terminated, truncated, info = item.step(actions[index])
                taken[index] = (*taken[index], int(actions[index]))
                if info["changed"] and item.nest.key not in found:
                    found[item.nest.key] = Proposal(item.nest, taken[index], item.gflops)
                if not (terminated or truncated):
                    left.append(index)
            running = left
    return sorted(found.values(), key=lambda proposal: -proposal.gflops)


def varied(proposals: Sequence[Proposal]) -> list[Proposal]:
    """The same in an order in which the first few differ more: the best of every kind, then the second best of each.

    A kind is a register tile and the operands that are copied. What a cost model errs in, it errs in for a kind.

    Args:
        proposals: best first.
    """
    kinds: dict[object, int] = {}
    ranked = []
    for proposal in proposals:
        nest = proposal.nest
        extents = {} if nest.tile is None else nest.tile_extents(nest.tile)
        tile = tuple(extent for axis, extent in extents.items() if axis in nest.workload.output.axes)
        key = tile, frozenset(pack.operand for pack in nest.packs)
        ranked.append((kinds.setdefault(key, 0), proposal))
        kinds[key] += 1
    return [proposal for _, proposal in sorted(ranked, key=lambda item: item[0])]


def load_loop_policy(folder: Path) -> tuple[MlpPolicy, LoopEnvConfig]:
    """A trained policy, and the environment it was trained for.

    Raises:
        InvalidRecordError: the folder holds something else.
    """
    from compiler_dojo.agents.mlp import MlpPolicy

    try:
        policy, description = MlpPolicy.load(folder)
        return policy, from_mapping(LoopEnvConfig, description["env"], "env.")
    except (ValueError, KeyError, OSError) as error:
        raise InvalidRecordError(f"{folder / POLICY} does not describe a policy for loops: {error}") from error


def policy_schedule(folder: Path, samples: int = SAMPLES) -> Schedule:
    """What a policy proposes for a workload, as candidates for :func:`~compiler_dojo.envs.loops.tuning.tune`.

    Raises:
        InvalidRecordError: the folder holds no policy for loops.
    """
    policy, config = load_loop_policy(folder)

    def schedule(workload: Workload, target: Target, threads: int) -> list[Nest]:
        env = dataclasses.replace(config, target=target.name, threads=threads).make(workload)
        observation, _ = env.reset(seed=0)
        return [item.nest for item in varied(propose(env, observation, policy.with_seed(0, TEMPERATURE), samples))]

    return schedule


def policy_agent(
    name: str,
    folder: Path,
    candidates: int = 1,
    seconds: float = TUNING_SECONDS,
    samples: int = SAMPLES,
    target: str | None = None,
) -> LoopContender:
    """A trained policy in the environment it was trained for: one rollout, or the best of several measured nests.

    Args:
        name: for the table.
        folder: with the policy.
        candidates: nests to measure at most, the start nest among them; with 1, none is: the rollout decides.
        seconds: for measuring.
        samples: rollouts that these are chosen from.
        target: another one than it was trained for.

    Raises:
        InvalidRecordError: the folder holds something else.
    """
    policy, config = load_loop_policy(folder)
    config = dataclasses.replace(config, target=target or config.target)
    runner = Runner(config.target) if candidates > 1 else None

    def choose(env: LoopScheduleEnv, observation: np.ndarray, seed: int) -> Choice:
        start = time.perf_counter()
        if runner is None:
            actions = roll_out(env, observation, policy)
            return Choice(env.nest, actions, time.perf_counter() - start)
        proposals = varied(propose(env, observation, policy.with_seed(seed, TEMPERATURE), samples))
        workload = env.nest.workload
        tuned = tune(workload, runner, [proposal.nest for proposal in proposals], candidates, seconds)
        taken = {proposal.nest.key: proposal.actions for proposal in proposals}.get(tuned.nest.key, ())
        names = tuple(env.action_names[action] for action in taken)
        return Choice(tuned.nest, names, time.perf_counter() - start, tuned.measurements)

    return LoopContender(name, config, None, choose)


def script_agent(target: str = "native") -> LoopContender:
    """LoopTune's most frequent actions, whatever the workload; those that are illegal change nothing."""
    names = SCRIPT.split()

    def choose(env: LoopScheduleEnv, observation: np.ndarray, seed: int) -> Choice:
        start = time.perf_counter()
        for name in names:
            env.step(name)
        return Choice(env.nest, tuple(names), time.perf_counter() - start)

    return LoopContender("script", LoopEnvConfig(target=target), None, choose)


def search_agent(name: str, env: LoopEnvConfig, seconds: float | None, measurements: int | None) -> LoopContender:
    """A search that measures every nest it comes by; the nest of the start, which its episode begins with, is free.

    Args:
        name: one of :data:`SEARCHES`.
        env: where; its reward is replaced.
        seconds: to search for, for each workload.
        measurements: to make at most, for each workload.

    Raises:
        InvalidConfigError: there is no limit.
    """
    if seconds is None and measurements is None:
        raise InvalidConfigError(f"{name} is a search: give it --seconds or --measurements")
    reward = MeasuringReward(env.target)

    def choose(env: LoopScheduleEnv, observation: np.ndarray, seed: int) -> Choice:
        budget = Budget(None, seconds, measurements, lambda: reward.measurements)
        found = SEARCHES[name].search(env, budget, np.random.default_rng(seed))
        for action in found.actions:
            env.step(action)
        names = tuple(env.action_names[action] for action in found.actions)
        return Choice(env.nest, names, found.seconds, found.measurements)

    limits = [f"{measurements} measured" if measurements else "", f"{seconds:g} s" if seconds else ""]
    return LoopContender(f"{name}, {' or '.join(filter(None, limits))}", env, reward, choose)


def shipped_loop_agents() -> list[str]:
    """Names of the trained policies for loops that come with the package."""
    return sorted(folder.name for folder in SHIPPED.glob(f"{LOOPS}*"))


def find_loop_agent(
    name: str,
    env: LoopEnvConfig,
    target: str | None = None,
    candidates: int = 1,
    seconds: float | None = None,
    measurements: int | None = None,
) -> LoopContender:
    """The agent that a user means by a name or path.

    Args:
        name: ``script``, one of :data:`SEARCHES`, a shipped policy, a run folder or a policy folder.
        env: where searches act.
        target: for all; by default ``env``'s for searches and the script, and the policies' own.
        candidates: nests that a policy may measure.
        seconds: for searches, and for measuring a policy's candidates.
        measurements: for searches.

    Raises:
        UnknownAgentError: it is none of these.
        InvalidConfigError: a search without a limit.
        InvalidRecordError: a folder that does not hold a policy for loops.
    """
    if name == "script":
        return script_agent(target or env.target)
    if name in SEARCHES:
        return search_agent(name, dataclasses.replace(env, target=target or env.target), seconds, measurements)
    path = SHIPPED / name if name in shipped_loop_agents() else Path(name)
    for folder in (path, path / AGENT):
        if (folder / POLICY).is_file():
            shown = path.name if candidates == 1 else f"{path.name}, {candidates} measured"
            return policy_agent(shown, folder, candidates, seconds or TUNING_SECONDS, target=target)
    known = ["script", *SEARCHES, *shipped_loop_agents()]
    raise UnknownAgentError(
        f"no agent {name!r}: expected a run folder, a policy folder, or {did_you_mean(name, known)}"
    )
