"""Measuring random loop nests, fitting the learned cost model to them, and comparing cost models with the clock."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from compiler_dojo.agents.cost_regression import fit_ensemble
from compiler_dojo.envs.errors import InvalidRecordError
from compiler_dojo.envs.loops import measure
from compiler_dojo.envs.loops.costs import AnalyticalCost
from compiler_dojo.envs.loops.learned_cost import FEATURE_VERSION, FEATURES, cost_features, save_weights
from compiler_dojo.envs.loops.nest import Loop, Nest, Pack
from compiler_dojo.envs.loops.runner import Runner
from compiler_dojo.envs.loops.sampling import sample_nest
from compiler_dojo.envs.loops.workload import Workload
from compiler_dojo.envs.loops.workloads import SETS, parse, parse_text

CALM = 0.9
"""Share of its best speed that the reference kernel must reach before and after a measurement that counts."""

TRAINING_SETS = ("looptune", "convolutions", "batched", "mttkrp", "matvec", "fused")

PROTOCOL = measure.Protocol(warmup=1, min_seconds=2e-4, repeats=3)


class CostModel(Protocol):
    """Anything that says how fast a nest is."""

    def gflops(self, nest: Nest) -> float:
        """Billions of floating-point operations per second."""
        ...


@dataclass(frozen=True)
class Measurement:
    """One nest, timed.

    Attributes:
        index: of the sample; with the seed it says which nest it is.
        workload: its text.
        loops: (axis, step) of the compute nest, outermost first.
        tile: as in :class:`~compiler_dojo.envs.loops.nest.Nest`, like what follows.
        unroll: see there.
        packs: (operand, depth) of each.
        prefetch: see there.
        seconds: of one run, the best of all samples.
        calm: the least share of its best speed that the reference kernel had around the measurement.
        target: name of the CPU.
    """

    index: int
    workload: str
    loops: tuple[tuple[str, int], ...]
    tile: int | None
    unroll: int
    packs: tuple[tuple[int, int], ...]
    prefetch: int
    seconds: float
    calm: float
    target: str

    @property
    def nest(self) -> Nest:
        """What was timed."""
        return Nest(
            parse_text(self.workload),
            tuple(Loop(axis, step) for axis, step in self.loops),
            tile=self.tile,
            unroll=self.unroll,
            packs=tuple(Pack(operand, depth) for operand, depth in self.packs),
            prefetch=self.prefetch,
        )

    @property
    def gflops(self) -> float:
        """Billions of floating-point operations per second."""
        return parse_text(self.workload).flops / self.seconds / 1e9


def training_workloads(count: int, split: str = "train", seed: int = 0) -> tuple[Workload, ...]:
    """Workloads drawn from the sets that cost models are fitted on, equally many from each as far as there are."""
    rng = np.random.default_rng(seed)
    queues = [
        [members[i] for i in rng.permutation(len(members))] for members in (SETS[s](split) for s in TRAINING_SETS)
    ]
    drawn: list[Workload] = []
    while len(drawn) < count and any(queues):
        drawn += [queue.pop() for queue in queues if queue]
    return tuple(drawn[:count])


def collect(
    path: Path,
    workloads: Sequence[Workload],
    count: int,
    seed: int = 0,
    runner: Runner | None = None,
    attempts: int = 4,
    seconds: float = float("inf"),
    progress: Callable[[int, int], None] = lambda done, count: None,
) -> int:
    """Measure random nests, the i-th of workload ``i mod len(workloads)``, and append them to a file of JSON lines.

    What the file holds already is not measured again, so an interrupted collection goes on where it ended, even in the
    middle of a line. A short reference kernel runs before and after each nest: on a machine that others use as well,
    it tells whether the measurement was disturbed. Disturbed ones are tried again, at once and at the end.

    Args:
        path: the file.
        workloads: what nests are drawn for.
        count: samples in all.
        seed: decides the nests.
        runner: what measures; by default one for this machine with :data:`PROTOCOL`.
        attempts: measurements of a nest at most, until one is calm.
        seconds: after which it stops, all the same.
        progress: called with the number of samples done and ``count``.

    Returns:
        How many calm samples the file holds.
    """
    runner = runner or Runner(protocol=PROTOCOL)
    end = time.monotonic() + seconds
    path.parent.mkdir(parents=True, exist_ok=True)
    done = {item.index: item for item in load_measurements(path)} if path.exists() else {}
    _drop_broken_line(path)
    reference = _Reference(runner)
    with path.open("a") as file:
        for only_missing in (True, False):
            for index in range(count):
                known = done.get(index)
                if known is not None and (only_missing or known.calm >= CALM):
                    continue
                if time.monotonic() > end:
                    break
                nest = sample_nest(
                    workloads[index % len(workloads)], runner.target, np.random.default_rng((seed, index))
                )
                item = _measure(index, nest, runner, reference, attempts)
                if known is None or item.calm > known.calm:
                    done[index] = item
                    file.write(json.dumps(asdict(item)) + "\n")
                    file.flush()
                progress(len(done), count)
    return sum(item.calm >= CALM for item in done.values())


class _Reference:
    """A kernel that runs from L1 at nearly the peak: it is slow only when something disturbs it."""

    def __init__(self, runner: Runner) -> None:
        workload = parse("mk,kn->mn", m=8, k=128, n=48)
        nest = Nest(workload, (Loop("k"), Loop("m"), Loop("n")), tile=0)
        self._kernel, self._arrays = runner.compile(nest), runner.arrays(workload)
        self._best = min(self._seconds() for _ in range(50))

    def _seconds(self) -> float:
        return self._kernel.time(self._arrays, measure.Protocol(warmup=1, min_seconds=5e-5, repeats=2)).median_seconds

    def speed(self) -> float:
        """Share of the best speed so far."""
        seconds = self._seconds()
        self._best = min(self._best, seconds)
        return self._best / seconds


def _measure(index: int, nest: Nest, runner: Runner, reference: _Reference, attempts: int) -> Measurement:
    kernel, arrays = runner.compile(nest), runner.arrays(nest.workload)
    best, calm = float("inf"), 0.0
    for _ in range(attempts):
        before = reference.speed()
        best = min(best, kernel.time(arrays, runner.protocol).best_seconds)
        calm = max(calm, min(before, reference.speed()))
        if calm >= CALM:
            break
    return Measurement(
        index,
        str(nest.workload),
        tuple((loop.axis, loop.step) for loop in nest.loops),
        nest.tile,
        nest.unroll,
        tuple((pack.operand, pack.depth) for pack in nest.packs),
        nest.prefetch,
        best,
        round(calm, 3),
        runner.target.cpu,
    )


def load_measurements(path: Path) -> list[Measurement]:
    """What :func:`collect` wrote, one per sample: the last of several. A last line without an end is left out.

    Raises:
        InvalidRecordError: a line is not a measurement.
    """
    found: dict[int, Measurement] = {}
    for number, line in enumerate(path.read_text().splitlines(keepends=True), 1):
        if not line.endswith("\n"):
            break
        try:
            fields = json.loads(line)
            fields["loops"] = tuple((axis, step) for axis, step in fields["loops"])
            fields["packs"] = tuple((operand, depth) for operand, depth in fields["packs"])
            item = Measurement(**fields)
        except (ValueError, TypeError, KeyError) as error:
            raise InvalidRecordError(
                f"line {number} of {path} is not a measurement ({error}): remove it, and collect again"
            ) from error
        found[item.index] = item
    return [found[index] for index in sorted(found)]


def _drop_broken_line(path: Path) -> None:
    if path.exists():
        content = path.read_bytes()
        if not content.endswith(b"\n"):
            os.truncate(path, content.rfind(b"\n") + 1)


def fit(measurements: Iterable[Measurement], cost: AnalyticalCost, seed: int = 0) -> dict[str, npt.NDArray[Any]]:
    """Weights of :class:`~compiler_dojo.envs.loops.learned_cost.LearnedCost` from calm measurements."""
    calm = [item for item in measurements if item.calm >= CALM]
    if not calm:
        raise InvalidRecordError("no measurement is calm: collect on a machine with less other work")
    nests = [item.nest for item in calm]
    features = np.stack([cost_features(nest, cost) for nest in nests])
    shares = [item.gflops / cost.peak(nest.workload.dtype) for item, nest in zip(calm, nests, strict=True)]
    weights: dict[str, npt.NDArray[Any]] = dict(fit_ensemble(features, np.log(shares) - features[:, 0], seed))
    return weights | {"feature_version": np.array(FEATURE_VERSION), "features": np.array(FEATURES)}


def train(measurements: Path, output: Path, cost: AnalyticalCost, seed: int = 0) -> None:
    """Fit the learned model to a file of measurements and write its weights."""
    save_weights(output, fit(load_measurements(measurements), cost, seed))


class Agreement(NamedTuple):
    """How a cost model agrees with measurements of one workload.

    Attributes:
        workload: its text.
        nests: how many.
        rank_correlation: Spearman's.
        log_error: mean absolute error of the logarithm of GFLOP/s.
        top1: measured GFLOP/s of the nest that the model takes for the best, over the best that was measured.
    """

    workload: str
    nests: int
    rank_correlation: float
    log_error: float
    top1: float


def agreements(measurements: Iterable[Measurement], cost: CostModel) -> list[Agreement]:
    """How a cost model agrees with calm measurements, workload by workload; those of fewer than three are left out."""
    groups: dict[str, list[Measurement]] = {}
    for item in measurements:
        if item.calm >= CALM:
            groups.setdefault(item.workload, []).append(item)
    result = []
    for workload, items in groups.items():
        if len(items) < 3:
            continue
        measured = np.array([item.gflops for item in items])
        predicted = np.array([cost.gflops(item.nest) for item in items])
        result.append(
            Agreement(
                workload,
                len(items),
                rank_correlation(measured, predicted),
                float(np.abs(np.log(predicted / measured)).mean()),
                float(measured[predicted.argmax()] / measured.max()),
            )
        )
    return result


def rank_correlation(one: npt.ArrayLike, other: npt.ArrayLike) -> float:
    """Spearman's rank correlation; equal values share the mean of their ranks. 0 where one is constant."""
    ranks = [_ranks(np.asarray(values)) for values in (one, other)]
    if any(np.ptp(values) == 0 for values in ranks):
        return 0.0
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _ranks(values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks: npt.NDArray[np.float64] = (ends - (counts - 1) / 2)[inverse]
    return ranks
