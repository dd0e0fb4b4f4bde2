"""Means and intervals that refuse what they cannot mean."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from compiler_dojo.envs.errors import DojoError

RESAMPLES = 10_000


class ImpossibleRatioError(DojoError, ValueError):
    """A geometric mean over nothing, or over a ratio that is not positive and finite."""


class Interval(NamedTuple):
    """A mean with its 95% confidence interval."""

    mean: float
    low: float
    high: float


def geomean(ratios: Sequence[float]) -> float:
    """Geometric mean.

    Raises:
        ImpossibleRatioError: no ratios, or one that is not positive and finite.
    """
    if not ratios:
        raise ImpossibleRatioError("the geometric mean of no ratios does not exist")
    for ratio in ratios:
        if not (ratio > 0.0 and math.isfinite(ratio)):
            raise ImpossibleRatioError(f"a geometric mean needs positive finite ratios, got {ratio}")
    return math.exp(math.fsum(math.log(ratio) for ratio in ratios) / len(ratios))


def bootstrap_geomean(ratios: Sequence[float], seed: int = 0) -> Interval:
    """Geometric mean with the percentile bootstrap's 95% interval over programs (10,000 resamples).

    Raises:
        ImpossibleRatioError: as :func:`geomean`.
    """
    mean = geomean(ratios)
    logs = np.log(np.asarray(ratios))
    picks = np.random.default_rng(seed).integers(len(logs), size=(RESAMPLES, len(logs)))
    low, high = np.exp(np.percentile(logs[picks].mean(axis=1), [2.5, 97.5]))
    # of equal ratios, mean and limits differ by rounding
    return Interval(mean, min(float(low), mean), max(float(high), mean))
