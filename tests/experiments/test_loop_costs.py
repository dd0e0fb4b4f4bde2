"""Collecting measurements of nests, going on after a kill, and saying how well cost models agree with them."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from compiler_dojo.envs.errors import InvalidRecordError
from compiler_dojo.envs.loops.costs import AnalyticalCost
from compiler_dojo.envs.loops.learned_cost import LearnedCost
from compiler_dojo.envs.loops.machine import Machine
from compiler_dojo.envs.loops.sampling import sample_nest
from compiler_dojo.envs.loops.targets import Target
from compiler_dojo.envs.loops.workloads import SETS, parse
from compiler_dojo.experiments import loop_costs
from compiler_dojo.experiments.loop_costs import (
    TRAINING_SETS,
    Measurement,
    agreements,
    collect,
    load_measurements,
    rank_correlation,
    train,
    training_workloads,
)

TARGET = Target("x86-64-v4", "x86-64-v4", "", "x86_64-unknown-linux-gnu", 64, 32, True)
WORKLOADS = (parse("mk,kn->mn", m=16, k=16, n=16), parse("mk,k->m", m=32, k=16))


def synthetic(count: int, slowdown: float = 1.0, calm: float = 1.0) -> list[Measurement]:
    """What a clock that agrees with the analytical model, but for a factor, would have measured."""
    cost = AnalyticalCost(TARGET, Machine())
    found = []
    for index in range(count):
        nest = sample_nest(WORKLOADS[index % 2], TARGET, np.random.default_rng(index))
        found.append(
            Measurement(
                index,
                str(nest.workload),
                tuple((loop.axis, loop.step) for loop in nest.loops),
                nest.tile,
                nest.unroll,
                tuple((pack.operand, pack.depth) for pack in nest.packs),
                nest.prefetch,
                cost.seconds(nest) * slowdown,
                calm,
                "x86-64-v4",
            )
        )
    return found


def write(path: Path, items: list[Measurement]) -> Path:
    path.write_text("".join(json.dumps(asdict(item)) + "\n" for item in items))
    return path


def test_collect__measures_each_sample_once(tmp_path) -> None:
    path = tmp_path / "folder" / "measured.jsonl"
    calls = []
    collect(path, WORKLOADS, 4, attempts=1, progress=lambda done, count: calls.append((done, count)))
    items = load_measurements(path)
    assert [item.index for item in items] == [0, 1, 2, 3]
    assert [item.workload for item in items] == [str(WORKLOADS[0]), str(WORKLOADS[1])] * 2
    assert all(0 < item.seconds < 1 and 0 < item.calm <= 1 for item in items)
    assert calls[:4] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    again = sample_nest(WORKLOADS[1], loop_costs.Runner().target, np.random.default_rng((0, 3)))
    assert items[3].nest.key == again.key


def test_collect__goes_on_behind_a_broken_line(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(loop_costs, "CALM", 0.0)
    path = tmp_path / "measured.jsonl"
    collect(path, WORKLOADS, 2)
    kept = path.read_text()
    path.write_text(kept + '{"index": 2, "workl')
    assert len(load_measurements(path)) == 2
    assert collect(path, WORKLOADS, 3) == 3
    assert path.read_text().startswith(kept)
    assert len(path.read_text().splitlines()) == 3


def test_collect__goes_on_after_a_kill(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(loop_costs, "CALM", 0.0)
    path = tmp_path / "measured.jsonl"
    script = f"""
from pathlib import Path
from compiler_dojo.envs.loops.workloads import parse
from compiler_dojo.experiments.loop_costs import collect
collect(Path({str(path)!r}), [parse("mk,kn->mn", m=16, k=16, n=16)], 100_000, attempts=1)
"""
    process = subprocess.Popen([sys.executable, "-c", script])
    while process.poll() is None and (not path.exists() or path.read_bytes().count(b"\n") < 3):
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    held = load_measurements(path)
    assert len(held) >= 3
    assert collect(path, WORKLOADS[:1], len(held) + 2) == len(held) + 2
    assert load_measurements(path)[: len(held)] == held


def test_collect__stops_in_time(tmp_path) -> None:
    assert collect(tmp_path / "measured.jsonl", WORKLOADS, 1000, seconds=0.0) == 0


def test_collect__tries_disturbed_samples_again(tmp_path, monkeypatch) -> None:
    path = write(tmp_path / "measured.jsonl", [replace(item, calm=0.0) for item in synthetic(2)])
    monkeypatch.setattr(loop_costs, "CALM", 0.01)
    assert collect(path, WORKLOADS, 2) == 2
    assert all(item.calm > 0 for item in load_measurements(path))


def test_load_measurements__refuses_other_lines(tmp_path) -> None:
    path = write(tmp_path / "measured.jsonl", synthetic(1))
    path.write_text(path.read_text() + '{"index": 1}\n')
    with pytest.raises(InvalidRecordError, match=r"line 2 of .*measured.jsonl is not a measurement"):
        load_measurements(path)


def test_measurement__holds_its_nest(tmp_path) -> None:
    for item in load_measurements(write(tmp_path / "measured.jsonl", synthetic(20))):
        nest = sample_nest(WORKLOADS[item.index % 2], TARGET, np.random.default_rng(item.index))
        assert item.nest.key == nest.key
        assert item.gflops == pytest.approx(nest.workload.flops / item.seconds / 1e9)


def test_train__learns_what_the_analytical_model_lacks(tmp_path) -> None:
    path = write(tmp_path / "measured.jsonl", synthetic(60, slowdown=2.0))
    cost = AnalyticalCost(TARGET, Machine())
    train(path, tmp_path / "weights.npz", cost)
    learned = LearnedCost(TARGET, tmp_path / "weights.npz", Machine())
    before, after = (agreements(load_measurements(path), model) for model in (cost, learned))
    assert [item.log_error for item in before] == pytest.approx([np.log(2)] * 2)
    assert all(item.log_error < 0.1 for item in after)


def test_train__refuses_disturbed_measurements_alone(tmp_path) -> None:
    path = write(tmp_path / "measured.jsonl", synthetic(5, calm=0.1))
    with pytest.raises(InvalidRecordError, match="no measurement is calm"):
        train(path, tmp_path / "weights.npz", AnalyticalCost(TARGET, Machine()))


def test_agreements__are_perfect_with_itself_and_leave_out_the_disturbed() -> None:
    cost = AnalyticalCost(TARGET, Machine())
    first, second = agreements(synthetic(20), cost)
    assert (first.workload, first.nests, first.top1) == (str(WORKLOADS[0]), 10, 1.0)
    assert second.rank_correlation == pytest.approx(1.0)
    assert second.log_error == pytest.approx(0.0, abs=1e-9)
    assert agreements(synthetic(20, calm=0.1), cost) == []


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ([1, 2, 3], [10, 100, 1000], 1.0),
        ([1, 2, 3], [3, 2, 1], -1.0),
        ([1, 2, 3, 4], [1, 3, 2, 4], 0.8),
        ([1, 2, 2, 3], [1, 2, 3, 4], 0.9486833),  # the two in the middle share rank 2.5
        ([1, 1, 1], [1, 2, 3], 0.0),
    ],
)
def test_rank_correlation__is_spearmans(one, other, expected) -> None:
    assert rank_correlation(one, other) == pytest.approx(expected)


def test_training_workloads__come_from_every_set_and_leave_the_held_out_alone() -> None:
    drawn = training_workloads(60)
    held_out = {workload for name in TRAINING_SETS for workload in SETS[name]("test")}
    assert len(set(drawn)) == 60
    assert not held_out & set(drawn)
    for name in TRAINING_SETS:
        assert set(drawn) & set(SETS[name]("train"))
    assert training_workloads(60) == drawn
    assert len(training_workloads(10**6, "test")) == len(held_out)
