"""The benchmark's tables say what was measured and whether the aims were reached."""

from __future__ import annotations

import dataclasses
import io
import json

import pytest
from experiments_support import Dojo
from rich.console import Console

from compiler_dojo.experiments import bench
from compiler_dojo.experiments.bench import Measurement, Spread
from compiler_dojo.experiments.bench_report import Results, report_peer, report_sizes, report_targets, targets
from compiler_dojo.experiments.peer import PEER_TABLE
from compiler_dojo.experiments.throughput import CacheGain, Memory, Throughput

GOOD = Results(
    sizes=(),
    throughput=Throughput(5000.0, 1.9, 1.95, 0.9),
    drawn=CacheGain(gain=5.0, hit_rate=0.9, first_hit_rate=0.5, rounds=4, mebibytes=12.0),
    likeliest=CacheGain(gain=50.0, hit_rate=1.0, first_hit_rate=0.9, rounds=4, mebibytes=12.0),
    memory=Memory(1200, 3.0, 20_000, 0.5, [(20_000, 100.0)]),
)


def fixed(instructions: int, scale: float = 1000.0, **changes: object) -> Measurement:
    """A measurement with known numbers: the median of each is its place in the list, in milliseconds."""
    names = [field.name for field in dataclasses.fields(Measurement) if field.type == "Spread"]
    spreads = {name: Spread(scale * i, scale * i - 1, scale * i + 1) for i, name in enumerate(names, 1)}
    values = {"instructions": instructions, "instructions_oz": 70, "forks_exact": True, **spreads, **changes}
    return Measurement(program="bundled://some/program", **values)  # type: ignore[arg-type]


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=250, color_system=None)


def text_of(console: Console) -> str:
    return console.file.getvalue()  # type: ignore[attr-defined]  # the StringIO above


def test_report_sizes__prints_the_floor_and_both_overheads(console: Console) -> None:
    report_sizes([fixed(146)], console)
    line = next(line for line in text_of(console).splitlines() if "146 / 70" in line)
    cells = [cell.strip() for cell in line.strip("│").split("│")]
    spreads = [f"{1000 * i} ({1000 * i - 1}..{1000 * i + 1})" for i in range(1, 6)]
    assert cells == ["some/program", "146 / 70", *spreads]


@pytest.mark.parametrize(("exact", "word"), [(True, "yes"), (False, "no")])
def test_report_sizes__says_whether_forks_are_exact(console: Console, exact: bool, word: str) -> None:
    report_sizes([fixed(146, forks_exact=exact)], console)
    assert any(f"│ {word} " in " ".join(line.split()) for line in text_of(console).splitlines())


def test_report_peer__without_an_interpreter_says_that_the_figures_are_older(console: Console) -> None:
    report_peer([fixed(100), fixed(9000)], None, console)
    text = text_of(console)
    assert "NOT now" in text
    assert all(f"{peer.step_ms:.3g}" in text for peer in PEER_TABLE)


def test_targets__are_reached_by_fast_programs() -> None:
    results = GOOD._replace(sizes=[fixed(242, scale=5.0), fixed(1246, scale=5.0)])
    assert [target.reached for target in targets(results)] == [True] * 11
    graph = next(target for target in targets(results) if target.measure == "program graph, 1246 instructions")
    assert (graph.measured, graph.aim) == ("0.055 ms", "<= 1 ms (peer 142)")


def test_targets__are_missed_by_slow_ones(console: Console) -> None:
    slow = Results(
        sizes=[fixed(242, forks_exact=False)],
        throughput=Throughput(50.0, 1.79, 1.5, 0.8),
        drawn=CacheGain(3.9, 0.1, 0.1, 4, 1.0),
        likeliest=CacheGain(3.9, 0.1, 0.1, 4, 1.0),
        memory=Memory(1200, 6.0, 20_000, 50.0, [(20_000, 100.0)]),
    )
    assert [target.reached for target in targets(slow)] == [False] * 11
    report_targets(slow, console)
    assert "yes" not in text_of(console)


def test_bench_env__prints_everything_as_json(dojo: Dojo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "PROGRAMS", (bench.PROGRAMS[0],))
    done = dojo("bench", "env", "--repeats", 1, "--soak", 100, "--json")
    assert done.status == 0
    values = json.loads(done.out)
    (size,) = values["sizes"]
    assert size["program"] == bench.PROGRAMS[0]
    assert set(size["step"]) == {"median", "low", "high"}
    assert len(values["targets"]) == 11
    assert values["throughput"]["steps_per_second"] > 0.0
    assert all(0.0 <= values["cache"][how]["hit_rate"] <= 1.0 for how in ("drawn", "likeliest"))
    assert [steps for steps, _ in values["memory"]["measured"]][-1] == 100
