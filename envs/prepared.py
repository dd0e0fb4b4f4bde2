"""A program made ready for episodes: its starting points and baseline costs, each computed once per process."""

from __future__ import annotations

import collections
import math
import threading
from typing import Literal

from compiler_dojo.envs.errors import InvalidConfigError, UnknownRewardError, did_you_mean
from compiler_dojo.envs.llvm.cache import TransitionCache
from compiler_dojo.envs.llvm.session import CompilerSession
from compiler_dojo.envs.llvm.worker import Isolation
from compiler_dojo.envs.metrics import METRICS
from compiler_dojo.envs.programs.program import Program

Start = Literal["O0", "Oz"]

LEVELS: dict[str, str] = {
    "O0": "",
    "Oz": "default<Oz>",
    "Os": "default<Os>",
    "O1": "default<O1>",
    "O2": "default<O2>",
    "O3": "default<O3>",
}
"""Optimisation levels by name, with LLVM's own pipeline for each."""

CACHED_PROGRAMS = 1024


class PreparedProgram:
    """The program at each optimisation level.

    Args:
        program: the program; a fault in it is reported here.
        isolation: where its sessions live.

    Raises:
        InvalidProgramError: the program does not parse or verify, is empty, or defines no function.
    """

    def __init__(self, program: Program, isolation: str | Isolation = "process") -> None:
        self.program = program
        self._identity = bytes.fromhex(program.sha256)[:16]
        with CompilerSession(program.module, program.uri, isolation) as session:
            # forks that are never run hold bitcode only, not a parsed module
            self._sessions = {"O0": session.fork()}
        self._costs: dict[tuple[str, str], float] = {}
        self._log_counts: dict[str, float] = {}
        self._lock = threading.Lock()

    def session(self, level: str = "O0", cache: TransitionCache | None = None) -> CompilerSession:
        """A new session with the program as ``level`` leaves it, whose passes are remembered in ``cache``."""
        session = self._fork(level)
        if cache is not None:
            session.remember(cache, self._identity)
        return session

    def cost(self, metric: str, level: str) -> float:
        """The program's cost at a level, such as ``cost("instruction_count", "Oz")``.

        Raises:
            UnknownRewardError: unknown metric.
            InvalidConfigError: unknown level.
        """
        key = (metric, level)
        if key not in self._costs:
            if metric not in METRICS:
                raise UnknownRewardError(f"unknown metric {metric!r}: {did_you_mean(metric, METRICS)}")
            with self._fork(level) as session:
                self._costs[key] = METRICS[metric].measure(session, self.program)
        return self._costs[key]

    def log_count(self, level: str) -> float:
        """Natural logarithm of the instruction count at a level."""
        if level not in self._log_counts:
            self._log_counts[level] = math.log(max(self.cost("instruction_count", level), 1.0))
        return self._log_counts[level]

    def _fork(self, level: str) -> CompilerSession:
        with self._lock:  # after the worker's death the first to fork a session rebuilds it
            if level not in self._sessions:
                if level not in LEVELS:
                    raise InvalidConfigError(f"unknown optimisation level {level!r}: {did_you_mean(level, LEVELS)}")
                with self._sessions["O0"].fork() as session:
                    session.run(LEVELS[level])
                    self._sessions[level] = session.fork()
            return self._sessions[level].fork()


_cache: collections.OrderedDict[tuple[Program, str | Isolation], PreparedProgram] = collections.OrderedDict()
_cache_lock = threading.Lock()


def prepare(program: Program, isolation: str | Isolation = "process") -> PreparedProgram:
    """The process's prepared form of a program; the least recently used of over 1,024 are forgotten."""
    key = program, isolation
    with _cache_lock:
        prepared = _cache.get(key)
        if prepared is not None:
            _cache.move_to_end(key)
            return prepared
    prepared = PreparedProgram(program, isolation)
    with _cache_lock:
        _cache[key] = prepared
        while len(_cache) > CACHED_PROGRAMS:
            _cache.popitem(last=False)
    return prepared
