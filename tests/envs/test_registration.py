"""What holds for every registered environment: Gymnasium's checker, determinism, pickling, vectors, both id forms."""

import hashlib
import math
import multiprocessing
import pickle
import warnings
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import compiler_dojo
from compiler_dojo import envs
from compiler_dojo.envs.observations import OBSERVATIONS
from compiler_dojo.envs.programs import load_programs

# For each id, settings under which an episode takes milliseconds.
SETTINGS: dict[str, dict[str, Any]] = {
    envs.PASS_ORDERING_ID: {"programs": "bundled://graphs/union_find", "budget": 20},
    envs.LOOP_SCHEDULE_ID: {"reward": "analytical", "target": "x86-64-v3", "budget": 20},
}
every_id = pytest.mark.parametrize("env_id", SETTINGS)


def text_of(value: Any) -> str:
    """A text that is equal only when every bit of the value is."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape} {hashlib.sha256(value.tobytes()).hexdigest()}"
    if isinstance(value, float):
        return value.hex()
    if isinstance(value, dict):
        return str({key: text_of(value[key]) for key in sorted(value) if key != "seconds"})
    return repr(value)


def episode(env_id: str, settings: dict[str, Any], seed: int) -> list[str]:
    """All that a random episode shows, as text; the wall-clock ``info["seconds"]`` is left out."""
    env = gym.make(env_id, **settings)
    draw = np.random.default_rng(seed)
    lines = [text_of(part) for part in env.reset(seed=seed)]
    ended = False
    while not ended:
        result = env.step(int(draw.integers(env.action_space.n)))
        lines.extend(text_of(part) for part in result)
        if env_id == envs.PASS_ORDERING_ID:
            lines.append(env.unwrapped.session.hash())
        ended = result[2] or result[3]
    env.close()
    return lines


def test_registry__every_id_of_ours_is_tested_here() -> None:
    assert {name for name in gym.registry if name.startswith("CompilerDojo/")} == set(SETTINGS)


@pytest.mark.parametrize("observation", [*OBSERVATIONS, ["autophase", "histogram"]], ids=str)
@pytest.mark.parametrize("stop", [False, True], ids=["", "stop"])
@pytest.mark.parametrize("start", ["O0", "Oz"])
def test_pass_ordering__satisfies_gymnasium_with_no_warning(start, stop, observation) -> None:
    settings = {**SETTINGS[envs.PASS_ORDERING_ID], "start": start, "stop": stop, "observation": observation}
    env = gym.make(envs.PASS_ORDERING_ID, render_mode="ansi", **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env.unwrapped)


@every_id
def test_episode__is_the_same_bit_for_bit_for_the_same_seed(env_id) -> None:
    assert episode(env_id, SETTINGS[env_id], 3) == episode(env_id, SETTINGS[env_id], 3)
    assert episode(env_id, SETTINGS[env_id], 3) != episode(env_id, SETTINGS[env_id], 4)


def test_episode__is_the_same_bit_for_bit_in_another_process() -> None:
    settings = {"programs": "bundled/graphs", "start": "Oz", "budget": 12}
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        there = [pool.submit(episode, envs.PASS_ORDERING_ID, settings, seed).result() for seed in (0, 1)]
    assert there == [episode(envs.PASS_ORDERING_ID, settings, seed) for seed in (0, 1)]


@every_id
def test_env__pickles_to_one_that_plays_the_same_episodes(env_id) -> None:
    env = gym.make(env_id, **SETTINGS[env_id]).unwrapped
    env.reset(seed=1)
    copy = pickle.loads(pickle.dumps(env))
    for original, copied in zip(env.reset(seed=5), copy.reset(seed=5), strict=True):
        assert text_of(original) == text_of(copied)
    for action in (number % env.action_space.n for number in (0, 60, 40)):
        for original, copied in zip(env.step(action), copy.step(action), strict=True):
            assert text_of(original) == text_of(copied)


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_make_vec__gives_what_single_environments_give(mode) -> None:
    programs = [*load_programs("bundled://graphs/union_find"), *load_programs("bundled://image/flood_fill")]
    settings = {"programs": programs, "budget": 3}
    # not fork: this process has threads and a loaded libLLVM
    options = {"context": "spawn"} if mode == "async" else {}
    vector = gym.make_vec(envs.PASS_ORDERING_ID, num_envs=2, vectorization_mode=mode, vector_kwargs=options, **settings)
    singles = [gym.make(envs.PASS_ORDERING_ID, **settings) for _ in range(2)]
    try:
        observations, _ = vector.reset(seed=7)
        expected = [env.reset(seed=7 + i)[0] for i, env in enumerate(singles)]
        np.testing.assert_array_equal(observations, expected)
        # the fourth step starts new episodes: Gymnasium's vectors reset at the step after an end
        for actions in ([0, 80], [71, 3], [90, 71], [0, 0], [71, 90]):
            observations, rewards, _, truncated, infos = vector.step(np.array(actions))
            for i, (env, action) in enumerate(zip(singles, actions, strict=True)):
                if env.unwrapped.actions and len(env.unwrapped.actions) == 3:
                    observation, info = env.reset()
                    reward, cut = 0.0, False
                else:
                    observation, reward, _, cut, info = env.step(action)
                np.testing.assert_array_equal(observations[i], observation)
                assert (rewards[i], truncated[i]) == (reward, cut)
                assert (infos["cost"][i], infos["program"][i]) == (info["cost"], info["program"])
                np.testing.assert_array_equal(infos["action_mask"][i], info["action_mask"])
    finally:
        vector.close()


def test_make__takes_the_module_form_of_the_id_before_anything_is_imported(run_python) -> None:
    done = run_python(
        "import gymnasium as gym\n"
        'env = gym.make("compiler_dojo.envs:CompilerDojo/PassOrdering-v0")\n'
        'print(env.reset(seed=0)[1]["program"])\n'
    )
    assert done.stdout.startswith("bundled://"), done.stderr


def test_make__takes_the_short_id_after_import_compiler_dojo() -> None:
    assert compiler_dojo.__version__
    env = gym.make("CompilerDojo/PassOrdering-v0", **SETTINGS[envs.PASS_ORDERING_ID])
    assert isinstance(env.unwrapped, envs.PassOrderingEnv)
    assert math.isfinite(env.reset(seed=0)[1]["cost"])


def test_make__compiles_nothing_and_loads_no_library_before_reset(run_python) -> None:
    done = run_python(
        "import gymnasium as gym, compiler_dojo\n"
        'env = gym.make("CompilerDojo/PassOrdering-v0", isolation="none")\n'
        'loaded = lambda: any("libLLVM" in line for line in open("/proc/self/maps"))\n'
        "before = loaded()\n"
        "env.reset(seed=0)\n"
        "print(before, loaded())\n"
    )
    assert done.stdout.split() == ["False", "True"], done.stderr


def test_package__has_no_other_attributes() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'PassOrderingEnvironment'"):
        _ = envs.PassOrderingEnvironment
