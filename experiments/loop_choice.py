"""What the loops benchmark is to measure, from the words of a command line."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from compiler_dojo.envs.errors import InvalidConfigError, did_you_mean
from compiler_dojo.envs.loops.targets import find_target
from compiler_dojo.envs.loops.workload import Workload
from compiler_dojo.envs.loops.workloads import load_workloads
from compiler_dojo.experiments.loop_own import SCHEDULES, OurPeer, divided
from compiler_dojo.experiments.loop_peer_blas import BlasPeer
from compiler_dojo.experiments.loop_peer_gcc import GccPeer
from compiler_dojo.experiments.loop_peer_tvm import TRIALS, TvmPeer, TvmProcess
from compiler_dojo.experiments.loop_peers import NumPyPeer, Peer

T = TypeVar("T")


def choose_workloads(names: Sequence[str], limit: int | None = None) -> dict[str, tuple[Workload, ...]]:
    """Workloads by the name of their set, at most ``limit`` of each.

    Raises:
        InvalidWorkloadError: as :func:`load_workloads`.
    """
    return {name: load_workloads(name)[:limit] for name in names}


def choose_own(names: str, target_name: str, threads: int = 1) -> list[OurPeer]:
    """Our own peers, by names that are separated by commas; with several threads, each in as many too.

    Raises:
        InvalidConfigError: there is no such schedule or target.
    """
    target = find_target(target_name)
    chosen = {name: _find(name, SCHEDULES, "schedule") for name in _split(names)}
    peers = [OurPeer(name, schedule, target) for name, schedule in chosen.items()]
    if threads > 1:
        peers += [
            OurPeer(f"{name} x{threads}", divided(schedule, threads), target) for name, schedule in chosen.items()
        ]
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


def _split(names: str) -> list[str]:
    return [name.strip() for name in names.split(",") if name.strip()]


def _find(name: str, known: Mapping[str, T], what: str) -> T:
    if name not in known:
        raise InvalidConfigError(f"no {what} is called {name!r}: {did_you_mean(name, known)}")
    return known[name]
