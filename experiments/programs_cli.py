"""The commands ``dojo programs``: which programs there are, what they are like, and getting more."""

from __future__ import annotations

import dataclasses
import json
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn, track
from rich.table import Table

from compiler_dojo.envs.errors import InvalidConfigError, did_you_mean
from compiler_dojo.experiments.terminal import AsJson, console, print_json

if TYPE_CHECKING:
    from compiler_dojo.envs.programs import ProgramSet
    from compiler_dojo.experiments.programs_report import ProgramRow, SetFigures

app = typer.Typer(help="List, look at, build, import and export programs.", no_args_is_help=True)

STATS = "stats.json"
SHOWN_CROSSINGS = 20
INTERRUPTED = 130
"""Exit status of what ctrl-C ended, as a shell has it."""

SHOWN_FAILURES = 20


@app.command("list")
def list_programs(
    programs: Annotated[str | None, typer.Argument(help="A set, a URI, a file or a glob; all sets without.")] = None,
    limit: Annotated[int, typer.Option(min=0, help="Programs to list at most; 0 for all.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List the sets of programs and the kinds of URIs; or, of a set, the programs with their sizes.

    Programs of stored sets are not measured again. The exit status is 1 when a program cannot be measured.

    Examples: `dojo programs list`, `dojo programs list bundled/test`, `dojo programs list 'src/*.c'`,
    `dojo programs list 'corpus-test?project=zlib' --limit 0`
    """
    if programs is None:
        _list_sets(as_json)
        return
    from compiler_dojo.envs.programs import load_programs
    from compiler_dojo.experiments.programs_tables import program_table

    found = load_programs(programs)
    rows = _rows(found, limit or len(found), functions=False)
    if as_json:
        names = ("uri", "language", "project", "instructions_o0", "instructions_oz", "instructions_o3", "error")
        listed = [{name: getattr(row, name) for name in names} for row in rows]
        print_json({"set": programs, "total": len(found), "programs": listed})
    else:
        console.print(program_table(rows, f"{programs}: LLVM IR instructions"))
        if len(rows) < len(found):
            console.print(f"{len(found) - len(rows):,} more programs: --limit 0 lists all")
    if any(row.error for row in rows):
        raise typer.Exit(1)


def _list_sets(as_json: bool) -> None:
    from compiler_dojo.experiments.programs_catalogue import SCHEMES, sets
    from compiler_dojo.experiments.programs_tables import scheme_table, set_table

    entries = sets()
    if as_json:
        schemes = [{"scheme": name, **scheme._asdict()} for name, scheme in SCHEMES.items()]
        print_json({"sets": [entry._asdict() for entry in entries], "schemes": schemes})
        return
    console.print(set_table(entries))
    console.print(scheme_table(SCHEMES))


@app.command()
def show(
    program: Annotated[str, typer.Argument(help="A URI, a file, or with --in the end of a URI.")],
    within: Annotated[str | None, typer.Option("--in", help="A set to look in, such as a built corpus.")] = None,
    ir: Annotated[bool, typer.Option("--ir", help="Print the unoptimised IR and nothing else.")] = False,
    text: Annotated[bool, typer.Option("--source", help="Print its source file and nothing else.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show one program: where it comes from, its licence, sizes, hashes and commonest instructions; its IR or source.

    Examples: `dojo programs show bundled://crypto/xtea`, `dojo programs show debian://zlib/inflate.c --ir`,
    `dojo programs show inflate.c --in corpus-train`
    """
    from compiler_dojo.envs.llvm.session import CompilerSession
    from compiler_dojo.envs.programs import load_programs
    from compiler_dojo.experiments.programs_show import description, description_table, source_text

    if ir + text + as_json > 1:
        raise InvalidConfigError("--ir, --source and --json exclude each other: give one of them")
    found = load_programs(program if within is None else within)
    if within is not None:
        uri = found.get(program).uri
    elif len(found) == 1:
        [uri] = found.uris
    else:
        raise InvalidConfigError(f"{program} means {len(found):,} programs: choose one, such as {found.uris[0]}")
    item = next(source for source in found.sources if source.uri == uri)
    loaded = item.load()
    if text:
        print(source_text(loaded), end="")
    elif ir:
        with CompilerSession(loaded.module, loaded.uri) as session:
            print(session.ir(), end="")
    elif as_json:
        print_json(description(item, loaded))
    else:
        console.print(description_table(description(item, loaded)))


@app.command()
def stats(
    sets: Annotated[list[str], typer.Argument(help="Sets, URIs, files or globs, side by side.")],
    out: Annotated[Path | None, typer.Option(help="Folder for pictures and stats.json.")] = None,
    check: Annotated[
        bool, typer.Option("--check", "--split", help="The sets are splits: fail when they have something in common.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of the sample whose opcodes are counted.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Show what sets are made of: packages and yield, sizes, what -Oz leaves, languages, licences, what they share.

    With --out it draws sizes.png and opcodes.png, beside the bundled programs and 100 of csmith's where that is
    installed.

    Examples: `dojo programs stats bundled`, `dojo programs stats corpus-train corpus-valid corpus-test --check`,
    `dojo programs stats corpus-train --out runs/corpus`
    """
    from compiler_dojo.envs.programs import load_programs
    from compiler_dojo.experiments.programs_report import crossings, figures_of
    from compiler_dojo.experiments.programs_tables import tables

    if len(set(sets)) < len(sets):
        raise InvalidConfigError(f"a set is named twice among {', '.join(sets)}: name each once")
    if check and len(sets) < 2:
        raise InvalidConfigError("--check compares splits: name at least two sets")
    found = {name: load_programs(name) for name in sets}
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
    rows = {name: _rows(programs, len(programs), len(sets) > 1, name) for name, programs in found.items()}
    figures = [figures_of(found[name], rows[name]) for name in sets]
    shared = crossings(rows) if len(sets) > 1 else []
    pictures = _draw(found, rows, out, seed) if out is not None else []
    values = {
        "sets": [dataclasses.asdict(item) for item in figures],
        "crossings": shared,
        "pictures": list(map(str, pictures)),
    }
    if out is not None:
        (out / STATS).write_text(json.dumps(values, indent=1) + "\n")
    if as_json:
        print_json(values)
    else:
        for table in tables(figures, console.width):
            console.print(table)
        _print_crossings(sets, shared)
        for path in pictures:
            console.print(escape(str(path)), soft_wrap=True, highlight=False)
    if check and shared:
        raise typer.Exit(1)


def _draw(found: dict[str, ProgramSet], rows: dict[str, list[ProgramRow]], out: Path, seed: int) -> Sequence[Path]:
    from compiler_dojo.experiments.programs_pictures import OPCODES, SIZES, draw_opcodes, draw_sizes
    from compiler_dojo.experiments.programs_report import opcode_shares, references

    others = {name: programs for name, programs in references().items() if name not in found}
    their_rows = {name: _rows(programs, len(programs), False, name) for name, programs in others.items()}
    with Console(stderr=True).status("counting opcodes"):
        shares, their_shares = (
            {name: opcode_shares(programs, seed=seed) for name, programs in sets.items()} for sets in (found, others)
        )
    draw_sizes(rows, their_rows, out / SIZES)
    draw_opcodes(shares, their_shares, out / OPCODES)
    return out / SIZES, out / OPCODES


def _print_crossings(sets: Sequence[str], shared: Sequence[str]) -> None:
    if len(sets) < 2:
        return
    if not shared:
        console.print("no project, module or function of 20 or more instructions is in two of these sets")
        return
    console.print(f"{len(shared):,} projects, modules or functions are in several of these sets:", style="yellow")
    for sentence in shared[:SHOWN_CROSSINGS]:
        console.print(escape(f"  {sentence}"), soft_wrap=True, highlight=False)
    if len(shared) > SHOWN_CROSSINGS:
        console.print(f"  and {len(shared) - SHOWN_CROSSINGS:,} more: --json lists all")


@app.command()
def build(
    context: typer.Context,
    names: Annotated[
        list[str], typer.Argument(help="corpus (all of it), corpus-train, corpus-mini, ...; or debian, or pypi.")
    ],
    packages: Annotated[
        str, typer.Option(help="Names with commas between them, each with =VERSION (pypi: ==) or without; or a file.")
    ] = "",
    sample: Annotated[int, typer.Option(min=0, help="Draw this many packages of the archive instead.")] = 0,
    seed: Annotated[int, typer.Option(help="Of the draw of packages and of units.")] = 0,
    limit: Annotated[int, typer.Option(min=1, help="Most C units of a package; of C++ an eighth of it.")] = 400,
    languages: Annotated[str, typer.Option(help="Of the units.")] = "c,c++",
    instructions: Annotated[str, typer.Option(help="Least and most unoptimised instructions.")] = "50..10000",
    lowering: Annotated[str, typer.Option(help="How units become bitcode: oz or compilergym.")] = "oz",
    own_build: Annotated[bool, typer.Option("--own-build", help="Run the packages' own builds.")] = False,
    linked: Annotated[bool, typer.Option("--linked", help="Link whole programs.")] = False,
    name: Annotated[str, typer.Option(help="What to call the set; of debian and pypi.")] = "",
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; by default one per core.")] = None,
    as_json: AsJson = False,
) -> None:
    """Build the standard corpora from their lists, or a set from packages of your choice.

    Sources are fetched by apt or pip, and compiled without running anything of theirs unless --own-build says so. After
    an interruption the same command goes on where it was. The exit status is 1 when a standard corpus is not complete.

    Examples: `dojo programs build corpus-mini`, `dojo programs build corpus`,
    `dojo programs build debian --packages zlib,lua5.4 --name small`, `dojo programs build debian --sample 50 --seed 1`
    """
    from compiler_dojo.envs.programs.building import BuildResult, PackageChoice, build_packages, build_standard
    from compiler_dojo.experiments import programs_choice as choice
    from compiler_dojo.experiments.programs_tables import tables

    scheme = next((item for item in names if item in choice.SCHEMES), None)
    if scheme is None:
        _require_no_choice(context)
        corpora = choice.standard_names(names)
    elif len(names) > 1:
        raise InvalidConfigError(f"{scheme} is built by itself: give a command for each set")
    results: list[BuildResult]
    with _resumable(), _bar() as tell:
        if scheme is None:
            results = build_standard(corpora, workers=workers, progress=tell)
        else:
            wanted = PackageChoice(
                scheme=scheme,
                packages=choice.package_names(packages),
                sample=sample,
                seed=seed,
                limit=limit,
                languages=tuple(item.strip() for item in languages.split(",")),
                instructions=choice.size_range(instructions),
                lowering=lowering,
                own_build=own_build,
                linked=linked,
            )
            results = [build_packages(name or choice.default_name(wanted), wanted, workers=workers, progress=tell)]
    figures = [_figures_of_stored(result.name, result.folder) for result in results]
    if as_json:
        fields = ({**dataclasses.asdict(result), "folder": str(result.folder)} for result in results)
        print_json([{**item, "figures": dataclasses.asdict(own)} for item, own in zip(fields, figures, strict=True)])
    else:
        for table in tables(figures, console.width):
            console.print(table)
        for result in results:
            line = f"{result.name}: {result.programs:,} programs in {result.folder}"
            console.print(escape(line), soft_wrap=True, highlight=False)
    for result in results:
        for sentence in result.incomplete:
            line = f"{result.name} is not complete: {sentence}"
            Console(stderr=True).print(escape(line), style="yellow", soft_wrap=True, highlight=False)
    if scheme is None and any(result.incomplete for result in results):
        raise typer.Exit(1)


def _require_no_choice(context: typer.Context) -> None:
    for parameter in context.command.params:
        origin = context.get_parameter_source(parameter.name or "")
        if parameter.name not in ("names", "workers", "as_json") and origin is not None and origin.name != "DEFAULT":
            raise InvalidConfigError(
                f"{parameter.opts[0]} is for debian and pypi: the standard corpora are what their lists say"
            )


def _figures_of_stored(name: str, folder: Path) -> SetFigures:
    from compiler_dojo.envs.programs import ProgramSet
    from compiler_dojo.envs.programs.storage import open_set
    from compiler_dojo.experiments.programs_report import figures_of, rows_of

    programs = ProgramSet(name, open_set(folder).sources)
    return figures_of(programs, rows_of(programs.sources))


@contextmanager
def _resumable() -> Iterator[None]:
    """Say what to do after ctrl-C."""
    try:
        yield
    except KeyboardInterrupt:
        command = shlex.join(["dojo", *sys.argv[1:]])
        Console(stderr=True).print(
            escape(f"interrupted; the packages that are done are kept, and the same command goes on: {command}"),
            soft_wrap=True,
            highlight=False,
        )
        raise typer.Exit(INTERRUPTED) from None


@contextmanager
def _bar() -> Iterator[Callable[[int, int, str], None]]:
    """A progress bar of packages on standard error, as what building tells; a new phase begins anew."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    terminal = Console(stderr=True)
    with Progress(*columns, console=terminal, transient=True, disable=not terminal.is_terminal) as progress:
        task = progress.add_task("looking for packages", total=None)
        last = 0

        def tell(done: int, total: int, text: str) -> None:
            nonlocal last
            if done < last:
                progress.reset(task)
            last = done
            progress.update(task, completed=done, total=total, description=escape(text))

        yield tell


@app.command("import")
def import_programs(
    folder: Annotated[Path, typer.Argument(help="Folder of sources or IR.")],
    name: Annotated[str, typer.Option(help="What to call the set.")],
    replace: Annotated[bool, typer.Option("--replace", help="Overwrite a set of this name.")] = False,
    lowering: Annotated[str, typer.Option(help="How sources become bitcode: oz or compilergym.")] = "oz",
    as_json: AsJson = False,
) -> None:
    """Make a set of the program files in a folder: compiled, measured and stored under a name that commands take.

    A file crypto/aes.c becomes NAME://crypto/aes, of the project crypto.

    Example: `dojo programs import ~/cbench --name my-cbench`, and then `dojo programs stats my-cbench`
    """
    from compiler_dojo.envs.programs.transfer import import_folder
    from compiler_dojo.experiments.programs_tables import first_lines

    with _bar() as tell:
        report = import_folder(
            folder, name, lowering, replace, lambda done, total: tell(done, total, "compiling and measuring")
        )
    if as_json:
        print_json({**dataclasses.asdict(report), "folder": str(report.folder), "reasons": dict(report.reasons)})
        return
    line = f"{report.name}: {report.programs:,} programs in {report.folder}"
    console.print(escape(line), soft_wrap=True, highlight=False)
    if report.failures:
        table = Table("file", "why it is not among them")
        for path, reason in list(report.failures.items())[:SHOWN_FAILURES]:
            table.add_row(escape(path), escape(first_lines(reason)))
        console.print(table)
    if len(report.failures) > SHOWN_FAILURES:
        console.print(f"{len(report.failures) - SHOWN_FAILURES:,} more files: --json lists all")


@app.command()
def export(
    programs: Annotated[str, typer.Argument(help="A set, a URI, a file or a glob.")],
    folder: Annotated[str, typer.Argument(help="Where; for parquet any fsspec path.")],
    format: Annotated[str, typer.Option(help="bitcode, ir (text) or parquet (a stored set).")] = "bitcode",
) -> None:
    """Write a set as files: ORIGIN/PATH.bc or .ll, or as a stored set that `dojo` commands take by its folder.

    Examples: `dojo programs export corpus-test out`, `dojo programs export bundled /tmp/bundled --format parquet`
    """
    from compiler_dojo.envs.programs import load_programs
    from compiler_dojo.envs.programs.transfer import FORMATS, export_set

    if format not in FORMATS:
        raise InvalidConfigError(f"sets are not written as {format!r}: {did_you_mean(format, FORMATS)}")
    found = load_programs(programs)
    with _bar() as tell:
        count = export_set(found, folder, format, lambda done, total: tell(done, total, "writing"))
    console.print(f"{count:,} programs in {escape(folder)}", soft_wrap=True, highlight=False)


def _rows(programs: ProgramSet, count: int, functions: bool, name: str = "") -> list[ProgramRow]:
    """Rows of a set's first programs, with progress on standard error."""
    from compiler_dojo.experiments.programs_report import rows_of

    rows = rows_of(programs.sources[:count], functions)
    described = escape(f"measuring {name}".strip())
    terminal = Console(stderr=True)
    return list(track(rows, described, count, console=terminal, transient=True, disable=not terminal.is_terminal))
