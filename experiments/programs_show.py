"""One program: where it comes from, its licence, sizes, hashes and commonest instructions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table

from compiler_dojo.envs.errors import CompilerFailedError, PassFailedError, UnknownProgramError
from compiler_dojo.envs.llvm.features import INSTCOUNT_NAMES
from compiler_dojo.envs.prepared import prepare
from compiler_dojo.envs.programs.program import Program
from compiler_dojo.envs.programs.program_set import ProgramSource
from compiler_dojo.experiments.programs_report import measurement_of

SHOWN_OPCODES = 8
_TOTALS = ("instructions", "blocks", "functions")


def description(source: ProgramSource, program: Program) -> dict[str, Any]:
    """Everything that is known of a program, ready for JSON.

    Args:
        source: the program as its set has it, which may know its measurements.
        program: what it loads.

    Raises:
        InvalidProgramError: the program does not parse.
    """
    measured, prepared = measurement_of(source), prepare(program)
    with prepared.session() as session:
        counts = {name: int(count) for name, count in zip(INSTCOUNT_NAMES, session.instcount(), strict=True)}
    opcodes = {name: count for name, count in counts.items() if name not in _TOTALS and count}
    try:
        text_size: int | None = int(prepared.cost("text_size", "Oz"))
    except (PassFailedError, CompilerFailedError):  # not every module has code for this machine
        text_size = None
    provenance = program.provenance
    return {
        "uri": program.uri,
        "project": program.project,
        "domain": program.domain,
        "language": program.language,
        "lowering": program.lowering,
        "package": provenance.package,
        "version": provenance.version,
        "package_source": provenance.package_source,
        "license_expression": provenance.license_expression,
        "license_source": provenance.license_source,
        "license_files": list(provenance.license_files),
        "source": str(program.source) if program.source else "",
        "runnable": program.run is not None,
        "bytes": len(program.module),
        "instructions_o0": measured.instructions_o0,
        "instructions_oz": measured.instructions_oz,
        "instructions_o3": measured.instructions_o3,
        "text_size_oz": text_size,
        "blocks": counts["blocks"],
        "functions": counts["functions"],
        "functions_compared": len(measured.function_hashes),
        "opcodes": dict(sorted(opcodes.items(), key=lambda item: -item[1])),
        "sha256": program.sha256,
        "structural_hash": measured.structural_hash,
        "llvm_version": measured.llvm_version,
    }


def description_table(values: Mapping[str, Any]) -> Table:
    """A description as a table, without what is not known."""
    table = Table("", "", title=escape(values["uri"]), show_header=False)
    table.columns[1].overflow = "fold"
    package = " ".join(filter(None, (values["package"], values["version"])))
    licence = values["license_expression"]
    if licence and values["license_source"]:
        licence += f" (from {values['license_source']})"
    files = ", ".join(values["license_files"])
    total = values["instructions_o0"]
    opcodes = ", ".join(f"{name} {count / total:.0%}" for name, count in [*values["opcodes"].items()][:SHOWN_OPCODES])
    lines = (
        ("project", values["project"]),
        ("domain", values["domain"]),
        ("language", f"{values['language']}, lowering {values['lowering']}"),
        ("package", package),
        ("archive", values["package_source"]),
        ("licence", licence),
        ("licence files", files),
        ("source", values["source"]),
        ("runs by itself", "yes" if values["runnable"] else ""),
        ("instructions", f"{total:,}"),
        ("after -Oz", _share(values["instructions_oz"], total)),
        ("after -O3", _share(values["instructions_o3"], total)),
        (".text after -Oz", "" if values["text_size_oz"] is None else f"{values['text_size_oz']:,} bytes"),
        ("functions", f"{values['functions']:,}, {values['functions_compared']:,} compared between splits"),
        ("basic blocks", f"{values['blocks']:,}"),
        ("opcodes", opcodes),
        ("bitcode", f"{values['bytes']:,} bytes"),
        ("SHA-256", values["sha256"]),
        ("structural hash", values["structural_hash"]),
        ("measured with", f"LLVM {values['llvm_version']}"),
    )
    for label, text in lines:
        if text:
            table.add_row(label, escape(text))
    return table


def source_text(program: Program) -> str:
    """The program's source file.

    Raises:
        UnknownProgramError: it is not known or not there any more.
    """
    archive = program.provenance.package_source.partition("#")[0]
    hint = f"it came in {archive}" if archive else "only its IR is known, which --ir prints"
    if program.source is None:
        raise UnknownProgramError(f"{program.uri}: its source is not on this machine: {hint}")
    try:
        return program.source.read_text(errors="replace")
    except OSError as error:
        raise UnknownProgramError(f"{program.uri}: its source cannot be read ({error}): {hint}") from error


def _share(count: int | None, total: int) -> str:
    return "" if count is None else f"{count:,} ({count / total:.0%})"
