"""Oracles for fuzzing: what must hold of every program and every list of passes, checked in independent ways.

An oracle looks at a list of items: texts of ``opt -passes=``, and at most one marker of a place in the list.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np

from compiler_dojo.envs.errors import DojoError
from compiler_dojo.envs.llvm.cache import TransitionCache
from compiler_dojo.envs.llvm.execution import build_executable, run_executable
from compiler_dojo.envs.llvm.session import CompilerSession
from compiler_dojo.envs.llvm.worker import Isolation, Worker
from compiler_dojo.envs.programs import Program
from compiler_dojo.experiments.bare_run import error_at_end
from compiler_dojo.experiments.fuzz_replay import InProcessReplayer
from compiler_dojo.experiments.trace import Observation, first_difference, observe, trace

RESTART = "<write and read again>"
OTHER = "<another history>"
MARKERS = (RESTART, OTHER)
NONDETERMINISM_RUNS = 3
# Kinds of differences that name the step they came with; others are seen at the end of a list only.
SEEN_AT_ONCE = ("hash", "counts", "length")

Trace = Sequence[Observation]


class Difference(NamedTuple):
    """What an oracle found.

    Attributes:
        step: how many passes it takes to see it.
        kind: ``hash``, ``counts``, or the class of an error; findings of one oracle, pass and kind count as one class.
        message: what differs.
    """

    step: int
    kind: str
    message: str


class NothingToCheckError(DojoError):
    """An oracle cannot or need not look at this program: it does not run, or ran before."""


class Oracle(Protocol):
    """Something that must hold of a list of passes."""

    @property
    def name(self) -> str:
        """What reports call it."""
        ...

    def arrange(self, pipelines: Sequence[str], rng: np.random.Generator) -> list[str]:
        """The items to look at, for these pipelines."""
        ...

    def difference(self, program: Program, items: Sequence[str], expected: Trace | None = None) -> Difference | None:
        """What is wrong, or None. ``expected`` is the trace of the pipelines when it is known already.

        Raises:
            NothingToCheckError: there is nothing to look at.
        """
        ...


def pipelines_of(items: Sequence[str]) -> list[str]:
    """The items without markers."""
    return [item for item in items if item not in MARKERS]


def cut(items: Sequence[str], step: int) -> list[str]:
    """The items up to the ``step``-th pipeline."""
    kept: list[str] = []
    for item in items:
        if item not in MARKERS:
            if step == 0:
                break
            step -= 1
        kept.append(item)
    return kept


def compare(expected: Trace, found: Trace, what: str) -> Difference | None:
    """The first step at which two traces differ."""
    step = first_difference(expected, found)
    if step is None:
        return None
    if step >= len(found) or step >= len(expected):
        return Difference(step, "length", f"{what}: {len(found) - 1} passes ran, expected {len(expected) - 1}")
    kind = "hash" if expected[step].hash != found[step].hash else "counts"
    return Difference(step, kind, f"{what}: {kind} {found[step]} after pass {step}, expected {expected[step]}")


def failure(error: DojoError, step: int) -> Difference:
    """An error where none is allowed."""
    message = str(error).split("; reproducer: ")[0]  # which is written anew, and smaller
    return Difference(step, type(error).__name__, f"{type(error).__name__}: {message}")


class _InSessions:
    """What oracles that run isolated sessions share."""

    def __init__(self, isolation: Isolation) -> None:
        self._isolation = isolation

    def arrange(self, pipelines: Sequence[str], rng: np.random.Generator) -> list[str]:
        return list(pipelines)

    def _open(self, program: Program, module: bytes | None = None) -> CompilerSession:
        return CompilerSession(module or program.module, program.uri, self._isolation)

    def _trace(self, program: Program, items: Sequence[str]) -> list[Observation]:
        with self._open(program) as session:
            return trace(session, pipelines_of(items))


class VerifierOracle(_InSessions):
    """LLVM's verifier accepts the module after every pass."""

    name = "verifier"

    def difference(self, program: Program, items: Sequence[str], expected: Trace | None = None) -> Difference | None:  # noqa: D102
        with self._open(program) as session:
            for step, pipeline in enumerate(pipelines_of(items), 1):
                if session.run(pipeline).changed:
                    try:
                        session.verify()
                    except DojoError as error:
                        return failure(error, step)
        return None


class CrashOracle(_InSessions):
    """No pass crashes, hangs, or is refused; only what the last one does is looked at."""

    name = "crash"

    def difference(self, program: Program, items: Sequence[str], expected: Trace | None = None) -> Difference | None:  # noqa: D102
        error = error_at_end(Worker(self._isolation), program.module, pipelines_of(items))
        return None if error is None else failure(error, len(items))


class RecountOracle(_InSessions):
    """A module written as bitcode and read again has the same hash and counts."""

    name = "recount"

    def difference(self, program: Program, items: Sequence[str], expected: Trace | None = None) -> Difference | None:  # noqa: D102
        pipelines = pipelines_of(items)
        with self._open(program) as session:
            before = trace(session, pipelines)[-1]
            with self._open(program, session.bitcode()) as again:
                return compare(
                    [*[before] * len(pipelines), before], [*[before] * len(pipelines), observe(again)], "recount"
                )


class RestartOracle(_InSessions):
    """Going on from the bitcode of a state gives what going on from the state gives."""

    name = "restart"

    def arrange(self, pipelines: Sequence[str], rng: np.random.Generator) -> list[str]:  # noqa: D102
        place = int(rng.integers(len(pipelines) + 1))
        return [*pipelines[:place], RESTART, *pipelines[place:]]

    def difference(self, program: Program, items: Sequence[str], expected: Trace | None = None) -> Difference | None:  # noqa: D102
        if RESTART not in items:
            return None
        place = items.index(RESTART)
        with self._open(program) as session:
            found = trace(session, items[:place])
            module = session.bitcode()
        with self._open(program, module) as session:
            found = found[:-1] + trace(session, items[place + 1 :])
        return compare(expected or self._trace(program, items), found, "restart")


class ReplayOracle(_InSessions):
    """The same list in a fresh session gives the same modules."""

    name = "replay"

    def difference(self, program: Program, items: Sequence[str], expected: Trace | None = None) -> Difference | None:  # noqa: D102
        runs = 1 if expected is not None else NONDETERMINISM_RUNS
        expected = expected or self._trace(program, items)
        found = (compare(expected, self._trace(program, items), "replay") for _ in range(runs))
        return next((difference for difference in found if difference is not None), None)


class CachedOracle(_InSessions):
    """Remembered results are what LLVM gives: for half the list, for all of it, and for all of it once more."""

    name = "cached"

    def __init__(self, isolation: Isolation, shared: TransitionCache | None = None) -> None:
        super().__init__(isolation)
        self._shared = shared

    def difference(self, program: Program, items: Sequence[str], expected: Trace | None = None) -> Difference | None:  # noqa: D102
        pipelines = pipelines_of(items)
        cache = self._shared if expected is not None and self._shared is not None else TransitionCache()
        expected = expected or self._trace(program, items)
        for end in (len(pipelines) // 2, len(pipelines), len(pipelines)):
            with self._open(program) as session:
                session.remember(cache, bytes.fromhex(program.sha256)[:16])
                found = trace(session, pipelines[:end])
                difference = compare(expected[: end + 1], found, "cached")
                if difference is not None:
                    return difference
        with self._open(program) as session:
            session.remember(cache, bytes.fromhex(program.sha256)[:16])
            trace(session, pipelines)
            with self._open(program, session.bitcode()) as again:
                return compare(expected, [*expected[:-1], observe(again)], "module after remembered passes")


class InProcessOracle(_InSessions):
    """LLVM in another process without a worker, its heap filled with a pattern, gives what the worker gives."""

    name = "in-process"

    def __init__(self, isolation: Isolation, replayer: InProcessReplayer) -> None:
        super().__init__(isolation)
        self._replayer = replayer

    def difference(self, program: Program, items: Sequence[str], expected: Trace | None = None) -> Difference | None:  # noqa: D102
        pipelines = pipelines_of(items)
        expected = expected or self._trace(program, items)
        try:
            found = self._replayer.trace(program.module, pipelines)
        except DojoError as error:
            return failure(error, len(pipelines))
        return compare(expected, found, "in-process")


@dataclass
class OutputOracle:
    """The program prints what its unoptimised build prints; each distinct module is run once.

    Attributes:
        share: of the time since the start, at most this share is spent here.
        runs: modules that were built and run.
    """

    isolation: Isolation
    share: float = 1.0
    name: str = "output"
    runs: int = 0
    _known: set[tuple[str, str]] = field(default_factory=set)
    _spent: float = 0.0
    _start: float = field(default_factory=time.perf_counter)

    def arrange(self, pipelines: Sequence[str], rng: np.random.Generator) -> list[str]:
        """The pipelines."""
        return list(pipelines)

    def difference(self, program: Program, items: Sequence[str], expected: Trace | None = None) -> Difference | None:
        """What the program does after all passes, if it is another thing than before any.

        Raises:
            NothingToCheckError: the program cannot be run, its module was run before, or the time is spent.
        """
        if program.run is None or program.run.output is None:
            raise NothingToCheckError(f"{program.uri} cannot be run")
        start = time.perf_counter()
        if expected is not None:
            key = (program.uri, expected[-1].hash)
            if key in self._known or self._spent > self.share * (start - self._start):
                raise NothingToCheckError(f"{program.uri} was run before, or enough was run")
            self._known.add(key)
        try:
            return self._run(program, pipelines_of(items))
        finally:
            self._spent += time.perf_counter() - start

    def _run(self, program: Program, pipelines: list[str]) -> Difference | None:
        assert program.run is not None
        wanted, step = program.run.output or "", len(pipelines)
        self.runs += 1
        with CompilerSession(program.module, program.uri, self.isolation) as session:
            for pipeline in pipelines:
                session.run(pipeline)
            try:
                with build_executable(session) as executable:
                    found = run_executable(executable, program.run)
            except DojoError as error:
                return failure(error, step)
        if (found.status, found.output) == (0, wanted):
            return None
        kind = "output" if found.status == 0 else "time" if found.status is None else "status"
        message = f"exits with {found.status}, prints {found.output[-80:]!r}, expected {wanted[-80:]!r}"
        return Difference(step, kind, message)


class TransitionMemory:
    """Every transition seen, by root program, module hash and pass: two results of one mean that the hash is blind."""

    def __init__(self, isolation: Isolation) -> None:
        self._isolation = isolation
        self._seen: dict[tuple[str, str, str], tuple[Observation, Program, tuple[str, ...]]] = {}

    def __len__(self) -> int:
        return len(self._seen)

    def check(
        self, root: str, program: Program, pipelines: Sequence[str], found: Trace
    ) -> tuple[Difference, list[str], Callable[[list[str]], bool]] | None:
        """Add a trace; the first contradiction, its items, and whether fewer items still show it."""
        conflict = None
        for step, pipeline in enumerate(pipelines[: len(found) - 1], 1):
            key = (root, found[step - 1].hash, pipeline)
            known = self._seen.setdefault(key, (found[step], program, tuple(pipelines[: step - 1])))
            if known[0] != found[step] and conflict is None:
                items = [*pipelines[: step - 1], OTHER, *known[2]]
                message = f"after the same hash {key[1]}: {found[step]}, in another history {known[0]}"
                conflict = Difference(step, "hash", message), [*items, pipeline], self._again(program, known[1])
        return conflict

    def _again(self, program: Program, other: Program) -> Callable[[list[str]], bool]:
        return lambda items: histories_disagree(program, other, items, self._isolation)


def histories_disagree(program: Program, other: Program, items: Sequence[str], isolation: Isolation) -> bool:
    """Whether the last item does different things to two modules of one hash, reached by what is before and after the
    marker."""
    if OTHER not in items[:-1]:
        return False
    place, last = items.index(OTHER), [items[-1]]
    with CompilerSession(program.module, program.uri, isolation) as session:
        one = trace(session, [*items[:place], *last])
    with CompilerSession(other.module, other.uri, isolation) as session:
        two = trace(session, [*items[place + 1 : -1], *last])
    return one[-2].hash == two[-2].hash and one[-1] != two[-1]
