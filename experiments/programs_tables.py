"""Figures of program sets as tables, a column for each set."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from rich.box import SIMPLE_HEAD
from rich.filesize import decimal
from rich.markup import escape
from rich.table import Table

from compiler_dojo.experiments.programs_catalogue import Scheme, SetEntry
from compiler_dojo.experiments.programs_report import BUCKETS, BuildFigures, Distribution, ProgramRow, SetFigures

SHOWN = 12
"""Rows of a section of licences or reasons, the most frequent first; the rest are one row."""

NONE = "-"

LABEL_WIDTH, SET_WIDTH = 20, 15
"""Characters that a table's columns take at least; a set's version has 12."""


def program_table(rows: Sequence[ProgramRow], title: str) -> Table:
    """Programs with their sizes in instructions."""
    table = Table("program", "language", title=escape(title), caption_justify="left")
    table.columns[0].overflow = "fold"
    for column in ("O0", "-Oz", "-O3"):
        table.add_column(column, justify="right")
    for row in rows:
        if row.error:
            table.add_row(f"{escape(row.uri)}\n[red]{escape(first_lines(row.error))}[/red]", "", NONE, NONE, NONE)
        else:
            sizes = (row.instructions_o0, row.instructions_oz, row.instructions_o3)
            table.add_row(escape(row.uri), row.language, *map(_count, sizes))
    return table


def first_lines(error: str) -> str:
    """Of a compiler's message, which can be long, what failed and the first diagnostic."""
    return "\n".join(error.splitlines()[:2])


def set_table(entries: Sequence[SetEntry]) -> Table:
    """The sets there are, and how to get the others."""
    table = Table("set", title="sets of programs")
    table.columns[0].overflow = "fold"
    for column in ("programs", "on disk"):
        table.add_column(column, justify="right")
    table.add_column("version", no_wrap=True)
    table.add_column("where, or what builds it", overflow="fold")
    for entry in entries:
        size = NONE if entry.size is None else decimal(entry.size)
        where = entry.error or entry.folder or entry.command or "in the package"
        style = "red" if entry.error else "dim" if entry.command else None
        cells = (entry.name, _count(entry.programs), size, entry.version or NONE, where)
        table.add_row(*map(escape, cells), style=style)
    return table


def scheme_table(schemes: Mapping[str, Scheme]) -> Table:
    """What URIs mean."""
    table = Table("for example", "programs", "needs", title="URIs, paths and globs, which commands take as well")
    table.columns[0].overflow = "fold"
    for scheme in schemes.values():
        table.add_row(*map(escape, scheme))
    return table


Line = tuple[str, Sequence[str]]


class Section(NamedTuple):
    """Rows of a table under a heading."""

    heading: str
    lines: Sequence[Line]


def tables(figures: Sequence[SetFigures], width: int) -> list[Table]:
    """A table with a column for each set, and one on how the lists of standard corpora were made.

    Sections of which nothing is known are left out. Sets that do not fit beside each other go below each other.

    Args:
        figures: of each set.
        width: characters in a line.
    """
    columns = max(1, (width - LABEL_WIDTH) // SET_WIDTH)
    found = [_sets_table(figures[start : start + columns]) for start in range(0, len(figures), columns)]
    selections: dict[str, BuildFigures] = {}
    for item in figures:
        selections |= item.selection  # the same for all corpora of one making
    if selections:
        found.append(_table(list(selections), _build_sections(list(selections.values())), "how the lists were made"))
    return found


def _sets_table(figures: Sequence[SetFigures]) -> Table:
    sizes, oz, o3 = ([getattr(item, name) for item in figures] for name in ("instructions", "ratio_oz", "ratio_o3"))
    sections = [
        Section("", _overview(figures)),
        *_build_sections([item.build or BuildFigures() for item in figures]),
        _shares("why not measured", [item.failures for item in figures]),
        Section("instructions", _quantiles(sizes, lambda value: f"{value:,.0f}")),
        _shares("by instructions", [_buckets(item.buckets) for item in figures], ordered=True),
        Section("after -Oz / before", _quantiles(oz, lambda value: f"{value:.2f}")),
        Section("after -O3 / before", _quantiles(o3, lambda value: f"{value:.2f}")),
        _shares("languages", [item.languages for item in figures]),
        _shares("licences", [item.licences for item in figures]),
    ]
    return _table([item.name for item in figures], sections)


def _table(names: Sequence[str], sections: Iterable[Section], title: str | None = None) -> Table:
    table = Table(title=title, box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("", overflow="fold", min_width=LABEL_WIDTH - 3)
    for name in names:
        table.add_column(escape(name), justify="right", overflow="fold", min_width=SET_WIDTH - 3)
    for heading, lines in sections:
        lines = [line for line in lines if any(cell != NONE for cell in line[1])]
        if not lines:
            continue
        table.add_section()
        if heading:
            table.add_row(f"[bold]{escape(heading)}[/bold]")
        for label, cells in lines:
            table.add_row(escape(label), *cells)
    return table


def _build_sections(builds: Sequence[BuildFigures]) -> list[Section]:
    return [
        Section("packages and units", _built(builds)),
        _shares("why not compiled", [build.reasons for build in builds]),
        _shares("why left out", [build.left_out for build in builds]),
        _counts("duplicates removed", [build.duplicates for build in builds]),
    ]


def _overview(figures: Sequence[SetFigures]) -> list[Line]:
    return [
        ("programs", [_count(item.programs) for item in figures]),
        ("cannot be measured", [_some(sum(item.failures.values())) for item in figures]),
        ("projects", [_some(item.projects) for item in figures]),
        ("of no known project", [_some(item.without_project) for item in figures]),
        ("same module twice", [_some(item.same_module) for item in figures]),
        ("version", [item.version for item in figures]),
    ]


def _built(builds: Sequence[BuildFigures]) -> list[Line]:
    yields = [build.units_yield for build in builds]
    return [
        ("packages tried", [_count(build.packages) for build in builds]),
        ("without programs", [_count(build.packages_without_programs) for build in builds]),
        ("units found", [_count(build.found) for build in builds]),
        ("units tried", [_count(build.tried) for build in builds]),
        ("units compiled", [_count(build.compiled) for build in builds]),
        ("yield", [NONE if share is None else f"{share:.1%}" for share in yields]),
        ("wall-clock seconds", [_count(build.seconds) for build in builds]),
        ("workers", [_count(build.workers) for build in builds]),
    ]


def _quantiles(values: Sequence[Distribution | None], text: Callable[[float], str]) -> list[Line]:
    labels = ("least", "5%", "25%", "median", "75%", "95%", "greatest", "mean")
    return [
        (label, [NONE if item is None else text(getattr(item, name)) for item in values])
        for label, name in zip(labels, Distribution._fields, strict=True)
    ]


def _buckets(counts: Mapping[int, int]) -> dict[str, int]:
    ends = dict(zip((0, *BUCKETS), BUCKETS, strict=False))
    return {
        f"{start:,} to {ends[start] - 1:,}" if start in ends else f"{start:,} and more": count
        for start, count in counts.items()
    }


def _shares(heading: str, counts: Sequence[Mapping[str, int]], ordered: bool = False) -> Section:
    """How often each thing is in each set, with its share; the most frequent first unless they have an order."""
    totals = [sum(item.values()) for item in counts]

    def line(label: str, things: Sequence[str]) -> Line:
        numbers = [sum(item.get(thing, 0) for thing in things) for item in counts]
        return label, [
            f"{number:,} {_per_cent(number / total)}" if number else NONE
            for number, total in zip(numbers, totals, strict=True)
        ]

    things = list(counts[0]) if ordered else _by_frequency(counts)
    if ordered or len(things) <= SHOWN + 1:
        return Section(heading, [line(thing, [thing]) for thing in things])
    rest = things[SHOWN:]
    return Section(heading, [*(line(thing, [thing]) for thing in things[:SHOWN]), line(f"{len(rest)} others", rest)])


def _per_cent(share: float) -> str:
    return f"{share:>4.0%}" if share >= 0.01 else " <1%"


def _counts(heading: str, counts: Sequence[Mapping[str, int]]) -> Section:
    lines = [(thing, [_some(item.get(thing, 0)) for item in counts]) for thing in _by_frequency(counts)]
    return Section(heading, lines)


def _by_frequency(counts: Sequence[Mapping[str, int]]) -> list[str]:
    """Things by the mean of their shares, so that a large set does not hide what is common in a small one."""
    weights: dict[str, float] = {}
    for item in counts:
        total = sum(item.values())
        for thing, count in item.items():
            weights[thing] = weights.get(thing, 0.0) + count / max(total, 1)
    return sorted(weights, key=lambda thing: -weights[thing])


def _count(number: float | None) -> str:
    return NONE if number is None else f"{number:,.0f}"


def _some(number: int) -> str:
    return f"{number:,}" if number else NONE
