"""The benchmark's tables: one environment against the bare C loop, what is aimed at, and the peer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from compiler_dojo.experiments.bench import Measurement, Spread
from compiler_dojo.experiments.peer import PeerFailure, PeerMeasurement, peer_table
from compiler_dojo.experiments.throughput import CacheGain, Memory, Throughput


class Target(NamedTuple):
    """A figure that is aimed at.

    Attributes:
        measure: what is measured.
        aim: what is aimed at, and what the peer needs.
        measured: what was measured.
        reached: whether the aim was reached in this run.
    """

    measure: str
    aim: str
    measured: str
    reached: bool


class Results(NamedTuple):
    """Everything that was measured."""

    sizes: Sequence[Measurement]
    throughput: Throughput
    drawn: CacheGain
    likeliest: CacheGain
    memory: Memory


def targets(results: Results) -> list[Target]:
    """What is aimed at beside what was measured."""
    small = _nearest(results.sizes, 242)
    large = _nearest(results.sizes, 1246)
    throughput, memory = results.throughput, results.memory
    exact = sum(size.forks_exact for size in results.sizes)
    rows = [
        _at_most(f"isolated step over the C loop, {small.instructions} instructions", small.overhead.median, 40, "us"),
        _at_most(f"step, {small.instructions} instructions", small.step.median / 1e3, 0.15, "ms", "0.67"),
        _at_most("warm reset, same program", small.reset.median / 1e3, 0.2, "ms", "3.0"),
        _at_most("fork, same program", small.fork.median / 1e3, 0.2, "ms", "16, inexact"),
        Target("forks are exact", "all", f"{exact} of {len(results.sizes)} programs", exact == len(results.sizes)),
        _at_most(f"program graph, {large.instructions} instructions", large.graph.median / 1e3, 1.0, "ms", "142"),
        Target(
            "16 environments, random passes, cache off",
            ">= 1.8x one core's C loop",
            f"{throughput.speedup:.2f}x, {throughput.steps_per_second:.0f} steps/s "
            f"(the bare loop with a thread per core: {throughput.scaling:.2f}x; on one core, in turn on 16 modules: "
            f"{throughput.locality:.2f}x)",
            throughput.speedup >= 1.8,
        ),
    ]
    for how, cache in (("drawing", results.drawn), ("taking the likeliest", results.likeliest)):
        rows.append(
            Target(
                f"the same, a trained policy {how} actions, cache on",
                ">= 4x cache off",
                f"{cache.gain:.1f}x, hit rate {cache.hit_rate:.1%} (first round {cache.first_hit_rate:.1%}), "
                f"{cache.mebibytes:.0f} MiB",
                cache.gain >= 4.0,
            )
        )
    each = memory.megabytes_per_session
    rows.append(_at_most(f"memory of a session, {memory.instructions} instructions", each, 5, "MB"))
    growth = f"{memory.growth_megabytes:+.1f} MB per million steps, over {memory.steps} steps"
    rows.append(Target("growth of the worker", "none", growth, memory.growth_megabytes < 5.0))
    return rows


def _at_most(measure: str, value: float, limit: float, unit: str, peer: str = "") -> Target:
    aim = f"<= {limit:g} {unit}" + (f" (peer {peer})" if peer else "")
    return Target(measure, aim, f"{value:.3g} {unit}", value <= limit)


def _nearest(sizes: Sequence[Measurement], instructions: int) -> Measurement:
    return min(sizes, key=lambda size: abs(size.instructions - instructions))


def report_sizes(sizes: Sequence[Measurement], console: Console) -> None:
    """Print the tables of one environment."""
    quantiles = "medians in us (10th..90th percentile)"
    table = Table(title=f"one step: default observation, -Oz reward, uniformly random passes; {quantiles}")
    for column in ("program", "O0 / Oz", "step", "pass in C", "walk in C", "overhead", "in process"):
        table.add_column(column, justify="left" if column == "program" else "right")
    for size in sizes:
        spreads = size.step, size.floor_pass, size.floor_walk, size.overhead, size.overhead_in_process
        counts = f"{size.instructions} / {size.instructions_oz}"
        table.add_row(_short(size), counts, *(_spread(spread) for spread in spreads))
    console.print(table)
    table = Table(title=f"other calls; {quantiles}")
    for column in ("program", "reset", "reset, parsed", "fork", "fork, parsed", "exact", "45 passes", "graph"):
        table.add_column(column, justify="left" if column == "program" else "right")
    for size in sizes:
        cells = [_spread(spread) for spread in (size.reset, size.reset_parsed, size.fork, size.fork_parsed)]
        exact = "yes" if size.forks_exact else "[red]no[/red]"
        table.add_row(_short(size), *cells, exact, _spread(size.multistep), _spread(size.graph))
    console.print(table)


def report_peer(
    sizes: Sequence[Measurement], theirs: Sequence[PeerMeasurement | PeerFailure] | None, console: Console
) -> None:
    """Print our medians beside the peer's."""
    console.print(peer_table([size.timings for size in sizes], theirs))


def report_targets(results: Results, console: Console) -> None:
    """Print what is aimed at beside what was measured."""
    table = Table("measure", "aim", "measured", "reached", title="aims; medians on this machine, now")
    for row in targets(results):
        table.add_row(row.measure, row.aim, row.measured, "yes" if row.reached else "[yellow]no[/yellow]")
    console.print(table)


def _short(size: Measurement) -> str:
    return size.program.split("://")[-1]


def _spread(spread: Spread) -> str:
    return f"{spread.median:.0f} ({spread.low:.0f}..{spread.high:.0f})"
