"""PassOrderingEnv: episodes, options, masks, forks, several steps at once, and what it shows of itself."""

import itertools

import gymnasium as gym
import numpy as np
import pytest

from compiler_dojo.envs.errors import EpisodeStateError, PassFailedError
from compiler_dojo.envs.llvm.passes import PASSES, find_pass
from compiler_dojo.envs.llvm.session import CompilerSession
from compiler_dojo.envs.prepared import prepare
from compiler_dojo.envs.programs import Program, load_programs
from compiler_dojo.envs.seconds import Seconds

WITH_INTRINSICS = "bundled://containers/ring_buffer"  # C++, 421 instructions, declares llvm.* functions
SHORT = ["sroa", "simplifycfg", "instcombine<no-verify-fixpoint>", "early-cse", "adce", "gvn"]


def play(env, actions):
    """Steps as (reward, terminated, truncated, cost, changed), and the hash at the end."""
    steps = [env.step(action) for action in actions]
    return [(*step[1:4], step[4]["cost"], step[4]["changed"]) for step in steps], env.session.hash()


def assert_same(left, right) -> None:
    """Two results of step are equal, but for the wall clock."""
    np.testing.assert_array_equal(left[0], right[0])
    assert left[1:4] == right[1:4]
    assert left[4].keys() == right[4].keys()
    for key in left[4].keys() - {"action_mask", "seconds"}:
        assert left[4][key] == right[4][key]
    np.testing.assert_array_equal(left[4]["action_mask"], right[4]["action_mask"])


def test_reset__says_what_the_episode_is_about(make_env) -> None:
    _, info = make_env(budget=9).reset(seed=0)
    assert info.keys() == {"program", "cost", "baselines", "passes_left", "action_mask"}
    assert info["program"] == "bundled://graphs/union_find"
    assert info["cost"] == info["baselines"]["O0"] == 133.0
    assert 0 < info["baselines"]["Oz"] < 133.0
    assert info["passes_left"] == 9
    assert info["action_mask"].dtype == np.int8
    assert info["action_mask"].tolist() == [1] * len(PASSES)


def test_step__says_what_the_pass_did(make_env) -> None:
    env = make_env(passes=SHORT, cache=False)
    env.reset(seed=0)
    before = env.session.hash()
    _, reward, terminated, truncated, info = env.step(0)
    assert info.keys() == {
        "program", "cost", "baselines", "passes_left", "action_mask", "pass", "changed", "seconds"
    }  # fmt: skip
    assert (info["pass"], info["changed"], info["passes_left"]) == ("sroa", True, 44)
    assert info["cost"] == env.session.instruction_count < 133
    assert env.session.hash() != before
    assert reward == (133 - info["cost"]) / (133 - info["baselines"]["Oz"])
    assert (terminated, truncated) == (False, False)
    assert isinstance(info["seconds"], Seconds)
    assert info["seconds"] > 0.0

    info = env.step(np.int64(0))[4]
    assert (info["changed"], info["passes_left"]) == (False, 43)


def test_step__earlier_infos_and_observations_stay_as_they_were(make_env) -> None:
    env = make_env(passes=SHORT, observation=["features", "autophase", "instcount", "histogram"])
    observation, info = env.reset(seed=0)
    kept = {name: value.copy() for name, value in observation.items()}
    assert env.step(0)[4]["changed"]
    assert env.step(0)[4]["changed"] is False
    for name, value in kept.items():
        np.testing.assert_array_equal(observation[name], value)
    assert info["action_mask"].all()
    assert info["passes_left"] == 45


def test_start_oz__begins_where_llvms_own_pipeline_ends(make_env, small_program) -> None:
    env = make_env(start="Oz")
    _, info = env.reset(seed=0)
    assert info["cost"] == info["baselines"]["Oz"]
    with CompilerSession(small_program.module) as session:
        session.run("default<Oz>")
        assert env.session.hash() == session.hash()


def test_episode__is_truncated_after_exactly_the_budget(make_env) -> None:
    env = make_env(budget=4)
    env.reset(seed=0)
    # a pass that changes nothing counts as well
    ends = [env.step(0)[2:4] for _ in range(4)]
    assert ends == [(False, False)] * 3 + [(False, True)]


def test_stop__terminates_and_is_worth_nothing(make_env) -> None:
    assert make_env(stop=True).action_space.n == len(PASSES) + 1
    env = make_env(passes=SHORT, stop=True, budget=4)
    assert env.action_names == (*SHORT, "stop")
    env.reset(seed=0)
    cost = env.step(0)[4]["cost"]
    _, reward, terminated, truncated, info = env.step(len(SHORT))
    assert (reward, terminated, truncated) == (0.0, True, False)
    assert (info["pass"], info["changed"], info["cost"], info["passes_left"]) == ("stop", False, cost, 3)


def test_action_space__is_the_pass_table_in_order_or_the_passes_named(make_env) -> None:
    assert make_env().action_names == tuple(item.name for item in PASSES)
    env = make_env(passes=SHORT)
    assert env.action_space.n == len(SHORT)
    assert env.action_names == tuple(SHORT)
    env.reset(seed=0)
    assert [env.step(action)[4]["pass"] for action in (5, 2)] == ["gvn", "instcombine<no-verify-fixpoint>"]


@pytest.mark.parametrize("start", ["O0", "Oz"])
def test_actions__replayed_give_the_same_costs(make_env, start) -> None:
    draw = np.random.default_rng(5)
    for uri in ("bundled://graphs/union_find", WITH_INTRINSICS, "bundled://numerical/fft_polymul"):
        actions = draw.integers(len(PASSES), size=25).tolist()
        first, again = make_env(programs=uri, start=start), make_env(programs="bundled", start=start)
        first.reset(seed=0)
        again.reset(seed=1, options={"program": uri})
        assert play(first, actions) == play(again, actions)


def test_step__a_pass_that_llvm_refuses_ends_the_episode(make_env) -> None:
    env = make_env(passes=SHORT)
    env.reset(seed=0)
    # no pass of the table is ever refused
    env._pipelines = (b"function(nonsense)", *env._pipelines[1:])
    _, reward, terminated, truncated, info = env.step(0)
    assert (reward, terminated, truncated) == (-1.0, True, False)
    assert info["error"] == {
        "class": "PassFailedError",
        "message": "bundled://graphs/union_find: pipeline 'function(nonsense)': unknown function pass 'nonsense'",
        "pass": "sroa",
        "reproducer": "",
    }
    assert env.session.instruction_count == 133
    with pytest.raises(EpisodeStateError, match="has ended"):
        env.step(1)
    assert "error" not in env.reset(seed=0)[1]


@pytest.mark.parametrize("choice", ["bundled://crypto/xtea", "xtea", "crypto/xtea"])
def test_program_option__takes_a_uri_of_the_set_or_the_end_of_one(make_env, choice) -> None:
    env = make_env(programs="bundled")
    assert env.reset(seed=0, options={"program": choice})[1]["program"] == "bundled://crypto/xtea"


def test_program_option__takes_any_program(make_env) -> None:
    program = load_programs("bundled://crypto/xtea")[0]
    assert make_env().reset(seed=0, options={"program": program})[1]["program"] == program.uri


def test_program_option__names_the_program_even_when_another_has_the_same_code(make_env, small_program) -> None:
    first, second = (Program(uri, small_program.module) for uri in ("first", "second"))
    env = make_env(programs=[first, second])
    names = [env.reset(options={"program": uri})[1]["program"] for uri in ("first", "second")]
    assert names == ["first", "second"]


def test_reset__draws_programs_from_the_seed(make_env) -> None:
    names = []
    for _ in range(2):
        env = make_env(programs="bundled/graphs", observation="histogram")
        names.append([env.reset(seed=11)[1]["program"], *(env.reset()[1]["program"] for _ in range(12))])
    assert names[0] == names[1]
    assert len(set(names[0])) > 2


@pytest.mark.parametrize("prefix", [["sroa", "early-cse", "sroa"], [0, 3, np.int64(0)], ["sroa", 3, 0]], ids=str)
def test_prefix__runs_first_counts_against_the_budget_and_is_not_rewarded(make_env, prefix) -> None:
    with_prefix, by_hand = (make_env(passes=SHORT, observation="histogram", budget=5) for _ in range(2))
    histogram, info = with_prefix.reset(seed=0, options={"prefix": prefix})
    by_hand.reset(seed=0)
    for action in (0, 3, 0):
        expected = by_hand.step(action)
    assert histogram.tolist() == expected[0].tolist() == [2, 0, 0, 1, 0, 0]
    assert with_prefix.session.hash() == by_hand.session.hash()
    assert with_prefix.actions == by_hand.actions == [0, 3, 0]
    assert (info["cost"], info["passes_left"]) == (expected[4]["cost"], 2)
    np.testing.assert_array_equal(info["action_mask"], expected[4]["action_mask"])
    # the first rewarded step is the first after it, and the end comes as if the prefix had been played
    for action in (1, 2):
        assert_same(with_prefix.step(action), by_hand.step(action))


def test_masks__a_pass_that_changed_nothing_is_ruled_out_until_the_module_changes(make_env) -> None:
    env = make_env(passes=SHORT, stop=True)
    info = env.reset(seed=0)[1]
    assert env.action_masks().dtype == np.bool_
    assert env.action_masks().tolist() == [True] * 7
    for action, expected in (
        (0, [1, 1, 1, 1, 1, 1, 1]),  # sroa does something
        (0, [0, 1, 1, 1, 1, 1, 1]),  # and nothing when it runs again
        (4, [0, 1, 1, 1, 0, 1, 1]),  # nor has adce anything to do
        (2, [1, 1, 1, 1, 1, 1, 1]),  # instcombine has
    ):
        info = env.step(action)[4]
        assert info["action_mask"].tolist() == expected
        assert info["action_mask"].dtype == np.int8
        assert env.action_masks().tolist() == [bool(value) for value in expected]


def test_masks__what_is_ruled_out_does_nothing(make_env) -> None:
    draw = np.random.default_rng(2)
    tried = 0
    for uri in (WITH_INTRINSICS, "bundled://image/flood_fill", "bundled://crypto/xtea"):
        env = make_env(programs=uri, observation="histogram")
        env.reset(seed=0)
        for _ in range(22):
            env.step(int(draw.integers(len(PASSES))))
            masked = np.flatnonzero(~env.action_masks())
            if len(masked):
                assert env.step(int(draw.choice(masked)))[4]["changed"] is False
                tried += 1
    assert tried > 30


def test_masks__an_array_handed_out_is_a_copy(make_env) -> None:
    env = make_env()
    info = env.reset(seed=0)[1]
    info["action_mask"][:] = 0
    env.action_masks()[:] = False
    assert env.action_masks().all()


def test_fork__continues_exactly_as_its_parent(make_env) -> None:
    draw = np.random.default_rng(0)
    parent = make_env(programs=WITH_INTRINSICS)
    parent.reset(seed=0)
    for action in draw.integers(len(PASSES), size=5):
        parent.step(int(action))
    fork = parent.fork()
    assert fork.session.hash() == parent.session.hash()
    assert fork.actions == parent.actions
    for action in draw.integers(len(PASSES), size=20):
        assert_same(parent.step(int(action)), fork.step(int(action)))
        assert fork.session.hash() == parent.session.hash()
    assert fork.session.ir() == parent.session.ir()


def test_fork__is_exact_after_every_pass_of_the_table(make_env) -> None:
    env = make_env(programs=WITH_INTRINSICS, budget=2 * len(PASSES), observation="instcount")
    env.reset(seed=0)
    for action, following in itertools.pairwise(range(len(PASSES))):
        env.step(action)
        fork, parent = env.fork(), env.fork()
        # the fork's module comes from bitcode, the parent's from the pass that just ran
        result, other = env.step(following), fork.step(following)
        assert (PASSES[action].name, other[4]["changed"]) == (PASSES[action].name, result[4]["changed"])
        assert (PASSES[action].name, fork.session.hash()) == (PASSES[action].name, env.session.hash())
        fork.close()
        env = parent


def test_fork__is_independent(make_env) -> None:
    parent = make_env(passes=SHORT, observation="histogram")
    parent.reset(seed=0)
    parent.step(0)
    fork = parent.fork()
    before = parent.session.hash(), parent.action_masks().tolist(), list(parent.actions)
    fork.step(0)
    fork.step(2)
    assert (parent.session.hash(), parent.action_masks().tolist(), parent.actions) == before
    assert parent.step(4)[0].tolist() == [1, 0, 0, 0, 1, 0]
    assert fork.step(4)[0].tolist() == [2, 0, 1, 0, 1, 0]


@pytest.mark.parametrize("first", ["parent", "fork"])
def test_fork__lives_on_when_the_other_is_closed(make_env, first) -> None:
    parent = make_env(passes=SHORT)
    parent.reset(seed=0)
    parent.step(0)
    fork = parent.fork()
    closed, alive = (parent, fork) if first == "parent" else (fork, parent)
    closed.close()
    assert alive.step(1)[4]["passes_left"] == 43
    assert alive.reset(seed=0)[1]["cost"] == 133.0


def test_fork__copies_the_generator(make_env) -> None:
    parent = make_env(programs="bundled/graphs", observation="histogram")
    parent.reset(seed=0)
    fork = parent.fork()
    drawn = [parent.reset()[1]["program"] for _ in range(6)]
    assert [fork.reset()[1]["program"] for _ in range(6)] == drawn


def test_multistep__equals_its_single_steps(make_env) -> None:
    actions = np.random.default_rng(1).integers(len(PASSES), size=12).tolist()
    single, several = make_env(), make_env()
    single.reset(seed=0)
    several.reset(seed=0)
    steps = [single.step(action) for action in actions]
    observation, reward, terminated, truncated, info = several.multistep(actions)
    np.testing.assert_array_equal(observation, steps[-1][0])
    assert reward == pytest.approx(sum(step[1] for step in steps), abs=1e-12)
    assert (terminated, truncated) == (False, False)
    assert (info["cost"], info["pass"]) == (steps[-1][4]["cost"], steps[-1][4]["pass"])
    assert info["changed"] == any(step[4]["changed"] for step in steps)
    np.testing.assert_array_equal(info["action_mask"], steps[-1][4]["action_mask"])
    assert several.session.hash() == single.session.hash()
    assert several.actions == single.actions == actions


def test_multistep__stops_at_the_end_of_the_episode(make_env) -> None:
    env = make_env(passes=SHORT, budget=3, stop=True)
    env.reset(seed=0)
    *_, terminated, truncated, info = env.multistep([0, 1, 2, 3, 4])
    assert (terminated, truncated, info["passes_left"], env.actions) == (False, True, 0, [0, 1, 2])
    env.reset(seed=0)
    *_, terminated, truncated, info = env.multistep([0, 6, 2])
    assert (terminated, truncated, info["passes_left"], env.actions) == (True, False, 2, [0, 6])


def test_multistep__of_nothing_changes_nothing(make_env) -> None:
    env = make_env()
    before, _ = env.reset(seed=0)
    observation, reward, terminated, truncated, info = env.multistep([])
    np.testing.assert_array_equal(observation, before)
    assert (reward, terminated, truncated, info["changed"]) == (0.0, False, False, False)


def test_render__says_what_the_last_pass_did(make_env) -> None:
    env = make_env(render_mode="ansi", passes=SHORT)
    _, info = env.reset(seed=0)
    oz = info["baselines"]["Oz"]
    assert env.render() == (
        f"bundled://graphs/union_find  start O0  0/45 passes\ninstruction_count 133 (O0 133, Oz {oz:g}), 45 passes left"
    )
    cost = env.step(0)[4]["cost"]
    assert f"sroa: 133 -> {cost:g} ({cost - 133:+g})" in env.render()
    assert "1/45 passes" in env.render()


def test_render__warns_without_a_render_mode(make_env) -> None:
    env = make_env()
    env.reset(seed=0)
    with pytest.warns(UserWarning, match='needs render_mode="ansi"'):
        assert env.render() is None


def test_ir_diff__shows_the_last_step_only(make_env) -> None:
    env = make_env(render_mode="ansi", passes=SHORT)
    env.reset(seed=0)
    assert env.ir_diff() == ""
    before = env.session.ir()
    env.step(0)
    lines = env.ir_diff().splitlines()
    assert lines[:2] == ["--- before", "+++ after"]
    removed = [line[1:] for line in lines[2:] if line.startswith("-")]
    assert removed
    assert set(removed) <= set(before.splitlines())
    assert any("alloca" in line for line in removed)
    env.step(0)
    assert env.ir_diff() == ""


def test_pipeline__is_text_for_llvm_that_leads_to_the_same_module(make_env, small_program) -> None:
    actions = np.random.default_rng(3).integers(len(PASSES), size=15).tolist()
    for start, opening in (("O0", []), ("Oz", ["default<Oz>"])):
        env = make_env(start=start, stop=True)
        env.reset(seed=0)
        assert env.pipeline == ",".join(opening)
        env.multistep([*actions, len(PASSES)])
        passes = [*opening, *(find_pass(env.action_names[action]).pipeline for action in actions)]
        assert env.pipeline == ",".join(passes)
        with CompilerSession(small_program.module) as session:
            for text in passes:
                session.run(text)
            assert session.instruction_count == env.session.instruction_count
            assert session.hash() == env.session.hash()
        with CompilerSession(small_program.module) as session:
            session.run(env.pipeline)
            session.verify()


def test_session__and_prepared_are_those_of_the_episode(make_env, small_program) -> None:
    env = make_env()
    env.reset(seed=0)
    assert env.session.instruction_count == 133
    assert env.prepared is prepare(small_program)


def test_seconds__are_equal_to_each_other_and_numbers_to_all_else() -> None:
    assert Seconds(1.0) == Seconds(2.0)
    assert (Seconds(1.0) != Seconds(2.0)) is False
    assert hash(Seconds(1.0)) == hash(Seconds(2.0))
    assert Seconds(1.5) + 1.0 == 2.5
    for number in (1.0, 2.0):
        assert (Seconds(1.0) == number) is not (Seconds(1.0) != number)


def test_close__twice_is_harmless(make_env) -> None:
    env = make_env()
    env.reset(seed=0)
    env.close()
    env.close()


@pytest.mark.parametrize("pattern", ["*.c", "*.cpp", "*.ll", "*.bc", "*"])
def test_make__takes_the_users_own_files(write, tmp_path, small_program, pattern) -> None:
    write("a.c", "int twice(int x) { int y = x; return y + y; }")
    write("b.cpp", "template <class T> T twice(T x) { return x + x; } int f(int x) { return twice(x); }")
    write("c.ll", "define i32 @f(i32 %x) {\nentry:\n  %sum = add i32 %x, 0\n  ret i32 %sum\n}\n")
    write("d.bc", small_program.module)
    env = gym.make("CompilerDojo/PassOrdering-v0", programs=str(tmp_path / pattern), budget=2)
    seen = set()
    for seed in range(12):
        _, info = env.reset(seed=seed)
        seen.add(info["program"].rpartition(".")[2])
        env.step(2)
        assert env.step(3)[3]
    assert seen == ({pattern[2:]} if pattern != "*" else {"c", "cpp", "ll", "bc"})
    env.close()


def test_pass_failed_error__is_what_the_session_raises(make_env) -> None:
    env = make_env()
    env.reset(seed=0)
    with pytest.raises(PassFailedError, match=r"pipeline 'nonsense': unknown pass name"):
        env.session.run("nonsense")
