"""Choosing a nest by measuring candidates: all of them briefly, then the better ones again and again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from compiler_dojo.envs.errors import IllegalScheduleError, InvalidConfigError
from compiler_dojo.envs.loops.measure import time_kernel
from compiler_dojo.envs.loops.nest import Nest, start_nest
from compiler_dojo.envs.loops.runner import RunnableKernel, Runner
from compiler_dojo.envs.loops.targets import Target
from compiler_dojo.envs.loops.team import Protocol, Timing
from compiler_dojo.envs.loops.workload import Workload

Schedule = Callable[[Workload, Target, int], Iterable[Nest]]
"""Proposes nests for a workload, a target and a number of threads, the most promising first."""

SIFTING = 0.65
"""Share of the time that the first, brief measurements may take."""

START_SHARE = 8
"""The start nest runs one of so many parts first, for it can be a hundred times slower than the others."""

NOISE = 1.5
"""A candidate that took longer than this times the best, in brief measurements, is not measured again."""


@dataclass(frozen=True)
class Tuning:
    """What was found.

    Attributes:
        nest: the fastest that was measured.
        timing: its best and its median sample over all rounds.
        measurements: nests that were compiled and timed.
        seconds: time for everything: candidates, compilation, measurements.
        start: the start nest's timing, of one sample; None when it was not worth running it in full.
        cached: whether it was found before, and nothing was measured now.
    """

    nest: Nest
    timing: Timing
    measurements: int
    seconds: float
    start: Timing | None = None
    cached: bool = False

    @property
    def gflops(self) -> float:
        """Billions of floating-point operations per second in the best sample."""
        return self.nest.workload.flops / self.timing.best_seconds / 1e9


def tune(
    workload: Workload,
    runner: Runner,
    candidates: Iterable[Nest],
    measurements: int = 20,
    seconds: float = 0.5,
    advance: Callable[[int, Nest, float], None] = lambda number, nest, gflops: None,
) -> Tuning:
    """Measure candidates in increasing precision (successive halving: Karnin et al., ICML 2013) and take the fastest.

    The start nest is measured too, and the first candidate in every case, so that the result is no slower than either.

    Args:
        workload: of all candidates.
        runner: compiles and times.
        candidates: the most promising first; those that no code can be generated for are passed over.
        measurements: nests that are measured at most, the start nest included.
        seconds: for everything; taking candidates from a lazy iterable counts, what happened before does not. One
            candidate is measured however long it takes.
        advance: called after each first measurement, with their number, the nest and its GFLOP/s.

    Raises:
        InvalidConfigError: no time or no measurements.
        IllegalScheduleError: a candidate is of another workload.
    """
    if measurements < 1 or not seconds > 0:
        raise InvalidConfigError(
            f"tuning needs at least one measurement and some time, got {measurements} and {seconds} seconds"
        )
    return _Tuner(workload, runner, measurements, seconds, advance).run(candidates)


class _Entrant:
    """A candidate and the samples of it so far."""

    def __init__(self, nest: Nest, kernel: RunnableKernel, timing: Timing) -> None:
        self.nest, self.kernel, self.timing = nest, kernel, timing

    def add(self, timing: Timing) -> None:
        kept = self.timing
        best = min(kept.best_seconds, timing.best_seconds)
        # the later, more precise round describes the usual run
        self.timing = timing._replace(best_seconds=best, runs=kept.runs + timing.runs)


class _Tuner:
    def __init__(
        self,
        workload: Workload,
        runner: Runner,
        measurements: int,
        seconds: float,
        advance: Callable[[int, Nest, float], None],
    ) -> None:
        self.workload, self.runner, self.measurements, self.advance = workload, runner, measurements, advance
        self.begin = time.perf_counter()
        self.seconds = seconds
        self.arrays = runner.arrays(workload)

    def run(self, candidates: Iterable[Nest]) -> Tuning:
        start = start_nest(self.workload)
        entrants: list[_Entrant] = []
        seen = {start.key}
        for nest in candidates:
            if entrants and (len(entrants) + 1 >= self.measurements or self._spent() > SIFTING):
                break
            if nest.workload != self.workload:
                raise IllegalScheduleError(f"a candidate is of {nest.workload}, not of {self.workload}: tune that")
            if nest.key not in seen:
                seen.add(nest.key)
                self._enter(nest, entrants)
        measured = len(entrants)
        timing = None
        if measured < self.measurements or not entrants:
            timing = self._try_start(start, entrants)
            measured += 1
        best = self._halve(entrants)
        return Tuning(best.nest, best.timing, measured, time.perf_counter() - self.begin, timing)

    def _spent(self) -> float:
        """Share of the time that is over."""
        return (time.perf_counter() - self.begin) / self.seconds

    def _protocol(self, nest: Nest, seconds: float, repeats: int, warmup: int = 0) -> Protocol:
        return Protocol(warmup, seconds, repeats, nest.threads)

    def _enter(self, nest: Nest, entrants: list[_Entrant]) -> None:
        try:
            kernel = self.runner.compile(nest)
        except IllegalScheduleError:
            return
        timing = kernel.time(self.arrays, self._protocol(nest, 2e-4, 3, warmup=1))
        entrants.append(_Entrant(nest, kernel, timing))
        self.advance(len(entrants), nest, self.workload.flops / timing.best_seconds / 1e9)

    def _try_start(self, nest: Nest, entrants: list[_Entrant]) -> Timing | None:
        """Measure the start nest, unless a part of it takes so long that all of it need not be run."""
        kernel = self.runner.compile(nest)
        protocol = self._protocol(nest, 0, 1)
        if entrants:
            whole = kernel.code.iterations
            part = -(-whole // START_SHARE)
            timing = time_kernel(kernel.compiled, self.arrays, kernel.code.workspace_bytes, part, protocol)
            best = min(entrant.timing.best_seconds for entrant in entrants)
            if part < whole and timing.best_seconds * whole / part > 2 * NOISE * best:
                return None
        timing = kernel.time(self.arrays, self._protocol(nest, 2e-4, 3, warmup=1))
        entrants.append(_Entrant(nest, kernel, timing))
        return timing

    def _halve(self, entrants: list[_Entrant]) -> _Entrant:
        """Measure the better half again, with samples twice as long, until one is left or the time is over."""
        length = 5e-4
        while len(entrants) > 1:
            entrants.sort(key=lambda entrant: entrant.timing.best_seconds)
            limit = NOISE * entrants[0].timing.best_seconds
            entrants = [entrant for entrant in entrants[: -(-len(entrants) // 2)] if entrant.timing.best_seconds <= limit]
            for _ in range(2):  # in turn: what disturbs one disturbs the others
                for entrant in entrants:
                    entrant.add(entrant.kernel.time(self.arrays, self._protocol(entrant.nest, length, 3)))
                    if self._spent() > 1:
                        return min(entrants, key=lambda entrant: entrant.timing.best_seconds)
            length *= 2
        return entrants[0]
