"""Strict reading of settings: every mistake has a message that says where it is."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml

from compiler_dojo.agents.ppo import PPOConfig
from compiler_dojo.envs.errors import InvalidConfigError
from compiler_dojo.envs.llvm.passes import PASS_SETS
from compiler_dojo.envs.rewards import CostReduction
from compiler_dojo.experiments.config import (
    EnvConfig,
    TrainConfig,
    apply_overrides,
    from_mapping,
    load_preset,
    preset_names,
    to_mapping,
)


def test_from_mapping__of_nothing_is_all_defaults() -> None:
    assert from_mapping(TrainConfig, {}) == TrainConfig()


def test_from_mapping__reads_nested_settings() -> None:
    config = from_mapping(TrainConfig, {"steps": 7, "env": {"start": "Oz", "passes": "size"}})
    assert config == TrainConfig(steps=7, env=EnvConfig(start="Oz", passes="size"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"step": 1}, "unknown setting 'step': did you mean 'steps'"),
        ({"env": {"buget": 1}}, r"unknown setting 'env\.buget': did you mean 'budget'"),
        ({"zzzz": 1}, "unknown setting 'zzzz': known: checkpoint_seconds, env, environment, learner"),
    ],
)
def test_from_mapping__an_unknown_key_names_the_nearest(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidConfigError, match=message):
        from_mapping(TrainConfig, values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"steps": "many"}, "steps must be int, got 'many'"),
        ({"steps": 1.5}, r"steps must be int, got 1\.5"),
        ({"steps": True}, "steps must be int, got True"),
        ({"seed": None}, "seed must be int, got None"),
        ({"seconds": "long"}, "seconds must be float, got 'long'"),
        ({"seconds": True}, "seconds must be float, got True"),
        ({"train_programs": 3}, "train_programs must be str, got 3"),
        ({"learner": 3}, "learner must be Mapping, got 3"),
        ({"env": [1]}, r"env must be a mapping of settings, got \[1\]"),
        ({"env": None}, "env must be a mapping of settings, got None"),
        ({"env": {"stop": 1}}, r"env\.stop must be bool, got 1"),
        ({"env": {"passes": 3}}, r"env\.passes must be (a list|str), got 3"),
        ({"env": {"start": "O1"}}, r"env\.start must be one of 'O0', 'Oz', got 'O1'"),
        ({"env": {"scale_by": 2}}, r"env\.scale_by must be one of 'gap', 'baseline', got 2"),
    ],
)
def test_from_mapping__a_value_of_another_type_names_its_setting(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidConfigError, match=message):
        from_mapping(TrainConfig, values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"layers": 8}, r"learner\.layers must be a list, got 8"),
        ({"layers": "8"}, r"learner\.layers must be a list, got '8'"),
        ({"layers": [8, "wide"]}, r"learner\.layers must be int, got 'wide'"),
        ({"gama": 0.9}, r"unknown setting 'learner\.gama': did you mean 'gamma'"),
    ],
)
def test_from_mapping__reads_the_learners_settings_as_strictly(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidConfigError, match=message):
        from_mapping(PPOConfig, values, "learner.")


def test_from_mapping__takes_a_whole_number_for_a_float_and_a_list_for_a_tuple() -> None:
    seconds = from_mapping(TrainConfig, {"seconds": 5}).seconds
    assert (seconds, type(seconds)) == (5.0, float)
    assert from_mapping(PPOConfig, {"layers": [8, 4]}) == PPOConfig(layers=(8, 4))


def test_from_mapping__refuses_a_key_that_is_no_text() -> None:
    with pytest.raises(InvalidConfigError, match="settings in a configuration have names, got 1"):
        from_mapping(TrainConfig, {1: 2})  # type: ignore[dict-item]  # as YAML gives it for "1: 2"


@pytest.mark.parametrize("kind", [EnvConfig, TrainConfig, PPOConfig])
def test_config__is_frozen(kind: type) -> None:
    config = kind()
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(config, dataclasses.fields(config)[0].name, None)


def test_env_config__makes_the_environment_it_describes() -> None:
    config = EnvConfig(
        observation="autophase",
        metric="text_size",
        scale_by="baseline",
        start="Oz",
        budget=7,
        stop=True,
        passes="size",
        lowering="compilergym",
    )
    env = config.make("bundled://graphs/union_find").unwrapped
    assert env.action_names == (*PASS_SETS["size"], "stop")
    assert env.observation_space.shape == (56,)
    assert env.reward == CostReduction("text_size", scale_by="baseline")
    assert (env.start, env.budget) == ("Oz", 7)
    assert env.programs[0].lowering == "compilergym"


def test_preset_names__are_those_of_the_package() -> None:
    names = ["debug", "demo", "loops-debug", "loops-dqn", "loops-full", "loops-looptune", "published"]
    assert preset_names() == names


@pytest.mark.parametrize("name", [name for name in preset_names() if not name.startswith("loops-")])
def test_load_preset__every_preset_loads_and_comes_back_from_yaml_unchanged(name: str) -> None:
    config = load_preset(TrainConfig, name)
    from_mapping(PPOConfig, config.learner, "learner.")
    assert from_mapping(TrainConfig, yaml.safe_load(yaml.safe_dump(to_mapping(config)))) == config


def test_to_mapping__round_trips_what_differs_from_the_defaults() -> None:
    config = TrainConfig(env=EnvConfig(start="Oz", passes="size"), learner={"layers": [8, 8]}, seconds=1.5)
    assert from_mapping(TrainConfig, to_mapping(config)) == config


def test_to_mapping__makes_lists_of_tuples_at_any_depth() -> None:
    assert to_mapping(PPOConfig(layers=(4, 2)))["layers"] == [4, 2]
    assert to_mapping(TrainConfig(learner={"layers": (4, 2)}))["learner"] == {"layers": [4, 2]}


def test_load_preset__applies_overrides_in_order() -> None:
    overrides = ["steps=1", "steps=2", "env.start=Oz", "env.passes=size", "learner.gamma=0.9", "env.stop=true"]
    config = load_preset(TrainConfig, "debug", overrides)
    assert config.steps == 2
    assert config.env == EnvConfig(start="Oz", passes="size", stop=True)
    # beside what the preset says
    assert config.learner == {**load_preset(TrainConfig, "debug").learner, "gamma": 0.9}


@pytest.mark.parametrize("overrides", [["stepps=1"], ["env.budgett=3"]])
def test_load_preset__an_override_of_an_unknown_key_names_the_nearest(overrides: list[str]) -> None:
    with pytest.raises(InvalidConfigError, match=r"unknown setting .* did you mean '(steps|budget)'"):
        load_preset(TrainConfig, "debug", overrides)


@pytest.mark.parametrize("override", ["steps", "", "env.start"])
def test_apply_overrides__needs_an_equals_sign(override: str) -> None:
    with pytest.raises(InvalidConfigError, match=f"an override has the form name=value, got '{override}'"):
        apply_overrides({}, [override])


def test_apply_overrides__reads_the_value_as_yaml_and_splits_at_the_first_equals_sign() -> None:
    values = apply_overrides({}, ["a=1", "b.c=[x, 2.5]", "d=", "e=p=q"])
    assert values == {"a": 1, "b": {"c": ["x", 2.5]}, "d": None, "e": "p=q"}


def test_apply_overrides__refuses_a_setting_inside_a_number() -> None:
    with pytest.raises(InvalidConfigError, match="steps"):
        apply_overrides({"steps": 512}, ["steps.x=1"])


def test_apply_overrides__refuses_a_value_that_is_no_yaml() -> None:
    with pytest.raises(InvalidConfigError, match="layers"):
        apply_overrides({}, ["learner.layers=[8"])


@pytest.mark.parametrize(("override", "value"), [("seconds=1e3", 1000.0), ("seconds=1E-2", 0.01)])
def test_load_preset__reads_numbers_in_scientific_notation(override: str, value: float) -> None:
    assert load_preset(TrainConfig, "debug", [override]).seconds == value


@pytest.mark.parametrize("override", ["seconds=0", "seconds=-1", "seconds=.nan", "steps=0", "random_episodes=-1"])
def test_load_preset__refuses_amounts_that_make_no_sense(override: str) -> None:
    with pytest.raises(InvalidConfigError, match=override.split("=")[0]):
        load_preset(TrainConfig, "debug", [override])


def test_load_preset__an_unknown_name_names_the_nearest() -> None:
    with pytest.raises(InvalidConfigError, match=r"no preset 'debugs': did you mean 'debug'\?; or give a \.yaml file"):
        load_preset(TrainConfig, "debugs")


def test_load_preset__reads_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yml"
    path.write_text("steps: 3\nenv:\n  budget: 2\n")
    assert load_preset(TrainConfig, str(path)) == TrainConfig(steps=3, env=EnvConfig(budget=2))


def test_load_preset__an_empty_file_is_all_defaults(tmp_path: Path) -> None:
    path = tmp_path / "empty.yaml"
    path.write_text("# nothing\n")
    assert load_preset(TrainConfig, str(path)) == TrainConfig()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("env: [1\n", r"broken\.yaml is not valid YAML: while parsing a flow sequence"),
        ("- steps\n", r"broken\.yaml must hold a mapping of settings"),
        ("steps\n", r"broken\.yaml must hold a mapping of settings"),
        ("step: 1\n", "unknown setting 'step': did you mean 'steps'"),
        ("!!python/object/apply:os.getcwd []\n", r"broken\.yaml is not valid YAML: could not determine a constructor"),
    ],
)
def test_load_preset__a_bad_file_says_what_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    with pytest.raises(InvalidConfigError, match=message):
        load_preset(TrainConfig, str(path))


def test_load_preset__a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfigError, match=r"cannot read the preset .*absent\.yaml: No such file or directory"):
        load_preset(TrainConfig, str(tmp_path / "absent.yaml"))


def test_load_preset__refuses_a_file_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "binary.yaml"
    path.write_bytes(b"\xff\xfe\xff")
    with pytest.raises(InvalidConfigError, match=r"binary\.yaml"):
        load_preset(TrainConfig, str(path))
