"""Configurations: frozen dataclasses with their defaults, presets that hold only differences, strict reading."""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import gymnasium as gym
import yaml

from compiler_dojo.envs import PASS_ORDERING_ID
from compiler_dojo.envs.errors import InvalidConfigError, did_you_mean
from compiler_dojo.envs.rewards import CostReduction

PRESETS = Path(__file__).parent / "presets"
T = TypeVar("T")


@dataclass(frozen=True)
class EnvConfig:
    """The environment an agent lives in; see :class:`compiler_dojo.envs.pass_ordering.PassOrderingEnv`."""

    observation: str = "features"
    metric: str = "instruction_count"
    scale_by: Literal["gap", "baseline"] = "gap"
    start: Literal["O0", "Oz"] = "O0"
    budget: int = 45
    stop: bool = False
    passes: str | tuple[str, ...] = "all"
    lowering: str = "oz"

    def arguments(self) -> dict[str, Any]:
        """What :class:`PassOrderingEnv` takes."""
        return {
            "observation": self.observation,
            "reward": CostReduction(self.metric, scale_by=self.scale_by),
            "start": self.start,
            "budget": self.budget,
            "stop": self.stop,
            "passes": self.passes,
            "lowering": self.lowering,
        }

    def make(self, programs: Any) -> gym.Env[Any, Any]:
        """The environment over these programs."""
        return gym.make(PASS_ORDERING_ID, disable_env_checker=True, programs=programs, **self.arguments())


@dataclass(frozen=True)
class TrainConfig:
    """A training run in which passes are ordered.

    Attributes:
        environment: what tells these settings from those of other environments.
        env: the environment, for training and evaluation alike.
        learner: hyper-parameters of PPO that differ from :class:`compiler_dojo.agents.ppo.PPOConfig`.
        train_programs: what is learned on, and what the best single sequence is found on.
        test_programs: what is evaluated on, never seen in training.
        steps: environment steps at most; the last rollout is done to its end.
        seconds: training time at most; whichever comes first ends the training.
        sequence_seconds: time for finding the best single sequence.
        checkpoint_seconds: time between two checkpoints.
        random_episodes: episodes of the random policy per program in the evaluation.
        seed: of everything random.
    """

    environment: Literal["passes"] = "passes"
    env: EnvConfig = EnvConfig()
    learner: Mapping[str, Any] = field(default_factory=dict)
    train_programs: str = "bundled/train"
    test_programs: str = "bundled/test"
    steps: int = 1_000_000
    seconds: float = 3600.0
    sequence_seconds: float = 120.0
    checkpoint_seconds: float = 30.0
    random_episodes: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "seconds", "sequence_seconds", "checkpoint_seconds", "random_episodes"):
            if not getattr(self, name) > 0:
                raise InvalidConfigError(f"{name} must be positive, got {getattr(self, name)}")


def from_mapping(kind: type[T], values: Mapping[str, Any], where: str = "") -> T:
    """Build a config dataclass from plain values, checking names and types.

    Raises:
        InvalidConfigError: unknown key (the nearest is suggested) or a value of another type.
    """
    fields = typing.get_type_hints(kind)
    arguments: dict[str, Any] = {}
    for name, value in values.items():
        if not isinstance(name, str):
            raise InvalidConfigError(f"settings in {where or 'a configuration'} have names, got {name!r}")
        if name not in fields:
            raise InvalidConfigError(f"unknown setting {where + name!r}: {did_you_mean(name, fields)}")
        arguments[name] = _convert(fields[name], value, where + name)
    try:
        return kind(**arguments)
    except ValueError as error:
        raise InvalidConfigError(f"{where}{error}") from error


def _convert(kind: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, Mapping):
            raise InvalidConfigError(f"{where} must be a mapping of settings, got {value!r}")
        return from_mapping(kind, value, where + ".")  # type: ignore[arg-type]  # a dataclass type
    if origin is Literal:
        if value not in arguments:
            raise InvalidConfigError(f"{where} must be one of {', '.join(map(repr, arguments))}, got {value!r}")
        return value
    if origin is tuple:
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise InvalidConfigError(f"{where} must be a list, got {value!r}")
        return tuple(_convert(arguments[0], item, where) for item in value)
    if origin in (types.UnionType, typing.Union):
        kinds = [type(value)] if type(value) in arguments else [item for item in arguments if typing.get_origin(item)]
        return _convert((kinds or arguments)[0], value, where)
    if kind is float and type(value) is int:
        return float(value)
    expected = origin or kind
    if not isinstance(value, expected) or (expected is int and isinstance(value, bool)):
        raise InvalidConfigError(f"{where} must be {getattr(expected, '__name__', expected)}, got {value!r}")
    return value


def load_preset(kind: type[T], name: str, overrides: Sequence[str] = ()) -> T:
    """Read a preset by name, or a YAML file by path, and apply overrides such as ``learner.gamma=0.9``.

    Raises:
        InvalidConfigError: no such preset, invalid YAML, unknown key, or a value of another type.
    """
    return from_mapping(kind, read_preset(name, overrides))


def read_preset(name: str, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The settings of a preset, or of a YAML file, as they are written there, with overrides applied.

    Raises:
        InvalidConfigError: no such preset, invalid YAML, or an override of another form.
    """
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        path = PRESETS / f"{name}.yaml"
        if not path.is_file():
            raise InvalidConfigError(f"no preset {name!r}: {did_you_mean(name, preset_names())}; or give a .yaml file")
    try:
        values = _read_yaml(path.read_text()) or {}
    except OSError as error:
        raise InvalidConfigError(f"cannot read the preset {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidConfigError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(values, dict):
        raise InvalidConfigError(f"{path} must hold a mapping of settings")
    return apply_overrides(values, overrides)


def apply_overrides(values: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Set ``a.b=value`` (the value in YAML) in nested mappings, in place.

    Raises:
        InvalidConfigError: an override of another form.
    """
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals:
            raise InvalidConfigError(f"an override has the form name=value, got {override!r}")
        target = values
        *parents, last = key.split(".")
        for parent in parents:
            target = target.setdefault(parent, {})
            if not isinstance(target, dict):
                raise InvalidConfigError(f"{override!r}: {parent} is a value, not a group of settings")
        try:
            target[last] = _read_yaml(text)
        except yaml.YAMLError as error:
            raise InvalidConfigError(f"{override!r}: the value is not valid YAML: {error}") from error
    return values


class _Loader(yaml.SafeLoader):
    """YAML 1.1 takes 1e-3, without a point, for text."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def _read_yaml(text: str) -> Any:
    return yaml.load(text, _Loader)  # a SafeLoader


def preset_names() -> list[str]:
    """The presets that come with the package."""
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def to_mapping(config: Any) -> dict[str, Any]:
    """A config as plain values for YAML and JSON."""
    values: dict[str, Any] = dataclasses.asdict(config)
    return {name: _plain(value) for name, value in values.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value
