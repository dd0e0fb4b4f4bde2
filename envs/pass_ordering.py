"""LLVM pass ordering as a Gymnasium environment."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, SupportsFloat

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium.utils import EzPickle

from compiler_dojo.envs.action_names import index_of
from compiler_dojo.envs.errors import (
    DojoError,
    EpisodeStateError,
    InvalidConfigError,
    SessionClosedError,
    did_you_mean,
)
from compiler_dojo.envs.llvm.cache import TransitionCache, shared_cache
from compiler_dojo.envs.llvm.passes import Pass, pipeline_text, select_passes
from compiler_dojo.envs.llvm.session import CompilerSession, PassResult
from compiler_dojo.envs.llvm.worker import Isolation, make_isolation
from compiler_dojo.envs.observations import EpisodeView, ObservationChoice, make_observation
from compiler_dojo.envs.prepared import PreparedProgram, Start, prepare
from compiler_dojo.envs.programs import Program, ProgramSet, load_programs
from compiler_dojo.envs.rewards import CostReduction, Reward
from compiler_dojo.envs.seconds import Seconds

STOP = "stop"
NOTHING_RUN = PassResult(False, 0.0)
RESET_OPTIONS = ("program", "prefix")


class PassOrderingEnv(gym.Env[Any, np.int64], EzPickle):
    """Choose the passes that LLVM runs on a program, one after the other, to make it smaller than ``clang -Oz`` does.

    ## Description
    An episode compiles one program. It starts from the program as the front end made it (``start="O0"``) or as
    LLVM's own ``default<Oz>`` left it (``start="Oz"``); each action runs one more pass. The problem is known as
    phase ordering; CompilerGym (arXiv 2109.08267) and CodeZero (arXiv 2404.16077) define the protocol followed here.

    ## Action Space
    ``Discrete(n)`` over the pass table (:data:`compiler_dojo.envs.llvm.passes.PASSES`), in its order. With
    ``stop=True`` one more action, the last, ends the episode. ``info["action_mask"]`` and :meth:`action_masks` rule
    out passes that are known to change nothing: the ones already tried on exactly this module (unless that is all).

    ## Observation Space
    ``observation="features"``: a ``Box`` of shape (60 + n,), float32.

    | index | content | range |
    | --- | --- | --- |
    | 0-55 | Autophase counts / instruction count, clipped | 0 to 1 |
    | 56 | log(instructions) / 10 | 0 to 10 |
    | 57 | log(instructions / instructions at -O0) | -10 to 10 |
    | 58 | log(instructions / instructions at -Oz) | -10 to 10 |
    | 59 to 58+n | uses of each pass / budget | 0 to 1 |
    | last | passes left / budget | 0 to 1 |

    Other names: ``autophase`` (56 counts), ``instcount`` (70 counts), ``histogram``, ``ir`` (text), ``bitcode``,
    ``graph`` (ProGraML's schema; :mod:`compiler_dojo.envs.llvm.graph` explains its columns). A list of names, or a
    mapping from names to names or objects, gives a ``Dict``.

    ## Rewards
    ``(cost before - cost after) / scale``; the sum over an episode telescopes. With the default
    ``CostReduction("instruction_count")`` the scale is what -Oz saves, ``max(cost(O0) - cost(Oz), 1)``: starting
    from O0, a return of 1.0 is parity with -Oz and more is better.

    ## Starting State
    A program drawn uniformly from ``programs`` by the environment's generator. ``reset(options=...)`` takes
    ``program`` (a URI of the set, or a :class:`Program`) and ``prefix`` (passes to run first, by name or index; they
    count against the budget and are not rewarded).

    ## Episode End
    *Truncation*: ``budget`` passes were run (45 by default); a pass that changes nothing counts too.
    *Termination*: the ``stop`` action, or a pass that failed (``info["error"]``, reward ``reward.error_value``).

    ## Information
    ``program`` (URI), ``cost``, ``baselines`` (costs to compare with: at O0 and at -Oz), ``passes_left`` and
    ``action_mask``; after a step also ``pass`` (name), ``changed`` (False when the module is as before) and
    ``seconds`` (inside LLVM, :class:`Seconds`; 0 when the result was remembered).

    ``error`` is there when a pass crashed, took too long or was refused: ``class`` and ``message`` of the error, the
    ``pass``, and ``reproducer``: the folder with what is needed to see it again (empty when there is none).

    ## Arguments
    - ``programs``: ``"bundled/train"`` and the like, a path or glob, a Program, a ProgramSet (see ``load_programs``).
    - ``observation``: name, object, list or mapping.
    - ``reward``: metric name or an object with the members of :class:`compiler_dojo.envs.rewards.Reward`.
    - ``start``: ``"O0"`` or ``"Oz"``. LLVM's -Oz pipeline itself is about 100 passes; they are not part of the budget.
    - ``budget``: pass applications in an episode.
    - ``stop``: add the action that ends the episode.
    - ``passes``: the actions: ``"all"``, ``"size"`` (50 passes that tend to shrink code), or names in the order wanted.
    - ``lowering``: how C and C++ become IR: ``"oz"`` (what clang -Oz itself uses) or ``"compilergym"`` (to compare with
      published numbers; it makes -Oz look weaker).
    - ``isolation``: ``"process"`` runs LLVM in a worker process that all environments of this process share: a crash or
      hang ends the episode that caused it and nothing else. ``"none"`` runs it in this process, for debuggers.
      ``Isolation(pass_seconds=..., memory_bytes=..., threads=...)`` sets limits of your own.
    - ``cache``: remember what passes did (exact; up to 256 MiB that all environments of this process share), or an own
      :class:`~compiler_dojo.envs.llvm.cache.TransitionCache`.
    - ``render_mode``: ``"ansi"``: :meth:`render` says what the last pass did; :meth:`ir_diff` shows the IR diff.

    ## Version History
    - v0: first version; pass table version 2 (not yet released).
    """

    metadata: dict[str, Any] = {"render_modes": ["ansi"], "render_fps": 4}  # noqa: RUF012  # as Gymnasium declares it

    def __init__(
        self,
        programs: str | Path | Program | ProgramSet | Iterable[Program] = "bundled/train",
        observation: ObservationChoice = "features",
        reward: str | Reward = "instruction_count",
        start: Start = "O0",
        budget: int = 45,
        stop: bool = False,
        passes: str | Sequence[str] = "all",
        lowering: str = "oz",
        isolation: str | Isolation = "process",
        cache: bool | TransitionCache = True,
        render_mode: str | None = None,
    ) -> None:
        EzPickle.__init__(
            self, programs, observation, reward, start, budget, stop, passes, lowering, isolation, cache, render_mode
        )
        if start not in ("O0", "Oz"):
            raise InvalidConfigError(f"start must be 'O0' or 'Oz', got {start!r}")
        if not isinstance(budget, int) or budget < 1:
            raise InvalidConfigError(f"budget must be a number of passes, at least 1, got {budget!r}")
        if render_mode not in (None, "ansi"):
            raise InvalidConfigError(f"render_mode must be None or 'ansi', got {render_mode!r}")
        self.programs = load_programs(programs, lowering)
        self.passes: tuple[Pass, ...] = select_passes(passes)
        if len(set(self.passes)) != len(self.passes) or not self.passes:
            raise InvalidConfigError("passes must name at least one pass, and none twice")
        self.reward: Reward = CostReduction(reward) if isinstance(reward, str) else reward
        if not isinstance(self.reward, Reward):
            raise InvalidConfigError(f"a reward is a metric's name or an object with Reward's members, got {reward!r}")
        self.start = start
        self.budget = budget
        self.render_mode = render_mode
        make_isolation(isolation)  # refuses what makes no sense
        self._isolation = isolation
        self._cache = cache if isinstance(cache, TransitionCache) else shared_cache() if cache else None
        self._pipelines = tuple(item.pipeline.encode() for item in self.passes)
        self._observation = make_observation(observation)
        self._has_stop = stop
        actions = len(self.passes) + int(stop)
        self.action_space = gym.spaces.Discrete(actions)
        self.observation_space = self._observation.space(actions, budget)
        self.action_names: tuple[str, ...] = (*(item.name for item in self.passes), *([STOP] if stop else []))
        self._indices = {name: index for index, name in enumerate(self.action_names)}
        self._view: EpisodeView | None = None
        self._running = False
        self._closed = False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode; see the class documentation for ``options``."""
        super().reset(seed=seed)
        if self._closed:
            raise SessionClosedError("the environment is closed; make a new one")
        options = options or {}
        for name in options:
            if name not in RESET_OPTIONS:
                raise InvalidConfigError(f"unknown reset option {name!r}: {did_you_mean(name, RESET_OPTIONS)}")
        prepared = prepare(self._choose_program(options.get("program")), self._isolation)
        prefix = [self.action_index(item) for item in options.get("prefix", ())]
        if any(index >= len(self.passes) for index in prefix):
            raise InvalidConfigError("a prefix holds passes; stop is none")
        if len(prefix) >= self.budget:
            raise InvalidConfigError(f"the prefix has {len(prefix)} passes and the budget is {self.budget}")
        self._end_session()
        self._prepared: PreparedProgram = prepared
        self._session: CompilerSession = prepared.session(self.start, self._cache)
        self.actions: list[int] = []
        self._stopped = self._in_step = False
        self._mask = np.ones(len(self.action_names), np.int8)
        histogram = np.zeros(len(self.action_names), np.float32)
        self._view = EpisodeView(self._session, prepared, histogram, self.budget, self.budget)
        self._error: DojoError | None = None
        try:
            for action in prefix:
                self._begin(action)
                self._end()
            self._scale = self.reward.scale(prepared)
            self._cost = self._previous_cost = self.reward.cost(self._session, prepared)
            self._baselines = self.reward.baselines(prepared)
        except DojoError:
            self._end_session()
            raise
        self._running = True
        return self._observation.observe(self._view), self._info()

    def step(self, action: np.int64 | int) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """Run one pass, or stop."""
        self.begin_step(action)
        return self.end_step()

    def begin_step(self, action: np.int64 | int) -> None:
        """The first half of :meth:`step`: set the compiler to work. Several environments can do so at once."""
        self._require_running()
        index = self.action_index(action)
        if self.render_mode == "ansi":
            self._keep_previous()
        self._running, self._in_step = False, True  # an interrupted step ends the episode
        self._begin(index)

    def end_step(self) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """The second half of :meth:`step`: wait for the compiler."""
        if not self._in_step:
            raise EpisodeStateError("end_step() waits for what begin_step() started, and nothing was")
        self._in_step = False
        try:
            return self._outcome(*self._end())
        except DojoError as error:
            return self._failure(error)

    def close(self) -> None:
        """Free the module. Closing twice is harmless."""
        self._end_session()
        self._closed = True
        self._running = False

    def render(self) -> str | None:  # type: ignore[override]  # one frame, as render_mode "ansi" returns it
        """What the last pass did to the counts, as text."""
        if self.render_mode != "ansi":
            gym.logger.warn('render() needs render_mode="ansi"')
            return None
        view = self._require_episode()
        lines = [f"{self._prepared.program.uri}  start {self.start}  {len(self.actions)}/{self.budget} passes"]
        if self.actions:
            change = self._cost - self._previous_cost
            lines.append(
                f"{self.action_names[self.actions[-1]]}: {self._previous_cost:g} -> {self._cost:g} ({change:+g})"
            )
        baselines = ", ".join(f"{level} {cost:g}" for level, cost in self._baselines.items())
        lines.append(f"{self.reward.metric} {self._cost:g} ({baselines}), {view.passes_left} passes left")
        return "\n".join(lines)

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """Which actions may still do something, bool of shape (actions,); the form that sb3-contrib asks for."""
        self._require_episode()
        return self._mask.astype(np.bool_)

    def multistep(self, actions: Sequence[int | np.int64]) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Run several passes and observe once at the end; the reward is their sum. An episode's end cuts it short."""
        view = self._require_running()
        indices = [self.action_index(action) for action in actions]
        if self.render_mode == "ansi":
            self._keep_previous()
        changed = False
        seconds = 0.0
        self._running = False
        try:
            for index in indices:
                self._begin(index)
                result = self._end()
                changed |= result.changed
                seconds += result.seconds
                if self._stopped or view.passes_left == 0:
                    break
            return self._outcome(changed, seconds)
        except DojoError as error:
            return self._failure(error)

    def fork(self) -> PassOrderingEnv:
        """An independent environment in the same state of the same episode, with a copy of the generator."""
        self._require_episode()
        # not copy.copy: EzPickle would construct a fresh environment
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._session = self._session.fork()
        other.actions = list(self.actions)
        other._mask = self._mask.copy()
        view = self._require_episode()
        other._view = EpisodeView(other._session, self._prepared, view.histogram.copy(), view.passes_left, view.budget)
        other._previous_session = None
        other._np_random = _copy_generator(self.np_random)
        return other

    @property
    def pipeline(self) -> str:
        """The episode so far, as text for ``opt -passes=`` (after ``default<Oz>`` when that is the start)."""
        self._require_episode()
        taken = [self.passes[index] for index in self.actions if index < len(self.passes)]
        start = [] if self.start == "O0" else ["default<Oz>"]
        return ",".join([*start, pipeline_text(taken)] if taken else start)

    @property
    def session(self) -> CompilerSession:
        """The compiler session of the episode."""
        self._require_episode()
        return self._session

    @property
    def prepared(self) -> PreparedProgram:
        """The episode's program with its baselines."""
        self._require_episode()
        return self._prepared

    def ir_diff(self) -> str:
        """Unified diff of the IR before and after the last step; needs ``render_mode="ansi"``."""
        self._require_episode()
        if self.render_mode != "ansi":
            raise InvalidConfigError('ir_diff() needs render_mode="ansi": only then is the module before a step kept')
        if self._previous_session is None:
            return ""
        before, after = self._previous_session.ir(), self._session.ir()
        lines = difflib.unified_diff(before.splitlines(), after.splitlines(), "before", "after", lineterm="")
        return "\n".join(lines)

    _previous_session: CompilerSession | None = None
    _in_step = False

    def _choose_program(self, choice: str | Program | None) -> Program:
        if choice is None:
            return self.programs.sample(self.np_random)
        return choice if isinstance(choice, Program) else self.programs.get(choice)

    def action_index(self, action: int | np.int64 | str) -> int:
        """The index of an action given by index or name."""
        return index_of(action, self._indices)

    def _begin(self, index: int) -> None:
        view = self._view
        assert view is not None
        self.actions.append(index)
        if self._has_stop and index == len(self.passes):
            self._stopped = True
            return
        view.passes_left -= 1
        view.histogram[index] += 1.0
        self._session.begin(self._pipelines[index])

    def _end(self) -> PassResult:
        if self._stopped:
            return NOTHING_RUN
        result = self._session.end()
        if result.changed:
            self._mask.fill(1)
        else:
            self._mask[self.actions[-1]] = 0
            if not self._mask.any():  # nothing is left to try, and some action must be taken
                self._mask.fill(1)
        return result

    def _outcome(self, changed: bool, seconds: float) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """What a step returns when its passes have run."""
        cost = self.reward.cost(self._session, self._prepared) if changed else self._cost
        reward = (self._cost - cost) / self._scale
        self._previous_cost, self._cost = self._cost, cost
        return self._step_result(reward, self._stopped, changed, seconds)

    def _failure(self, error: DojoError) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """What a step returns when a pass has failed."""
        self._error = error
        return self._step_result(self.reward.error_value, True, False, 0.0)

    def _step_result(
        self, reward: float, terminated: bool, changed: bool, seconds: float
    ) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        view = self._view
        assert view is not None
        truncated = view.passes_left == 0
        self._running = not (terminated or truncated)
        info = self._info()
        info["pass"] = self.action_names[self.actions[-1]] if self.actions else ""
        info["changed"] = changed
        info["seconds"] = Seconds(seconds)
        return self._observation.observe(view), reward, terminated, truncated, info

    def _info(self) -> dict[str, Any]:
        assert self._view is not None
        info: dict[str, Any] = {
            "program": self._prepared.program.uri,
            "cost": self._cost,
            "baselines": dict(self._baselines),
            "passes_left": self._view.passes_left,
            "action_mask": self._mask.copy(),
        }
        if self._error is not None:
            reproducer = getattr(self._error, "reproducer", None)
            info["error"] = {
                "class": type(self._error).__name__,
                "message": str(self._error),
                "pass": self.action_names[self.actions[-1]] if self.actions else "",
                "reproducer": str(reproducer) if reproducer is not None else "",
            }
        return info

    def _require_running(self) -> EpisodeView:
        view = self._require_episode()
        if not self._running:
            if self._in_step:
                raise EpisodeStateError("a step has begun; call end_step() first, or reset()")
            raise EpisodeStateError("the episode has ended; call reset() first")
        return view

    def _require_episode(self) -> EpisodeView:
        if self._closed:
            raise SessionClosedError("the environment is closed; make a new one")
        if self._view is None:
            raise EpisodeStateError("no episode yet; call reset() first")
        return self._view

    def _keep_previous(self) -> None:
        if self._previous_session is not None:
            self._previous_session.close()
        self._previous_session = self._session.fork()

    def _end_session(self) -> None:
        if self._view is not None:
            self._session.close()
        if self._previous_session is not None:
            self._previous_session.close()
            self._previous_session = None
        self._view = None


def _copy_generator(generator: np.random.Generator) -> np.random.Generator:
    """A generator in the same state; three times as fast as copy.deepcopy."""
    bits = type(generator.bit_generator)(0)
    bits.state = generator.bit_generator.state
    return np.random.Generator(bits)
