"""The columns of a stored program: ComPile's, then ours; rows to Arrow and back."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from compiler_dojo.envs.errors import DatasetError
from compiler_dojo.envs.programs.measure import Measurement
from compiler_dojo.envs.programs.program import Program, Provenance, RunSpecification

if TYPE_CHECKING:
    import pyarrow as pa

CONTENT = "content"

COMPILE_TEXTS = ("license_expression", "license_source", "package_source", "language")
OUR_TEXTS = (
    "uri", "sha256", "llvm_version", "lowering", "structural_hash", "project", "domain", "package", "version", "run",
)  # fmt: skip
COUNTS = ("instructions_o0", "instructions_oz", "instructions_o3")

LIGHT = ("license_files", *COMPILE_TEXTS, *OUR_TEXTS, *COUNTS)
"""Every column but the bitcode and the functions' hashes: a few hundred bytes a row."""

HASH_BYTES = 16


class Row(NamedTuple):
    """A stored program and what was measured of it."""

    program: Program
    measurement: Measurement


@functools.cache
def schema() -> pa.Schema:
    """The Arrow schema of our files; ``run`` is a run specification as JSON, or empty."""
    import pyarrow as pa

    return pa.schema(
        [
            (CONTENT, pa.binary()),
            *((name, pa.string()) for name in ("license_expression", "license_source")),
            ("license_files", pa.list_(pa.string())),
            *((name, pa.string()) for name in ("package_source", "language", "uri", "sha256")),
            *((name, pa.string()) for name in ("llvm_version", "lowering")),
            *((name, pa.int64()) for name in COUNTS),
            ("structural_hash", pa.string()),
            ("function_hashes", pa.list_(pa.binary(HASH_BYTES))),
            *((name, pa.string()) for name in ("project", "domain", "package", "version", "run")),
        ]
    )


def values_of(row: Row) -> dict[str, Any]:
    """A row as values of the columns."""
    program, measurement = row
    provenance = program.provenance
    return {
        CONTENT: program.module,
        **{name: getattr(provenance, name) for name in ("license_expression", "license_source", "package_source")},
        "license_files": list(provenance.license_files),
        **{name: getattr(program, name) for name in ("language", "uri", "sha256", "lowering", "project", "domain")},
        **{name: getattr(measurement, name) for name in (*COUNTS, "llvm_version", "structural_hash")},
        "function_hashes": list(measurement.function_hashes),
        "package": provenance.package,
        "version": provenance.version,
        "run": json.dumps(dataclasses.asdict(program.run)) if program.run else "",
    }


def program_of(content: bytes | None, values: Mapping[str, Any]) -> Program:
    """The program of a row; columns that are missing or null leave the program's defaults.

    Raises:
        DatasetError: there is no content, or it is not what was hashed when it was stored.
    """
    if content is None:
        raise DatasetError(f"{values['uri']}: the row holds no bitcode: leave it out")

    def text(name: str, default: str = "") -> str:
        return values.get(name) or default

    files = values.get("license_files") or ()
    run = text("run")
    program = Program(
        uri=text("uri"),
        module=content,
        lowering=text("lowering", "given"),
        language=text("language", "llvm"),
        domain=text("domain"),
        run=_run_of(run) if run else None,
        project=text("project"),
        provenance=Provenance(
            package=text("package"),
            version=text("version"),
            package_source=text("package_source"),
            license_expression=text("license_expression"),
            license_source=text("license_source"),
            # ComPile's versions differ in whether this is a list
            license_files=(files,) if isinstance(files, str) else tuple(map(str, files)),
        ),
    )
    expected = text("sha256", program.sha256)
    if program.sha256 != expected:
        raise DatasetError(
            f"{program.uri}: the stored bitcode has SHA-256 {program.sha256}, and {expected} was stored: "
            "the set is damaged or was replaced while in use; open it again, or build, import or copy it again"
        )
    return program


def _run_of(text: str) -> RunSpecification:
    fields = json.loads(text)
    return RunSpecification(tuple(fields["arguments"]), fields["output"], fields["seconds"])


def row_of(values: Mapping[str, Any]) -> Row:
    """The row of a file of ours.

    Raises:
        DatasetError: the content is not what was hashed when it was stored.
    """
    return Row(program_of(values[CONTENT], values), measurement_of(values))


def measurement_of(values: Mapping[str, Any]) -> Measurement:
    """The measurement of a row of a file of ours."""
    return Measurement(
        **{name: values[name] for name in (*COUNTS, "structural_hash", "llvm_version")},
        function_hashes=tuple(values["function_hashes"]),
    )


def batch_of(rows: Sequence[Row]) -> pa.RecordBatch:
    """Rows as one Arrow batch."""
    import pyarrow as pa

    return pa.RecordBatch.from_pylist([values_of(row) for row in rows], schema=schema())
