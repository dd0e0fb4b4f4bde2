"""Kernels of several peers for the same workloads: checked, then timed in turn, on one CPU and by one protocol."""

from __future__ import annotations

import contextlib
import importlib
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from compiler_dojo.envs.errors import DojoError
from compiler_dojo.envs.loops.measure import cpu_model, measured_peak
from compiler_dojo.envs.loops.targets import Target, find_target
from compiler_dojo.envs.loops.workload import Workload
from compiler_dojo.experiments.loop_bandwidth import measure_bandwidths
from compiler_dojo.experiments.loop_peak import peak_in_turn
from compiler_dojo.experiments.loop_peers import Array, Peer, PreparedKernel, allocate, check
from compiler_dojo.experiments.loop_steps import measured_step_milliseconds, step_microseconds

MOST_OTHER_THREADS = 0.05
"""Share of the process's CPU time that threads other than the one that measures may take."""


class ThreadsError(DojoError):
    """A library computes in more threads than it was told to."""


PEAK = "peak"


@dataclass(frozen=True)
class Settings:
    """How kernels are timed.

    Attributes:
        repeats: rounds; in each every peer gives one sample, in an order that moves on by one from round to round.
        min_seconds: least length of a sample, which is the mean of as many evaluations as fill it.
        seed: of the operands' values.
    """

    repeats: int = 7
    min_seconds: float = 0.02
    seed: int = 0


@dataclass(frozen=True)
class Entry:
    """One peer on one workload.

    Attributes:
        group: the set that the workload is of.
        workload: its text.
        peer: name.
        error: why there are no times, or empty.
        clock: see :class:`PreparedKernel`.
        how: see there.
        tuning_seconds: see there.
        best_seconds: least sample.
        median_seconds: median of the samples.
        gflops: at the median.
        intensity: floating-point operations per byte, if every operand is moved once.
        threads: that ran it.
        cpus: that this process had while it was timed, median of the samples: fewer than ``threads`` if others used
            the machine, which then slowed it down. 0 for a peer in a process of its own, where it is not known.
        peak: GFLOP/s of nothing but multiply-adds in one thread, the median of samples taken in turn with these.
    """

    group: str
    workload: str
    peer: str
    error: str = ""
    clock: str = ""
    how: str = ""
    tuning_seconds: float = 0.0
    best_seconds: float = 0.0
    median_seconds: float = 0.0
    gflops: float = 0.0
    intensity: float = 0.0
    threads: int = 1
    cpus: float = 0.0
    peak: float = 0.0


@dataclass(frozen=True)
class Results:
    """Everything that was measured.

    Attributes:
        entries: one per workload and peer.
        settings: how.
        target: what own kernels and gcc's were compiled for.
        cpu: the model's name.
        peak: GFLOP/s in float32 that one core reaches, measured.
        bandwidths: GB/s by level, such as ``L2`` and ``memory``, measured.
        own: names of the peers that are ours.
        unavailable: peers that could not be measured, and why.
        step_microseconds: a step of the environment with a reward that measures nothing.
        measured_step_milliseconds: a step that measures a product of 128^3.
    """

    entries: Sequence[Entry]
    settings: Settings
    target: str
    cpu: str
    peak: float
    bandwidths: Mapping[str, float]
    own: Sequence[str] = ()
    unavailable: Mapping[str, str] = field(default_factory=dict)
    step_microseconds: float | None = None
    measured_step_milliseconds: float | None = None


def run(
    groups: Mapping[str, Sequence[Workload]],
    own: Sequence[Peer],
    others: Sequence[Peer],
    settings: Settings,
    target: str,
    advance: Callable[[], None] = lambda: None,
) -> Results:
    """Measure everything there is to report; arguments as of :func:`measure`, with our own peers apart.

    Raises:
        InvalidConfigError: there is no such target.
        ThreadsError: as :func:`measure`.
    """
    compiled_for = find_target(target)
    peers, unavailable = usable([*others, *own])
    entries = measure(groups, peers, settings, advance, compiled_for)
    with pinned():
        bandwidths = measure_bandwidths(compiled_for)
        peak = measured_peak(compiled_for, again=True)
        steps = step_microseconds(target), measured_step_milliseconds(target)
    return Results(
        entries=entries,
        settings=settings,
        target=target,
        cpu=cpu_model(),
        peak=peak,
        bandwidths=bandwidths,
        own=[peer.name for peer in own],
        unavailable=unavailable,
        step_microseconds=steps[0],
        measured_step_milliseconds=steps[1],
    )


def usable(peers: Sequence[Peer]) -> tuple[list[Peer], dict[str, str]]:
    """Peers that are available, and why the others are not."""
    reasons = {peer.name: peer.available() for peer in peers}
    return [peer for peer in peers if not reasons[peer.name]], {name: why for name, why in reasons.items() if why}


def measure(
    groups: Mapping[str, Sequence[Workload]],
    peers: Sequence[Peer],
    settings: Settings,
    advance: Callable[[], None] = lambda: None,
    target: Target | None = None,
) -> list[Entry]:
    """Time every peer on every workload.

    Args:
        groups: workloads by the name of their set.
        peers: those that are available.
        settings: how to time.
        advance: called after each workload.
        target: whose peak is measured with them; this machine's by default.

    Raises:
        ThreadsError: a BLAS library uses more than one thread.
    """
    target = target or find_target()
    entries = []
    with one_thread():
        for group, workloads in groups.items():
            for workload in workloads:
                entries += measure_workload(group, workload, peers, settings, target)
                advance()
    return entries


def measure_workload(
    group: str, workload: Workload, peers: Sequence[Peer], settings: Settings, target: Target
) -> list[Entry]:
    """Prepare and check every peer's kernel, then time them in turn; a peer that fails has an entry that says why."""
    operands = allocate(workload, settings.seed)
    kernels: dict[str, PreparedKernel] = {}
    errors: dict[str, str] = {}
    for peer in peers:
        prepared = prepare_checked(peer, workload, operands)
        if isinstance(prepared, PreparedKernel):
            kernels[peer.name] = prepared
        else:
            errors[peer.name] = prepared
    reference, flops = peak_in_turn(target, workload.dtype)
    samples = time_in_turn({**kernels, PEAK: reference}, settings)
    peak = flops / statistics.median(sample[0] for sample in samples.pop(PEAK)) / 1e9
    moved = sum(array.nbytes for array in operands)
    entries = []
    for peer in peers:
        error = errors.get(peer.name, "")
        entry = Entry(group, str(workload), peer.name, error, intensity=workload.flops / moved, peak=peak)
        if peer.name in kernels:
            entry = _filled(entry, kernels[peer.name], samples[peer.name], workload.flops)
        entries.append(entry)
    return entries


def prepare_checked(peer: Peer, workload: Workload, operands: Sequence[Array]) -> PreparedKernel | str:
    """A kernel whose result was checked, or why there is none."""
    try:
        with pinned():
            kernel = peer.prepare(workload, operands)
            check(workload, operands, kernel.run)
    except DojoError as error:
        return f"{type(error).__name__}: {error}"
    return kernel


def time_in_turn(kernels: Mapping[str, PreparedKernel], settings: Settings) -> dict[str, list[tuple[float, float]]]:
    """Seconds per evaluation, and CPUs in use, of every sample."""
    samples: dict[str, list[tuple[float, float]]] = {name: [] for name in kernels}
    names = list(kernels)
    for kernel in kernels.values():
        kernel.sample(settings.min_seconds / 4)
    for repeat in range(settings.repeats):
        first = repeat % max(len(names), 1)
        for name in names[first:] + names[:first]:
            with pinned() if kernels[name].threads == 1 else contextlib.nullcontext():
                samples[name].append(_sample(kernels[name], settings.min_seconds))
    return samples


def _sample(kernel: PreparedKernel, min_seconds: float) -> tuple[float, float]:
    wall, busy = time.perf_counter(), time.process_time()
    seconds = kernel.sample(min_seconds)
    return seconds, (time.process_time() - busy) / (time.perf_counter() - wall)


def _filled(entry: Entry, kernel: PreparedKernel, samples: Sequence[tuple[float, float]], flops: int) -> Entry:
    seconds = [sample[0] for sample in samples]
    median = statistics.median(seconds)
    return Entry(
        entry.group,
        entry.workload,
        entry.peer,
        clock=kernel.clock,
        how=kernel.how,
        tuning_seconds=kernel.tuning_seconds,
        best_seconds=min(seconds),
        median_seconds=median,
        gflops=flops / median / 1e9,
        intensity=entry.intensity,
        peak=entry.peak,
        threads=kernel.threads,
        cpus=statistics.median(sample[1] for sample in samples) if kernel.in_process else 0.0,
    )


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Keep every BLAS in the process to one thread; which is measured, not believed.

    Raises:
        ThreadsError: a product of matrices still takes more than one thread.
    """

    # a BLAS can be limited once it is loaded
    with contextlib.suppress(ImportError):
        importlib.import_module("scipy.linalg.cython_blas")
    limits: contextlib.AbstractContextManager[object] = contextlib.nullcontext()
    # without threadpoolctl the environment's setting has to do, and is checked all the same
    with contextlib.suppress(ImportError):
        limits = importlib.import_module("threadpoolctl").threadpool_limits(1)
    with limits:
        check_one_thread()
        yield


def check_one_thread() -> None:
    """See whether NumPy's BLAS computes in this thread alone.

    Raises:
        ThreadsError: other threads took CPU time.
    """
    matrix = np.ones((512, 512), np.float32)
    matrix @ matrix
    own, every = time.thread_time(), time.process_time()
    for _ in range(8):
        matrix @ matrix
    own, every = time.thread_time() - own, time.process_time() - every
    if every - own > MOST_OTHER_THREADS * every:
        raise ThreadsError(
            f"a product of matrices should run in one thread, but others took {(every - own) / every:.0%} of its CPU "
            "time: `pip install threadpoolctl`, or set OPENBLAS_NUM_THREADS=1 and OMP_NUM_THREADS=1"
        )


@contextlib.contextmanager
def pinned() -> Iterator[None]:
    """Keep this thread on the last of its CPUs; processes started meanwhile inherit that."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
