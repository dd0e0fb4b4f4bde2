"""Fitting ensembles of networks to numbers that are known."""

import numpy as np
import pytest

from compiler_dojo.agents.cost_regression import LIMIT, fit_ensemble


def samples(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(count, 4)).astype(np.float32) * np.float32([1, 10, 0.1, 0]) + np.float32([0, 5, 0, 7])
    targets = np.maximum(features[:, 0], 0) - 0.05 * features[:, 1] + 4 * np.abs(features[:, 2])
    return features, targets.astype(np.float32)


def predict(weights: dict[str, np.ndarray], features: np.ndarray) -> np.ndarray:
    hidden = np.clip((features - weights["mean"]) * weights["scale"], -weights["limit"], weights["limit"])
    for layer in range(3):
        hidden = hidden @ weights[f"weight{layer}"] + weights[f"bias{layer}"][:, None]
        hidden = np.maximum(hidden, 0) if layer < 2 else hidden
    return hidden[..., 0].mean(axis=0)


def test_fit_ensemble__recovers_a_function_on_samples_it_has_not_seen() -> None:
    weights = fit_ensemble(*samples(400, 0), seed=0, members=3, epochs=300)
    features, targets = samples(200, 1)
    assert np.abs(predict(weights, features) - targets).mean() < 0.2 * np.abs(targets - targets.mean()).mean()


def test_fit_ensemble__gives_equal_weights_for_equal_seeds() -> None:
    one, two, other = (fit_ensemble(*samples(50, 0), seed=seed, members=2, epochs=5) for seed in (3, 3, 4))
    for name in one:
        np.testing.assert_array_equal(one[name], two[name])
    assert not np.array_equal(one["weight0"], other["weight0"])


def test_fit_ensemble__has_the_shapes_it_says() -> None:
    weights = fit_ensemble(*samples(50, 0), seed=0, members=2, hidden=8, epochs=1)
    shapes = {name: value.shape for name, value in weights.items()}
    assert shapes == {
        "limit": (),
        "mean": (4,),
        "scale": (4,),
        "weight0": (2, 4, 8),
        "bias0": (2, 8),
        "weight1": (2, 8, 8),
        "bias1": (2, 8),
        "weight2": (2, 8, 1),
        "bias2": (2, 1),
    }
    assert {value.dtype for value in weights.values()} == {np.dtype(np.float32)}


def test_fit_ensemble__ignores_what_never_varied_and_does_not_extrapolate() -> None:
    weights = fit_ensemble(*samples(50, 0), seed=0, members=2, epochs=5)
    assert weights["scale"][3] == 0
    assert weights["limit"] == LIMIT
    far, farther = np.float32([[1e3, 5, 0, 7]]), np.float32([[1e6, 5, 0, -1e6]])
    assert predict(weights, far) == pytest.approx(predict(weights, farther))
