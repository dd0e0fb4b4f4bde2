"""How fast the environment is, next to a bare C loop over LLVMRunPasses and to the measured peer."""

from __future__ import annotations

import contextlib
import math
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from rich.console import Console
from rich.table import Table

from compiler_dojo.envs import PASS_ORDERING_ID
from compiler_dojo.envs.pass_ordering import PassOrderingEnv

STEPS = 45

# from the smallest bundled programs to the largest, near the sizes that the peer was measured with
PROGRAMS = (
    "bundled://graphs/union_find",
    "bundled://compression/run_length",
    "bundled://crypto/xtea",
    "bundled://parsing/csv_line",
    "bundled://compression/range_coder",
    "bundled://numerical/bigint",
    "bundled://storage/query_engine",
)

# CompilerGym 0.2.5 (LLVM 10), medians in ms on a 2-core AMD EPYC (Zen 3): warm reset, step with Autophase and
# -Oz reward, fork(), 45 passes in one call; by instructions at O0
PEER: dict[int, tuple[float, float, float, float]] = {
    80: (2.0, 0.45, 16, 3.7),
    146: (2.1, 0.53, 17, 4.8),
    242: (3.0, 0.67, 16, 7.0),
    1246: (6.7, 1.0, 14, 21),
    3481: (9.6, 1.4, 16, 56),
    10904: (36, 5.7, 48, 184),
}


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
    """One program's times; all spreads in microseconds.

    Attributes:
        step: a step with the default observation and the -Oz reward, uniformly random passes.
        floor_pass: the same passes by a bare C loop over LLVMRunPasses.
        floor_walk: the walk after each (hash, counts, features) in that loop.
        overhead: per step, step minus pass minus walk.
        reset: warm reset; the module is parsed when the first pass runs.
        reset_parsed: warm reset with the parsing done at once.
        fork: fork of an environment in mid-episode.
        fork_parsed: the same with the fork's parsing done at once.
        multistep: 45 passes in one call.
    """

    program: str
    instructions: int
    instructions_oz: int
    step: Spread
    floor_pass: Spread
    floor_walk: Spread
    overhead: Spread
    reset: Spread
    reset_parsed: Spread
    fork: Spread
    fork_parsed: Spread
    multistep: Spread
    forks_exact: bool

    @property
    def allowed(self) -> float:
        """The overhead aimed at: 15 us and 2% of the walk."""
        return 15.0 + 0.02 * self.floor_walk.median


class Stopwatch:
    """Collects times by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}

    @contextlib.contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Time the block."""
        start = time.perf_counter()
        yield
        self.seconds.setdefault(name, []).append(time.perf_counter() - start)


def measure(uri: str, repeats: int) -> Measurement:
    """Time one program: each repeat runs an episode, and the same passes in C directly after it."""
    env = gym.make(PASS_ORDERING_ID, disable_env_checker=True, programs=uri)
    inner = env.unwrapped
    assert isinstance(inner, PassOrderingEnv)
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    watch = Stopwatch()
    exact = True
    for _ in range(repeats):
        actions = [int(action) for action in rng.integers(len(inner.passes), size=STEPS)]
        _measure_steps(env, inner, actions, watch)
        exact &= _measure_forks(inner, actions, watch)
    counts = {level: int(inner.prepared.cost("instruction_count", level)) for level in ("O0", "Oz")}
    env.close()  # type: ignore[no-untyped-call]  # Gymnasium's
    spreads = {name: Spread.of(values) for name, values in watch.seconds.items()}
    return Measurement(
        program=uri, instructions=counts["O0"], instructions_oz=counts["Oz"], forks_exact=exact, **spreads
    )


def _measure_steps(env: gym.Env[Any, Any], inner: PassOrderingEnv, actions: list[int], watch: Stopwatch) -> None:
    with watch("reset"):
        env.reset()
    inner.session.materialize()
    steps = []
    for action in actions:
        start = time.perf_counter()
        env.step(action)
        steps.append(time.perf_counter() - start)
    with watch("reset_parsed"):
        env.reset()
        inner.session.materialize()
    passes, walks = inner.session.benchmark_floor([inner.passes[action].pipeline for action in actions])
    watch.seconds.setdefault("step", []).extend(steps)
    watch.seconds.setdefault("floor_pass", []).extend(passes)
    watch.seconds.setdefault("floor_walk", []).extend(walks)
    overheads = [step - in_pass - walk for step, in_pass, walk in zip(steps, passes, walks, strict=True)]
    watch.seconds.setdefault("overhead", []).extend(overheads)
    with watch("multistep"):
        inner.multistep(actions)


def _measure_forks(inner: PassOrderingEnv, actions: list[int], watch: Stopwatch) -> bool:
    """Time forks in mid-episode; returns whether fork and parent stay equal over the same passes."""
    inner.reset()
    inner.multistep(actions[:10])
    with watch("fork"):
        unused = inner.fork()
    unused.close()
    inner.multistep(actions[10:11])
    with watch("fork_parsed"):
        fork = inner.fork()
        fork.session.materialize()
    for action in actions[11:20]:
        inner.multistep([action])
        fork.multistep([action])
    exact = fork.session.hash() == inner.session.hash()
    fork.close()
    return exact


def report(sizes: Sequence[Measurement], console: Console) -> None:
    """Print the tables: ours against the floor, and beside the peer."""
    quantiles = "medians in us (10th..90th percentile)"
    table = Table(title=f"one step: default observation, -Oz reward, uniformly random passes; {quantiles}")
    for column in ("program", "O0 / Oz", "step", "pass in C", "walk in C", "overhead", "aim"):
        table.add_column(column, justify="left" if column == "program" else "right")
    for size in sizes:
        table.add_row(
            size.program.split("://")[-1],
            f"{size.instructions} / {size.instructions_oz}",
            *(_spread(spread) for spread in (size.step, size.floor_pass, size.floor_walk, size.overhead)),
            f"{size.allowed:.1f}",
        )
    console.print(table)
    table = Table(title=f"other calls; {quantiles}")
    for column in ("program", "reset", "reset, parsed", "fork", "fork, parsed", "exact", "45 passes"):
        table.add_column(column, justify="left" if column == "program" else "right")
    for size in sizes:
        cells = (size.reset, size.reset_parsed, size.fork, size.fork_parsed)
        texts = [_spread(spread) for spread in cells]
        exact = "yes" if size.forks_exact else "[red]no[/red]"
        table.add_row(size.program.split("://")[-1], *texts, exact, _spread(size.multistep))
    console.print(table)
    table = Table(title="beside CompilerGym 0.2.5 (measured earlier, on a 2-core AMD EPYC): medians in ms")
    for column in ("instructions", "reset", "peer", "step", "peer", "fork", "peer", "45 passes", "peer"):
        table.add_column(column, justify="right")
    for count, peer in PEER.items():
        distances = [abs(math.log(size.instructions / count)) for size in sizes]
        ours = sizes[distances.index(min(distances))]
        texts = []
        for cell, other in zip((ours.reset_parsed, ours.step, ours.fork_parsed, ours.multistep), peer, strict=True):
            texts += [f"{cell.median / 1e3:.2f}", f"{other:g}"]
        table.add_row(f"{ours.instructions} (peer {count})", *texts)
    console.print(table)
    median = statistics.median(size.overhead.median for size in sizes)
    console.print(f"median overhead of a step over the C loop: {median:.1f} us")


def _spread(spread: Spread) -> str:
    return f"{spread.median:.0f} ({spread.low:.0f}..{spread.high:.0f})"
