"""What the loops benchmark is to measure, from the words of a command line."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TypeVar

from compiler_dojo.envs.errors import InvalidConfigError, did_you_mean
from compiler_dojo.envs.loops.heuristics import candidates
from compiler_dojo.envs.loops.nest import Nest
from compiler_dojo.envs.loops.runner import Runner
from compiler_dojo.envs.loops.targets import Target, find_target
from compiler_dojo.envs.loops.tuning import tune
from compiler_dojo.envs.loops.workload import Workload
from compiler_dojo.envs.loops.workloads import load_workloads
from compiler_dojo.experiments.agents import LOOPS, UnknownAgentError
from compiler_dojo.experiments.bench_loops_report import FULL, LOOPTUNE, TUNE
from compiler_dojo.experiments.loop_agents import SEARCHES, LoopContender, find_loop_agent, shipped_loop_agents
from compiler_dojo.experiments.loop_config import LoopEnvConfig
from compiler_dojo.experiments.loop_own import SCHEDULES, OurPeer, Schedule, divided
from compiler_dojo.experiments.loop_peer_blas import BlasPeer
from compiler_dojo.experiments.loop_peer_gcc import GccPeer
from compiler_dojo.experiments.loop_peer_tvm import TRIALS, TvmPeer, TvmProcess
from compiler_dojo.experiments.loop_peers import NumPyPeer, Peer

T = TypeVar("T")

CANDIDATES = 20
"""Nests that a policy, or the heuristics, may measure before they choose."""

SECONDS = 0.4
"""For searches, and for measuring the heuristics' candidates, which are listed before."""


def choose_workloads(names: Sequence[str], limit: int | None = None) -> dict[str, tuple[Workload, ...]]:
    """Workloads by the name of their set, at most ``limit`` of each.

    Raises:
        InvalidWorkloadError: as :func:`load_workloads`.
    """
    return {name: load_workloads(name)[:limit] for name in names}


def choose_own(names: str, target_name: str, threads: int = 1) -> list[OurPeer]:
    """Our own peers, by names that are separated by commas; with several threads, each in as many too.

    Args:
        names: of the schedules that need no training; ``tune`` for what ``dojo tune`` does without a policy;
            ``looptune``, one rollout of a shipped policy; ``full``, whose candidates are measured; and the searches of
            ``dojo evaluate-loops``, which choose among all nests of the full actions in :data:`SECONDS`.
        target_name: what to compile for.
        threads: to divide the outermost loop over.

    Raises:
        InvalidConfigError: there is no such schedule or target.
    """
    target = find_target(target_name)
    known: dict[str, Callable[[int], Schedule]] = {name: partial(divided, SCHEDULES[name]) for name in SCHEDULES}
    known[TUNE] = partial(_tuned, target)
    known[LOOPTUNE] = partial(divided, _chosen(lambda: _policy(LOOPTUNE, target, 1)))
    known[FULL] = partial(divided, _chosen(lambda: _policy(FULL, target, CANDIDATES)))
    for search in SEARCHES:
        known[search] = partial(divided, _chosen(partial(_search, search, target)))
    chosen = {name: _find(name, known, "schedule") for name in _split(names)}
    peers = [OurPeer(name, schedule(1), target) for name, schedule in chosen.items()]
    if threads > 1:
        peers += [OurPeer(f"{name} x{threads}", schedule(threads), target) for name, schedule in chosen.items()]
    return peers


def choose_peers(
    names: str, target_name: str = "native", tvm_python: Path | None = None, tvm_cache: Path | None = None
) -> list[Peer]:
    """Peers by names that are separated by commas.

    Args:
        names: of numpy, sgemm, gcc, tvm and metaschedule.
        target_name: what those that compile are to compile for.
        tvm_python: see :class:`TvmProcess`.
        tvm_cache: see :class:`TvmPeer`.

    Raises:
        InvalidConfigError: there is no such peer or target.
    """
    cpu = find_target(target_name).cpu
    process = TvmProcess(tvm_python) if tvm_python else None
    known: dict[str, Callable[[], Peer]] = {
        "numpy": NumPyPeer,
        "sgemm": BlasPeer,
        "gcc": lambda: GccPeer(target_name),
        "tvm": lambda: TvmPeer(process, cpu),
        "metaschedule": lambda: TvmPeer(process, cpu, TRIALS, tvm_cache),
    }
    return [_find(name, known, "peer")() for name in _split(names)]


def _tuned(target: Target, threads: int) -> Schedule:
    runner = Runner(target)
    return lambda workload: tune(workload, runner, candidates(workload, target, threads), CANDIDATES, SECONDS).nest


def _chosen(find: Callable[[], LoopContender]) -> Schedule:
    contender = cache(find)

    def schedule(workload: Workload) -> Nest:
        env = contender().env.make(workload, contender().reward)
        observation, _ = env.reset(seed=0)
        return contender().choose(env, observation, 0).nest

    return schedule


def _policy(kind: str, target: Target, measured: int) -> LoopContender:
    return find_loop_agent(shipped_for(kind, target), LoopEnvConfig(), target.name, measured)


def _search(name: str, target: Target) -> LoopContender:
    return find_loop_agent(name, LoopEnvConfig(actions="full"), target.name, seconds=SECONDS)


def shipped_for(kind: str, target: Target) -> str:
    """The shipped policy of an action set for a target's vectors, or else for others.

    Raises:
        UnknownAgentError: none is shipped.
    """
    shipped = [name for name in shipped_loop_agents() if name.startswith(LOOPS + kind)]
    if not shipped:
        raise UnknownAgentError(f"no policy for the {kind} actions is shipped: train one with `dojo train`")
    vectors = {64: "avx512", 32: "avx2"}.get(target.vector_bytes, "")
    return next((name for name in shipped if name.endswith(f"-{vectors}")), shipped[0])


def _split(names: str) -> list[str]:
    return [name.strip() for name in names.split(",") if name.strip()]


def _find(name: str, known: Mapping[str, T], what: str) -> T:
    if name not in known:
        raise InvalidConfigError(f"no {what} is called {name!r}: {did_you_mean(name, known)}")
    return known[name]
