"""Rewards: they telescope, their scales are the documented ones, and one of your own takes a few lines."""

import numpy as np
import pytest

from compiler_dojo.envs.errors import DojoError, InvalidProgramError, UnknownRewardError
from compiler_dojo.envs.prepared import prepare
from compiler_dojo.envs.programs import Program
from compiler_dojo.envs.rewards import CostReduction, Reward

NOTHING_TO_SAVE = Program("nothing", b"define i32 @f() {\n  ret i32 0\n}\n")


class BlockReduction:
    """A reward of a user's own: one point for each basic block that goes away."""

    metric = "blocks"
    deterministic = True
    platform_dependent = False
    error_value = -7.0

    def cost(self, session, prepared):
        return float(session.instcount()[1])

    def scale(self, prepared):
        return 1.0

    def baselines(self, prepared):
        return {"none": 0.0}


class Failing(BlockReduction):
    """A cost that cannot be had after the first time."""

    def __init__(self) -> None:
        self.calls = 0

    def cost(self, session, prepared):
        self.calls += 1
        if self.calls > 1:
            raise InvalidProgramError("no cost today")
        return super().cost(session, prepared)


@pytest.mark.parametrize("start", ["O0", "Oz"])
@pytest.mark.parametrize("scale_by", ["gap", "baseline"])
@pytest.mark.parametrize("metric", ["instruction_count", "text_size"])
def test_rewards__sum_to_the_saving_on_the_scale(make_env, metric, scale_by, start) -> None:
    chosen = CostReduction(metric, scale_by=scale_by)
    env = make_env(programs="bundled://containers/ring_buffer", reward=chosen, start=start)
    _, info = env.reset(seed=0)
    first, baselines = info["cost"], info["baselines"]
    scale = baselines["Oz"] if scale_by == "baseline" else baselines["O0"] - baselines["Oz"]
    assert scale > 1
    total = 0.0
    for action in np.random.default_rng(5).integers(env.action_space.n, size=25):
        cost = info["cost"]
        _, reward, _, _, info = env.step(int(action))
        assert reward == (cost - info["cost"]) / scale
        total += reward
    assert info["cost"] != first
    assert total == pytest.approx((first - info["cost"]) / scale, abs=1e-12)


def test_cost__is_the_metrics(make_env) -> None:
    by_count, by_size = make_env(), make_env(reward="text_size")
    assert by_count.reset(seed=0)[1]["cost"] == by_count.session.instruction_count
    assert by_size.reset(seed=0)[1]["cost"] == by_size.session.text_size()


def test_baseline__may_be_another_level(make_env) -> None:
    _, info = make_env(reward=CostReduction(baseline="O3")).reset(seed=0)
    assert info["baselines"].keys() == {"O0", "O3"}


def test_scale__is_at_least_one_where_the_baseline_saves_nothing(make_env) -> None:
    prepared = prepare(NOTHING_TO_SAVE)
    assert prepared.cost("instruction_count", "O0") == prepared.cost("instruction_count", "Oz") == 1.0
    assert CostReduction().scale(prepared) == 1.0
    env = make_env(programs=NOTHING_TO_SAVE)
    env.reset(seed=0)
    assert env.step(0)[1] == 0.0


@pytest.mark.parametrize(
    ("metric", "deterministic", "platform_dependent"),
    [("instruction_count", True, False), ("text_size", True, True), ("runtime", False, True)],
)
def test_reward__declares_what_it_is(metric, deterministic, platform_dependent) -> None:
    reward = CostReduction(metric)
    assert (reward.deterministic, reward.platform_dependent) == (deterministic, platform_dependent)
    assert isinstance(reward, Reward)


def test_custom_reward__is_any_object_with_the_members(make_env) -> None:
    assert isinstance(BlockReduction(), Reward)
    env = make_env(reward=BlockReduction(), passes=["simplifycfg"], render_mode="ansi")
    _, info = env.reset(seed=0)
    before = env.session.instcount()[1]
    assert (info["cost"], info["baselines"]) == (before, {"none": 0.0})
    assert env.step(0)[1] == before - env.session.instcount()[1] > 0
    assert "blocks" in env.render()


def test_error_value__is_the_reward_of_a_step_that_failed(make_env) -> None:
    env = make_env(reward=Failing(), passes=["simplifycfg"])
    cost = env.reset(seed=0)[1]["cost"]
    _, reward, terminated, truncated, info = env.step(0)
    assert (reward, terminated, truncated) == (-7.0, True, False)
    assert (info["error"]["class"], info["error"]["message"]) == ("InvalidProgramError", "no cost today")
    assert info["cost"] == cost


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"metric": "instruction_counts"}, "'instruction_counts': did you mean 'instruction_count'"),
        ({"baseline": "oz"}, "'oz': did you mean 'Oz'"),
        ({"scale_by": "gaps"}, "'gaps': did you mean 'gap'"),
        ({"metric": "zzz"}, "'zzz': known: instruction_count, runtime, text_size"),
    ],
    ids=str,
)
def test_reward__refuses_unknown_settings(settings, message) -> None:
    with pytest.raises(UnknownRewardError, match=message):
        CostReduction(**settings)


def test_env__refuses_an_unknown_reward_when_it_is_made(make_env) -> None:
    with pytest.raises(UnknownRewardError, match="did you mean 'text_size'"):
        make_env(reward="text_sise")


def test_env__refuses_what_is_no_reward_when_it_is_made(make_env) -> None:
    with pytest.raises(DojoError, match=r"a reward is .* got 42"):
        make_env(reward=42)
