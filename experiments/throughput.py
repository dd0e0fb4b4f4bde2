"""What many environments do together: steps per second, what the cache gives, and the memory it takes."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from compiler_dojo.envs.llvm.cache import TransitionCache
from compiler_dojo.envs.llvm.session import CompilerSession
from compiler_dojo.envs.llvm.worker import Isolation, Worker, shared_worker
from compiler_dojo.envs.pass_ordering import PassOrderingEnv
from compiler_dojo.envs.pass_ordering_vector import PassOrderingVectorEnv
from compiler_dojo.envs.prepared import prepare
from compiler_dojo.envs.programs import Program, load_programs
from compiler_dojo.experiments.evaluation import Contender

ENVS = 16
EPISODE = 45
SESSIONS = 100
SMALL = "bundled://compression/run_length"


@dataclass(frozen=True)
class Throughput:
    """Sixteen environments with uniformly random passes against the bare C loop over the same passes.

    Attributes:
        steps_per_second: median over the rounds.
        speedup: floor seconds of one core divided by our seconds, median over the rounds.
        scaling: what the bare loop itself gains from one thread per core, median over the rounds.
        locality: floor seconds divided by those of the same passes on one core in the order of the environments, in
            turn on 16 modules that do not fit into a core's cache together; median over the rounds.
    """

    steps_per_second: float
    speedup: float
    scaling: float
    locality: float


@dataclass(frozen=True)
class CacheGain:
    """A trained policy that acts with and without the transition cache.

    Attributes:
        gain: steps per second with the cache divided by those without, median over the second half of the rounds.
        hit_rate: share of lookups answered in the second half of the rounds.
        first_hit_rate: the same in the first round.
        rounds: how many.
        mebibytes: the cache's size at the end.
    """

    gain: float
    hit_rate: float
    first_hit_rate: float
    rounds: int
    mebibytes: float


@dataclass(frozen=True)
class Memory:
    """The worker's resident memory.

    Attributes:
        instructions: of the program.
        megabytes_per_session: of a session whose module is in memory, 10 random passes from O0.
        steps: random steps of the growth test, on a program of 248 instructions.
        growth_megabytes: slope of the resident memory over the second half of these steps, per million steps.
        measured: (steps, megabytes) along the way.
    """

    instructions: int
    megabytes_per_session: float
    steps: int
    growth_megabytes: float
    measured: list[tuple[int, float]]


def measure_throughput(rounds: int, advance: Callable[[], None]) -> Throughput:
    """Time whole episodes of 16 environments on the bundled training programs, and the same passes in C."""
    env = PassOrderingVectorEnv(ENVS, programs="bundled/train", cache=False)
    for program in env.envs[0].programs:
        _prepare(program)
    rng = np.random.default_rng(0)
    rates, speedups, scalings, localities = [], [], [], []
    cores = len(os.sched_getaffinity(0))
    with ThreadPoolExecutor(cores) as pool:
        for number in range(rounds):
            actions = rng.integers(len(env.envs[0].action_names), size=(EPISODE, ENVS))
            env.reset(seed=number * ENVS)
            start = time.perf_counter()
            for row in actions:
                env.step(row)
            seconds = time.perf_counter() - start
            jobs = [(one.prepared.program, [one.passes[a].pipeline for a in one.actions]) for one in env.envs]
            floor = sum(_floor(*job) for job in jobs)
            together = sum(pool.map(lambda job: _floor(*job), jobs))
            rates.append(actions.size / seconds)
            speedups.append(floor / seconds)
            scalings.append(cores * floor / together)
            localities.append(floor / _floor_in_turn(jobs))
            advance()
    env.close()
    return Throughput(*(statistics.median(values) for values in (rates, speedups, scalings, localities)))


def measure_cache(contender: Contender, rounds: int, deterministic: bool, advance: Callable[[], None]) -> CacheGain:
    """Let a policy act in 16 environments on the bundled training programs, in turn with the cache and without.

    Args:
        contender: the policy.
        rounds: rounds of four episodes with the cache, and one without.
        deterministic: take the most likely actions, or draw them, as in training.
        advance: called after each round.
    """
    cache = TransitionCache()
    sides = [_Actors(contender, choice) for choice in (cache, False)]
    gains, rates = [], []
    for _ in range(rounds):
        hits, lookups = cache.hits, cache.hits + cache.misses
        cached = sides[0].steps_per_second(4 * EPISODE, deterministic)
        plain = sides[1].steps_per_second(EPISODE, deterministic)
        gains.append(cached / plain)
        rates.append((cache.hits - hits) / (cache.hits + cache.misses - lookups))
        advance()
    for side in sides:
        side.env.close()
    late = slice(rounds // 2, None)
    return CacheGain(
        statistics.median(gains[late]), statistics.mean(rates[late]), rates[0], rounds, cache.bytes / (1 << 20)
    )


class _Actors:
    """Sixteen environments and the policy that acts in them."""

    def __init__(self, contender: Contender, cache: TransitionCache | bool) -> None:
        self.env = PassOrderingVectorEnv(ENVS, programs="bundled/train", cache=cache, **contender.env.arguments())
        for program in self.env.envs[0].programs:
            _prepare(program)
        self._policy = contender.make(self.env.envs[0], 0)
        self._state: Any = self._policy.initial_state(ENVS)
        self._observation: Any
        self._info: dict[str, Any]
        self._observation, self._info = self.env.reset(seed=0)

    def steps_per_second(self, steps: int, deterministic: bool) -> float:
        start = time.perf_counter()
        for _ in range(steps):
            mask = self._info["action_mask"].astype(bool)
            actions, self._state = self._policy.act(
                self._observation, self._state, deterministic=deterministic, mask=mask
            )
            self._observation, _, _, _, self._info = self.env.step(actions)
        return steps * ENVS / (time.perf_counter() - start)


def measure_memory(steps: int, advance: Callable[[], None]) -> Memory:
    """Memory of a session near 1,246 instructions, and growth over many random steps, in a worker of their own."""
    programs = {prepare(program).cost("instruction_count", "O0"): program for program in load_programs("bundled")}
    instructions = min(programs, key=lambda count: abs(count - 1246))
    program = programs[instructions]
    # limits that nobody else uses give a worker of its own
    isolation = Isolation(pass_seconds=61.0)
    env = PassOrderingEnv(program, cache=False, isolation=isolation, budget=EPISODE)
    small = PassOrderingEnv(SMALL, cache=False, isolation=isolation, budget=EPISODE)
    rng = np.random.default_rng(0)
    env.reset(seed=0)
    worker = shared_worker(isolation)
    _walk(env, rng, 10 * EPISODE)
    before = resident_megabytes(worker)
    sessions = [_session_in_memory(env, rng) for _ in range(SESSIONS)]
    each = (resident_megabytes(worker) - before) / SESSIONS
    for session in sessions:
        session.close()
    measured = []
    for taken in np.linspace(0, steps, 21)[1:]:
        _walk(small, rng, steps // 20)
        measured.append((int(taken), resident_megabytes(worker)))
        advance()
    late = np.array(measured[len(measured) // 2 :])
    slope = float(np.polyfit(late[:, 0], late[:, 1], 1)[0]) * 1e6
    for used in (env, small):
        used.close()
    return Memory(int(instructions), each, steps, slope, measured)


def _session_in_memory(env: PassOrderingEnv, rng: np.random.Generator) -> CompilerSession:
    session = env.prepared.session("O0")
    for action in rng.integers(len(env.passes), size=10):
        session.run(env.passes[action].pipeline)
    return session


def _walk(env: PassOrderingEnv, rng: np.random.Generator, steps: int) -> None:
    for number, action in enumerate(rng.integers(len(env.passes), size=steps)):
        if number % EPISODE == 0:
            env.reset()
        env.step(action)


def resident_megabytes(worker: Worker) -> float:
    """Resident memory of a worker's process, in MB."""
    pages = int(Path(f"/proc/{worker.connection().pid}/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def _floor(program: Program, pipelines: list[str]) -> float:
    with prepare(program, "none").session() as session:
        passes, walks = session.benchmark_floor(pipelines)
    return sum(passes) + sum(walks)


def _floor_in_turn(jobs: list[tuple[Program, list[str]]]) -> float:
    """Seconds of the first pass of every program, then of the second, and so on, in this process and thread."""
    sessions = [prepare(program, "none").session() for program, _ in jobs]
    for session in sessions:
        session.materialize()
    seconds = 0.0
    for row in zip(*(pipelines for _, pipelines in jobs), strict=True):
        for session, pipeline in zip(sessions, row, strict=True):
            start = time.perf_counter()
            session.run(pipeline)
            seconds += time.perf_counter() - start
    for session in sessions:
        session.close()
    return seconds


def _prepare(program: Program) -> None:
    """Compute what environments compute once per program."""
    for isolation in ("process", "none"):
        prepared = prepare(program, isolation)
        for level in ("O0", "Oz"):
            prepared.cost("instruction_count", level)
