"""The stored policy network: its numbers by hand, and what it leaves on disk."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from compiler_dojo.agents.mlp import DESCRIPTION, FORMAT, WEIGHTS, MlpPolicy, Normalization

HIDDEN = (torch.tensor([[1.0, -1.0], [0.5, 2.0]]), torch.tensor([0.1, -0.2]))
OUTPUT = (torch.tensor([[1.0, 2.0], [-1.0, 0.0], [0.0, 3.0]]), torch.tensor([0.0, 0.5, -1.0]))
OBSERVATION = np.array([[0.3, -0.4]], np.float32)
# 1.0 * 0.3 - 1.0 * -0.4 + 0.1 and 0.5 * 0.3 + 2.0 * -0.4 - 0.2
HIDDEN_SUMS = (0.8, -0.85)


def output_by_hand(first: float, second: float) -> list[float]:
    return [first + 2.0 * second, -first + 0.5, 3.0 * second - 1.0]


def random_policy(seed: int = 0) -> MlpPolicy:
    generator = torch.Generator().manual_seed(seed)
    shapes = [(8, 5), (8, 8), (4, 8)]
    layers = [(torch.randn(shape, generator=generator), torch.randn(shape[0], generator=generator)) for shape in shapes]
    normalization = Normalization(torch.randn(5, generator=generator), torch.rand(5, generator=generator) + 0.5, 2.0)
    return MlpPolicy(layers, normalization, "relu")


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_logits__equal_a_network_computed_by_hand(activation: str) -> None:
    function = math.tanh if activation == "tanh" else lambda x: max(x, 0.0)
    expected = output_by_hand(*map(function, HIDDEN_SUMS))
    logits = MlpPolicy([HIDDEN, OUTPUT], activation=activation).logits(OBSERVATION)
    np.testing.assert_allclose(logits.numpy(), [expected], rtol=1e-6)


def test_logits__have_no_activation_after_the_last_layer() -> None:
    logits = MlpPolicy([HIDDEN], activation="relu").logits(OBSERVATION)
    np.testing.assert_allclose(logits.numpy(), [HIDDEN_SUMS], rtol=1e-6)


def test_logits__have_a_row_per_observation_and_take_integer_observations() -> None:
    policy = random_policy()
    observations = np.arange(15).reshape(3, 5)
    logits = policy.logits(observations)
    assert logits.shape == (3, 4)
    np.testing.assert_allclose(logits[1:2].numpy(), policy.logits(observations[1:2]).numpy(), rtol=1e-6)


def test_logits__are_those_of_the_normalised_and_clipped_observation() -> None:
    normalization = Normalization(torch.tensor([1.0, -2.0]), torch.tensor([0.5, 4.0]), 1.5)
    observations = np.array([[2.0, -2.25], [9.0, -9.0]], np.float32)
    # (2 - 1) * 0.5 and (-2.25 + 2) * 4; then 4 and -28, both clipped
    inputs = np.array([[0.5, -1.0], [1.5, -1.5]], np.float32)
    plain = MlpPolicy([HIDDEN, OUTPUT])
    normalised = MlpPolicy([HIDDEN, OUTPUT], normalization)
    assert torch.equal(normalised.logits(observations), plain.logits(inputs))


@pytest.mark.parametrize("deterministic", [True, False])
def test_act__never_takes_a_masked_action(deterministic: bool) -> None:
    policy = MlpPolicy([(torch.zeros(4, 1), torch.tensor([5.0, 1.0, 4.0, 0.0]))])
    mask = np.array([[False, True, False, True], [True, True, False, False], [False, False, False, True]])
    allowed = [{1, 3}, {0, 1}, {3}]
    for _ in range(50):
        actions, _ = policy.act(np.zeros((3, 1)), None, deterministic=deterministic, mask=mask)
        assert all(action in row for action, row in zip(actions.tolist(), allowed, strict=True))
        if deterministic:
            assert actions.tolist() == [1, 0, 3]


def test_act__draws_an_action_where_all_are_masked() -> None:
    policy = MlpPolicy([(torch.zeros(4, 1), torch.zeros(4))])
    actions, _ = policy.act(np.zeros((1, 1)), None, deterministic=False, mask=np.zeros((1, 4), np.bool_))
    assert 0 <= int(actions[0]) < 4


def test_act__deterministic_takes_the_largest_logit() -> None:
    policy = random_policy()
    observations = np.random.default_rng(0).normal(size=(32, 5))
    actions, state = policy.act(observations, policy.initial_state(32), deterministic=True)
    np.testing.assert_array_equal(actions, policy.logits(observations).numpy().argmax(axis=1))
    assert state is None


def test_act__stochastic_draws_from_the_softmax() -> None:
    probabilities = torch.tensor([0.1, 0.2, 0.7])
    policy = MlpPolicy([(torch.zeros(3, 1), probabilities.log())], seed=0)
    draws = 20_000
    actions, _ = policy.act(np.zeros((draws, 1)), None, deterministic=False)
    shares = np.bincount(actions, minlength=3) / draws
    # four standard deviations of a share
    np.testing.assert_allclose(shares, probabilities.numpy(), atol=4 * math.sqrt(0.25 / draws))


def test_act__stochastic_actions_follow_the_seed() -> None:
    layers = [(torch.zeros(9, 1), torch.zeros(9))]
    first, again, other = (
        MlpPolicy(layers, seed=seed).act(np.zeros((40, 1)), None, deterministic=False)[0] for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_act__temperature_divides_the_logits() -> None:
    layer = (torch.zeros(2, 1), torch.tensor([0.0, 2.0]))
    policy = MlpPolicy([layer]).with_seed(0, temperature=4.0)
    actions, _ = policy.act(np.zeros((20_000, 1), np.float32), None, deterministic=False)
    assert actions.mean() == pytest.approx(1 / (1 + math.exp(-0.5)), abs=0.02)


def test_policy__keeps_its_own_copy_of_the_weights() -> None:
    weight, bias = torch.ones(2, 2), torch.zeros(2)
    policy = MlpPolicy([(weight, bias)])
    before = policy.logits(OBSERVATION)
    weight.zero_()
    assert torch.equal(policy.logits(OBSERVATION), before)
    assert torch.equal(policy.layers[0][0], torch.ones(2, 2))


def test_save__load_gives_the_same_network_and_description(tmp_path: Path) -> None:
    policy = random_policy()
    policy.save(tmp_path / "new" / "folder", {"steps": 17, "env": {"budget": 3}})
    loaded, description = MlpPolicy.load(tmp_path / "new" / "folder")
    observations = np.random.default_rng(1).normal(size=(6, 5))
    assert torch.equal(loaded.logits(observations), policy.logits(observations))
    assert loaded.activation == "relu"
    assert description == {
        "format": FORMAT,
        "layers": 3,
        "activation": "relu",
        "limit": 2.0,
        "steps": 17,
        "env": {"budget": 3},
    }


def test_save__a_policy_without_normalisation_comes_back_without(tmp_path: Path) -> None:
    policy = MlpPolicy([HIDDEN, OUTPUT])
    policy.save(tmp_path, {})
    loaded, _ = MlpPolicy.load(tmp_path)
    assert loaded.normalization is None
    assert torch.equal(loaded.logits(OBSERVATION), policy.logits(OBSERVATION))


def test_save__overwrites_what_was_there(tmp_path: Path) -> None:
    random_policy(0).save(tmp_path, {"steps": 1})
    random_policy(1).save(tmp_path, {"steps": 2})
    loaded, description = MlpPolicy.load(tmp_path)
    assert torch.equal(loaded.layers[0][0], random_policy(1).layers[0][0])
    assert description["steps"] == 2


def test_save__leaves_json_and_safetensors_only(tmp_path: Path) -> None:
    random_policy().save(tmp_path, {})
    assert sorted(path.name for path in tmp_path.iterdir()) == [DESCRIPTION, WEIGHTS]
    assert json.loads((tmp_path / DESCRIPTION).read_text())["format"] == FORMAT
    tensors = load_file(tmp_path / WEIGHTS)
    layers = [f"{layer}.{part}" for layer in range(3) for part in ("weight", "bias")]
    assert sorted(tensors) == sorted([*layers, "mean", "scale"])


@pytest.mark.parametrize("description", [{"format": "compiler-dojo-mlp-0"}, {}])
def test_load__refuses_another_format(tmp_path: Path, description: dict[str, str]) -> None:
    random_policy().save(tmp_path, {})
    (tmp_path / DESCRIPTION).write_text(json.dumps(description))
    message = rf"{DESCRIPTION} has format {description.get('format')!r}, expected '{FORMAT}'"
    with pytest.raises(ValueError, match=message):
        MlpPolicy.load(tmp_path)
