"""The learned cost model: its features, its arithmetic, its files."""

import math

import numpy as np
import pytest

from compiler_dojo.envs.errors import InvalidRecordError
from compiler_dojo.envs.loops.costs import AnalyticalCost
from compiler_dojo.envs.loops.learned_cost import (
    FEATURE_VERSION,
    FEATURES,
    SHIPPED,
    LearnedCost,
    cost_features,
    load_weights,
    save_weights,
)
from compiler_dojo.envs.loops.machine import Machine
from compiler_dojo.envs.loops.nest import Loop, Nest, Pack, start_nest
from compiler_dojo.envs.loops.random_workloads import random_workload
from compiler_dojo.envs.loops.targets import Target
from compiler_dojo.envs.loops.workloads import parse

TARGET = Target("x86-64-v4", "x86-64-v4", "", "x86_64-unknown-linux-gnu", 64, 32, True)
TILED = Nest(
    parse("mk,kn->mn", m=64, k=64, n=96),
    (Loop("n", 48), Loop("m", 8), Loop("k"), Loop("m"), Loop("n")),
    tile=2,
    packs=(Pack(1, 1),),
)


def weights(seed: int = 0, members: int = 2, hidden: int = 3) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    sizes = (len(FEATURES), hidden, hidden, 1)
    made = {f"weight{i}": rng.normal(size=(members, *sizes[i : i + 2])).astype(np.float32) / 10 for i in range(3)}
    made |= {f"bias{i}": rng.normal(size=(members, sizes[i + 1])).astype(np.float32) / 10 for i in range(3)}
    made |= {"mean": np.ones(len(FEATURES), np.float32), "scale": np.full(len(FEATURES), 0.1, np.float32)}
    made |= {"limit": np.array(3.0, np.float32)}
    return made | {"feature_version": np.array(FEATURE_VERSION), "features": np.array(FEATURES)}


def features(nest: Nest = TILED) -> dict[str, float]:
    found = cost_features(nest, AnalyticalCost(TARGET, Machine()))
    assert found.dtype == np.float32
    return dict(zip(FEATURES, found.tolist(), strict=True))


def test_cost_features__describe_the_tile() -> None:
    found = features()
    assert (found["accumulators"], found["rows"], found["vectors"]) == pytest.approx((math.log2(24), 3, math.log2(3)))
    assert (found["reduction_steps"], found["filled"], found["automatic"]) == (6, 1, 0)
    assert (found["broadcasts"], found["loaded_vectors"], found["gathers"]) == (1, 1, 0)
    assert (found["packs"], found["pack_depth"]) == (1, 1)
    assert found["flops"] == pytest.approx(math.log2(2 * 64 * 64 * 96))


def test_cost_features__begin_with_the_analytical_prediction() -> None:
    cost = AnalyticalCost(TARGET, Machine())
    assert features()["analytical"] == pytest.approx(math.log(cost.gflops(TILED) / cost.peak()), abs=1e-6)


def test_cost_features__are_finite_on_random_nests(make_nest) -> None:
    rng = np.random.default_rng(0)
    cost = AnalyticalCost(TARGET, Machine())
    for _ in range(200):
        nest = make_nest(random_workload(rng), rng)
        found = cost_features(nest, cost)
        assert found.shape == (len(FEATURES),)
        assert np.isfinite(found).all(), nest.key


def test_gflops__is_the_analytical_share_times_the_mean_correction() -> None:
    content = weights()
    model = LearnedCost(TARGET, content, Machine())
    given = cost_features(TILED, model.analytical)
    clipped = np.clip((given - content["mean"]) * content["scale"], -3, 3)
    corrections = []
    for member in range(2):
        hidden = clipped
        for layer in range(3):
            hidden = hidden @ content[f"weight{layer}"][member] + content[f"bias{layer}"][member]
            hidden = np.maximum(hidden, 0) if layer < 2 else hidden
        corrections.append(hidden[0])
    expected = model.analytical.gflops(TILED) * math.exp(np.mean(corrections))
    assert model.gflops(TILED) == pytest.approx(expected, rel=1e-5)
    assert model.seconds(TILED) == pytest.approx(TILED.workload.flops / expected / 1e9, rel=1e-5)


def test_gflops__of_zero_weights_is_analytical() -> None:
    content = weights()
    content |= {name: np.zeros_like(content[name]) for name in ("weight2", "bias2")}
    model = LearnedCost(TARGET, content, Machine())
    assert model.gflops(TILED) == pytest.approx(model.analytical.gflops(TILED), rel=1e-5)


def test_gflops__remembers_nests_by_their_code(monkeypatch) -> None:
    model = LearnedCost(TARGET, weights(), Machine())
    first = model.gflops(TILED)
    monkeypatch.setattr(model, "log_shares", None)
    assert model.gflops(TILED.with_()) == first


def test_weights__are_the_same_after_saving_and_loading(tmp_path) -> None:
    path = tmp_path / "weights.npz"
    save_weights(path, weights())
    loaded = load_weights(path)
    assert loaded.keys() == weights().keys()
    for name, value in weights().items():
        np.testing.assert_array_equal(loaded[name], value)
    assert LearnedCost(TARGET, path, Machine()).gflops(TILED) == LearnedCost(TARGET, weights(), Machine()).gflops(TILED)
    assert [item.name for item in tmp_path.iterdir()] == ["weights.npz"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"feature_version": np.array(0)}, "version 0 of the features.*fit them again"),
        ({"features": np.array(FEATURES[::-1])}, f"version {FEATURE_VERSION} of the features"),
        ({"feature_version": None}, "unknown version"),
    ],
)
def test_learned_cost__refuses_weights_of_other_features(tmp_path, changes, message) -> None:
    content = {name: value for name, value in (weights() | changes).items() if value is not None}
    with pytest.raises(InvalidRecordError, match=f"these weights belong to .*{message}"):
        LearnedCost(TARGET, content)
    save_weights(tmp_path / "weights.npz", content)
    with pytest.raises(InvalidRecordError, match=message):
        LearnedCost(TARGET, tmp_path / "weights.npz")


def test_learned_cost__refuses_what_is_no_file_of_weights(tmp_path) -> None:
    with pytest.raises(InvalidRecordError, match="no weights of a learned cost model"):
        LearnedCost(TARGET, tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("text")
    with pytest.raises(InvalidRecordError, match="no weights of a learned cost model"):
        LearnedCost(TARGET, tmp_path / "text.npz")


def test_shipped_weights__are_small_and_order_what_is_clearly_better() -> None:
    assert SHIPPED.stat().st_size < 200_000
    model = LearnedCost(TARGET, machine=Machine())
    assert model.gflops(TILED) > 2 * model.gflops(
        start_nest(TILED.workload).with_(loops=(Loop("m"), Loop("n"), Loop("k")))
    )
    assert model.gflops(TILED) < 1.1 * model.analytical.peak()
