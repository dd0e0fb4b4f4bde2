"""The worker: a process of its own in which LLVM works for this one, started when needed and again when it has died."""

from __future__ import annotations

import atexit
import os
import subprocess
import threading
import weakref
from collections.abc import Callable
from ctypes import byref, c_uint, c_void_p
from dataclasses import dataclass

from compiler_dojo.envs.errors import InvalidConfigError, NativeLibraryError
from compiler_dojo.envs.llvm.library import INSTALL_HINT, choose_libllvm, find_native_library, load_core
from compiler_dojo.envs.llvm.once import once

START_SECONDS = 30.0


def _default_memory() -> int:
    return max(4 << 30, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * 3 // 4)


@dataclass(frozen=True)
class Isolation:
    """How a worker process is limited.

    Attributes:
        pass_seconds: wall-clock limit of one pass (and of reading a program, or emitting its object).
        memory_bytes: address space of the worker; by default three quarters of the machine's memory.
        threads: sessions that run at once; by default one per core.

    Raises:
        InvalidConfigError: a limit is not positive.
    """

    pass_seconds: float = 60.0
    memory_bytes: int = 0
    threads: int = 0

    def __post_init__(self) -> None:
        if self.pass_seconds <= 0 or self.memory_bytes < 0 or self.threads < 0:
            raise InvalidConfigError(f"limits are positive numbers, got {self}")


def make_isolation(choice: str | Isolation) -> Isolation | None:
    """What ``isolation=`` stands for; None is no isolation.

    Raises:
        InvalidConfigError: it is neither ``"process"``, ``"none"`` nor an :class:`Isolation`.
    """
    if isinstance(choice, Isolation):
        return choice
    if choice == "process":
        return Isolation()
    if choice == "none":
        return None
    raise InvalidConfigError(f"isolation is 'process', 'none' or an Isolation, got {choice!r}")


class Connection:
    """One worker process, from its start to its end.

    Attributes:
        handle: the C core's ``dojo_worker``.
        ended: no call can succeed any more.

    Raises:
        NativeLibraryError: the process does not start, for want of libLLVM for instance.
    """

    def __init__(self, isolation: Isolation) -> None:
        self.ended = True
        self._process: subprocess.Popen[bytes] | None = None
        self._core = load_core()
        program, libllvm = find_native_library("dojo-worker"), choose_libllvm()
        self.handle = c_void_p()
        error = c_void_p()
        functions = self._core.functions
        self._memory = os.memfd_create("dojo-worker")
        self._log = os.memfd_create("dojo-worker-log")
        os.ftruncate(self._memory, functions.dojo_worker_memory_size())
        self._core.check(functions.dojo_worker_prepare(self._memory, byref(self.handle), byref(error)), error, "worker")
        lifeline, self._lifeline = os.pipe()
        command = [
            str(program),
            *map(str, (self._memory, lifeline, os.getpid(), libllvm)),
            str(isolation.threads or len(os.sched_getaffinity(0))),
            str(isolation.memory_bytes or _default_memory()),
        ]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._log,
                pass_fds=(self._memory, lifeline),
            )
        except OSError as problem:
            os.close(self._lifeline)
            raise NativeLibraryError(f"cannot start {command[0]}: {problem}") from problem
        finally:
            os.close(lifeline)
        status = functions.dojo_worker_start(self.handle, self._process.pid, START_SECONDS, byref(error))
        if status:
            message = self._core.take_string(error)
            self.end()
            words = self.last_words()
            raise NativeLibraryError(f"cannot use libLLVM: {message}{words and f' ({words})'}; {INSTALL_HINT}")
        self.ended = False
        _connections.add(self)

    @property
    def pid(self) -> int:
        """Process id of the worker."""
        return self._process.pid if self._process is not None else 0

    @property
    def version(self) -> tuple[int, int, int]:
        """Version of the worker's libLLVM."""
        version = (c_uint * 3)()
        self._core.functions.dojo_worker_version(self.handle, version)
        return version[0], version[1], version[2]

    def is_alive(self) -> bool:
        """Whether the process is there."""
        return not self.ended and bool(self._core.functions.dojo_worker_is_alive(self.handle))

    def last_words(self) -> str:
        """The end of what the process wrote on standard error."""
        size = os.fstat(self._log).st_size
        return os.pread(self._log, 2000, max(size - 2000, 0)).decode(errors="replace").strip()

    def end(self) -> None:
        """End the process. Ending it twice is harmless; its memory stays mapped as long as this object lives."""
        self.ended = True
        process, self._process = self._process, None
        if process is not None:
            os.close(self._lifeline)
            process.kill()
            process.wait()

    def forget(self) -> None:
        """In a fork of the process that owns the worker: let go of it."""
        if self._process is not None:
            self._process.returncode = 0  # it is no child of this process
            self._process = None
            os.close(self._lifeline)
        self.ended = True

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        # what outlives this module at the interpreter's end finds its names gone: only what is bound here is there
        try:
            self.end()
            self._core.functions.dojo_worker_close(self.handle)
            close(self._memory)
            close(self._log)
        except AttributeError:  # the constructor failed early
            return


_connections: weakref.WeakSet[Connection] = weakref.WeakSet()


class Worker:
    """A worker process that is started at the first request, and again at the first request after its end.

    Attributes:
        starts: processes started so far.
    """

    def __init__(self, isolation: Isolation) -> None:
        self.isolation = isolation
        self.starts = 0
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        _workers.add(self)

    def connection(self) -> Connection:
        """A connection to a living process."""
        connection = self._connection
        if connection is not None and not connection.ended:
            return connection
        with self._lock:
            if self._connection is None or self._connection.ended:
                self._connection = Connection(self.isolation)
                self.starts += 1
            return self._connection

    def end_if_dead(self) -> None:
        """Take notice of the process's end, if it has ended."""
        with self._lock:
            if self._connection is not None and not self._connection.is_alive():
                self._connection.end()

    def forget(self) -> None:
        """In a fork: the lock may have been held by a thread that is not there."""
        self._lock = threading.Lock()


_workers: weakref.WeakSet[Worker] = weakref.WeakSet()


@once
def shared_worker(isolation: Isolation) -> Worker:
    """The process's worker with these limits."""
    return Worker(isolation)


def _end_all() -> None:
    for connection in list(_connections):
        connection.end()


def _after_fork() -> None:
    for connection in list(_connections):
        connection.forget()
    for worker in list(_workers):
        worker.forget()


atexit.register(_end_all)
os.register_at_fork(after_in_child=_after_fork)
