"""The benchmark measures what it says on one small program; what the clock says is nobody's business here."""

from __future__ import annotations

import dataclasses
import io
import json

import pytest
from experiments_support import Dojo
from rich.console import Console

from compiler_dojo.envs.prepared import prepare
from compiler_dojo.envs.programs import load_programs
from compiler_dojo.experiments import bench
from compiler_dojo.experiments.bench import PEER, PROGRAMS, STEPS, Measurement, Spread, Stopwatch, measure, report

URI = PROGRAMS[0]


@pytest.fixture(scope="module")
def measurement() -> Measurement:
    return measure(URI, repeats=1)


def test_programs__exist_and_grow() -> None:
    sizes = [prepare(load_programs(uri)[0]).cost("instruction_count", "O0") for uri in PROGRAMS]
    assert sizes == sorted(sizes)


def test_spread__is_in_microseconds() -> None:
    assert Spread.of([i * 1e-6 for i in range(101)]) == Spread(
        pytest.approx(50.0), pytest.approx(10.0), pytest.approx(90.0)
    )


def test_stopwatch__collects_by_name() -> None:
    watch = Stopwatch()
    for name in ("a", "b", "a"):
        with watch(name):
            pass
    assert {name: len(seconds) for name, seconds in watch.seconds.items()} == {"a": 2, "b": 1}


def test_measure__times_everything_and_forks_are_exact(measurement: Measurement) -> None:
    prepared = prepare(load_programs(URI)[0])
    assert measurement.program == URI
    assert measurement.instructions == prepared.cost("instruction_count", "O0")
    assert measurement.instructions_oz == prepared.cost("instruction_count", "Oz")
    assert measurement.forks_exact
    spreads = {
        field.name: getattr(measurement, field.name)
        for field in dataclasses.fields(measurement)
        if isinstance(getattr(measurement, field.name), Spread)
    }
    assert len(spreads) == 9
    for name, spread in spreads.items():
        assert spread.low <= spread.median <= spread.high
        # an overhead is a difference
        assert spread.low > 0.0 or name == "overhead"
    assert measurement.allowed == pytest.approx(15.0 + 0.02 * measurement.floor_walk.median)


def fixed(instructions: int, **changes: object) -> Measurement:
    """A measurement with known numbers: the median of each is its place in the list, in milliseconds."""
    names = [field.name for field in dataclasses.fields(Measurement) if field.name not in
             ("program", "instructions", "instructions_oz", "forks_exact")]  # fmt: skip
    spreads = {name: Spread(1000.0 * i, 1000.0 * i - 1, 1000.0 * i + 1) for i, name in enumerate(names, 1)}
    values = {"instructions": instructions, "instructions_oz": 70, "forks_exact": True, **spreads, **changes}
    return Measurement(program="bundled://some/program", **values)  # type: ignore[arg-type]


def printed(*sizes: Measurement) -> str:
    console = Console(file=io.StringIO(), width=250, color_system=None)
    report(sizes, console)
    return console.file.getvalue()  # type: ignore[attr-defined]  # the StringIO above


def test_report__prints_floors_overhead_and_aim() -> None:
    text = printed(fixed(146))
    line = next(line for line in text.splitlines() if "146 / 70" in line)
    cells = [cell.strip() for cell in line.strip("│").split("│")]
    assert cells == [
        "some/program",
        "146 / 70",
        "1000 (999..1001)",
        "2000 (1999..2001)",
        "3000 (2999..3001)",
        "4000 (3999..4001)",
        "75.0",
    ]
    assert "median overhead of a step over the C loop: 4000.0 us" in text


def test_report__puts_the_peer_beside_the_program_nearest_in_size() -> None:
    text = printed(fixed(100), fixed(9000))
    nearest = {peer: 100 if peer in (80, 146, 242) else 9000 for peer in PEER}
    for peer, instructions in nearest.items():
        assert f"{instructions} (peer {peer})" in text
    line = next(line for line in text.splitlines() if "(peer 80)" in line)
    cells = [cell.strip() for cell in line.strip("│").split("│")]
    # reset_parsed, step, fork_parsed and multistep, each beside the peer's
    assert cells[1:] == ["6.00", "2", "1.00", "0.45", "8.00", "16", "9.00", "3.7"]


@pytest.mark.parametrize(("exact", "word"), [(True, "yes"), (False, "no")])
def test_report__says_whether_forks_are_exact(exact: bool, word: str) -> None:
    lines = printed(fixed(146, forks_exact=exact)).splitlines()
    assert any(f"│ {word} " in " ".join(line.split()) for line in lines)


def test_bench_env__prints_the_measurements_as_json(dojo: Dojo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "PROGRAMS", (URI,))
    done = dojo("bench", "env", "--repeats", 1, "--json")
    assert done.status == 0
    (values,) = json.loads(done.out)
    assert values["program"] == URI
    assert set(values["step"]) == {"median", "low", "high"}
    assert STEPS == 45
