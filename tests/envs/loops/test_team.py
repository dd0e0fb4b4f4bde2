"""Teams of threads: how they divide the work, what a timing records, pinning, and how they end."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from guarded import run_apart
from writing_kernels import COUNT_KERNEL, add_kernel

from compiler_dojo.envs.errors import InvalidConfigError, SessionClosedError
from compiler_dojo.envs.loops.jit import CompiledKernel, Jit
from compiler_dojo.envs.loops.targets import find_target
from compiler_dojo.envs.loops.team import Protocol, Team, Timing, shared_team, summarize

RUNS, BEGIN, WORKSPACE = range(3)
CPUS = len(os.sched_getaffinity(0))


@pytest.fixture(scope="module")
def counting() -> CompiledKernel:
    return Jit(find_target()).compile(COUNT_KERNEL)


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
@pytest.mark.parametrize("count", [0, 1, 2, 5, 100])
def test_run__divides_iterations_into_nearly_equal_contiguous_parts(counting, threads: int, count: int) -> None:
    team = Team(threads)
    table = np.zeros((count + 1, 3), np.int64)
    for _ in range(21):
        team.run(counting, [table], 100, count)
    assert (table[:count, RUNS] == 21).all()
    assert not table[count].any()
    begins = sorted(set(table[:count, BEGIN].tolist()))
    lengths = np.diff([*begins, count])
    assert len(begins) == min(threads, count)
    assert count == 0 or lengths.max() - lengths.min() <= 1
    by_part = table[begins, WORKSPACE]
    assert (by_part % 64 == 0).all()
    assert (np.diff(by_part) == 128).all()
    team.close()


def test_time__follows_the_protocol(counting) -> None:
    protocol = Protocol(warmup=3, min_seconds=1e-4, repeats=7)
    table = np.zeros((1, 3), np.int64)
    timing = Team(1).time(counting, [table], 0, 1, protocol)
    assert timing.runs + protocol.warmup == table[0, RUNS]
    assert 0 < timing.best_seconds <= timing.median_seconds
    assert timing.runs * timing.best_seconds <= 2 * timing.runs * timing.median_seconds
    assert timing.runs > protocol.repeats


def test_time__without_a_least_length_runs_once_for_each_sample(counting) -> None:
    table = np.zeros((1, 3), np.int64)
    timing = Team(1).time(counting, [table], 0, 1, Protocol(warmup=0, min_seconds=0, repeats=5))
    assert timing.runs == table[0, RUNS] == 5


@pytest.mark.parametrize("threads", range(1, min(CPUS, 2) + 1))
def test_time__pins_the_threads_and_gives_back_their_cpus(counting, threads: int) -> None:
    before = os.sched_getaffinity(0)
    table = np.zeros((8, 3), np.int64)
    team = Team(threads)
    timing = team.time(counting, [table], 0, 8, Protocol(repeats=2, threads=threads, pinned=True))
    assert timing.runs >= 2
    assert os.sched_getaffinity(0) == before
    tasks = [int(task) for task in os.listdir("/proc/self/task")]
    assert all(os.sched_getaffinity(task) == before for task in tasks)
    team.close()


def test_time__cannot_pin_more_threads_than_cpus(counting) -> None:
    threads = CPUS + 1
    with pytest.raises(InvalidConfigError, match=f"cannot pin {threads} threads: this process may use {CPUS} CPUs"):
        Team(threads).time(counting, [np.zeros((1, 3), np.int64)], 0, 1, Protocol(threads=threads, pinned=True))


def test_time__by_a_team_of_another_size(counting) -> None:
    with pytest.raises(InvalidConfigError, match="is for 2 threads; this team has 1"):
        Team(1).time(counting, [], 0, 1, Protocol(threads=2))


def test_team__serves_several_callers_in_turn(counting) -> None:
    team = Team(2)

    def run_often(_: int) -> int:
        table = np.zeros((10, 3), np.int64)
        for _ in range(50):
            team.run(counting, [table], 0, 10)
        return int(table[:, RUNS].min() + table[:, RUNS].max())

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(run_often, range(3))) == [100, 100, 100]


def test_team__that_was_closed() -> None:
    kernel = Jit(find_target()).compile(add_kernel())
    team = Team(2)
    team.close()
    team.close()
    with pytest.raises(SessionClosedError, match="this team was closed"):
        team.run(kernel, [], 0, 1)
    with pytest.raises(SessionClosedError, match="this team was closed"):
        team.time(kernel, [], 0, 1, Protocol(threads=2))


def test_team__refuses_a_closed_kernel() -> None:
    kernel = Jit(find_target()).compile(add_kernel())
    kernel.close()
    with pytest.raises(SessionClosedError, match="this kernel was closed"):
        Team(1).run(kernel, [], 0, 1)


def test_team__ends_its_threads_when_it_is_no_longer_used() -> None:
    before = len(os.listdir("/proc/self/task"))
    team = Team(5)
    assert len(os.listdir("/proc/self/task")) == before + 4
    del team
    assert len(os.listdir("/proc/self/task")) == before


def test_team__leaves_signals_to_the_callers() -> None:
    known = set(os.listdir("/proc/self/task"))
    team = Team(2)
    (thread,) = set(os.listdir("/proc/self/task")) - known
    with open(f"/proc/self/task/{thread}/status") as file:
        (blocked,) = (line.split()[1] for line in file if line.startswith("SigBlk"))
    assert int(blocked, 16) & 1 << 1  # SIGINT
    team.close()


def test_shared_team__is_one_per_process_and_works_after_a_fork(counting) -> None:
    team = shared_team(2)
    assert shared_team(2) is team
    table = np.zeros((4, 3), np.int64)
    team.run(counting, [table], 0, 4)

    def in_child() -> None:
        other = shared_team(2)
        assert other is not team
        other.run(counting, [table], 0, 4)
        assert (table[:, RUNS] == 2).all()
        team.close()

    run_apart(in_child)
    team.run(counting, [table], 0, 4)
    assert threading.active_count() >= 1


@pytest.mark.parametrize("threads", [0, -1])
def test_team__of_nobody(threads: int) -> None:
    with pytest.raises(InvalidConfigError, match="at least 1 thread"):
        Team(threads)


def test_team__larger_than_the_system_allows(run_python) -> None:
    script = """
import resource
from compiler_dojo.envs.loops.team import Team
Team(2).close()
used = int(open("/proc/self/statm").read().split()[0]) * 4096
resource.setrlimit(resource.RLIMIT_AS, (used + 2**26, used + 2**26))
Team(100)
"""
    assert "InvalidConfigError: the system does not start 100 threads" in run_python(script).stderr


@pytest.mark.parametrize(
    "settings", [{"warmup": -1}, {"min_seconds": -1.0}, {"min_seconds": float("inf")}, {"repeats": 0}, {"threads": 0}]
)
def test_protocol__of_no_sense(settings) -> None:
    with pytest.raises(InvalidConfigError, match="must be 0 or more"):
        Protocol(**settings)


def test_summarize__takes_best_median_and_quartiles() -> None:
    assert summarize([4.0, 1.0, 3.0, 2.0, 5.0], 50) == Timing(1.0, 3.0, 2 / 3, 50)
    assert summarize([2.0], 1) == Timing(2.0, 2.0, 0.0, 1)


def test_timing__is_noisy_when_half_of_the_samples_differ() -> None:
    assert summarize([1.0, 1.0, 1.5, 1.5], 4).is_noisy()
    assert not summarize([1.0, 1.0, 1.0, 1.0, 9.0], 5).is_noisy()
    assert not summarize([1.0, 1.1], 2).is_noisy(limit=0.2)
