"""Agents' nests for loop workloads, measured in turn with the start nest: a record each, and a table that sums up."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from compiler_dojo.envs.errors import InvalidConfigError, InvalidRecordError
from compiler_dojo.envs.loop_schedule import LoopScheduleEnv
from compiler_dojo.envs.loops.nest import Nest, start_nest
from compiler_dojo.envs.loops.targets import Target, find_target
from compiler_dojo.envs.loops.workload import Workload
from compiler_dojo.envs.loops.workloads import load_workloads
from compiler_dojo.experiments.bench_loops import Settings, prepare_checked, time_in_turn
from compiler_dojo.experiments.config import from_mapping
from compiler_dojo.experiments.loop_agents import Choice, LoopContender
from compiler_dojo.experiments.loop_config import LoopEnvConfig
from compiler_dojo.experiments.loop_own import OurPeer
from compiler_dojo.experiments.loop_peak import peak_in_turn
from compiler_dojo.experiments.loop_peers import PreparedKernel, allocate
from compiler_dojo.experiments.statistics import Interval, bootstrap_geomean

START = "start"


@dataclass(frozen=True)
class MeasuringSettings(Settings):
    """How the chosen nests are timed at the end: rounds in which each gives one sample, of which the best counts."""

    repeats: int = 15
    min_seconds: float = 5e-3


@dataclass(frozen=True)
class LoopRecord:
    """An agent's nest for a workload; the actions make it again.

    Attributes:
        agent: who chose.
        workload: text, for :func:`~compiler_dojo.envs.loops.workloads.load_workloads`.
        env: settings of the environment the actions were taken in, its target included.
        seed: of the agent.
        actions: names of those taken, in order.
        nest: text of the nest at the end.
        start_gflops: of the nest at the start, in the best sample.
        gflops: of the agent's nest, in the best sample.
        start_median: as start_gflops, at the median sample.
        median: as gflops, at the median sample.
        peak: GFLOP/s that the machine reached on multiply-adds alone, in samples taken in turn with the others.
        seconds: from the workload to the compiled kernel, what the agent measured included.
        measurements: nests that the agent measured.
        error: why there are no times, or empty.
    """

    agent: str
    workload: str
    env: LoopEnvConfig
    seed: int
    actions: tuple[str, ...]
    nest: str
    start_gflops: float
    gflops: float
    start_median: float
    median: float
    peak: float
    seconds: float
    measurements: int
    error: str = ""

    @property
    def ratio(self) -> float:
        """How many times as fast as the start nest."""
        return self.gflops / self.start_gflops


def evaluate(
    contenders: Sequence[LoopContender],
    workloads: Iterable[Workload],
    target: str,
    settings: Settings,
    seed: int = 0,
) -> Iterator[list[LoopRecord]]:
    """Let every contender choose its nest for a workload, then time all of these in turn; a workload's at a time.

    Args:
        contenders: whose names differ; they act for the same target.
        workloads: what is scheduled.
        target: what the start nest is compiled for.
        settings: how nests are timed.
        seed: of the contenders.

    Raises:
        InvalidConfigError: contenders share a name or act for other targets.
    """
    names = [START, *(contender.name for contender in contenders)]
    if len(set(names)) < len(names):
        raise InvalidConfigError(f"agents are told apart by their names, got {', '.join(names)}")
    for contender in contenders:
        if contender.env.target != target:
            raise InvalidConfigError(
                f"{contender.name} acts for {contender.env.target} and is compared on {target}: give --target"
            )
    compiled_for = find_target(target)
    for workload in workloads:
        choices = {contender.name: choose(contender, workload, seed) for contender in contenders}
        nests = {START: start_nest(workload), **{name: choice.nest for name, choice in choices.items()}}
        timed = _time(nests, compiled_for, settings)
        yield [_record(item, choices[item.name], timed, workload, seed) for item in contenders]


class _Timed(NamedTuple):
    """Samples of a workload's nests.

    Attributes:
        seconds: of an evaluation, by agent.
        errors: why an agent has none.
        compile_seconds: for generating and compiling code, by agent.
        peak: GFLOP/s of multiply-adds alone, in samples taken in turn with the others.
    """

    seconds: dict[str, list[float]]
    errors: dict[str, str]
    compile_seconds: dict[str, float]
    peak: float


def _time(nests: Mapping[str, Nest], target: Target, settings: Settings) -> _Timed:
    """Time nests of one workload in turn, each after its result was checked."""
    workload = nests[START].workload
    operands = allocate(workload, settings.seed)
    kernels: dict[str, PreparedKernel] = {}
    errors: dict[str, str] = {}
    for name, nest in nests.items():
        kernel = prepare_checked(OurPeer(name, _constant(nest), target), workload, operands)
        if isinstance(kernel, PreparedKernel):
            kernels[name] = kernel
        else:
            errors[name] = kernel
    peak, flops = peak_in_turn(target, workload.dtype)
    samples = time_in_turn({**kernels, "": peak}, settings)
    seconds = {name: [sample[0] for sample in samples[name]] for name in samples}
    compiling = {name: kernel.tuning_seconds for name, kernel in kernels.items()}
    return _Timed(seconds, errors, compiling, flops / min(seconds.pop("")) / 1e9)


def choose(contender: LoopContender, workload: Workload, seed: int) -> Choice:
    """What a contender chooses for a workload."""
    env = contender.env.make(workload, contender.reward)
    observation, _ = env.reset(seed=seed)
    return contender.choose(env, observation, seed)


def _constant(nest: Nest) -> Callable[[Workload], Nest]:
    return lambda workload: nest


def _record(contender: LoopContender, choice: Choice, timed: _Timed, workload: Workload, seed: int) -> LoopRecord:
    error = timed.errors.get(contender.name) or timed.errors.get(START) or ""

    def gflops(name: str, statistic: Callable[[Sequence[float]], float]) -> float:
        return 0.0 if error else workload.flops / statistic(timed.seconds[name]) / 1e9

    return LoopRecord(
        agent=contender.name,
        workload=str(workload),
        env=contender.env,
        seed=seed,
        actions=choice.actions,
        nest=str(choice.nest),
        start_gflops=gflops(START, min),
        gflops=gflops(contender.name, min),
        start_median=gflops(START, median),
        median=gflops(contender.name, median),
        peak=timed.peak,
        seconds=choice.seconds + timed.compile_seconds.get(contender.name, 0.0),
        measurements=choice.measurements,
        error=error,
    )


def replay(record: LoopRecord) -> Nest:
    """The nest that a record's actions make.

    Raises:
        InvalidRecordError: it is not the one that the record holds.
    """
    (workload,) = load_workloads(record.workload)
    config = record.env
    env = LoopScheduleEnv(
        workload, config.actions, _Worthless(), None, max(len(record.actions), 1), config.stop, config.target,
        config.threads,
    )  # fmt: skip
    env.reset()
    for action in record.actions:
        env.step(action)
    if str(env.nest) != record.nest:
        raise InvalidRecordError(f"the actions of {record.agent} for {record.workload} make another nest:\n{env.nest}")
    return env.nest


class _Worthless:
    """Values no nest, and so neither compiles nor measures."""

    deterministic = True
    platform_dependent = False

    def gflops(self, nest: Nest) -> float:
        return 0.0

    def peak(self, dtype: str = "float32", threads: int = 1) -> float:
        return 1.0


def write_loop_records(path: Path, records: Iterable[LoopRecord]) -> None:
    """Append records, one JSON object a line."""
    with path.open("a") as file:
        for record in records:
            file.write(json.dumps(dataclasses.asdict(record)) + "\n")


def read_loop_records(path: Path) -> Iterator[LoopRecord]:
    """Read what :func:`write_loop_records` wrote.

    Raises:
        InvalidRecordError: a line that is not a record; the message names the line.
    """
    with path.open(errors="replace") as file:
        for number, line in enumerate(file, 1):
            yield _read_record(line, f"{path}:{number}")


def _read_record(line: str, where: str) -> LoopRecord:
    try:
        return from_mapping(LoopRecord, json.loads(line))
    except (ValueError, TypeError, AttributeError) as error:
        raise InvalidRecordError(f"{where} is not a record of loop nests: {error}") from error


class LoopRow(NamedTuple):
    """A contender's score over a set.

    Attributes:
        agent: name.
        workloads: that it has a measured nest for.
        gflops: geomean.
        ratio: geomean over the start nest, with its interval; None when all failed.
        share: geomean of the share of the peak, with its interval.
        seconds: median from workload to kernel.
        measurements: mean.
        failures: workloads without a measured nest; they are not part of the means.
    """

    agent: str
    workloads: int
    gflops: float
    ratio: Interval | None
    share: Interval | None
    seconds: float
    measurements: float
    failures: int


def rows_of(records: Sequence[LoopRecord]) -> list[LoopRow]:
    """A row per agent, in order of appearance."""
    rows = []
    for agent in dict.fromkeys(record.agent for record in records):
        own = [record for record in records if record.agent == agent]
        good = [record for record in own if not record.error]
        shares = [record.gflops / record.peak for record in good]
        rows.append(
            LoopRow(
                agent=agent,
                workloads=len(good),
                gflops=float(np.exp(np.mean(np.log([record.gflops for record in good])))) if good else 0.0,
                ratio=bootstrap_geomean([record.ratio for record in good]) if good else None,
                share=bootstrap_geomean(shares) if good else None,
                seconds=float(np.median([record.seconds for record in own])),
                measurements=float(np.mean([record.measurements for record in own])),
                failures=len(own) - len(good),
            )
        )
    return rows


def rows_as_mappings(rows: Iterable[LoopRow]) -> list[dict[str, Any]]:
    """Rows as plain values for JSON."""
    return [
        {**row._asdict(), "ratio": row.ratio and row.ratio._asdict(), "share": row.share and row.share._asdict()}
        for row in rows
    ]


def workload_table(records: Sequence[LoopRecord]) -> Table:
    """Per workload and agent: GFLOP/s at the start and of the agent, their ratio, share of the peak, seconds."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in ("workload", "agent"):
        table.add_column(column, overflow="fold")
    for column in ("start", "agent's", "ratio", "share", "seconds", "measured"):
        table.add_column(column, justify="right", no_wrap=True)
    for record in records:
        if record.error:
            table.add_row(escape(record.workload), escape(record.agent), f"[red]{escape(record.error)}[/red]")
            continue
        figures = (f"{record.start_gflops:.1f}", f"{record.gflops:.1f}", f"{record.ratio:.2f}")
        share, seconds = f"{record.gflops / record.peak:.0%}", f"{record.seconds:.3f}"
        table.add_row(escape(record.workload), escape(record.agent), *figures, share, seconds, str(record.measurements))
    return table


def summary_table(rows: Sequence[LoopRow], title: str, records: Sequence[LoopRecord]) -> Table:
    """One line per agent: geomean over the start nest and of the share of peak, with their 95% intervals."""
    start = [record.start_gflops for record in records if record.agent == records[0].agent and not record.error]
    peak = max(record.peak for record in records)
    caption = "geomeans over workloads [95% bootstrap interval]; nests timed in turn, best samples"
    if start:
        caption += (
            f"\nstart nest {np.exp(np.mean(np.log(start))):.1f} GFLOP/s, peak {peak:.1f} ({records[0].env.target})"
        )
    title = f"{title}: {max(row.workloads for row in rows)} workloads"
    table = Table(title=escape(title), caption=escape(caption), box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("agent", overflow="fold")
    for column in ("GFLOP/s", "over the start nest", "share of peak", "seconds", "measured", "failed"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            escape(row.agent),
            f"{row.gflops:.1f}",
            _interval(row.ratio, 2),
            _interval(row.share, 3),
            f"{row.seconds:.3f}",
            f"{row.measurements:g}",
            str(row.failures),
        )
    return table


def _interval(interval: Interval | None, digits: int) -> str:
    if interval is None:
        return "-"
    return escape(f"{interval.mean:.{digits}f} [{interval.low:.{digits}f}, {interval.high:.{digits}f}]")
