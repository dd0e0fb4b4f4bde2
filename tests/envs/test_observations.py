"""What each observation holds, checked against the session, and how to bring one of your own."""

import math

import gymnasium as gym
import numpy as np
import pytest

from compiler_dojo.envs.errors import UnknownObservationError
from compiler_dojo.envs.llvm.session import CompilerSession
from compiler_dojo.envs.observations import OBSERVATIONS, Autophase, Observation, Several, make_observation

PASSES = ["sroa", "simplifycfg", "early-cse", "instcombine<no-verify-fixpoint>"]
COUNT = 51  # where Autophase keeps the instruction count


class BlockCount:
    """An observation of a user's own."""

    def space(self, actions, budget):
        return gym.spaces.Discrete(1_000_000)

    def observe(self, view):
        return np.int64(view.session.instcount()[1])


@pytest.mark.parametrize("start", ["O0", "Oz"])
def test_features__are_what_the_table_says(make_env, start) -> None:
    env = make_env(passes=PASSES, start=start, budget=10, stop=True)
    observation, info = env.reset(seed=0)
    for taken in ([], [0], [0, 0], [0, 0, 3]):
        if taken:
            observation, *_, info = env.step(taken[-1])
        counts = env.session.autophase()
        size = counts[COUNT]
        assert size == env.session.instruction_count
        assert observation.dtype == np.float32
        assert observation.shape == (60 + 5,)
        np.testing.assert_allclose(observation[:56], np.minimum(counts / size, 1.0), rtol=1e-6)
        assert observation[56] == pytest.approx(math.log(size) / 10)
        assert observation[57] == pytest.approx(math.log(size / info["baselines"]["O0"]), abs=1e-6)
        assert observation[58] == pytest.approx(math.log(size / info["baselines"]["Oz"]), abs=1e-6)
        np.testing.assert_allclose(observation[59:64], [taken.count(action) / 10 for action in range(5)])
        assert observation[64] == pytest.approx((10 - len(taken)) / 10)


def test_features__compare_with_instruction_counts_whatever_the_reward(make_env) -> None:
    by_size, by_count = (make_env(reward=reward).reset(seed=0)[0] for reward in ("text_size", "instruction_count"))
    np.testing.assert_array_equal(by_size, by_count)


@pytest.mark.parametrize("name", OBSERVATIONS)
def test_observation__stays_in_its_space(make_env, name) -> None:
    env = make_env(programs="bundled://image/flood_fill", observation=name, budget=12, stop=True)
    observation, _ = env.reset(seed=0)
    assert observation in env.observation_space
    for action in np.random.default_rng(0).integers(env.action_space.n - 1, size=12):
        assert env.step(int(action))[0] in env.observation_space


def test_counts__are_the_sessions(make_env) -> None:
    env = make_env(passes=PASSES, observation=["autophase", "instcount", "histogram"])
    env.reset(seed=0)
    observation = env.multistep([0, 2, 0])[0]
    np.testing.assert_array_equal(observation["autophase"], env.session.autophase())
    np.testing.assert_array_equal(observation["instcount"], env.session.instcount())
    assert observation["histogram"].tolist() == [2, 0, 1, 0]
    types = {name: value.dtype for name, value in observation.items()}
    assert types == {"autophase": np.int64, "instcount": np.int64, "histogram": np.float32}
    assert observation.keys() == env.observation_space.spaces.keys()


def test_graph__is_the_sessions_as_a_graph_instance(make_env) -> None:
    env = make_env(passes=PASSES, observation="graph")
    env.reset(seed=0)
    observation = env.step(0)[0]
    graph = env.session.graph()
    assert isinstance(observation, gym.spaces.GraphInstance)
    np.testing.assert_array_equal(observation.nodes, graph.nodes)
    np.testing.assert_array_equal(observation.edges, graph.edge_features)
    np.testing.assert_array_equal(observation.edge_links, graph.edge_links)


def test_graph_space__refuses_what_is_no_program_graph(make_env) -> None:
    env = make_env(observation="graph")
    observation, _ = env.reset(seed=0)
    assert observation in env.observation_space
    assert env.observation_space.sample(num_nodes=3, num_edges=2) in env.observation_space
    for column, value in ((0, 3), (1, 72), (6, -2)):
        nodes = observation.nodes.copy()
        nodes[1, column] = value
        assert observation._replace(nodes=nodes) not in env.observation_space
    links = observation.edge_links.copy()
    links[0, 0] = len(observation.nodes)
    assert observation._replace(edge_links=links) not in env.observation_space


def test_ir_and_bitcode__open_as_the_same_module(make_env) -> None:
    env = make_env(passes=PASSES, observation={"text": "ir", "bytes": "bitcode"})
    env.reset(seed=0)
    observation = env.step(0)[0]
    assert observation["text"] == env.session.ir()
    assert observation["bytes"].dtype == np.uint8
    for program in (observation["text"].encode(), observation["bytes"].tobytes()):
        with CompilerSession(program) as session:
            assert session.hash() == env.session.hash()


def test_bitcode__does_not_change_under_the_one_who_holds_it(make_env) -> None:
    env = make_env(passes=PASSES, observation="bitcode")
    observation, _ = env.reset(seed=0)
    kept = observation.copy()
    env.step(0)
    np.testing.assert_array_equal(observation, kept)


def test_custom_observation__is_any_object_with_the_two_methods(make_env) -> None:
    env = make_env(passes=PASSES, observation=BlockCount())
    before, _ = env.reset(seed=0)
    assert before == env.session.instcount()[1] > 1
    after = env.step(1)[0]
    assert after == env.session.instcount()[1] < before
    assert isinstance(BlockCount(), Observation)


def test_mapping__mixes_names_and_objects(make_env) -> None:
    env = make_env(observation={"blocks": BlockCount(), "counts": "autophase"})
    observation, _ = env.reset(seed=0)
    assert observation["blocks"] == observation["counts"][50]
    assert isinstance(env.observation_space, gym.spaces.Dict)


def test_make_observation__passes_objects_through() -> None:
    own = Several({"a": Autophase()})
    assert make_observation(own) is own


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("autophas", "unknown observation 'autophas': did you mean 'autophase'"),
        ("zzz", "unknown observation 'zzz': known: autophase, bitcode"),
        (["histogram", "instcounts"], "did you mean 'instcount'"),
        ({"x": "Features"}, "did you mean 'features'"),
        (3, r"with space\(\) and observe\(\), a list or a mapping; got int"),
    ],
    ids=str,
)
def test_make_observation__refuses_what_is_none(make_env, choice, message) -> None:
    with pytest.raises(UnknownObservationError, match=message):
        make_env(observation=choice)
