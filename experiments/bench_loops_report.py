"""The tables of the loops benchmark: peers by set, ratios with intervals, and aims beside what was found."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from compiler_dojo.envs.loops.notation import parse_text
from compiler_dojo.experiments.bench_loops import Entry, Results
from compiler_dojo.experiments.statistics import Interval, bootstrap_geomean, geomean

LOOPTUNE, FULL, TUNE = "looptune", "full", "tune"
"""Names under which the agents of the two action sets appear among the peers."""

LEAST_CPU_SHARE = 0.95
"""Of the CPUs that a kernel has threads for; below it others used the machine, and the figures are disturbed."""

MOST_ROWS = 30
"""Workloads that are listed one by one."""


class Aim(NamedTuple):
    """A figure that is aimed at.

    Attributes:
        measure: what is measured.
        aim: what is aimed at.
        measured: what was found, or why nothing was.
        verdict: ``reached``, ``missed`` or ``not measured``.
    """

    measure: str
    aim: str
    measured: str
    verdict: str


def report(results: Results, console: Console) -> None:
    """Print everything."""
    if len({entry.workload for entry in results.entries}) <= MOST_ROWS:
        console.print(workload_table(results))
    console.print(peer_table(results))
    console.print(conditions(results), soft_wrap=True, highlight=False)
    if disturbance(results):
        console.print(disturbance(results), style="yellow", soft_wrap=True, highlight=False)
    console.print(ratio_table(results))
    console.print(aim_table(results))
    for name, why in results.unavailable.items():
        console.print(f"{name} was not measured: {escape(why)}", soft_wrap=True, highlight=False)


def conditions(results: Results) -> str:
    """What the tables' figures were measured with, in a few sentences."""
    return (
        f"{results.cpu}, compiled for {results.target}: measured peak {results.peak:.1f} GFLOP/s per core in float32. "
        "Geometric means over workloads, at the median and at the best sample; of peak: of what multiply-adds alone "
        "reached in turn with them, at medians. Clock C: the timing loop is native; "
        "Python: each evaluation is called from Python, and that is part of its time. Tuning: choosing, compiling, "
        "and for MetaSchedule what it took when it was done."
    )


def disturbance(results: Results) -> str:
    """Which kernels did not get the CPUs that they have threads for, or empty."""
    known = [entry for entry in results.entries if entry.cpus]
    disturbed = [entry for entry in known if entry.cpus < LEAST_CPU_SHARE * entry.threads]
    if not disturbed:
        return ""
    least = min(entry.cpus / entry.threads for entry in disturbed)
    return (
        f"DISTURBED: in {len(disturbed)} of {len(known)} measurements others used the machine, and the kernel had as "
        f"little as {least:.0%} of its CPUs. Medians are not to be trusted: measure again on an idle machine."
    )


def workload_table(results: Results) -> Table:
    """GFLOP/s of every peer on every workload."""
    names = peer_names(results)
    table = Table(title="GFLOP/s at the median sample")
    table.add_column("workload", overflow="fold")
    for name in names:
        table.add_column(name, justify="right")
    for workload in dict.fromkeys(entry.workload for entry in results.entries):
        found = {entry.peer: entry for entry in results.entries if entry.workload == workload}
        cells = [f"{found[name].gflops:.1f}" if name in found and not found[name].error else "-" for name in names]
        table.add_row(escape(workload), *cells)
    return table


def peer_table(results: Results) -> Table:
    """Each peer on each set: geometric means, tuning time, and how it is called."""
    settings = results.settings
    table = Table(
        title=f"one thread, pinned (xN: N threads), {settings.repeats} rounds in turn "
        f"of samples of {settings.min_seconds * 1e3:g} ms",
    )
    for column in ("set", "peer", "clock", "GFLOP/s", "best", "of peak", "tuning s", "workloads"):
        table.add_column(column, justify="left" if column in ("set", "peer", "clock") else "right")
    for group in dict.fromkeys(entry.group for entry in results.entries):
        for name in peer_names(results):
            entries = [entry for entry in results.entries if (entry.group, entry.peer) == (group, name)]
            good = [entry for entry in entries if not entry.error]
            count = f"{len(good)} of {len(entries)}"
            if not good:
                table.add_row(group, name, "", "", "", "", "", count)
                continue
            mean = geomean([entry.gflops for entry in good])
            best = geomean([entry.gflops * entry.median_seconds / entry.best_seconds for entry in good])
            tuning = statistics.median(entry.tuning_seconds for entry in good)
            table.add_row(
                group,
                name,
                good[0].clock,
                f"{mean:.1f}",
                f"{best:.1f}",
                f"{geomean([share_of_peak(entry) for entry in good]):.2f}",
                f"{tuning:.3g}",
                count,
            )
        table.add_section()
    return table


def share_of_peak(entry: Entry) -> float:
    """GFLOP/s of each thread over those that multiply-adds alone reached in turn with them."""
    return entry.gflops / entry.peak / entry.threads


def ratio_table(results: Results) -> Table:
    """How many times faster every own peer is than every other, on workloads that both compute."""
    own = [name for name in peer_names(results) if name in results.own]
    table = Table(title="times faster, geometric mean (95% bootstrap interval over workloads), at medians")
    table.add_column("set")
    table.add_column("over")
    for name in own:
        table.add_column(name, justify="right")
    for group in dict.fromkeys(entry.group for entry in results.entries):
        for other in peer_names(results):
            cells = [_interval(ratio(results, name, other, _within(group))) for name in own]
            table.add_row(group, other, *(cell if name != other else "" for name, cell in zip(own, cells, strict=True)))
        table.add_section()
    return table


def aim_table(results: Results) -> Table:
    """What is aimed at beside what was measured."""
    table = Table("measure", "aim", "measured", "verdict", title="aims")
    styles = {"reached": "green", "missed": "yellow", "not measured": "dim"}
    for row in aims(results):
        table.add_row(row.measure, row.aim, escape(row.measured), f"[{styles[row.verdict]}]{row.verdict}[/]")
    return table


def peer_names(results: Results) -> list[str]:
    """Peers in the order in which they were given."""
    return list(dict.fromkeys(entry.peer for entry in results.entries))


Choice = Callable[[Entry], bool]


def ratio(results: Results, ours: str, theirs: str | Sequence[str], chosen: Choice) -> Interval | None:
    """How many times faster one peer is than another, or than the best of several, on the chosen workloads.

    Returns:
        Over workloads that both compute; None if there are none.
    """
    others = [theirs] if isinstance(theirs, str) else theirs
    seconds: dict[str, dict[str, float]] = {}
    for entry in results.entries:
        if not entry.error and chosen(entry):
            seconds.setdefault(entry.workload, {})[entry.peer] = entry.median_seconds
    ratios = [
        min(times[name] for name in others if name in times) / times[ours]
        for times in seconds.values()
        if ours in times and any(name in times for name in others)
    ]
    return bootstrap_geomean(ratios) if ratios else None


def aims(results: Results) -> Iterator[Aim]:
    """The aims of this benchmark, each with what was found."""
    held_out = _of("looptune:test")
    products = "held-out products"
    yield _at_least(
        f"{products}, looptune actions, over the start nest", 3.2, ratio(results, LOOPTUNE, "start", held_out)
    )
    shares = [share_of_peak(entry) for entry in _good(results, FULL) if held_out(entry)]
    yield _at_least(
        f"{products}, full actions, share of peak", 0.90, bootstrap_geomean(shares) if shares else None, unit=""
    )
    yield _at_least(f"{products}, full actions, over numpy", 1.10, ratio(results, FULL, "numpy", held_out))
    yield _at_least(f"{products}, full actions, over sgemm", 1.03, ratio(results, FULL, "sgemm", held_out))
    for size in (384, 512, 1024):
        yield _at_least(f"{size}^3 over numpy", 1.0, ratio(results, FULL, "numpy", _cube(size)))
    for size in (128, 256, 512):
        yield _at_least(
            f"{size}^3 over MetaSchedule, 64 trials", 1.3, ratio(results, FULL, "metaschedule", _cube(size))
        )
    tuning = [entry.tuning_seconds for entry in _good(results, FULL) if held_out(entry)]
    yield _at_most("tuning of a held-out product, longest", 0.5, max(tuning, default=None), "s")
    compiling = [1e3 * entry.tuning_seconds for entry in _good(results, "start") if held_out(entry)]
    compiling_median = statistics.median(compiling) if compiling else None
    yield _at_most("code for a held-out product's start nest, median", 5, compiling_median, "ms")
    for group in ("convolutions", "batched", "mttkrp"):
        best = ratio(results, FULL, ("numpy", "sgemm", "gcc"), _of(group))
        yield _at_least(f"{group} over the best of numpy, sgemm and gcc", 1.5, best)
    yield _at_most("environment step without measuring", 50, results.step_microseconds, "us")
    yield _at_most("environment step with measuring, 128^3", 20, results.measured_step_milliseconds, "ms")
    for size in (512, 1024):
        yield _at_least(f"{size}^3, two threads over one", 1.8, ratio(results, f"{TUNE} x2", TUNE, _cube(size)))


def _good(results: Results, peer: str) -> list[Entry]:
    return [entry for entry in results.entries if entry.peer == peer and not entry.error]


def _of(prefix: str) -> Choice:
    return lambda entry: entry.group.startswith(prefix)


def _within(group: str) -> Choice:
    return lambda entry: entry.group == group


def _cube(size: int) -> Choice:
    def chosen(entry: Entry) -> bool:
        workload = parse_text(entry.workload)
        return workload.expression == "mk,kn->mn" and set(workload.sizes.values()) == {size}

    return chosen


def _at_least(measure: str, limit: float, found: Interval | None, unit: str = "x") -> Aim:
    aim = f">= {limit:.2f}{unit}"
    if found is None:
        return Aim(measure, aim, "", "not measured")
    return Aim(measure, aim, _interval(found, unit), "reached" if found.mean >= limit else "missed")


def _at_most(measure: str, limit: float, found: float | None, unit: str) -> Aim:
    if found is None:
        return Aim(measure, f"<= {limit:g} {unit}", "", "not measured")
    return Aim(measure, f"<= {limit:g} {unit}", f"{found:.3g} {unit}", "reached" if found <= limit else "missed")


def _interval(found: Interval | None, unit: str = "x") -> str:
    return "" if found is None else f"{found.mean:.2f}{unit} ({found.low:.2f}..{found.high:.2f})"
