"""What a set of programs is made of: figures over its programs, how it was built, what it shares with others."""

from __future__ import annotations

import bisect
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from compiler_dojo.envs.errors import CompilerFailedError, InvalidProgramError
from compiler_dojo.envs.llvm.features import INSTCOUNT_NAMES
from compiler_dojo.envs.llvm.session import CompilerSession
from compiler_dojo.envs.programs.manifest import Manifest, content_version
from compiler_dojo.envs.programs.measure import Measurement, measure
from compiler_dojo.envs.programs.program_set import ProgramSet, ProgramSource
from compiler_dojo.envs.programs.splits import Entry, check_splits

BUCKETS = (20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 50_000)
"""Least unoptimised instructions of each bucket of sizes but the first, which begins at 0."""

PERCENTILES = (5, 25, 50, 75, 95)

UNKNOWN = "not known"

# the opcodes begin after the totals
_OPCODES = INSTCOUNT_NAMES[INSTCOUNT_NAMES.index("ret") :]


class ProgramRow(NamedTuple):
    """What lists and figures need of a program.

    Attributes:
        uri: its URI.
        sha256: hash of its module.
        language: as in the program.
        project: as in the program.
        license_expression: SPDX expression, or "" where it is not known.
        instructions_o0: LLVM IR instructions as it is given; None, as the next two, for one that cannot be measured.
        instructions_oz: after ``default<Oz>``; None also where it was stored without.
        instructions_o3: after ``default<O3>``; None also where it was stored without.
        structural_hash: hash of its module that does not see names.
        function_hashes: of its functions that are compared between splits; empty unless they were asked for.
        error: why it cannot be loaded or measured, or "".
    """

    uri: str
    sha256: str = ""
    language: str = ""
    project: str = ""
    license_expression: str = ""
    instructions_o0: int | None = None
    instructions_oz: int | None = None
    instructions_o3: int | None = None
    structural_hash: str = ""
    function_hashes: tuple[bytes, ...] = ()
    error: str = ""


class Distribution(NamedTuple):
    """Quantiles of a quantity over programs."""

    least: float
    p5: float
    p25: float
    median: float
    p75: float
    p95: float
    greatest: float
    mean: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Distribution | None:
        """The distribution of some values; None when there are none."""
        if not values:
            return None
        return cls._make(map(float, (*np.percentile(values, (0, *PERCENTILES, 100)), np.mean(values))))


@dataclass(frozen=True)
class BuildFigures:
    """How a set came about, as its builder wrote it down; None where it did not.

    Attributes:
        packages: packages tried.
        packages_without_programs: those of them that gave none.
        found: translation units in the packages, or files in the folder.
        tried: units given to the compiler.
        compiled: units that compiled.
        reasons: why the others did not, with counts.
        left_out: why compiled units were not kept, with counts.
        duplicates: programs removed because others hold the same code, by what is the same.
        seconds: wall-clock time of the whole build.
        workers: processes that built.
    """

    packages: int | None = None
    packages_without_programs: int | None = None
    found: int | None = None
    tried: int | None = None
    compiled: int | None = None
    reasons: Mapping[str, int] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)
    duplicates: Mapping[str, int] = field(default_factory=dict)
    seconds: float | None = None
    workers: int | None = None

    @classmethod
    def of(cls, details: Mapping[str, Any]) -> BuildFigures:
        """Figures from a manifest's details: of a build, or of an import."""
        if "failures" in details:
            # a plain dict, which becomes JSON by asdict
            return cls(reasons=dict(Counter(reason.partition(":")[0] for reason in details["failures"].values())))
        build = details.get("build", {})
        return cls._counted(build, details.get("duplicates", {}), details.get("seconds"), details.get("workers"))

    @classmethod
    def of_selection(cls, details: Mapping[str, Any]) -> dict[str, BuildFigures]:
        """How the list of a standard corpus was made: of all packages that were tried for it, and of those on it."""
        selection = details.get("selection", {})
        duplicates = {"used": selection.get("duplicates", {})}
        return {
            f"packages {name}": cls._counted(selection[name], duplicates.get(name, {}))
            for name in ("tried", "used")
            if name in selection
        }

    @classmethod
    def _counted(
        cls,
        build: Mapping[str, Any],
        duplicates: Mapping[str, int],
        seconds: float | None = None,
        workers: int | None = None,
    ) -> BuildFigures:
        return cls(
            packages=build.get("packages"),
            packages_without_programs=build.get("packages_without_programs"),
            found=build.get("found"),
            tried=build.get("tried"),
            compiled=build.get("compiled"),
            reasons=dict(build.get("reasons", {})),
            left_out=dict(build.get("left_out", {})),
            duplicates=dict(duplicates),
            seconds=seconds,
            workers=workers,
        )

    @property
    def units_yield(self) -> float | None:
        """Units that compiled over units tried."""
        return self.compiled / self.tried if self.tried and self.compiled is not None else None


@dataclass(frozen=True)
class SetFigures:
    """What a set is made of.

    Attributes:
        name: the set.
        version: 12 digits that name its content.
        programs: how many it holds that can be measured.
        failures: why others cannot, by class of error.
        projects: how many projects they are of; programs of no known project do not count.
        without_project: programs of no known project.
        languages: programs by language.
        licences: programs by SPDX expression, the most frequent first.
        same_module: programs whose module another program of the set has too, names apart.
        instructions: of the unoptimised modules.
        buckets: programs by the least number of instructions of their bucket, see :data:`BUCKETS`.
        ratio_oz: instructions after -Oz over those before.
        ratio_o3: instructions after -O3 over those before.
        build: how it was built, or None when that is not known or when this is only a part of what was built.
        selection: of a standard corpus, how its list was made, see :meth:`BuildFigures.of_selection`.
    """

    name: str
    version: str
    programs: int
    failures: Mapping[str, int]
    projects: int
    without_project: int
    languages: Mapping[str, int]
    licences: Mapping[str, int]
    same_module: int
    instructions: Distribution | None
    buckets: Mapping[int, int]
    ratio_oz: Distribution | None
    ratio_o3: Distribution | None
    build: BuildFigures | None
    selection: Mapping[str, BuildFigures]


class OpcodeShares(NamedTuple):
    """Opcodes of unoptimised modules.

    Attributes:
        programs: how many programs were looked at.
        shares: share of each opcode in a program's instructions, the mean over programs.
    """

    programs: int
    shares: Mapping[str, float]


def rows_of(
    sources: Sequence[ProgramSource], functions: bool = False, workers: int | None = None
) -> Iterator[ProgramRow]:
    """Rows of programs, in order: read where they are stored with measurements, else measured.

    A program that does not load, parse or survive measuring is a row with an error.

    Args:
        sources: the programs.
        functions: also give the hashes of their functions.
        workers: threads that compile and measure, by default one for each core.
    """
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        try:
            yield from pool.map(partial(_row, functions=functions), sources)
        finally:
            pool.shutdown(cancel_futures=True)


def _row(source: ProgramSource, functions: bool) -> ProgramRow:
    values = stored_values(source)
    if values is not None:
        hashes = measurement_of(source).function_hashes if functions else ()
        return ProgramRow(
            uri=source.uri,
            sha256=values.get("sha256") or "",
            language=values.get("language") or "",
            project=values.get("project") or "",
            license_expression=values.get("license_expression") or "",
            instructions_o0=values.get("instructions_o0"),
            instructions_oz=values.get("instructions_oz"),
            instructions_o3=values.get("instructions_o3"),
            structural_hash=values.get("structural_hash") or "",
            function_hashes=hashes,
        )
    try:
        program = source.load()
        measured = measure(program)
    except (InvalidProgramError, CompilerFailedError) as error:
        return ProgramRow(source.uri, error=f"{type(error).__name__}: {error}")
    return ProgramRow(
        source.uri,
        program.sha256,
        program.language,
        program.project,
        program.provenance.license_expression,
        measured.instructions_o0,
        measured.instructions_oz,
        measured.instructions_o3,
        measured.structural_hash,
        measured.function_hashes if functions else (),
    )


def stored_values(source: ProgramSource) -> Mapping[str, Any] | None:
    """The light columns of a program that is stored with its measurements; None for any other."""
    read = getattr(source, "values", None)
    values: Mapping[str, Any] | None = read() if read is not None else None
    return values if values is not None and values.get("instructions_o0") is not None else None


def measurement_of(source: ProgramSource) -> Measurement:
    """A program's measurements: as stored where they are, else taken now."""
    stored = getattr(source, "measurement", None)
    known: Measurement | None = stored() if stored is not None else None
    return known if known is not None else measure(source.load())


def manifest_of(programs: ProgramSet) -> Manifest | None:
    """The manifest of a set that is stored, and of which no program was left out."""
    manifest: Manifest | None = getattr(programs.sources[0], "manifest", None)
    if manifest is None or manifest.count != len(programs):
        return None
    return manifest if all(getattr(source, "manifest", None) is manifest for source in programs.sources) else None


def figures_of(programs: ProgramSet, rows: Iterable[ProgramRow]) -> SetFigures:
    """Figures of a set from its rows."""
    known: list[ProgramRow] = []
    failures: Counter[str] = Counter()
    for row in rows:
        if row.error:
            failures[row.error.partition(":")[0]] += 1
        else:
            known.append(row)
    sizes = [row.instructions_o0 for row in known if row.instructions_o0 is not None]
    manifest = manifest_of(programs)
    details = manifest.details if manifest is not None else {}
    return SetFigures(
        name=programs.name,
        version=content_version(row.sha256 for row in known),
        programs=len(known),
        failures=dict(failures.most_common()),
        projects=len({row.project for row in known} - {""}),
        without_project=sum(not row.project for row in known),
        languages=dict(Counter(row.language or UNKNOWN for row in known).most_common()),
        licences=dict(Counter(row.license_expression or UNKNOWN for row in known).most_common()),
        same_module=len(known) - len({row.structural_hash for row in known}),
        instructions=Distribution.of(sizes),
        buckets=_bucketed(sizes),
        ratio_oz=Distribution.of(ratios(known, "instructions_oz")),
        ratio_o3=Distribution.of(ratios(known, "instructions_o3")),
        build=BuildFigures.of(details) if details else None,
        selection=BuildFigures.of_selection(details),
    )


def ratios(rows: Iterable[ProgramRow], level: str) -> list[float]:
    """Instructions at ``instructions_oz`` or ``instructions_o3`` over those of the unoptimised module."""
    return [getattr(row, level) / row.instructions_o0 for row in rows if row.instructions_o0 and getattr(row, level)]


def _bucketed(sizes: Sequence[int]) -> dict[int, int]:
    starts = (0, *BUCKETS)
    counts = Counter(starts[bisect.bisect_right(BUCKETS, size)] for size in sizes)
    return {start: counts[start] for start in starts}


def crossings(sets: Mapping[str, Iterable[ProgramRow]]) -> list[str]:
    """What is in more than one of several sets: a sentence for each project, module and function.

    Args:
        sets: rows with the hashes of functions, by the name of their set.
    """
    return check_splits(
        {
            name: [
                Entry(row.uri, row.project, name, row.structural_hash, row.function_hashes)
                for row in rows
                if not row.error
            ]
            for name, rows in sets.items()
        }
    )


def opcode_shares(programs: ProgramSet, limit: int = 500, seed: int = 0) -> OpcodeShares:
    """Opcodes of a set's unoptimised programs; of more than ``limit``, of so many drawn without replacement.

    Programs that cannot be loaded or read are left out.
    """
    numbers = np.arange(len(programs))
    if len(programs) > limit:
        numbers = np.sort(np.random.default_rng(seed).choice(numbers, limit, replace=False))
    shares = []
    for number in numbers:
        try:
            program = programs[int(number)]
            with CompilerSession(program.module, program.uri) as session:
                counts = session.instcount()[-len(_OPCODES) :]
        except (InvalidProgramError, CompilerFailedError):
            continue
        shares.append(counts / counts.sum())
    means = np.mean(shares, axis=0) if shares else np.zeros(len(_OPCODES))
    return OpcodeShares(len(shares), dict(zip(_OPCODES, map(float, means), strict=True)))


def references() -> dict[str, ProgramSet]:
    """What pictures compare sets with: the bundled programs, and csmith's where it is installed."""
    from compiler_dojo.envs.programs import load_programs

    names = ("bundled", "csmith://0..99") if shutil.which("csmith") else ("bundled",)
    return {name: load_programs(name) for name in names}
