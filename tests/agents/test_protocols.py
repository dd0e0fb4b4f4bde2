"""The protocols are what isinstance says, and the classes that claim to be one of them are."""

import numpy as np
import pytest
import torch

from compiler_dojo.agents.baselines import RandomPolicy, SequencePolicy
from compiler_dojo.agents.mlp import MlpPolicy
from compiler_dojo.agents.ppo import PPOConfig, PPOLearner
from compiler_dojo.agents.protocols import Learner, Policy


@pytest.mark.parametrize(
    "policy",
    [RandomPolicy(3, 0), SequencePolicy([1], 0), MlpPolicy([(torch.zeros(3, 2), torch.zeros(3))])],
    ids=lambda policy: type(policy).__name__,
)
def test_policy__every_policy_class_is_one_and_gives_int64_per_environment(policy) -> None:
    assert isinstance(policy, Policy)
    actions, state = policy.act(np.zeros((4, 2), np.float32), policy.initial_state(4), deterministic=True)
    assert actions.dtype == np.int64
    assert actions.shape == (4,)
    mask = np.ones((4, 3), np.bool_)
    actions, _ = policy.act(np.zeros((4, 2), np.float32), state, deterministic=True, mask=mask)
    assert actions.shape == (4,)


def test_learner__ppo_is_one() -> None:
    assert isinstance(PPOLearner(PPOConfig()), Learner)


@pytest.mark.parametrize("protocol", [Policy, Learner])
def test_protocol__refuses_what_lacks_its_methods(protocol) -> None:
    assert not isinstance(object(), protocol)
    assert not isinstance(PPOConfig(), protocol)
