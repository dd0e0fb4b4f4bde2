"""Figures of sets are those of their programs, whether stored or measured now, and pictures show any set."""

from __future__ import annotations

import dataclasses
import json
import struct
from pathlib import Path

import numpy as np
import pytest

from compiler_dojo.envs.llvm.features import INSTCOUNT_NAMES
from compiler_dojo.envs.llvm.session import CompilerSession
from compiler_dojo.envs.programs import Program, ProgramSet, Provenance, load_programs
from compiler_dojo.envs.programs.measure import measure
from compiler_dojo.envs.programs.program_set import GivenSource
from compiler_dojo.envs.programs.storage import Row, open_set, write_set
from compiler_dojo.experiments.programs_pictures import draw_opcodes, draw_sizes
from compiler_dojo.experiments.programs_report import (
    BuildFigures,
    Distribution,
    SetFigures,
    crossings,
    figures_of,
    opcode_shares,
    references,
    rows_of,
)
from compiler_dojo.experiments.programs_tables import tables

DETAILS = {
    "seconds": 12.5,
    "workers": 2,
    "build": {
        "packages": 3, "packages_without_programs": 1, "found": 20, "tried": 10, "compiled": 8, "yield": 0.8, "kept": 5,
        "reasons": {"missing header": 2}, "left_out": {"fewer instructions": 3}, "seconds": 20.0,
    },
    "duplicates": {"module in the same split": 1},
    "selection": {
        "tried": {"packages": 9, "tried": 100, "compiled": 70, "reasons": {"time-out": 30}},
        "used": {"packages": 4, "tried": 50, "compiled": 45},
        "duplicates": {"function in another split": 6},
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> ProgramSet:
    """The programs of bundled/simulation under other URIs, of two projects, stored with a build's details."""
    folder = tmp_path_factory.mktemp("stored") / "small"
    rows = []
    for number, program in enumerate(load_programs("bundled/simulation")):
        given = dataclasses.replace(
            program,
            uri=f"small://{number}",
            project=f"p{number % 2}",
            provenance=Provenance("p", "1", license_expression="MIT" if number else ""),
        )
        rows.append(Row(given, measure(given)))
    write_set(folder, "small", rows, DETAILS)
    return open_set(folder)


def broken() -> GivenSource:
    return GivenSource(Program("given://broken", b"no IR"))


def png_size(path: Path) -> tuple[int, int]:
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", data[16:24])


def text_of(figures: list[SetFigures], width: int) -> str:
    from rich.console import Console

    console = Console(width=width)
    with console.capture() as capture:
        for table in tables(figures, width):
            console.print(table)
    return capture.get()


@pytest.mark.parametrize("functions", [False, True])
def test_rows_of__stored_programs_are_read_as_they_would_be_measured(stored: ProgramSet, functions: bool) -> None:
    measured = rows_of([GivenSource(program) for program in stored], functions)
    assert list(rows_of(stored.sources, functions)) == list(measured)


def test_rows_of__stored_programs_are_not_loaded(stored: ProgramSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(stored.sources[0]), "load", lambda self: pytest.fail("loaded"))
    assert [row.uri for row in rows_of(stored.sources, functions=True)] == list(stored.uris)


def test_rows_of__a_program_that_cannot_be_read_is_a_row_with_an_error() -> None:
    good, bad = rows_of([*load_programs("bundled://crypto/xtea").sources, broken()])
    assert (good.error, good.instructions_o0) == ("", 259)
    assert bad.error.startswith("UnreadableProgramError: ")
    assert bad.instructions_o0 is None


def test_figures_of__count_sizes_projects_languages_and_licences(stored: ProgramSet) -> None:
    figures = figures_of(stored, rows_of(stored.sources))
    sizes = [measure(program, levels=()).instructions_o0 for program in stored]
    assert (figures.programs, figures.projects, figures.without_project) == (5, 2, 0)
    assert figures.version == stored.version
    assert figures.instructions is not None
    assert figures.instructions.median == np.median(sizes)
    assert (figures.instructions.least, figures.instructions.greatest) == (min(sizes), max(sizes))
    assert figures.languages == {"c": 3, "c++": 2}
    assert figures.licences == {"MIT": 4, "not known": 1}
    assert sum(figures.buckets.values()) == 5
    assert {start for start, count in figures.buckets.items() if count} == {100, 500, 1000}
    assert figures.ratio_oz is not None
    assert 0.3 < figures.ratio_oz.least <= figures.ratio_oz.median <= figures.ratio_oz.greatest < 0.6


def test_figures_of__a_whole_stored_set_tell_how_it_was_built(stored: ProgramSet) -> None:
    figures = figures_of(stored, rows_of(stored.sources))
    build = figures.build
    assert build is not None
    assert (build.packages, build.found, build.tried, build.units_yield) == (3, 20, 10, 0.8)
    assert (build.seconds, build.workers, build.duplicates) == (12.5, 2, {"module in the same split": 1})
    assert figures.selection["packages tried"].units_yield == 0.7
    assert figures.selection["packages used"].duplicates == {"function in another split": 6}
    part = stored.filter(language="c")
    assert figures_of(part, rows_of(part.sources)).build is None


def test_figures_of__become_json_also_after_an_import() -> None:
    imported = BuildFigures.of({"failures": {"a.c": "CompilationError: no", "b.c": "CompilationError: not"}})
    assert json.loads(json.dumps(dataclasses.asdict(imported)))["reasons"] == {"CompilationError": 2}


def test_figures_of__nothing_but_failures_have_no_distribution() -> None:
    programs = ProgramSet("given", [broken()])
    figures = figures_of(programs, rows_of(programs.sources))
    assert (figures.programs, figures.failures) == (0, {"UnreadableProgramError": 1})
    assert (figures.instructions, figures.ratio_oz) == (None, None)
    assert "UnreadableProgramError" in text_of([figures], 80)


def test_distribution__names_percentiles() -> None:
    found = Distribution.of(list(range(101)))
    assert found == Distribution(0, 5, 25, 50, 75, 95, 100, 50)


def test_crossings__name_shared_projects_modules_and_functions(stored: ProgramSet) -> None:
    own = list(rows_of(stored.sources, functions=True))
    others = list(rows_of(load_programs("bundled/simulation").sources, functions=True))
    shared = crossings({"small": own, "bundled": others})
    assert len([sentence for sentence in shared if sentence.startswith("module ")]) == 5
    assert any(sentence.startswith("function ") for sentence in shared)
    assert crossings({"small": own, "crypto": rows_of(load_programs("bundled/crypto").sources, functions=True)}) == []


def test_tables__have_every_figure_and_fit_into_80_columns(stored: ProgramSet) -> None:
    figures = figures_of(stored, rows_of(stored.sources))
    several = [dataclasses.replace(figures, name=f"corpus-{number}") for number in range(6)]
    text = text_of(several, 80)
    assert max(map(len, text.splitlines())) <= 80
    for name in ("corpus-0", "corpus-5", "packages tried", "80.0%", "missing header", "fewer instructions", "MIT"):
        assert name in text
    assert "how the lists were made" in text
    assert "70.0%" in text
    # four sets beside each other, two below
    header = next(line for line in text.splitlines() if "corpus-0" in line)
    assert header.split() == ["corpus-0", "corpus-1", "corpus-2", "corpus-3"]


def test_tables__rare_licences_are_one_row(stored: ProgramSet) -> None:
    figures = figures_of(stored, rows_of(stored.sources))
    many = dataclasses.replace(figures, licences={f"L{number}": 1000 if number == 0 else 1 for number in range(30)})
    text = text_of([many], 80)
    assert "18 others" in text
    assert "L29" not in text
    assert "<1%" in text


def test_opcode_shares__are_the_means_of_instcount_over_a_seeded_sample(stored: ProgramSet) -> None:
    found = opcode_shares(stored)
    expected = []
    for program in stored:
        with CompilerSession(program.module) as session:
            counts = dict(zip(INSTCOUNT_NAMES, session.instcount(), strict=True))
        expected.append(counts["load"] / counts["instructions"])
    assert found.programs == 5
    assert found.shares["load"] == pytest.approx(np.mean(expected))
    assert sum(found.shares.values()) == pytest.approx(1.0)
    assert opcode_shares(stored, limit=2, seed=1) == opcode_shares(stored, limit=2, seed=1)
    assert opcode_shares(stored, limit=2).programs == 2


def test_opcode_shares__leave_out_what_cannot_be_read() -> None:
    programs = ProgramSet("given", [broken()])
    assert opcode_shares(programs).programs == 0
    both = ProgramSet("given", [broken(), *load_programs("bundled://crypto/xtea").sources])
    assert opcode_shares(both).programs == 1


def test_references__are_bundled_and_csmith_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert list(references()) == ["bundled"]


def test_pictures__grow_with_the_number_of_sets(stored: ProgramSet, tmp_path: Path) -> None:
    rows = list(rows_of(stored.sources))
    draw_sizes({"one": rows}, {}, tmp_path / "one.png")
    draw_sizes({"one": rows, "empty": []}, {"three": rows}, tmp_path / "three.png")
    assert png_size(tmp_path / "three.png")[1] > 1.5 * png_size(tmp_path / "one.png")[1]
    shares = opcode_shares(stored)
    draw_opcodes({"one": shares}, {"two": shares}, tmp_path / "opcodes.png")
    assert min(png_size(tmp_path / "opcodes.png")) > 300
