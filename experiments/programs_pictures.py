"""Pictures of program sets: sizes, what -Oz leaves, and opcodes; told apart by position and shape, not by colour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from compiler_dojo.experiments.programs_report import OpcodeShares, ProgramRow, ratios
from compiler_dojo.experiments.report import COLORS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIZES, OPCODES = "sizes.png", "opcodes.png"
SHOWN_OPCODES = 18
MARKERS = "osD^vPXd"


def draw_sizes(
    sets: Mapping[str, Sequence[ProgramRow]], references: Mapping[str, Sequence[ProgramRow]], path: Path
) -> None:
    """Draw a line of two histograms per set: unoptimised instructions, and instructions after -Oz over those before.

    Args:
        sets: rows by the name of their set.
        references: the same of the sets to compare with, drawn in grey below.
        path: the PNG file.
    """
    every = {**sets, **references}
    figure, axes = _figure(len(every), 2, figsize=(11, 1.35 * len(every) + 1.0))
    sizes = {name: [row.instructions_o0 for row in rows if row.instructions_o0] for name, rows in every.items()}
    all_sizes = [size for values in sizes.values() for size in values] or [1]
    # five bins for each factor of ten
    first, last = np.floor(5 * np.log10(min(all_sizes))), np.floor(5 * np.log10(max(all_sizes))) + 1
    bins = 10.0 ** (np.arange(first, last + 0.5) / 5)
    shares = {name: ratios(rows, "instructions_oz") for name, rows in every.items()}
    widest = max([1.0, *(share for values in shares.values() for share in values)])
    for (left, right), name in zip(axes, every, strict=True):
        color = COLORS[1] if name in references else COLORS[0]
        _histogram(left, sizes[name], bins, color, ",.0f")
        _histogram(right, shares[name], np.arange(0.0, widest + 0.025, 0.025), color, ".2f")
        left.set_xscale("log")
        left.set_title(f"{name}: {len(sizes[name]):,} programs", loc="left", fontsize=10)
    axes[-1][0].set_xlabel("LLVM IR instructions, unoptimised")
    axes[-1][1].set_xlabel("instructions after -Oz / before")
    figure.supylabel("% of programs", fontsize=10)
    _save(figure, path)


def draw_opcodes(sets: Mapping[str, OpcodeShares], references: Mapping[str, OpcodeShares], path: Path) -> None:
    """Draw the shares of the commonest opcodes, a mark for each set.

    Args:
        sets: opcodes by the name of their set.
        references: the same of the sets to compare with, drawn hollow.
        path: the PNG file.
    """
    every = {**sets, **references}
    total: dict[str, float] = {}
    for item in every.values():
        for opcode, share in item.shares.items():
            total[opcode] = total.get(opcode, 0.0) + share
    opcodes = sorted(total, key=lambda opcode: -total[opcode])[:SHOWN_OPCODES]
    figure, [[axes]] = _figure(1, 1, figsize=(9, (0.2 + 0.05 * len(every)) * len(opcodes) + 1.5))
    for row in range(len(opcodes) + 1):
        axes.axhline(row - 0.5, color="0.85", linewidth=1, zorder=0)
    # sets lie beside each other, as their marks would often hide one another
    offsets = np.linspace(-0.3, 0.3, len(every)) if len(every) > 1 else [0.0]
    for number, (name, item) in enumerate(every.items()):
        color = "black" if name in references else COLORS[number % len(COLORS)]
        axes.plot(
            [100.0 * item.shares[opcode] for opcode in opcodes],
            np.arange(len(opcodes)) + offsets[number],
            linestyle="none",
            marker=MARKERS[number % len(MARKERS)],
            markersize=6,
            markeredgecolor=color,
            markerfacecolor="none" if name in references else color,
            label=f"{name}: {item.programs:,} programs",
        )
    axes.set_yticks(range(len(opcodes)), opcodes)
    axes.set_ylim(len(opcodes) - 0.5, -0.5)
    axes.set_xlim(left=-0.25)
    axes.set_xlabel("% of a program's unoptimised instructions, mean over programs")
    axes.legend(loc="lower right", frameon=False)
    _save(figure, path)


def _figure(rows: int, columns: int, figsize: tuple[float, float]) -> tuple[Figure, Any]:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(rows, columns, figsize=figsize, sharex="col", squeeze=False, layout="constrained")
    for item in axes.flat:
        item.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _histogram(axes: Axes, values: Sequence[float], bins: npt.NDArray[np.float64], color: str, form: str) -> None:
    """Shares of programs, with their median above; nothing of no programs."""
    if not values:
        return
    axes.hist(values, list(bins), weights=np.full(len(values), 100.0 / len(values)), color=color)
    median = float(np.median(values))
    axes.axvline(median, color="black", linewidth=1.2)
    axes.set_title(f"median {median:{form}}", loc="right", fontsize=9)


def _save(figure: Figure, path: Path) -> None:
    from matplotlib import pyplot

    figure.savefig(path, dpi=110)
    pyplot.close(figure)
