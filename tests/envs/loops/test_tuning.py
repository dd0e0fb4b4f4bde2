import itertools
import time

import pytest

from compiler_dojo.envs.errors import IllegalScheduleError, InvalidConfigError
from compiler_dojo.envs.loops.heuristics import candidates
from compiler_dojo.envs.loops.nest import Loop, Nest, start_nest
from compiler_dojo.envs.loops.runner import Runner
from compiler_dojo.envs.loops.tuning import Tuning, tune
from compiler_dojo.envs.loops.workloads import parse

PRODUCT = parse("mk,kn->mn", m=96, k=96, n=96)
TILED = Nest(PRODUCT, (Loop("n", 32), Loop("m", 6), Loop("k"), Loop("m"), Loop("n")), tile=2)
SLOW = Nest(PRODUCT, (Loop("n"), Loop("k"), Loop("m")))
ILLEGAL = Nest(PRODUCT, (Loop("k"), Loop("m"), Loop("n")), tile=1)
"""Its register tile needs hundreds of registers."""


@pytest.fixture(scope="module")
def runner() -> Runner:
    return Runner()


def test_tune__takes_the_fastest(runner) -> None:
    tuning = tune(PRODUCT, runner, [SLOW, TILED], seconds=5)
    assert tuning.nest == TILED
    assert tuning.measurements == 3
    assert tuning.gflops == pytest.approx(PRODUCT.flops / tuning.timing.best_seconds / 1e9)


def test_tune__keeps_the_start_nest_when_candidates_are_slower(runner) -> None:
    tuning = tune(PRODUCT, runner, [SLOW], seconds=5)
    assert tuning.nest == start_nest(PRODUCT)
    assert tuning.start is not None


def test_tune__does_not_run_a_slow_start_nest_in_full(runner) -> None:
    workload = parse("nk,mk->mn", n=128, k=128, m=128)
    tuning = tune(workload, runner, candidates(workload, runner.target)[:1], seconds=5)
    assert tuning.start is None
    assert tuning.nest != start_nest(workload)


def test_tune__keeps_to_its_measurements(runner) -> None:
    seen: list[tuple[int, Nest, float]] = []
    nests = candidates(PRODUCT, runner.target)
    tuning = tune(PRODUCT, runner, nests, 4, 30, lambda *found: seen.append(found))
    assert tuning.measurements == 4
    assert [(number, nest) for number, nest, _ in seen] == list(enumerate(nests[:3], 1))
    assert all(gflops > 0 for *_, gflops in seen)


def test_tune__measures_one_candidate_in_any_case(runner) -> None:
    tuning = tune(PRODUCT, runner, [TILED, SLOW], 1, 1e-9)
    assert (tuning.nest, tuning.measurements) == (TILED, 1)


def test_tune__stops_when_the_time_is_over(runner) -> None:
    def slowly() -> itertools.chain[Nest]:
        for rows in range(1, 100):
            time.sleep(0.02)
            yield Nest(PRODUCT, (Loop("m", rows), *TILED.loops[:1], *TILED.loops[2:]), tile=2, unroll=rows)

    tuning = tune(PRODUCT, runner, slowly(), 100, 0.1)
    assert tuning.measurements < 8


def test_tune__passes_over_what_no_code_can_be_generated_for(runner) -> None:
    assert tune(PRODUCT, runner, [ILLEGAL, TILED], seconds=5).nest == TILED


def test_tune__measures_equal_nests_once(runner) -> None:
    assert tune(PRODUCT, runner, [TILED, TILED, start_nest(PRODUCT)], seconds=5).measurements == 2


def test_tune__without_candidates_takes_the_start_nest(runner) -> None:
    assert tune(PRODUCT, runner, []).nest == start_nest(PRODUCT)


def test_tune__of_one_illegal_candidate_alone_takes_the_start_nest(runner) -> None:
    assert tune(PRODUCT, runner, [ILLEGAL], 1).nest == start_nest(PRODUCT)


@pytest.mark.parametrize(("measurements", "seconds"), [(0, 1), (1, 0), (1, float("nan"))])
def test_tune__refuses_no_budget(runner, measurements, seconds) -> None:
    with pytest.raises(InvalidConfigError, match="at least one measurement and some time"):
        tune(PRODUCT, runner, [TILED], measurements, seconds)


def test_tune__refuses_candidates_of_another_workload(runner) -> None:
    other = start_nest(parse("mk,kn->mn", m=9, k=9, n=9))
    with pytest.raises(IllegalScheduleError, match=r"a candidate is of .* m=9 .*, not of"):
        tune(PRODUCT, runner, [other])


def test_tuning__is_plain_data(runner) -> None:
    tuning = tune(PRODUCT, runner, [TILED], 2)
    assert tuning == Tuning(tuning.nest, tuning.timing, tuning.measurements, tuning.seconds, tuning.start)
