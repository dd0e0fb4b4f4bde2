"""How fast one environment is, next to a bare C loop over LLVMRunPasses."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from compiler_dojo.envs.pass_ordering import PassOrderingEnv
from compiler_dojo.experiments.peer import Timings

STEPS = 45
CALLS = 10  # resets and forks in an episode, each after a step

# from the smallest bundled programs to the largest, near the sizes that the peer was measured with
PROGRAMS = (
    "bundled://graphs/union_find",
    "bundled://compression/run_length",
    "bundled://crypto/xtea",
    "bundled://parsing/csv_line",
    "bundled://audio/equaliser_chain",
    "bundled://numerical/bigint",
    "bundled://storage/query_engine",
)


@dataclass(frozen=True)
class Spread:
    """Median, 10th and 90th percentile, in microseconds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Spread:
        """The spread of measured times."""
        low, median, high = np.percentile(seconds, [10, 50, 90]) * 1e6
        return cls(float(median), float(low), float(high))


@dataclass(frozen=True)
class Measurement:
    """One program's times, without the transition cache; all spreads in microseconds.

    Attributes:
        step: a step with the default observation and the -Oz reward, uniformly random passes, in a worker process.
        floor_pass: the same passes by a bare C loop over LLVMRunPasses.
        floor_walk: the walk after each (hash, counts, features) in that loop.
        overhead: per step, step minus pass minus walk.
        overhead_in_process: the same for ``isolation="none"``.
        reset: warm reset; the module is parsed when the first pass runs.
        reset_parsed: warm reset with the parsing done at once.
        fork: fork of an environment in mid-episode.
        fork_parsed: the same with the fork's parsing done at once.
        multistep: 45 passes in one call.
        graph: the program graph as arrays, of the module as it is in mid-episode.
    """

    program: str
    instructions: int
    instructions_oz: int
    step: Spread
    floor_pass: Spread
    floor_walk: Spread
    overhead: Spread
    overhead_in_process: Spread
    reset: Spread
    reset_parsed: Spread
    fork: Spread
    fork_parsed: Spread
    multistep: Spread
    graph: Spread
    forks_exact: bool

    @property
    def timings(self) -> Timings:
        """The medians that the peer has too, in ms."""
        return Timings(
            instructions=self.instructions,
            reset_ms=self.reset_parsed.median / 1e3,
            step_ms=self.step.median / 1e3,
            fork_ms=self.fork_parsed.median / 1e3,
            multistep_ms=self.multistep.median / 1e3,
            graph_ms=self.graph.median / 1e3,
            program=self.program,
        )


class Stopwatch:
    """Collects times by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}

    @contextlib.contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Time the block."""
        start = time.perf_counter()
        yield
        self.add(name, [time.perf_counter() - start])

    def add(self, name: str, seconds: Sequence[float]) -> None:
        """Take over times."""
        self.seconds.setdefault(name, []).extend(seconds)


def measure(uri: str, repeats: int) -> Measurement:
    """Time one program: each repeat runs an episode, and the same passes in C directly after it."""
    isolated = PassOrderingEnv(uri, cache=False)
    local = PassOrderingEnv(uri, cache=False, isolation="none")
    rng = np.random.default_rng(0)
    watch = Stopwatch()
    exact = True
    for env in (isolated, local):
        env.reset(seed=0)
        env.step(0)
    for _ in range(repeats):
        actions = [int(action) for action in rng.integers(len(isolated.passes), size=STEPS)]
        _measure_steps(isolated, actions, watch, "")
        _measure_steps(local, actions, watch, "_in_process")
        _measure_calls(isolated, actions, watch)
        exact &= _measure_forks(isolated, actions, watch)
    counts = {level: int(isolated.prepared.cost("instruction_count", level)) for level in ("O0", "Oz")}
    isolated.close()
    local.close()
    spreads = {
        name: Spread.of(watch.seconds[name]) for name, kind in Measurement.__annotations__.items() if kind == "Spread"
    }
    return Measurement(
        program=uri, instructions=counts["O0"], instructions_oz=counts["Oz"], forks_exact=exact, **spreads
    )


def _measure_steps(env: PassOrderingEnv, actions: list[int], watch: Stopwatch, suffix: str) -> None:
    """An episode, then the same passes in C."""
    env.reset()
    env.session.materialize()
    steps = []
    for action in actions:
        start = time.perf_counter()
        env.step(action)
        steps.append(time.perf_counter() - start)
    env.reset()
    passes, walks = env.session.benchmark_floor([env.passes[action].pipeline for action in actions])
    overheads = [step - in_pass - walk for step, in_pass, walk in zip(steps, passes, walks, strict=True)]
    watch.add(f"step{suffix}", steps)
    watch.add(f"overhead{suffix}", overheads)
    watch.add("floor_pass", passes)
    watch.add("floor_walk", walks)


def _measure_calls(env: PassOrderingEnv, actions: list[int], watch: Stopwatch) -> None:
    for action in actions[:CALLS]:
        env.step(action)
        with watch("reset"):
            env.reset()
        env.step(action)
        with watch("reset_parsed"):
            env.reset()
            env.session.materialize()
    env.multistep(actions[:10])
    with watch("graph"):
        env.session.graph()
    env.reset()
    env.session.materialize()
    with watch("multistep"):
        env.multistep(actions)


def _measure_forks(env: PassOrderingEnv, actions: list[int], watch: Stopwatch) -> bool:
    """Time forks in mid-episode; returns whether fork and parent stay equal over the same passes."""
    env.reset()
    for action in actions[:CALLS]:
        env.step(action)
        with watch("fork"):
            unused = env.fork()
        unused.close()
        env.step(action)
        with watch("fork_parsed"):
            fork = env.fork()
            fork.session.materialize()
    for action in actions[CALLS : CALLS + 20]:
        env.multistep([action])
        fork.multistep([action])
    exact = fork.session.hash() == env.session.hash()
    fork.close()
    return exact
