"""Rolling out policies on programs, one record per episode, and the table that sums them up."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from compiler_dojo.agents.protocols import Policy
from compiler_dojo.envs.llvm.passes import OZ_PASS_COUNT
from compiler_dojo.envs.pass_ordering import PassOrderingEnv
from compiler_dojo.envs.prepared import PreparedProgram
from compiler_dojo.experiments.config import EnvConfig
from compiler_dojo.experiments.records import EpisodeRecord
from compiler_dojo.experiments.statistics import Interval, bootstrap_geomean

REPORTED_METRICS = ("instruction_count", "text_size")
REPORTED_LEVELS = ("O0", "Oz", "O3")
START_PASSES = {"O0": 0, "Oz": OZ_PASS_COUNT}


class Contender(NamedTuple):
    """An agent in an evaluation.

    Attributes:
        name: what the table calls it.
        make: its policy for an environment and a seed.
        env: the environment it acts in.
        episodes: episodes per program; the table gives their mean.
        deterministic: take the most likely actions.
    """

    name: str
    make: Callable[[PassOrderingEnv, int], Policy]
    env: EnvConfig
    episodes: int = 1
    deterministic: bool = True


def run_episode(
    env: PassOrderingEnv, policy: Policy, agent: str, uri: str, seed: int, deterministic: bool
) -> EpisodeRecord:
    """One rollout without search, fallback or best prefix."""
    start = time.perf_counter()
    observation, info = env.reset(seed=seed, options={"program": uri})
    state = policy.initial_state(1)
    counts = [env.session.instruction_count]
    ended = False
    while not ended:
        mask = env.action_masks()[None]
        actions, state = policy.act(_batch(observation), state, deterministic=deterministic, mask=mask)
        observation, _, terminated, truncated, info = env.step(int(actions[0]))
        counts.append(env.session.instruction_count)
        ended = terminated or truncated
    seconds = time.perf_counter() - start
    prepared, passes = env.prepared, [env.passes[action].name for action in env.actions if action < len(env.passes)]
    best = int(np.argmin(counts))
    return EpisodeRecord(
        agent=agent,
        program=prepared.program.uri,
        sha256=prepared.program.sha256,
        lowering=prepared.program.lowering,
        start=env.start,
        seed=seed,
        passes=tuple(passes),
        costs={"instruction_count": float(counts[-1]), "text_size": float(env.session.text_size())},
        baselines=baseline_costs(prepared),
        best_count=float(counts[best]),
        best_length=min(best, len(passes)),
        hash=env.session.hash(),
        start_passes=START_PASSES[env.start],
        seconds=seconds,
        error=f"{info['error']['class']}: {info['error']['message']}" if "error" in info else None,
    )


def _batch(observation: Any) -> Any:
    """A batch of one."""
    if isinstance(observation, dict):
        return {name: _batch(part) for name, part in observation.items()}
    return observation[None] if isinstance(observation, np.ndarray) else [observation]


def baseline_costs(prepared: PreparedProgram) -> dict[str, dict[str, float]]:
    """Instruction count and text size at O0, Oz and O3."""
    return {metric: {level: prepared.cost(metric, level) for level in REPORTED_LEVELS} for metric in REPORTED_METRICS}


def evaluate(contender: Contender, programs: Any, seed: int) -> Iterator[EpisodeRecord]:
    """Roll out one contender on every program of a set; yields as episodes end."""
    env = contender.env.make(programs).unwrapped
    assert isinstance(env, PassOrderingEnv)
    try:
        for episode in range(contender.episodes):
            policy = contender.make(env, seed + episode)
            for uri in env.programs.uris:
                yield run_episode(env, policy, contender.name, uri, seed + episode, contender.deterministic)
    finally:
        env.close()


class Row(NamedTuple):
    """A contender's score over a set.

    Attributes:
        instructions: geomean over programs of count(-Oz) / count(agent), with its interval; None when all failed.
        text: the same for bytes of .text.
        failures: episodes that ended in an error; their programs are not part of the means.
        not_worse: share of programs on which the agent is at least as good as -Oz.
        seconds: mean wall-clock time of an episode.
    """

    name: str
    programs: int
    instructions: Interval | None
    text: Interval | None
    not_worse: float
    failures: int
    seconds: float


def ratios_by_program(records: Iterable[EpisodeRecord], metric: str) -> dict[str, float]:
    """Mean over a program's episodes (in logarithms) of baseline over cost."""
    logs: dict[str, list[float]] = {}
    for record in records:
        if record.error is None:
            logs.setdefault(record.program, []).append(float(np.log(record.ratio(metric))))
    return {program: float(np.exp(np.mean(values))) for program, values in logs.items()}


def summarize(name: str, records: Sequence[EpisodeRecord]) -> Row:
    """The row of one contender."""
    counts = ratios_by_program(records, "instruction_count")
    texts = ratios_by_program(records, "text_size")
    return Row(
        name=name,
        programs=len(counts),
        instructions=bootstrap_geomean(list(counts.values())) if counts else None,
        text=bootstrap_geomean(list(texts.values())) if texts else None,
        not_worse=sum(ratio >= 1.0 - 1e-12 for ratio in counts.values()) / max(len(counts), 1),
        failures=sum(record.error is not None for record in records),
        seconds=float(np.mean([record.seconds for record in records])),
    )


def by_agent(records: Iterable[EpisodeRecord]) -> dict[str, list[EpisodeRecord]]:
    """Records grouped by agent, in order of appearance."""
    groups: dict[str, list[EpisodeRecord]] = {}
    for record in records:
        groups.setdefault(record.agent, []).append(record)
    return groups


def program_table(records: Sequence[EpisodeRecord]) -> Table:
    """Per program: instructions at O0, -Oz, -O3 and by the agent, and the ratios to -Oz for instructions and .text."""
    title = f"{records[0].agent}: {_episode_text(records[0])}"
    caption = "ratios are -Oz / agent, for instructions and for bytes of .text"
    table = Table(title=escape(title), caption=caption, box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("program", overflow="fold")
    for column in ("O0", "-Oz", "-O3", "agent", "ratio", ".text"):
        table.add_column(column, justify="right", no_wrap=True)
    for record in sorted(records, key=lambda item: item.program):
        name = escape(record.program.split("://")[-1])
        if record.error is not None:
            table.add_row(name, f"[red]{escape(record.error)}[/red]")
            continue
        count = record.baselines["instruction_count"]
        cells = [count["O0"], count["Oz"], count["O3"], record.costs["instruction_count"]]
        ratios = (_ratio_text(record.ratio(metric)) for metric in REPORTED_METRICS)
        table.add_row(name, *(f"{cell:.0f}" for cell in cells), *ratios)
    return table


def summary_table(rows: Sequence[Row], title: str) -> Table:
    """One line per contender: geomean against -Oz with its 95% interval."""
    caption = "geomean over programs of -Oz / agent [95% bootstrap interval]; above 1 is smaller than -Oz"
    title = f"{title}: {max(row.programs for row in rows)} programs"
    table = Table(title=escape(title), caption=escape(caption), box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("agent", overflow="fold")
    for column in ("instructions", "bytes of .text", "≥ -Oz", "failed"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        intervals = (_interval_text(row.instructions), _interval_text(row.text))
        table.add_row(escape(row.name), *intervals, f"{row.not_worse:.0%}", str(row.failures))
    return table


def rows_of(records: Iterable[EpisodeRecord]) -> list[Row]:
    """A row per agent, and one for -Oz itself."""
    groups = by_agent(records)
    rows = [summarize(name, group) for name, group in groups.items()]
    if "-Oz" in groups:
        return rows
    parity = Interval(1.0, 1.0, 1.0)
    programs = len({record.program for group in groups.values() for record in group})
    return [*rows, Row("-Oz", programs, parity, parity, 1.0, 0, 0.0)]


def rows_as_mappings(rows: Iterable[Row]) -> list[Mapping[str, Any]]:
    """Rows as plain values for JSON."""
    return [
        {
            **row._asdict(),
            "instructions": row.instructions and row.instructions._asdict(),
            "text": row.text and row.text._asdict(),
        }
        for row in rows
    ]


def _episode_text(record: EpisodeRecord) -> str:
    start = f"from {record.start}" if record.start == "O0" else f"after -Oz ({record.start_passes} passes of its own)"
    return f"{start}, lowering {record.lowering}"


def _ratio_text(ratio: float) -> str:
    color = "green" if ratio > 1.0 else "red" if ratio < 1.0 else ""
    return f"[{color}]{ratio:.3f}[/{color}]" if color else f"{ratio:.3f}"


def _interval_text(interval: Interval | None) -> str:
    if interval is None:
        return "-"
    return escape(f"{interval.mean:.3f} [{interval.low:.3f}, {interval.high:.3f}]")
