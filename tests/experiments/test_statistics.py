"""Means by hand, and the inputs that have none."""

import math

import numpy as np
import pytest

from compiler_dojo.experiments.statistics import ImpossibleRatioError, bootstrap_geomean, geomean


@pytest.mark.parametrize(
    ("ratios", "expected"),
    [([2.0, 8.0], 4.0), ([1.0, 3.0, 9.0], 3.0), ([0.5, 2.0], 1.0), ([7.0], 7.0)],
)
def test_geomean__equals_what_is_known_by_hand(ratios: list[float], expected: float) -> None:
    assert geomean(ratios) == pytest.approx(expected, rel=1e-15)


def test_geomean__neither_overflows_nor_underflows() -> None:
    assert geomean([1e-300, 1e300] * 100) == pytest.approx(1.0)


@pytest.mark.parametrize("function", [geomean, bootstrap_geomean])
@pytest.mark.parametrize("ratio", [0.0, -1.0, math.nan, math.inf, -math.inf])
def test_mean__refuses_a_ratio_that_is_not_positive_and_finite(function, ratio: float) -> None:
    with pytest.raises(ImpossibleRatioError, match=f"needs positive finite ratios, got {ratio}"):
        function([1.0, ratio])


@pytest.mark.parametrize("function", [geomean, bootstrap_geomean])
def test_mean__refuses_no_ratios(function) -> None:
    with pytest.raises(ImpossibleRatioError, match="the geometric mean of no ratios does not exist"):
        function([])


def test_bootstrap_geomean__has_the_geomean_in_its_interval() -> None:
    rng = np.random.default_rng(0)
    for size in (2, 5, 20):
        ratios = np.exp(rng.normal(0.0, 0.3, size)).tolist()
        interval = bootstrap_geomean(ratios)
        assert interval.mean == geomean(ratios)
        assert interval.low < interval.mean < interval.high
        assert min(ratios) <= interval.low
        assert interval.high <= max(ratios)


def test_bootstrap_geomean__is_as_wide_as_the_normal_approximation_of_a_large_sample() -> None:
    logs = np.random.default_rng(1).normal(0.0, 0.2, 400)
    interval = bootstrap_geomean(np.exp(logs).tolist())
    half = 1.96 * logs.std() / math.sqrt(len(logs))
    np.testing.assert_allclose(
        np.log([interval.low, interval.high]), [logs.mean() - half, logs.mean() + half], atol=2e-3
    )


def test_bootstrap_geomean__is_deterministic_and_follows_its_seed() -> None:
    ratios = [0.8, 0.9, 1.1, 1.3]
    assert bootstrap_geomean(ratios) == bootstrap_geomean(ratios)
    ratios = np.exp(np.random.default_rng(2).normal(0.0, 0.3, 30)).tolist()
    assert bootstrap_geomean(ratios, seed=1) != bootstrap_geomean(ratios, seed=2)


def test_bootstrap_geomean__of_equal_ratios_has_the_mean_in_its_interval() -> None:
    for count in range(1, 1000):
        interval = bootstrap_geomean([count / 131.0])
        assert interval.low <= interval.mean <= interval.high
