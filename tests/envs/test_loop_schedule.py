"""LoopScheduleEnv: the published protocol, episodes by hand, and a toy machine whose best nest is known."""

import itertools
import pickle
import warnings
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from compiler_dojo.envs.errors import (
    EpisodeStateError,
    IllegalScheduleError,
    InvalidActionError,
    InvalidConfigError,
    UnknownObservationError,
    UnknownRewardError,
)
from compiler_dojo.envs.loop_schedule import LoopScheduleEnv
from compiler_dojo.envs.loops import rewards
from compiler_dojo.envs.loops.actions import LoopTuneActions
from compiler_dojo.envs.loops.features import LoopTuneTable
from compiler_dojo.envs.loops.full_actions import FullActions, VectorUnit
from compiler_dojo.envs.loops.nest import Loop, Nest, start_nest
from compiler_dojo.envs.loops.notation import parse
from compiler_dojo.envs.loops.rewards import MeasuredReward, ScheduleReward, make_reward
from compiler_dojo.envs.seconds import Seconds

LEARNED = Path(rewards.__file__).with_name("learned_cost.npz")
PRODUCT = parse("mk,kn->mn", m=64, k=96, n=128)
FULL = FullActions(VectorUnit(64, 32), threads=2)


class ToyReward:
    """A machine that likes three things: rows next to the vectors, a tile of 4 rows, and n outermost.

    Of ``m4 k m n`` it gives 30 GFLOP/s, of ``m k n`` 10 and of the best nest, ``n16 m4 k m n``, its peak of 40.
    """

    deterministic = True
    platform_dependent = False
    calls = 0

    def gflops(self, nest: Nest) -> float:
        self.calls += 1
        if nest.threads > 1:
            raise IllegalScheduleError("the toy machine has one core")
        axes = "".join(loop.axis for loop in nest.loops)
        rows = axes.endswith("mn") and Loop("m", 4) in nest.loops
        return 10.0 + 20.0 * rows + 10.0 * (rows and axes.startswith("n"))

    def peak(self, dtype: str = "float32", threads: int = 1) -> float:
        return 40.0 * threads


def make(**settings: object) -> LoopScheduleEnv:
    return LoopScheduleEnv(**{"workloads": PRODUCT, "reward": ToyReward(), **settings})  # type: ignore[arg-type]


def play(env: LoopScheduleEnv, script: str) -> list[float]:
    return [float(env.step(name)[1]) for name in script.split()]


def shown(value: object) -> str:
    return str(value) if isinstance(value, str | int) else type(value).__name__


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"observation": "graph"},
        {"stop": True},
        {"actions": FULL},
        {"actions": FULL, "observation": "looptune", "stop": False},
        {"workloads": "looptune:train+convolutions:train+mttkrp:train"},
    ],
    ids=lambda arguments: ", ".join(f"{key} {shown(value)}" for key, value in arguments.items()) or "defaults",
)
def test_env__satisfies_gymnasium_with_no_warning(settings) -> None:
    env = gym.make("CompilerDojo/LoopSchedule-v0", **{"workloads": PRODUCT, "reward": ToyReward(), **settings})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env.unwrapped, skip_render_check=True)


def test_defaults__are_the_published_ones() -> None:
    env = LoopScheduleEnv()
    assert env.action_names == LoopTuneActions.names
    assert (env.budget, len(env.workloads), env.observation_space.shape) == (10, 1977, (10, 20))


def test_rewards__are_shares_of_the_peak_that_sum_to_the_gain() -> None:
    env = make()
    _, info = env.reset(seed=0)
    assert (info["gflops"], info["peak"], info["workload"]) == (10.0, 40.0, "mk,kn->mn m=64 k=96 n=128 float32")
    assert play(env, "split_4 swap_down swap_down down split_16 swap_up swap_up swap_up") == [
        0, 0, 0.5, 0, -0.5, 0.5, 0, 0.25
    ]  # fmt: skip
    assert (env.gflops, env.nest.loops[0]) == (40.0, Loop("n", 16))


def test_optimum__of_the_toy_is_found_by_greedy_lookahead_over_forks() -> None:
    env = make(budget=10)
    env.reset(seed=0)
    for _ in range(8):
        best = max(
            itertools.product(range(7), repeat=3),
            key=lambda actions: sum(
                0.5**depth * float(env_step[1]) for depth, env_step in enumerate(map(forked(env).step, actions))
            ),
        )
        env.step(best[0])
    assert env.gflops >= 30.0


def forked(env: LoopScheduleEnv) -> LoopScheduleEnv:
    other = env.fork()
    other._steps_left = 100
    return other


def test_illegal_action__costs_a_step_and_changes_nothing() -> None:
    env = make()
    before, info = env.reset(seed=0)
    assert not info["action_mask"][0]
    observation, reward, terminated, truncated, info = env.step(0)
    np.testing.assert_array_equal(observation, before)
    assert (reward, terminated, truncated) == (0.0, False, False)
    assert (info["action"], info["legal"], info["changed"], info["steps_left"]) == ("up", False, False, 9)
    assert "outermost loop" in info["error"]


def test_cursor_move__is_legal_and_measures_nothing() -> None:
    reward = ToyReward()
    env = make(reward=reward)
    env.reset(seed=0)
    calls = reward.calls
    info = env.step("down")[4]
    assert (info["legal"], info["changed"], reward.calls) == (True, False, calls)
    assert "error" not in info
    assert info["seconds"] == Seconds(1.0)


def test_nest__that_no_code_can_be_generated_for_is_an_illegal_action() -> None:
    env = make(actions=FULL)
    env.reset(seed=0)
    env.step("tile_4x2")
    assert env.action_masks()[env.action_index("parallel")]
    info = env.step("parallel")[4]
    assert (info["legal"], info["error"], env.nest.threads) == (False, "the toy machine has one core", 1)


def test_episode__is_cut_after_the_budget() -> None:
    env = make(budget=2)
    env.reset(seed=0)
    assert env.step("down")[2:4] == (False, False)
    assert env.step("down")[2:4] == (False, True)
    with pytest.raises(EpisodeStateError, match="has ended"):
        env.step("up")


def test_stop__ends_the_episode_and_costs_no_step() -> None:
    env = make(stop=True)
    env.reset(seed=0)
    observation, reward, terminated, truncated, info = env.step("stop")
    assert (reward, terminated, truncated, info["steps_left"], info["legal"]) == (0.0, True, False, 10, True)
    assert observation in env.observation_space
    assert env.action_masks()[-1]


def test_full_set__has_stop_and_its_own_observation_unless_told_otherwise() -> None:
    env = make(actions=FULL)
    assert env.action_names[-1] == "stop"
    assert env.observation_space.shape == (11, 28)
    assert make(actions="full", stop=False).action_names == FullActions.names


def test_masks__say_which_actions_are_legal() -> None:
    env = make()
    env.reset(seed=1)
    draw = np.random.default_rng(0)
    for _ in range(30):
        env.reset()
        for _ in range(10):
            mask = env.action_masks()
            assert mask.dtype == np.bool_
            action = int(draw.integers(7))
            info = env.step(action)[4]
            assert info["legal"] == mask[action]
            np.testing.assert_array_equal(info["action_mask"], env.action_masks())


def test_mask__allows_everything_where_nothing_is_legal() -> None:
    env = make(workloads=parse("i,i->", i=3), actions=FULL, stop=False)
    env.reset(options={"nest": Nest(parse("i->i", i=1), (Loop("i"),))})
    assert env.action_masks().any()


def test_fork__goes_its_own_way() -> None:
    env = make()
    env.reset(seed=3)
    env.step("split_4")
    other = env.fork()
    assert play(other, "swap_down swap_down") == [0.0, 0.5]
    assert (env.gflops, other.gflops) == (10.0, 30.0)
    assert env.state.cursor == 0
    assert env.np_random.integers(1 << 30) == other.np_random.integers(1 << 30)


def test_pickle__makes_an_env_that_plays_the_same() -> None:
    env = make(workloads="looptune:train25", actions=FULL)
    copy = pickle.loads(pickle.dumps(env))
    assert env.reset(seed=5)[1]["workload"] == copy.reset(seed=5)[1]["workload"]
    assert play(env, "tile_4x2 swap_down") == play(copy, "tile_4x2 swap_down")
    assert env.nest == copy.nest


def test_workloads__are_drawn_by_the_seed() -> None:
    env = make(workloads="looptune:train")
    drawn = [env.reset(seed=seed)[1]["workload"] for seed in (0, 1, 0)]
    assert drawn[0] == drawn[2] != drawn[1]


def test_reset__takes_a_workload_or_a_nest() -> None:
    env = make()
    assert env.reset(options={"workload": "mk,kn->mn m=16 k=16 n=16"})[1]["workload"].startswith("mk,kn->mn m=16")
    assert env.reset(options={"workload": PRODUCT})[1]["nest"] == str(start_nest(PRODUCT))
    env.reset(options={"nest": Nest(PRODUCT, (Loop("m", 4), Loop("k"), Loop("m"), Loop("n")))})
    assert env.gflops == 30.0


def test_vector__is_made_of_single_environments() -> None:
    settings = {"workloads": PRODUCT, "reward": ToyReward()}
    vector = gym.make_vec("CompilerDojo/LoopSchedule-v0", 2, vectorization_mode="sync", **settings)
    observations, infos = vector.reset(seed=0)
    assert observations.shape == (2, 10, 20)
    observations, *_, infos = vector.step(np.array([4, 1]))
    assert infos["action_mask"].shape == (2, 7)
    assert list(infos["action"]) == ["split_4", "down"]
    assert list(infos["changed"]) == [True, False]


def test_render__marks_the_loop_under_the_cursor() -> None:
    env = make(render_mode="ansi", actions=FULL)
    env.reset(seed=0)
    play(env, "tile_4x2 swap_down pack_1")
    assert env.render() == (
        "mk,kn->mn m=64 k=96 n=128 float32\n"
        "n 0:128:32\n"
        "  pack B[k:96, n:32]\n"
        "  m 0:64:4  <-- cursor\n"
        "    k 0:96\n"
        "      tile C[m:4, n:32]\n"
        "40.0 GFLOP/s, 100% of the peak, 7 steps left"
    )


def test_render__needs_the_mode() -> None:
    env = make()
    env.reset(seed=0)
    with pytest.warns(UserWarning, match='needs render_mode="ansi"'):
        assert env.render() is None


@pytest.mark.parametrize(
    "name",
    [
        "analytical",
        "measured",
        pytest.param("learned", marks=pytest.mark.skipif(not LEARNED.exists(), reason="no weights are shipped")),
    ],
)
def test_reward__of_a_name_says_what_nests_reach(name) -> None:
    env = LoopScheduleEnv(workloads=PRODUCT, reward=name, budget=3)
    _, info = env.reset(seed=0)
    assert isinstance(env.reward, ScheduleReward)
    assert 0 < info["gflops"] < info["peak"]
    assert env.reward.deterministic == (name != "measured")
    env.step("split_4")
    assert env.gflops > 0


def test_peak__is_the_analytical_model_s_where_the_reward_knows_none() -> None:
    class Constant:
        deterministic, platform_dependent = True, False

        def gflops(self, nest: Nest) -> float:
            return 1.0

    env = make(reward=Constant(), target="x86-64-v3")
    assert env.reset(seed=0)[1]["peak"] == make_reward("analytical", "x86-64-v3").peak("float32", 1)  # type: ignore


def test_make_reward__knows_its_names() -> None:
    assert isinstance(make_reward("measured"), MeasuredReward)
    with pytest.raises(UnknownRewardError, match="did you mean 'measured'"):
        make_reward("measure")


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"budget": 0}, InvalidConfigError, "budget must be a number of actions"),
        ({"threads": 0}, InvalidConfigError, "threads must be a number"),
        ({"render_mode": "human"}, InvalidConfigError, "render_mode must be None or 'ansi'"),
        ({"actions": "looptunes"}, InvalidConfigError, "no action set 'looptunes': did you mean 'looptune'"),
        ({"actions": 7}, InvalidConfigError, "no action set 7: known: looptune, full"),
        ({"observation": "grahp"}, UnknownObservationError, "did you mean 'graph'"),
        ({"reward": "analytic"}, UnknownRewardError, "did you mean 'analytical'"),
        ({"reward": 3}, InvalidConfigError, "an object with ScheduleReward's members, got 3"),
        ({"workloads": []}, InvalidConfigError, "a sequence of at least one"),
    ],
)
def test_argument__that_makes_no_sense_is_refused(settings, error, message) -> None:
    with pytest.raises(error, match=message):
        make(**settings)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"workloads": PRODUCT}, InvalidConfigError, "unknown reset option 'workloads': did you mean 'workload'"),
        ({"workload": "large"}, InvalidConfigError, "an episode schedules one workload, 'large' names 3"),
        ({"workload": PRODUCT, "nest": start_nest(PRODUCT)}, InvalidConfigError, "exclude each other"),
        ({"nest": Nest(PRODUCT, (Loop("m"),))}, IllegalScheduleError, "no loop is over 'k'"),
    ],
)
def test_reset_option__that_makes_no_sense_is_refused(options, error, message) -> None:
    with pytest.raises(error, match=message):
        make().reset(options=options)


def test_action__outside_the_space_is_refused() -> None:
    env = make()
    with pytest.raises(EpisodeStateError, match="call reset"):
        env.step(0)
    env.reset(seed=0)
    with pytest.raises(InvalidActionError, match="actions are 0 to 6, got 7"):
        env.step(7)
    with pytest.raises(InvalidActionError, match=r"actions are 0 to 6, got 1\.5"):
        env.step(1.5)  # type: ignore[arg-type]
    with pytest.raises(InvalidActionError, match="did you mean 'swap_up'"):
        env.step("swapup")


def test_observation__may_be_an_object() -> None:
    table = LoopTuneTable()
    assert make(observation=table).observation_space is table.space
