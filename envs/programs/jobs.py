"""Jobs of packages: fetched by one thread, built by processes that have one job each, so a death has one culprit."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import signal
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from compiler_dojo.envs.errors import DojoError, FetchError
from compiler_dojo.envs.llvm.sandbox import private_folder
from compiler_dojo.envs.programs.sources.archive import Archive
from compiler_dojo.envs.programs.sources.packages import PackageJob, PackageReport, build_package

Progress = Callable[[int, int, str], None]
"""Called with packages done, packages in all, and what is being done."""

BATCH = 8
"""Packages that are fetched together."""

QUEUED = 8
"""Packages that are fetched ahead for each process, so that it need not wait for the network."""

ATTEMPTS = 2
"""How often a package may take its process along before it counts as failed."""


class Task(NamedTuple):
    """A job, and the folder that its files go to."""

    job: PackageJob
    folder: Path


@dataclass
class JobRunner:
    """Runs jobs in processes that end with this one, however it ends.

    Attributes:
        archive: where Debian's packages come from.
        headers: root of the headers to compile with.
        workers: how many processes.
        tell: told of every package.
        unfetched: how many packages could not be fetched.
    """

    archive: Archive
    headers: Path
    workers: int
    tell: Progress
    unfetched: int = 0
    _programs: int = 0
    _pools: list[ProcessPoolExecutor] = field(default_factory=list)
    _own: threading.local = field(default_factory=threading.local)
    _stopped: threading.Event = field(default_factory=threading.Event)
    _lifeline: Connection = field(init=False)
    _temporary: Path = field(init=False)

    def run(self, tasks: Sequence[Task]) -> list[PackageReport]:
        """A report of each task, in their order.

        Raises:
            FetchError: the archive's folder cannot be written.
            ToolchainError: apt or clang is missing.
            DatasetError: a task's folder cannot be written.
        """
        self._lifeline, held = multiprocessing.get_context("spawn").Pipe(duplex=False)
        with (
            private_folder() as self._temporary,
            ThreadPoolExecutor(1) as fetcher,
            ThreadPoolExecutor(self.workers) as builders,
        ):
            try:
                reports = self._reports(tasks, fetcher, builders)
            except BaseException:
                self._stopped.set()
                held.close()  # which ends the processes in the middle of what they do
                fetcher.shutdown(wait=False, cancel_futures=True)
                builders.shutdown(wait=False, cancel_futures=True)
                raise
            finally:
                for pool in [*self._pools]:
                    pool.shutdown()
                held.close()
                self._lifeline.close()
        return [reports[number] for number in range(len(tasks))]

    def _reports(
        self, tasks: Sequence[Task], fetcher: ThreadPoolExecutor, builders: ThreadPoolExecutor
    ) -> dict[int, PackageReport]:
        reports: dict[int, PackageReport] = {}

        def add(number: int, report: PackageReport) -> None:
            reports[number] = report
            self._programs += report.kept
            self.tell(len(reports), len(tasks), f"{tasks[number].job.name}: {self._programs} programs")

        # large ones first, so that no core waits long at the end
        order = sorted(range(len(tasks)), key=lambda number: (-_weight(tasks[number].job), tasks[number].job.name))
        waiting = deque(order)
        fetching: dict[Future[Mapping[str, FetchError]], list[int]] = {}
        building: dict[Future[PackageReport], int] = {}
        while waiting or fetching or building:
            if waiting and not fetching and len(building) < QUEUED * self.workers:
                batch = [waiting.popleft() for _ in range(min(BATCH, len(waiting)))]
                jobs = [tasks[number].job for number in batch]
                if not all(job.archive.exists() for job in jobs):
                    self.tell(len(reports), len(tasks), f"fetching {jobs[0].name} and others")
                fetching[fetcher.submit(self._fetch, jobs)] = batch
            running: list[Future[Any]] = [*fetching, *building]
            finished = wait(running, return_when=FIRST_COMPLETED).done
            for future in [future for future in building if future in finished]:
                add(building.pop(future), future.result())
            for fetched in [future for future in fetching if future in finished]:
                failed = fetched.result()
                for number in fetching.pop(fetched):
                    job = tasks[number].job
                    if job.name in failed:
                        self.unfetched += 1
                        add(number, PackageReport(job.name, job.version, error=str(failed[job.name])))
                    else:
                        building[builders.submit(self._build, tasks[number])] = number
        return reports

    def _fetch(self, jobs: Sequence[PackageJob]) -> Mapping[str, FetchError]:
        packages = [self.archive.find(job.name, job.version) for job in jobs if job.scheme == "debian"]
        return self.archive.fetch(packages) if packages else {}

    def _build(self, task: Task) -> PackageReport:
        """Build a package; one that ends its process is tried again."""
        for _ in range(ATTEMPTS):
            report = self._try(task)
            if report is not None:
                return report
        return _failed(task.job, f"its process was ended {ATTEMPTS} times: too little memory?")

    def _try(self, task: Task) -> PackageReport | None:
        """Build a package in this thread's own process; None when that ended."""
        try:
            return self._pool().submit(build_package, task.job, self.headers, task.folder).result()
        except BrokenProcessPool:
            del self._own.pool
            if self._stopped.is_set():
                raise
            return None
        except DojoError:
            raise
        except Exception as error:
            return _failed(task.job, f"{type(error).__name__}: {error}")

    def _pool(self) -> ProcessPoolExecutor:
        if not hasattr(self._own, "pool"):
            context = multiprocessing.get_context("spawn")
            self._own.pool = ProcessPoolExecutor(1, context, _begin, (self._lifeline, str(self._temporary)))
            self._pools.append(self._own.pool)
        pool: ProcessPoolExecutor = self._own.pool
        return pool


def _failed(job: PackageJob, reason: str) -> PackageReport:
    return PackageReport(job.name, job.version, error=f"{job.name} could not be built: {reason}")


def _begin(lifeline: Connection, temporary: str) -> None:
    """Have this process end when the other end of a pipe is closed, as the system does where its holder is killed."""

    def watch() -> None:
        with contextlib.suppress(EOFError, OSError):
            lifeline.recv()
        shutil.rmtree(temporary, ignore_errors=True)
        os._exit(1)

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ctrl-C is for the process that holds the pipe
    tempfile.tempdir = temporary
    threading.Thread(target=watch, daemon=True).start()


def _weight(job: PackageJob) -> int:
    return len(job.units) if job.units is not None else 0
