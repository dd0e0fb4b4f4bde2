"""PassOrderingVectorEnv: what SyncVectorEnv gives, with the passes of one step in parallel."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

from compiler_dojo.envs import PASS_ORDERING_ID
from compiler_dojo.envs.errors import EpisodeStateError, InvalidActionError, SessionClosedError
from compiler_dojo.envs.llvm.passes import PASSES
from compiler_dojo.envs.llvm.worker import Isolation, shared_worker
from compiler_dojo.envs.pass_ordering import PassOrderingEnv
from compiler_dojo.envs.pass_ordering_vector import PassOrderingVectorEnv

PROGRAMS = ["bundled://graphs/union_find", "bundled://containers/ring_buffer", "bundled://parsing/csv_line"]
FEW = ["sroa", "simplifycfg", "instcombine<no-verify-fixpoint>", "gvn", "licm", "dse"]
SETTINGS = {"programs": PROGRAMS, "passes": FEW, "budget": 4, "stop": True, "cache": False}
EVERYTHING = ["features", "autophase", "instcount", "histogram"]
MODES = list(AutoresetMode)


@pytest.fixture
def make_vector():
    made = []

    def make(num_envs: int = 4, mode: AutoresetMode = AutoresetMode.NEXT_STEP, **settings) -> PassOrderingVectorEnv:
        made.append(PassOrderingVectorEnv(num_envs, autoreset_mode=mode, **{**SETTINGS, **settings}))
        return made[-1]

    yield make
    for env in made:
        env.close()


@pytest.fixture
def make_sync():
    made = []

    def make(num_envs: int = 4, mode: AutoresetMode = AutoresetMode.NEXT_STEP, **settings) -> SyncVectorEnv:
        factories = [lambda: PassOrderingEnv(**{**SETTINGS, **settings})] * num_envs
        made.append(SyncVectorEnv(factories, autoreset_mode=mode))
        return made[-1]

    yield make
    for env in made:
        env.close()


def assert_same(one: tuple, other: tuple) -> None:
    *values, info = one
    *expected, expected_info = other
    assert data_equivalence(tuple(values), tuple(expected), exact=True)
    assert info.keys() == expected_info.keys()
    assert data_equivalence(info, expected_info, exact=True)


def reset_ended(vector, terminations, truncations):
    return vector.reset(options={"reset_mask": terminations | truncations})


def play_together(ours, theirs, steps: int, seed: int = 0) -> None:
    """The same random steps in both, with equal results."""
    assert_same(ours.reset(seed=seed), theirs.reset(seed=seed))
    draw = np.random.default_rng(seed)
    for _ in range(steps):
        actions = draw.integers(ours.single_action_space.n, size=ours.num_envs)
        results = [vector.step(actions) for vector in (ours, theirs)]
        assert_same(*results)
        ended = results[0][2] | results[0][3]
        if ours.metadata["autoreset_mode"] == AutoresetMode.DISABLED and ended.any():
            assert_same(*(reset_ended(vector, *results[0][2:4]) for vector in (ours, theirs)))


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
@pytest.mark.parametrize("observation", ["features", "graph", "ir", "bitcode", EVERYTHING], ids=str)
def test_step__equals_the_sequential_vector_environment(make_vector, make_sync, mode, observation) -> None:
    settings = {"observation": observation}
    play_together(make_vector(3, mode, **settings), make_sync(3, mode, **settings), 20)


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
@pytest.mark.parametrize("settings", [{"cache": True}, {"isolation": "none"}, {"start": "Oz"}], ids=str)
def test_step__equals_it_in_every_setting(make_vector, make_sync, mode, settings) -> None:
    play_together(make_vector(4, mode, **settings), make_sync(4, mode, **settings), 30, seed=3)


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
def test_errors__of_one_environment_are_its_own(make_vector, make_sync, monkeypatch, tmp_path, mode) -> None:
    monkeypatch.setenv("DOJO_CRASHES", str(tmp_path))
    ours, theirs = make_vector(4, mode), make_sync(4, mode)
    for vector in (ours, theirs):
        vector.envs[1]._pipelines = (b"trigger-crash-module", *vector.envs[1]._pipelines[1:])
        vector.envs[2]._pipelines = (b"no-such-pass", *vector.envs[2]._pipelines[1:])
        vector.reset(seed=0)
    steps = [vector.step(np.zeros(4, np.int64)) for vector in (ours, theirs)]
    for _, rewards, terminations, truncations, info in steps:
        assert terminations.tolist() == [False, True, True, False]
        assert not truncations.any()
        assert rewards[1] == rewards[2] == ours.envs[0].reward.error_value
        errors = info["final_info"]["error"] if mode == AutoresetMode.SAME_STEP else info["error"]
        assert errors["class"].tolist() == [None, "CompilerCrashedError", "PassFailedError", None]
        assert errors["pass"].tolist() == [None, "sroa", "sroa", None]
        assert (tmp_path / errors["reproducer"][1] / "program.bc").exists()
    assert_same(*steps)
    if mode != AutoresetMode.DISABLED:
        actions = np.array([1, 2, 3, 4])
        assert_same(*(vector.step(actions) for vector in (ours, theirs)))


@pytest.mark.parametrize("bad", [len(FEW) + 1, -1])
def test_invalid_action__is_refused_before_any_pass_runs(make_vector, make_sync, bad) -> None:
    ours, theirs = make_vector(), make_sync()
    for vector in (ours, theirs):
        vector.reset(seed=0)
    with pytest.raises(InvalidActionError, match=f"actions are 0 to {len(FEW)}, got .*{bad}"):
        ours.step(np.array([0, 1, bad, 2]))
    actions = np.array([0, 1, 2, 3])
    assert_same(ours.step(actions), theirs.step(actions))


@pytest.mark.parametrize("count", [0, 3, 5])
def test_actions__are_as_many_as_environments(make_vector, count) -> None:
    vector = make_vector()
    vector.reset(seed=0)
    with pytest.raises(InvalidActionError, match=f"there are 4 environments, got {count} actions"):
        vector.step(np.zeros(count, np.int64))


def test_disabled_autoreset__refuses_to_step_an_episode_that_has_ended(make_vector) -> None:
    vector = make_vector(2, AutoresetMode.DISABLED)
    vector.reset(seed=0)
    vector.step(np.array([len(FEW), 0]))
    with pytest.raises(EpisodeStateError, match="reset_mask"):
        vector.step(np.array([0, 0]))
    vector.reset(options={"reset_mask": np.array([True, False])})
    info = vector.step(np.array([0, 0]))[4]
    assert info["passes_left"].tolist() == [3, 2]


def test_step__before_reset_and_after_close(make_vector) -> None:
    vector = make_vector()
    with pytest.raises(EpisodeStateError, match=r"no episode yet; call reset\(\) first"):
        vector.step(np.zeros(4, np.int64))
    vector.reset(seed=0)
    vector.close()
    vector.close()
    with pytest.raises(SessionClosedError, match="the environment is closed"):
        vector.step(np.zeros(4, np.int64))


def test_reset__after_a_step_that_was_interrupted(make_vector, monkeypatch) -> None:
    vector, other = make_vector(), make_vector()
    vector.reset(seed=0)
    with monkeypatch.context() as patch:
        patch.setattr("compiler_dojo.envs.pass_ordering_vector.wait_for_any", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            vector.step(np.arange(4))
    with pytest.raises(EpisodeStateError, match="a step has begun"):
        vector.step(np.arange(4))
    assert_same(vector.reset(seed=5), other.reset(seed=5))
    assert_same(vector.step(np.arange(4)), other.step(np.arange(4)))


def test_begin_and_end_step__in_another_order(make_env) -> None:
    env = make_env(cache=False)
    env.reset(seed=0)
    with pytest.raises(EpisodeStateError, match="nothing was"):
        env.end_step()
    env.begin_step(0)
    with pytest.raises(EpisodeStateError, match=r"a step has begun; call end_step\(\) first"):
        env.begin_step(0)
    assert env.end_step()[4]["passes_left"] == 44
    env.begin_step(0)
    assert env.reset(seed=0)[1]["passes_left"] == 45


def test_action_masks__are_those_of_the_environments(make_vector) -> None:
    vector = make_vector()
    vector.reset(seed=0)
    for _ in range(2):
        vector.step(np.zeros(4, np.int64))
    masks = vector.action_masks()
    assert (masks.shape, masks.dtype) == ((4, len(FEW) + 1), np.bool_)
    assert not masks[:, 0].any()
    assert masks[:, 1:].all()


def test_copy__false_returns_the_same_array_each_time(make_vector) -> None:
    vector = make_vector(copy=False)
    first = vector.reset(seed=0)[0]
    assert vector.step(np.zeros(4, np.int64))[0] is first
    vector = make_vector()
    first = vector.reset(seed=0)[0]
    kept = first.copy()
    vector.step(np.zeros(4, np.int64))
    np.testing.assert_array_equal(first, kept)


def test_vectors__larger_than_the_worker_has_slots(make_vector) -> None:
    vector = make_vector(1100)
    vector.reset(seed=0)
    changed = vector.step(np.zeros(1100, np.int64))[4]["changed"]
    assert changed.all()


def test_make_vec__makes_one_worker_for_all() -> None:
    isolation = Isolation(pass_seconds=59.0)
    vector = gym.make_vec(PASS_ORDERING_ID, num_envs=4, programs=PROGRAMS, isolation=isolation, cache=False)
    assert isinstance(vector, PassOrderingVectorEnv)
    assert vector.single_action_space.n == len(PASSES)
    vector.reset(seed=0)
    vector.step(vector.action_space.sample())
    assert shared_worker(isolation).starts == 1
    assert {env.session._worker for env in vector.envs} == {shared_worker(isolation)}
    vector.close()


@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
@pytest.mark.parametrize("context", ["fork", "spawn", "forkserver"])
def test_async_vector_env__gives_the_same(make_sync, make_env, context) -> None:
    live = make_env(**SETTINGS)  # this process has a worker already
    live.reset(seed=0)
    live.begin_step(0)
    theirs = make_sync(2)
    ours = AsyncVectorEnv([make_async_env] * 2, context=context)
    play_together(ours, theirs, 12)
    ours.close()
    assert live.end_step()[4]["changed"]
    assert live.step(1)[4]["passes_left"] == 2


def make_async_env() -> PassOrderingEnv:
    return PassOrderingEnv(**SETTINGS)
