"""Building sets of programs from packages: fetched by one thread, compiled by processes, put together at the end.

Each package is a job that leaves a file of its own, so a build that is interrupted, by whatever, goes on where it was.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from compiler_dojo.envs.errors import DatasetError, FetchError, InvalidConfigError, UnknownProgramError
from compiler_dojo.envs.llvm.lowering import find_clang
from compiler_dojo.envs.programs.corpora import Corpus, read_corpus
from compiler_dojo.envs.programs.folders import cache_folder, data_folder
from compiler_dojo.envs.programs.jobs import JobRunner, Progress, Task
from compiler_dojo.envs.programs.sources.archive import Archive, SourcePackage, shared_archive
from compiler_dojo.envs.programs.sources.debian import find_headers, job_for
from compiler_dojo.envs.programs.sources.headers import Headers
from compiler_dojo.envs.programs.sources.packages import PackageJob, PackageReport, summed
from compiler_dojo.envs.programs.splits import Entry, remove_duplicates
from compiler_dojo.envs.programs.storage import Row, alone, read_rows, write_set
from compiler_dojo.envs.programs.stored import locate
from compiler_dojo.envs.programs.transfer import check_name


@dataclass(frozen=True)
class PackageChoice:
    """Which packages to build, and what of them.

    Attributes:
        scheme: ``debian`` or ``pypi``.
        packages: names, each with ``=VERSION`` or without.
        sample: how many packages to draw from the archive instead.
        seed: of the draw, and of the choice of units.
        limit: most C units of a package.
        languages: of the units.
        instructions: least and most unoptimised instructions of a program.
        lowering: how units become bitcode.
        own_build: whether to run the packages' own builds.
        linked: whether to link whole programs.
    """

    scheme: str = "debian"
    packages: tuple[str, ...] = ()
    sample: int = 0
    seed: int = 0
    limit: int = 400
    languages: tuple[str, ...] = ("c", "c++")
    instructions: tuple[int, int] = (50, 10_000)
    lowering: str = "oz"
    own_build: bool = False
    linked: bool = False


@dataclass(frozen=True)
class BuildResult:
    """A set that was built.

    Attributes:
        name: the set.
        folder: where it is.
        programs: how many it has.
        details: figures of the build, as the set's manifest keeps them.
        incomplete: what is missing or differs, in sentences.
    """

    name: str
    folder: Path
    programs: int
    details: Mapping[str, Any]
    incomplete: tuple[str, ...] = ()


@dataclass
class _Plan:
    """One set's jobs, and what went wrong before they could start."""

    name: str
    command: str
    jobs: list[PackageJob] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)


def build_standard(
    names: Sequence[str],
    root: Path | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
    archive: Archive | None = None,
    headers: Headers | None = None,
) -> list[BuildResult]:
    """Build standard corpora from their committed lists.

    Args:
        names: such as ``corpus-train``.
        root: folder of the sets; by default where :func:`load_programs` looks.
        workers: processes; by default one per core.
        progress: told of every package.
        archive: where packages come from; by default the machine's.
        headers: what programs are compiled with; by default the pinned ones.

    Raises:
        UnknownProgramError: no corpus has this name.
        FetchError: nothing could be fetched at all.
        ToolchainError: clang or apt is missing.
        DatasetError: a set cannot be written.
    """
    corpora = [read_corpus(name) for name in dict.fromkeys(names)]
    archive = archive or shared_archive()
    start = time.monotonic()
    plans = [_plan_of(corpus, archive) for corpus in corpora]
    return _build(plans, archive, headers, root, workers, progress, start)


def build_packages(
    name: str,
    choice: PackageChoice,
    root: Path | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
    archive: Archive | None = None,
    headers: Headers | None = None,
) -> BuildResult:
    """Build a set from packages of one's own choice; duplicates among them are removed.

    What is interrupted goes on where it was when it is built again. A script that calls this needs the usual
    ``if __name__ == "__main__":``, because the processes that build import it.

    Raises:
        InvalidConfigError: neither packages nor a sample are asked for, the scheme is unknown, or the name is taken by
            something else.
        UnknownProgramError: no package of this name or version.
        FetchError: nothing could be fetched.
        ToolchainError: clang or apt is missing.
        DatasetError: the set cannot be written.
    """
    check_name(name)
    if not choice.packages and choice.sample < 1:
        raise InvalidConfigError("which packages? Give names, or a sample of at least 1")
    start = time.monotonic()
    archive = archive or shared_archive()
    command = f"dojo programs build {choice.scheme} --name {name}"
    fields = {key: list(value) if isinstance(value, tuple) else value for key, value in vars(choice).items()}
    plan = _Plan(name, command, extra={"choice": fields})
    if choice.scheme == "debian":
        plan.jobs = [job_for(package, archive, **_settings(choice)) for package in _chosen(choice, archive)]
    elif choice.scheme == "pypi":
        _plan_sdists(plan, choice)
    else:
        raise InvalidConfigError(f"packages are built from 'debian' or 'pypi', got {choice.scheme!r}")
    twice = [package for package, count in Counter(job.name for job in plan.jobs).items() if count > 1]
    if twice:
        raise InvalidConfigError(f"{twice[0]} is asked for in two versions: build a set of each")
    return _build([plan], archive, headers, root, workers, progress, start)[0]


def _plan_sdists(plan: _Plan, choice: PackageChoice) -> None:
    from compiler_dojo.envs.programs.sources.pypi import job_for as sdist_job

    if not choice.packages:
        raise InvalidConfigError("samples are drawn from 'debian' only: name the packages of 'pypi'")
    for text in dict.fromkeys(choice.packages):
        name, _, version = text.partition("==")
        try:
            plan.jobs.append(sdist_job(name, version or None, **_settings(choice)))
        except (FetchError, UnknownProgramError) as error:
            plan.problems.append(str(error))
    if not plan.jobs:
        raise FetchError(f"no package could be fetched: {plan.problems[0]}")


def _settings(choice: PackageChoice) -> dict[str, Any]:
    return {
        "limit": choice.limit,
        "seed": choice.seed,
        "languages": choice.languages,
        "instructions": choice.instructions,
        "lowering": choice.lowering,
        "linked": choice.linked,
        "own_build": choice.own_build,
    }


# what a package's sources may weigh when packages are drawn: larger ones take minutes each, smaller ones hold scripts
SAMPLED_BYTES = (40_000, 4_000_000)


def _chosen(choice: PackageChoice, archive: Archive) -> list[SourcePackage]:
    """The packages that are named, or drawn among those of ordinary size."""
    if choice.packages:
        return list(dict.fromkeys(archive.find(*_name_and_version(text)) for text in choice.packages))
    import numpy as np

    low, high = SAMPLED_BYTES
    newest = [versions[-1] for _, versions in sorted(archive.packages().items())]
    ordinary = [package for package in newest if low <= package.sources.size <= high]
    order = np.random.default_rng(choice.seed).permutation(len(ordinary))
    return [ordinary[int(index)] for index in order[: choice.sample]]


def _name_and_version(text: str) -> tuple[str, str | None]:
    name, _, version = text.partition("=")
    return name, version or None


def _plan_of(corpus: Corpus, archive: Archive) -> _Plan:
    plan = _Plan(corpus.name, f"dojo programs build {corpus.name}", extra={"selection": dict(corpus.selection)})
    for pinned in corpus.packages:
        try:
            package = archive.find(pinned.name, pinned.version)
        except UnknownProgramError as error:
            plan.problems.append(f"{len(pinned.units)} programs are missing: {error}")
            continue
        if package.sources.sha256 != pinned.sha256:
            plan.problems.append(f"{pinned.name} {pinned.version} has other sources than the list names: left out")
            continue
        plan.jobs.append(
            job_for(
                package,
                archive,
                project=pinned.project,
                domain=pinned.domain,
                units=pinned.units,
                instructions=corpus.instructions,
                lowering=corpus.lowering,
                linked=corpus.linked,
            )
        )
    return plan


def _build(
    plans: Sequence[_Plan],
    archive: Archive,
    headers: Headers | None,
    root: Path | None,
    workers: int | None,
    progress: Progress | None,
    start: float,
) -> list[BuildResult]:
    find_clang()  # before anything is fetched
    headers, problem = (headers, "") if headers is not None else find_headers(archive)
    workers = workers or os.cpu_count() or 1
    tell = progress or (lambda done, total, text: None)
    runner = JobRunner(archive, headers.root, workers, tell)
    with contextlib.ExitStack() as stack:
        folders = [stack.enter_context(_own_folder(plan.name)) for plan in plans]
        tasks = [Task(job, folder) for plan, folder in zip(plans, folders, strict=True) for job in plan.jobs]
        reports = runner.run(tasks)
        if tasks and runner.unfetched == len(tasks):
            raise FetchError(f"no package could be fetched: {reports[0].error}")
        results = []
        for plan, folder in zip(plans, folders, strict=True):
            tell(len(tasks), len(tasks), f"writing {plan.name}")
            own = [report for task, report in zip(tasks, reports, strict=True) if task.folder == folder]
            problems = [*plan.problems, *([problem] if problem else [])]
            results.append(_assemble(plan, problems, own, folder, root or data_folder(), workers, start))
            if not any(report.error for report in own):  # else the same command tries those again, and only those
                shutil.rmtree(folder, ignore_errors=True)
    return results


@contextlib.contextmanager
def _own_folder(name: str) -> Iterator[Path]:
    """The folder of a set's finished packages, for this process alone."""
    folder = cache_folder("builds") / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DatasetError(f"{folder} cannot be written: {error}; set DOJO_CACHE to another folder") from error
    with alone(*locate(folder)):
        yield folder


def _assemble(
    plan: _Plan,
    problems: Sequence[str],
    reports: Sequence[PackageReport],
    folder: Path,
    root: Path,
    workers: int,
    start: float,
) -> BuildResult:
    built = [job for job, report in zip(plan.jobs, reports, strict=True) if report.kept]
    parts = [folder / f"{job.key}.parquet" for job in sorted(built, key=lambda job: job.name)]
    pinned = all(job.units is not None for job in plan.jobs)
    kept, duplicates = (None, {}) if pinned else _without_duplicates(parts)
    count = sum(report.kept for report in reports) if kept is None else len(kept)
    failures = [report.error for report in reports if report.error]
    if count == 0:
        reasons = "; ".join([*problems, *failures][:3])
        raise DatasetError(f"{plan.name} would be empty: {reasons or 'no unit of these packages is such a program'}")
    missing = [*problems, *failures, *_differences(plan, reports)]
    details = {
        "command": plan.command,
        "seconds": round(time.monotonic() - start, 1),
        "workers": workers,
        "build": summed({report.name: report for report in reports}),
        "packages": [_brief(report) for report in reports],
        "duplicates": duplicates,
        **plan.extra,
    }
    write_set(str(root / plan.name), plan.name, _rows(parts, kept), details)
    return BuildResult(plan.name, root / plan.name, count, details, tuple(missing))


def _differences(plan: _Plan, reports: Sequence[PackageReport]) -> Iterator[str]:
    """What of the list is not there as listed."""
    for job, report in zip(plan.jobs, reports, strict=True):
        if job.units is None or report.error:
            continue
        absent = len(job.units) - report.kept - len(report.unlike)
        if report.unlike:
            yield f"{job.name}: {len(report.unlike)} programs are not those of the list (another clang?): left out"
        if absent:
            yield f"{job.name}: {absent} programs of the list could not be made: {report.reasons or report.left_out}"


def _without_duplicates(parts: Iterable[Path]) -> tuple[set[str], dict[str, int]]:
    entries = [Entry.of(row.program, row.measurement, "train") for part in parts for row in read_rows(str(part))]
    result = remove_duplicates(entries)
    return set(result.kept), dict(Counter(removal.reason for removal in result.removed))


def _rows(parts: Iterable[Path], kept: set[str] | None) -> Iterator[Row]:
    for part in parts:
        for row in sorted(read_rows(part), key=lambda row: row.program.uri):
            if kept is None or row.program.uri in kept:
                yield row


def _brief(report: PackageReport) -> dict[str, Any]:
    names = ("name", "version", "found", "tried", "compiled", "kept", "seconds", "error", "reasons")
    return {name: getattr(report, name) for name in names}
