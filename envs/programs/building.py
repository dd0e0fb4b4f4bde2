"""Building sets of programs from packages: fetched by one thread, compiled by processes, put together at the end.

Each package is a job that leaves a file of its own, so a build that is interrupted, by whatever, goes on where it was.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from compiler_dojo.envs.errors import DatasetError, FetchError, InvalidConfigError, UnknownProgramError
from compiler_dojo.envs.programs.corpora import Corpus, read_corpus
from compiler_dojo.envs.programs.folders import cache_folder, data_folder
from compiler_dojo.envs.programs.sources.archive import Archive, SourcePackage, shared_archive
from compiler_dojo.envs.programs.sources.debian import find_headers, job_for
from compiler_dojo.envs.programs.sources.headers import Headers
from compiler_dojo.envs.programs.sources.packages import PackageJob, PackageReport, build_package, summed
from compiler_dojo.envs.programs.splits import Entry, remove_duplicates
from compiler_dojo.envs.programs.storage import Row, read_rows, write_set

Progress = Callable[[int, int, str], None]
"""Called with packages done, packages in all, and what is being done."""

# packages fetched and waiting for each process, so that it need not wait for the network
QUEUED = 8

ATTEMPTS = 2
"""How often a package may take its process along before it counts as failed."""


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
    corpora = [read_corpus(name) for name in names]
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

    Raises:
        InvalidConfigError: neither packages nor a sample are asked for, or the scheme is unknown.
        UnknownProgramError: no package of this name or version.
        FetchError: nothing could be fetched.
        ToolchainError: clang or apt is missing.
        DatasetError: the set cannot be written.
    """
    if not choice.packages and choice.sample < 1:
        raise InvalidConfigError("which packages? Give names, or a sample of at least 1")
    start = time.monotonic()
    archive = archive or shared_archive()
    plan = _Plan(name, f"dojo programs build {choice.scheme} --name {name}")
    if choice.scheme == "debian":
        chosen = _chosen(choice, archive)
        plan.jobs = [job_for(package, archive, **_settings(choice)) for package in chosen]
        return _build([plan], archive, headers, root, workers, progress, start)[0]
    if choice.scheme == "pypi":
        from compiler_dojo.envs.programs.sources.pypi import job_for as sdist_job

        for text in choice.packages:
            sdist, _, version = text.partition("==")
            try:
                plan.jobs.append(sdist_job(sdist, version or None, **_settings(choice)))
            except (FetchError, UnknownProgramError) as error:
                plan.problems.append(str(error))
        return _build([plan], archive, headers, root, workers, progress, start)[0]
    raise InvalidConfigError(f"packages are built from 'debian' or 'pypi', got {choice.scheme!r}")


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
        return [archive.find(*_name_and_version(text)) for text in dict.fromkeys(choice.packages)]
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
    headers, problem = (headers, "") if headers is not None else find_headers(archive)
    jobs = [job for plan in plans for job in plan.jobs]
    folder = cache_folder("builds")
    workers = workers or os.cpu_count() or 1
    tell = progress or (lambda done, total, text: None)
    reports = dict(_Run(archive, headers.root, folder, workers, tell).reports(jobs))
    if reports and all(report.error for report in reports.values()):
        raise FetchError(f"no package could be built: {next(iter(reports.values())).error}")
    results = []
    for plan in plans:
        tell(len(jobs), len(jobs), f"writing {plan.name}")
        problems = [*plan.problems, *([problem] if problem else [])]
        results.append(_assemble(plan, problems, reports, folder, root or data_folder(), workers, start))
    for job in jobs:  # only now: until all sets are there, a package's file may be needed again
        for path in folder.glob(f"{job.key}.*"):
            path.unlink()
    return results


@dataclass
class _Run:
    """Jobs that are fetched by this process and built by others, at the same time."""

    archive: Archive
    headers: Path
    folder: Path
    workers: int
    tell: Progress
    done: int = 0
    total: int = 0
    programs: int = 0

    def reports(self, jobs: Sequence[PackageJob]) -> Iterator[tuple[str, PackageReport]]:
        """Reports by key of job, as packages get done; large ones first, so that no core waits long at the end."""
        waiting = sorted(jobs, key=lambda job: (-_weight(job), job.name))
        self.total = len(waiting)
        attempts: Counter[str] = Counter()
        while waiting:
            running: dict[Future[PackageReport], PackageJob] = {}
            context = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(self.workers, context, _end_with, (os.getpid(),)) as pool:
                try:
                    yield from self._until_done(pool, waiting, running)
                except BrokenProcessPool:
                    # something ended a process: out of memory, or a kill from outside
                    for future, job in running.items():
                        attempts[job.key] += future.running()
                        if attempts[job.key] < ATTEMPTS:
                            waiting.insert(0, job)
                        else:
                            error = f"the process that built {job.name} was killed {ATTEMPTS} times: too little memory?"
                            yield self._told(job, PackageReport(job.name, job.version, error=error))
                except BaseException:
                    pool.shutdown(wait=False, cancel_futures=True)
                    raise

    def _until_done(
        self, pool: ProcessPoolExecutor, waiting: list[PackageJob], running: dict[Future[PackageReport], PackageJob]
    ) -> Iterator[tuple[str, PackageReport]]:
        while waiting or running:
            if waiting and len(running) < QUEUED * self.workers:
                batch, waiting[:] = waiting[:QUEUED], waiting[QUEUED:]
                failed = self._fetch(batch)
                for job in batch:
                    if job.name in failed:
                        yield self._told(job, PackageReport(job.name, job.version, error=str(failed[job.name])))
                    else:
                        running[pool.submit(build_package, job, self.headers, self.folder)] = job
            finished = wait(running, timeout=0 if waiting else None, return_when=FIRST_COMPLETED).done
            if not finished and len(running) >= QUEUED * self.workers:
                finished = wait(running, return_when=FIRST_COMPLETED).done
            for future in finished:
                report = future.result()
                yield self._told(running.pop(future), report)

    def _fetch(self, batch: Sequence[PackageJob]) -> Mapping[str, FetchError]:
        packages = [self.archive.find(job.name, job.version) for job in batch if job.scheme == "debian"]
        if any(not self.archive.path(package.sources).exists() for package in packages):
            self.tell(self.done, self.total, f"fetching {batch[0].name} and others")
        return self.archive.fetch(packages) if packages else {}

    def _told(self, job: PackageJob, report: PackageReport) -> tuple[str, PackageReport]:
        self.done += 1
        self.programs += report.kept
        self.tell(self.done, self.total, f"{job.name}: {self.programs} programs")
        return job.key, report


def _end_with(parent: int) -> None:
    """Have this process end when its parent does, which a parent that is killed cannot see to."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _weight(job: PackageJob) -> int:
    return len(job.units) if job.units is not None else 0


def _assemble(
    plan: _Plan,
    problems: Sequence[str],
    reports: Mapping[str, PackageReport],
    folder: Path,
    root: Path,
    workers: int,
    start: float,
) -> BuildResult:
    own = {job.name: reports[job.key] for job in plan.jobs}
    parts = [folder / f"{job.key}.parquet" for job in sorted(plan.jobs, key=lambda job: job.name)]
    parts = [part for part in parts if part.exists()]
    pinned = all(job.units is not None for job in plan.jobs)
    kept, duplicates = (None, {}) if pinned else _without_duplicates(parts)
    count = sum(report.kept for report in own.values()) if kept is None else len(kept)
    if count == 0:
        reasons = "; ".join([*problems, *(r.error for r in own.values() if r.error)][:3])
        raise DatasetError(f"{plan.name} would be empty: {reasons or 'no unit of these packages compiles'}")
    missing = [*problems, *(r.error for r in own.values() if r.error), *_differences(plan, own)]
    details = {
        "command": plan.command,
        "seconds": round(time.monotonic() - start, 1),
        "workers": workers,
        "build": summed(own),
        "packages": [_brief(report) for report in own.values()],
        "duplicates": duplicates,
        **plan.extra,
    }
    write_set(str(root / plan.name), plan.name, _rows(parts, kept), details)
    return BuildResult(plan.name, root / plan.name, count, details, tuple(missing))


def _differences(plan: _Plan, reports: Mapping[str, PackageReport]) -> Iterator[str]:
    """What of the list is not there as listed."""
    for job in plan.jobs:
        report = reports[job.name]
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


def forget_builds() -> None:
    """Remove the files of unfinished builds."""
    shutil.rmtree(cache_folder("builds"), ignore_errors=True)
