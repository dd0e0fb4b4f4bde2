"""The roofline picture: GFLOP/s against arithmetic intensity, under the measured peak and bandwidths.

Williams, Waterman and Patterson, "Roofline", CACM 52(4), 2009.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from compiler_dojo.experiments.bench_loops import Results
from compiler_dojo.experiments.report import COLORS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARKERS = "os^Dv"


def draw_roofline(results: Results, path: Path) -> None:
    """Draw a point for every workload and peer; own peers are filled, others hollow.

    Args:
        results: what was measured; failures, and kernels of several threads, are left out.
        path: the PNG file.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    good = [entry for entry in results.entries if not entry.error and entry.threads == 1]
    figure, axes = pyplot.subplots(figsize=(9.5, 6.0), layout="constrained")
    low = min((entry.intensity for entry in good), default=1.0) / 2
    high = max((entry.intensity for entry in good), default=10.0) * 2
    _draw_roofs(axes, results, low, high)
    for number, name in enumerate(dict.fromkeys(entry.peer for entry in good)):
        entries = [entry for entry in good if entry.peer == name]
        color = COLORS[number % len(COLORS)]
        axes.plot(
            [entry.intensity for entry in entries],
            [entry.gflops for entry in entries],
            linestyle="none",
            marker=MARKERS[(number + number // len(COLORS)) % len(MARKERS)],
            markersize=7,
            markeredgecolor=color,
            markerfacecolor=color if name in results.own else "none",
            label=name,
        )
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    axes.set_xlim(low, high)
    axes.set_ylim(min((entry.gflops for entry in good), default=1.0) / 1.5, 1.5 * results.peak)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("floating-point operations per byte, if every operand is moved once")
    axes.set_ylabel("GFLOP/s, one thread")
    axes.set_title(f"{results.cpu}, target {results.target}", loc="left", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    if good:
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _draw_roofs(axes: Axes, results: Results, low: float, high: float) -> None:
    axes.axhline(results.peak, color="black", linewidth=1.5)
    axes.annotate(
        f"peak {results.peak:.0f} GFLOP/s", (high, results.peak), (-4, 4), textcoords="offset points", ha="right"
    )
    for level, bandwidth in results.bandwidths.items():
        ridge = results.peak / bandwidth
        if ridge <= low:
            continue
        ends = np.array([low, min(ridge, high)])
        axes.plot(ends, bandwidth * ends, color="0.6", linewidth=1.2, zorder=0)
        axes.annotate(
            f"{level} {bandwidth:.0f} GB/s",
            (low, bandwidth * low),
            (4, 14),
            textcoords="offset points",
            color="0.35",
            fontsize=9,
        )
