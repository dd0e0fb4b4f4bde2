"""From a package's archive to measured programs: one job per package, which leaves one Parquet file and a report."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
import posixpath
import random
import re
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from compiler_dojo.envs.errors import (
    CompilerFailedError,
    DatasetError,
    FetchError,
    InvalidProgramError,
    UnknownProgramError,
    did_you_mean,
)
from compiler_dojo.envs.llvm.lowering import LANGUAGES
from compiler_dojo.envs.programs.linking import whole_programs
from compiler_dojo.envs.programs.measure import measure
from compiler_dojo.envs.programs.program import Program, Provenance
from compiler_dojo.envs.programs.sources.headers import Headers
from compiler_dojo.envs.programs.sources.licenses import Licenses
from compiler_dojo.envs.programs.sources.own_build import own_build
from compiler_dojo.envs.programs.sources.tree import SourceTree
from compiler_dojo.envs.programs.sources.units import CompileLimits, UnitCompiler, UnitResult, reason_of
from compiler_dojo.envs.programs.sources.unpacking import unpack_sources
from compiler_dojo.envs.programs.storage import Row, write_part

HOPELESS, HOPE = 40, 0.25
"""A package is left when less than a quarter of its first forty units compile."""

HASH_DIGITS = 16
"""Digits of a program's SHA-256 that a list of pinned programs keeps."""

OWN_BUILD_SECONDS = 900.0
"""What a package's own build may take; what it has compiled by then counts."""

NO_TEXT = "name is not UTF-8"

CPP_COST = 8
"""Seconds of a C++ unit over those of a C unit: 0.8 against 0.1, in the median."""


@dataclass(frozen=True)
class PackageJob:
    """What to build of one package.

    Attributes:
        scheme: of the programs' URIs, such as ``debian``.
        name: the package.
        version: its version.
        project: what its programs belong to.
        archive: the tarball with the sources.
        package_source: the tarball's name and hash.
        packaging: Debian's part of the package, for its licence; None where there is none.
        license_expression: where the package's index knows it.
        domain: what the package is about.
        units: paths with the first digits of the programs' hashes, for a package whose programs are known; None for a
            package in which they are still to be found.
        limit: most C units to try; of C++ units, which take eight times as long, an eighth of it.
        seed: of the choice of units where there are more.
        languages: which units to try.
        lowering: how they become bitcode.
        instructions: least and most unoptimised instructions of a program that is kept.
        levels: optimisation levels to measure.
        linked: whether whole programs, linked from the package's units, are built in place of the units.
        own_build: whether units are compiled by the package's own build, in a sandbox, instead of one by one.
    """

    scheme: str
    name: str
    version: str
    project: str
    archive: Path
    package_source: str = ""
    packaging: Path | None = None
    license_expression: str = ""
    domain: str = ""
    units: Mapping[str, str] | None = None
    limit: int = 400
    seed: int = 0
    languages: tuple[str, ...] = ("c", "c++")
    lowering: str = "oz"
    instructions: tuple[int, int] = (50, 10_000)
    levels: tuple[str, ...] = ("Oz", "O3")
    linked: bool = False
    own_build: bool = False

    @property
    def key(self) -> str:
        """Name of the job's files; of another job it differs."""
        text = json.dumps(dataclasses.asdict(self), sort_keys=True, default=str)
        return f"{self.name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


@dataclass
class PackageReport:
    """What became of a package.

    Attributes:
        found: units in the package.
        tried: units given to the compiler; in its own build, those that this came to.
        untried: units that were not, because too few of the first forty compiled.
        compiled: those that compiled.
        reasons: why the others did not, with counts.
        details: the compiler's words for them, by unit.
        left_out: compiled units that were not kept, by reason.
        kept: programs in the package's file.
        unlike: units whose program is not the one that the list names.
        error: why the package could not be used at all.
        seconds: wall-clock time.
        units: programs kept, by path, with the first digits of their hash and their size.
    """

    name: str
    version: str
    found: int = 0
    tried: int = 0
    untried: int = 0
    compiled: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    details: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    kept: int = 0
    unlike: list[str] = field(default_factory=list)
    error: str = ""
    seconds: float = 0.0
    units: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> PackageReport:
        """The report in a file."""
        return cls(**json.loads(path.read_text()))


def build_package(job: PackageJob, headers_root: Path, folder: Path) -> PackageReport:
    """Build a package's programs, and write ``KEY.parquet`` and then ``KEY.json`` into a folder.

    A package that has been built before is not built again, unless it could not be unpacked: that may be the disk's
    fault, or the archive's that is fetched anew.

    Raises:
        DatasetError: the disk is full, or one of the folders cannot be written; nothing is left of the package then.
        ToolchainError: there is no clang of libLLVM's version, or no ``prlimit``.
    """
    done, part = folder / f"{job.key}.json", folder / f"{job.key}.parquet"
    earlier = _earlier(done, part)
    if earlier is not None:
        return earlier
    try:
        return _build(job, headers_root, done, part)
    except (OSError, DatasetError) as error:
        raise DatasetError(
            f"{job.name} could not be built: {error}; free space in {folder} and {tempfile.gettempdir()} (TMPDIR sets "
            "another folder for temporary files), and start again: finished packages are kept"
        ) from error


def _build(job: PackageJob, headers_root: Path, done: Path, part: Path) -> PackageReport:
    start = time.monotonic()
    report = PackageReport(job.name, job.version)
    done.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="dojo-package-") as temporary:
        try:
            root = unpack_sources(job.archive, Path(temporary) / "sources")
        except FetchError as error:
            report.error = str(error)
        else:
            write_part(part, _rows(job, root, _headers(headers_root), report))
    report.seconds = time.monotonic() - start
    writing = done.with_name(f".{job.key}-{os.getpid()}.writing")
    try:
        writing.write_text(json.dumps(dataclasses.asdict(report), indent=1, sort_keys=True))
        os.replace(writing, done)
    finally:
        writing.unlink(missing_ok=True)
    return report


def _earlier(done: Path, part: Path) -> PackageReport | None:
    """The report of an earlier run that was finished; None where there is none that this release can read."""
    try:
        report = PackageReport.read(done)
    except (OSError, ValueError, TypeError):
        return None
    return report if part.exists() else None


def load_unit(job: PackageJob, unit: str, headers: Headers) -> Program | str:
    """One unit's program, or why there is none."""
    with tempfile.TemporaryDirectory(prefix="dojo-package-") as temporary:
        tree = SourceTree(unpack_sources(job.archive, Path(temporary) / "sources"), headers)
        result = UnitCompiler(tree, job.lowering).compile(unit)
        if result.module is None:
            return f"{result.reason}: {result.detail}"
        return _program(job, unit, result.module, Licenses(tree, job.packaging, job.license_expression))


def load_linked(job: PackageJob, headers: Headers) -> tuple[dict[str, Program], dict[str, str]]:
    """A package's whole programs by the path of their unit with ``main``, and why other units make none."""
    with tempfile.TemporaryDirectory(prefix="dojo-package-") as temporary:
        tree = SourceTree(unpack_sources(job.archive, Path(temporary) / "sources"), headers)
        report = PackageReport(job.name, job.version)
        whole = dataclasses.replace(job, linked=True)
        units = list(_compiled(whole, tree, tree.units(frozenset(job.languages)), report))
    failures: dict[str, str] = {}
    programs = whole_programs(units, job.name, smallest=0, largest=1 << 31, failures=failures)
    by_path = {program.uri.removeprefix(f"{job.scheme}+linked://{job.name}/"): program for program in programs}
    reasons = {uri.removeprefix(f"{job.scheme}://{job.name}/"): reason for uri, reason in failures.items()}
    return by_path, {**report.details, **reasons}


def list_units(job: PackageJob, headers: Headers) -> list[str]:
    """Paths of a package's units."""
    with tempfile.TemporaryDirectory(prefix="dojo-package-") as temporary:
        tree = SourceTree(unpack_sources(job.archive, Path(temporary) / "sources"), headers)
        return tree.units(frozenset(job.languages))


def units_at(package: str, path: str, units: Sequence[str]) -> list[str]:
    """The unit of this path, or those in the folder of this path; all units for "".

    Raises:
        UnknownProgramError: there are none.
    """
    found = [unit for unit in units if path in ("", unit) or unit.startswith(f"{path.rstrip('/')}/")]
    if not found:
        raise UnknownProgramError(
            f"{package} has no unit {path!r}: {did_you_mean(path, units)}"
            if units
            else f"{package} has no C or C++ in its sources: choose another package"
        )
    return found


def _rows(job: PackageJob, root: Path, headers: Headers, report: PackageReport) -> Iterator[Row]:
    """The programs that are kept, measured; the report is filled on the way."""
    tree = SourceTree(root, headers)
    found = tree.units(frozenset(job.languages))
    report.found = len(found)
    low, high = job.instructions
    left_out: Counter[str] = Counter()
    seen: set[str] = set()
    prefix = f"{job.scheme}{'+linked' if job.linked else ''}://{job.name}/"
    for program in (_linked if job.linked else _compiled)(job, tree, found, report):
        unit = program.uri.removeprefix(prefix)
        digits = program.sha256[:HASH_DIGITS]
        if job.units is not None and job.units.get(unit) != digits:
            if unit in job.units:
                report.unlike.append(unit)
            continue
        try:
            size = measure(program, levels=())
            if not low <= size.instructions_o0 <= high:
                left_out["fewer instructions" if size.instructions_o0 < low else "more instructions"] += 1
                continue
            if size.structural_hash in seen:
                left_out["same module in the package"] += 1
                continue
            measured = measure(program, job.levels) if job.levels else size
        except InvalidProgramError:
            left_out["no functions"] += 1
            continue
        except CompilerFailedError as error:
            left_out[type(error).__name__] += 1
            continue
        seen.add(size.structural_hash)
        report.kept += 1
        report.units[unit] = f"{digits} {size.instructions_o0}"
        yield Row(program, measured)
    report.left_out = dict(left_out)


def _compiled(job: PackageJob, tree: SourceTree, found: Sequence[str], report: PackageReport) -> Iterator[Program]:
    licenses = Licenses(tree, job.packaging, job.license_expression)
    for unit, result in (_own_built if job.own_build else _compiled_alone)(job, tree, found, report):
        if _is_hopeless(job, report):
            report.untried = len(found) - report.tried
            return
        report.tried += 1
        if not _is_text(unit):
            report.reasons[NO_TEXT] = report.reasons.get(NO_TEXT, 0) + 1
            continue
        if result.module is None:
            report.reasons[result.reason] = report.reasons.get(result.reason, 0) + 1
            report.details[unit] = result.detail
        else:
            report.compiled += 1
            yield _program(job, unit, result.module, licenses)


def _compiled_alone(
    job: PackageJob, tree: SourceTree, found: Sequence[str], report: PackageReport
) -> Iterator[tuple[str, UnitResult]]:
    compiler = UnitCompiler(tree, job.lowering, CompileLimits())
    for unit in found if job.linked else _chosen(job, found):
        yield unit, compiler.compile(unit)


def _own_built(
    job: PackageJob, tree: SourceTree, found: Sequence[str], report: PackageReport
) -> Iterator[tuple[str, UnitResult]]:
    built = own_build(tree.root, job.lowering, OWN_BUILD_SECONDS)
    compiled = (*built.modules, *built.failures)
    reached = sorted(unit for unit in compiled if LANGUAGES[posixpath.splitext(unit)[1]] in job.languages)
    last = built.log.strip().rpartition("\n")[2][:200]
    if not built.modules:
        report.error = f"{job.name}: its own build compiled nothing ({built.status}): {last}"
    elif built.status != "built":
        report.details["its own build"] = f"{built.status}: {last}"
    for unit in reached if job.linked else _chosen(job, reached):
        if unit in built.modules:
            yield unit, UnitResult(built.modules[unit], "", "", 1)
        elif unit in built.failures:
            yield unit, UnitResult(None, *reason_of(1, built.failures[unit]), 1)
        else:
            yield unit, UnitResult(None, "not reached by its own build", built.status, 0)


def _is_hopeless(job: PackageJob, report: PackageReport) -> bool:
    found_here = job.units is None and not job.own_build
    return found_here and report.tried == HOPELESS and report.compiled < HOPELESS * HOPE


def _linked(job: PackageJob, tree: SourceTree, found: Sequence[str], report: PackageReport) -> Iterator[Program]:
    """Whole programs; a package's programs share units, so all of these are compiled first."""
    units = list(_compiled(job, tree, found, report))
    failures: dict[str, str] = {}
    yield from whole_programs(units, job.name, *job.instructions, failures=failures)
    report.details.update(failures)


def _is_text(name: str) -> bool:
    """Whether a name has no bytes that are not UTF-8, which neither URIs nor Parquet can hold."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _chosen(job: PackageJob, found: Sequence[str]) -> list[str]:
    """The units to try: those that are listed, or those that were found or a sample of them, in random order."""
    if job.units is not None:
        return sorted(job.units)
    chosen: list[str] = []
    rng = random.Random(f"{job.seed}/{job.name}")
    for language, limit in (("c", job.limit), ("c++", max(1, job.limit // CPP_COST))):
        units = [unit for unit in found if LANGUAGES[posixpath.splitext(unit)[1]] == language]
        chosen += units if len(units) <= limit else rng.sample(units, limit)
    rng.shuffle(chosen)
    return chosen


def _program(job: PackageJob, unit: str, module: bytes, licenses: Licenses) -> Program:
    expression, source = licenses.of(unit)
    return Program(
        uri=f"{job.scheme}://{job.name}/{unit}",
        module=module,
        lowering=job.lowering,
        language=LANGUAGES[posixpath.splitext(unit)[1]],
        domain=job.domain,
        project=job.project,
        provenance=Provenance(job.name, job.version, job.package_source, expression, source, tuple(licenses.files)),
    )


@functools.lru_cache(maxsize=2)
def _headers(root: Path) -> Headers:
    return Headers(root)


def project_of(package: str) -> str:
    """The project that a source package belongs to: its name without a version at its end (``lua5.4`` is ``lua``)."""
    stem = re.sub(r"[-.]?\d[\d.]*$", "", package)
    return stem if len(stem) >= 3 else package


def summed(reports: Mapping[str, PackageReport]) -> dict[str, Any]:
    """Figures over packages."""
    reasons: Counter[str] = Counter()
    left_out: Counter[str] = Counter()
    for report in reports.values():
        reasons.update(report.reasons)
        left_out.update(report.left_out)
    tried = sum(report.tried for report in reports.values())
    compiled = sum(report.compiled for report in reports.values())
    return {
        "packages": len(reports),
        "packages_without_programs": sum(report.kept == 0 for report in reports.values()),
        "found": sum(report.found for report in reports.values()),
        "tried": tried,
        "untried": sum(report.untried for report in reports.values()),
        "compiled": compiled,
        "yield": compiled / tried if tried else 0.0,
        "kept": sum(report.kept for report in reports.values()),
        "unlike": sum(len(report.unlike) for report in reports.values()),
        "reasons": dict(reasons.most_common()),
        "left_out": dict(left_out.most_common()),
        "seconds": sum(report.seconds for report in reports.values()),
    }
