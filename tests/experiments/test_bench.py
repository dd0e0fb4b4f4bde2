"""The benchmark of one environment measures what it says; what the clock says is nobody's business here."""

from __future__ import annotations

import dataclasses

import pytest

from compiler_dojo.envs.prepared import prepare
from compiler_dojo.envs.programs import load_programs
from compiler_dojo.experiments.bench import PROGRAMS, Measurement, Spread, Stopwatch, measure

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
    watch.add("b", [1.0, 2.0])
    assert {name: len(seconds) for name, seconds in watch.seconds.items()} == {"a": 2, "b": 3}


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
    assert len(spreads) == 11
    for name, spread in spreads.items():
        assert spread.low <= spread.median <= spread.high
        # an overhead is a difference
        assert spread.low > 0.0 or name.startswith("overhead")


def test_timings__are_the_medians_that_the_peer_has_too(measurement: Measurement) -> None:
    timings = measurement.timings
    assert (timings.program, timings.instructions) == (URI, measurement.instructions)
    assert timings.reset_ms == pytest.approx(measurement.reset_parsed.median / 1e3)
    assert timings.fork_ms == pytest.approx(measurement.fork_parsed.median / 1e3)
    assert timings.graph_ms == pytest.approx(measurement.graph.median / 1e3)
