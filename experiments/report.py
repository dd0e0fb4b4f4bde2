"""The picture of a run: per-program gain over -Oz, the summary with intervals, and the learning curve."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from compiler_dojo.experiments.evaluation import Row, by_agent, ratios_by_program, rows_of
from compiler_dojo.experiments.records import RECORDS, EpisodeRecord, read_records

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LOGS, PICTURE = "logs", "report.png"
COLORS = ("#3b6fb6", "#8c8c8c", "#c9803b", "#4f9d69", "#8a6fb0")


def draw_run(out: Path) -> Path:
    """Draw ``report.png`` from a run folder's records and logs."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    records = list(read_records(out / RECORDS))
    figure, (bars, summary, curve) = pyplot.subplots(
        1, 3, figsize=(17, 6.5), width_ratios=[2.2, 1, 1.2], layout="constrained"
    )
    _draw_programs(bars, records)
    _draw_summary(summary, rows_of(records))
    _draw_curve(curve, out / LOGS / "progress.csv")
    path = out / PICTURE
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
    return path


def _draw_programs(axes: Axes, records: Sequence[EpisodeRecord]) -> None:
    """Per cent fewer instructions than -Oz, a bar per program and agent; the random policy would dwarf the others."""
    ratios = {name: ratios_by_program(group, "instruction_count") for name, group in by_agent(records).items()}
    colors = dict(zip(ratios, itertools.cycle(COLORS), strict=False))
    ratios = {name: values for name, values in ratios.items() if not name.startswith("random")}
    programs = sorted({program for values in ratios.values() for program in values})
    height = 0.8 / max(len(ratios), 1)
    for index, (name, values) in enumerate(ratios.items()):
        positions = [row + index * height for row, program in enumerate(programs) if program in values]
        gains = [100.0 * (1.0 - 1.0 / values[program]) for program in programs if program in values]
        axes.barh(positions, gains, height, label=name, color=colors[name])
    axes.set_yticks([row + 0.4 - height / 2 for row in range(len(programs))], [p.split("://")[-1] for p in programs])
    axes.invert_yaxis()
    axes.axvline(0.0, color="black", linewidth=1)
    axes.set_xlabel("% fewer instructions than clang -Oz (right is better)")
    axes.set_title("held-out programs")
    axes.legend(loc="best", frameon=False)


def _draw_summary(axes: Axes, rows: Sequence[Row]) -> None:
    """Geometric means with their 95% intervals."""
    for index, row in enumerate(rows):
        if row.instructions is None:
            continue
        mean, low, high = row.instructions
        color = COLORS[index % len(COLORS)] if row.name != "-Oz" else "black"
        axes.errorbar(mean, index, xerr=[[mean - low], [high - mean]], fmt="o", color=color, capsize=4)
        axes.annotate(f"{mean:.3f}", (mean, index), xytext=(0, 8), textcoords="offset points", ha="center")
    axes.set_yticks(range(len(rows)), [row.name.replace(" (", "\n(") for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.axvline(1.0, color="black", linewidth=1, linestyle=":")
    axes.set_xlabel("-Oz / agent, geomean [95% interval]")
    axes.set_title("over all held-out programs")


def _draw_curve(axes: Axes, path: Path) -> None:
    """Mean return of training episodes against environment steps."""
    from matplotlib.ticker import EngFormatter, MaxNLocator

    steps, returns = [], []
    if path.exists():
        with path.open() as file:
            for line in csv.DictReader(file):
                # an interrupted run leaves a row that was cut short
                if line.get("rollout/ep_rew_mean") and line.get("time/total_timesteps"):
                    steps.append(int(float(line["time/total_timesteps"])))
                    returns.append(float(line["rollout/ep_rew_mean"]))
    axes.plot(steps, returns, color=COLORS[0])
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(EngFormatter())
    axes.set_xlabel("environment steps")
    axes.set_ylabel("mean return of training episodes")
    axes.set_title("learning curve (PPO, exploring)")
