"""Scheduling loop nests as a Gymnasium environment."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, SupportsFloat

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium.utils import EzPickle

from compiler_dojo.envs.action_names import index_of
from compiler_dojo.envs.errors import (
    EpisodeStateError,
    IllegalScheduleError,
    InvalidConfigError,
    UnknownObservationError,
    UnknownRewardError,
    did_you_mean,
)
from compiler_dojo.envs.loops.actions import ActionSet, LoopTuneActions, State
from compiler_dojo.envs.loops.features import OBSERVATIONS, ScheduleObservation
from compiler_dojo.envs.loops.full_actions import FullActions
from compiler_dojo.envs.loops.legality import check_nest
from compiler_dojo.envs.loops.nest import Nest
from compiler_dojo.envs.loops.rewards import REWARDS, ScheduleReward, make_reward, peak_of
from compiler_dojo.envs.loops.workload import Workload
from compiler_dojo.envs.loops.workloads import load_workloads
from compiler_dojo.envs.seconds import Seconds

STOP = "stop"
ACTION_SETS = ("looptune", "full")
RESET_OPTIONS = ("workload", "nest")
ALWAYS = np.ones(1, np.bool_)
"""What the mask says of stop."""


class LoopScheduleEnv(gym.Env[Any, np.int64], EzPickle):
    """Choose the loop order, tiles and blocks of a tensor contraction, to bring it near the machine's peak.

    ## Description
    An episode schedules one workload, such as ``C[m, n] = sum over k of A[m, k] B[k, n]``. It starts from one loop per
    axis; every action moves a cursor over the loops or transforms the nest at it. LoopTune (arXiv 2309.01825) defines
    the protocol: with the default arguments actions, observations, rewards and the end of an episode are those it
    published, but for the code generator and the machine.

    ## Action Space
    ``Discrete(n)``. ``actions="looptune"``: ``up``, ``down``, ``swap_up``, ``swap_down``, ``split_4``, ``split_8``,
    ``split_16`` (:class:`~compiler_dojo.envs.loops.actions.LoopTuneActions`). ``actions="full"``: register tiles, cache
    blocks, packs, unrolling, prefetching, threads (:class:`~compiler_dojo.envs.loops.full_actions.FullActions`). With
    ``stop=True`` one more action, the last, ends the episode. ``info["action_mask"]`` and :meth:`action_masks` say
    which actions are legal (where none is, they allow all); one that is not changes nothing and costs a step.

    ## Observation Space
    ``observation="looptune"``: a ``Box`` of shape (10, 20), float32: a row per loop with cursor, size, tail, whether it
    is one of the compute nest, and a histogram of the strides of its accesses
    (:class:`~compiler_dojo.envs.loops.features.LoopTuneTable`). ``"full"``: a ``Box`` of shape (11, 28) that also shows
    tiles, packs and sizes (:class:`~compiler_dojo.envs.loops.features.FullTable`). ``"graph"``: loops, statements and
    data (:class:`~compiler_dojo.envs.loops.features.LoopGraph`).

    ## Rewards
    ``(G - G before) / peak``, G being the GFLOP/s of the nest and peak the most that the machine does. The sum over an
    episode telescopes: it is what was gained, as a share of the peak. G is measured, or estimated by a cost model.

    ## Starting State
    A workload drawn uniformly from ``workloads`` by the environment's generator. ``reset(options=...)`` takes
    ``workload`` (a :class:`~compiler_dojo.envs.loops.workload.Workload`, or text for ``load_workloads`` that names one)
    and ``nest`` (a nest to start from, its workload included).

    ## Episode End
    *Truncation*: ``budget`` actions were taken, 10 by default. *Termination*: the ``stop`` action.

    ## Information
    ``workload`` (text), ``gflops``, ``peak``, ``nest`` (text), ``steps_left`` and ``action_mask``; after a step also
    ``action`` (name), ``legal``, ``changed`` (whether the nest is another one; a move of the cursor is legal and
    changes nothing) and ``seconds`` (of measuring, :class:`~compiler_dojo.envs.seconds.Seconds`). ``error`` says why
    an action was not legal.

    ## Arguments
    - ``workloads``: text for :func:`~compiler_dojo.envs.loops.workloads.load_workloads`, a Workload, or a sequence.
    - ``actions``: ``"looptune"``, ``"full"``, or an object with the members of
      :class:`~compiler_dojo.envs.loops.actions.ActionSet`.
    - ``reward``: ``"measured"``, ``"analytical"``, ``"learned"``, or an object with the members of
      :class:`~compiler_dojo.envs.loops.rewards.ScheduleReward` (and ``peak``, or else the analytical model's counts).
    - ``observation``: a name, or an object with the members of
      :class:`~compiler_dojo.envs.loops.features.ScheduleObservation`; by default ``"full"`` for the full action set and
      ``"looptune"`` otherwise.
    - ``budget``: actions in an episode.
    - ``stop``: add the action that ends the episode; by default for the full action set only.
    - ``target``: the CPU: ``"native"``, ``"x86-64-v3"`` and the like.
    - ``threads``: for the ``parallel`` action of the full set, and of the machine whose peak rewards are relative to.
    - ``render_mode``: ``"ansi"``: :meth:`render` shows the nest with the cursor.

    ## Version History
    - v0: first version (not yet released).
    """

    metadata: dict[str, Any] = {"render_modes": ["ansi"], "render_fps": 4}  # noqa: RUF012  # as Gymnasium declares it

    def __init__(
        self,
        workloads: str | Workload | Sequence[Workload] = "looptune:train",
        actions: str | ActionSet = "looptune",
        reward: str | ScheduleReward = "measured",
        observation: str | ScheduleObservation | None = None,
        budget: int = 10,
        stop: bool | None = None,
        target: str = "native",
        threads: int = 1,
        render_mode: str | None = None,
    ) -> None:
        EzPickle.__init__(self, workloads, actions, reward, observation, budget, stop, target, threads, render_mode)
        if not isinstance(budget, int) or budget < 1:
            raise InvalidConfigError(f"budget must be a number of actions, at least 1, got {budget!r}")
        if not isinstance(threads, int) or threads < 1:
            raise InvalidConfigError(f"threads must be a number, at least 1, got {threads!r}")
        if render_mode not in (None, "ansi"):
            raise InvalidConfigError(f"render_mode must be None or 'ansi', got {render_mode!r}")
        self.workloads = _workloads(workloads)
        self.actions = _actions(actions, target, threads)
        self.budget = budget
        self.threads = threads
        self.render_mode = render_mode
        full = isinstance(self.actions, FullActions)
        self._has_stop = full if stop is None else stop
        self._observation = _observation(("full" if full else "looptune") if observation is None else observation)
        self._target = target
        self._reward = _checked_reward(reward)
        self.action_names: tuple[str, ...] = (*self.actions.names, *([STOP] if self._has_stop else []))
        self._indices = {name: index for index, name in enumerate(self.action_names)}
        self.action_space = gym.spaces.Discrete(len(self.action_names))
        self.observation_space = self._observation.space
        self._state: State | None = None
        self._running = False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode; see the class documentation for ``options``."""
        super().reset(seed=seed)
        options = options or {}
        for name in options:
            if name not in RESET_OPTIONS:
                raise InvalidConfigError(f"unknown reset option {name!r}: {did_you_mean(name, RESET_OPTIONS)}")
        state = self._start(options.get("workload"), options.get("nest"))
        reward = self.reward
        workload = state.nest.workload
        self._peak = peak_of(reward, self._target, workload.dtype, self.threads)
        self._gflops = reward.gflops(state.nest)
        self._workload_text = str(workload)
        self._steps_left = self.budget
        self._set_state(state)
        self._running = True
        return self._observation.observe(state), self._info()

    def step(self, action: np.int64 | int | str) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """Take one action, given by index or name."""
        before = self._require_running()
        index = self.action_index(action)
        gflops, started, error = self._gflops, 0.0, ""
        state, stopped = before, self._has_stop and index == len(self.actions.names)
        if not stopped:
            try:
                state = self.actions.apply(before, index)
                if state.nest is not before.nest:
                    started = time.perf_counter()
                    gflops = self.reward.gflops(state.nest)
                    started = time.perf_counter() - started
            except IllegalScheduleError as refusal:
                state, gflops, started, error = before, self._gflops, 0.0, str(refusal)
        gain = (gflops - self._gflops) / self._peak
        self._gflops = gflops
        self._steps_left -= not stopped
        if state is not before:
            self._set_state(state)
        truncated = self._steps_left == 0
        self._running = not (stopped or truncated)
        info = self._info()
        info["action"] = self.action_names[index]
        info["legal"] = not error
        info["changed"] = state.nest is not before.nest
        info["seconds"] = Seconds(started)
        if error:
            info["error"] = error
        return self._observation.observe(state), gain, stopped, truncated, info

    def action_index(self, action: int | np.int64 | str) -> int:
        """The index of an action given by index or name."""
        return index_of(action, self._indices)

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """Which actions are legal, bool of shape (actions,); the form that sb3-contrib asks for."""
        self._require_episode()
        return self._mask.copy()

    def fork(self) -> LoopScheduleEnv:
        """An independent environment in the same state of the same episode, with a copy of the generator."""
        self._require_episode()
        # not copy.copy: EzPickle would construct a fresh environment
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__)
        bits = type(self.np_random.bit_generator)(0)
        bits.state = self.np_random.bit_generator.state
        other._np_random = np.random.Generator(bits)
        return other

    def render(self) -> str | None:  # type: ignore[override]  # one frame, as render_mode "ansi" returns it
        """The loops, the cursor's one marked, and what the nest reaches."""
        if self.render_mode != "ansi":
            gym.logger.warn('render() needs render_mode="ansi"')
            return None
        nest, cursor = self._require_episode()
        lines = str(nest).splitlines()
        loops = [index for index, line in enumerate(lines) if not line.lstrip().startswith(("pack ", "tile "))]
        if cursor < len(loops):
            lines[loops[cursor]] += "  <-- cursor"
        share = self._gflops / self._peak
        lines.append(f"{self._gflops:.1f} GFLOP/s, {share:.0%} of the peak, {self._steps_left} steps left")
        return "\n".join([self._workload_text, *lines])

    @property
    def reward(self) -> ScheduleReward:
        """Says what nests are worth; made when it is first asked for."""
        if isinstance(self._reward, str):
            self._reward = make_reward(self._reward, self._target)
        return self._reward

    @property
    def state(self) -> State:
        """The episode's nest and cursor."""
        return self._require_episode()

    @property
    def nest(self) -> Nest:
        """The episode's nest."""
        return self._require_episode().nest

    @property
    def gflops(self) -> float:
        """What the nest reaches."""
        self._require_episode()
        return self._gflops

    def _start(self, workload: str | Workload | None, nest: Nest | None) -> State:
        if nest is not None:
            if workload is not None:
                raise InvalidConfigError("the options nest and workload exclude each other: a nest has its workload")
            check_nest(nest)
            return State(nest)
        if workload is None:
            return self.actions.start(self.workloads[int(self.np_random.integers(len(self.workloads)))])
        if isinstance(workload, str):
            found = load_workloads(workload)
            if len(found) != 1:
                raise InvalidConfigError(f"an episode schedules one workload, {workload!r} names {len(found)}")
            workload = found[0]
        return self.actions.start(workload)

    def _set_state(self, state: State) -> None:
        if self._state is None or state.nest is not self._state.nest:
            self._nest_text = str(state.nest)
        self._state = state
        mask = self.actions.mask(state)
        if self._has_stop:
            mask = np.concatenate((mask, ALWAYS))
        elif not mask.any():  # some action must be taken
            mask = ~mask
        self._mask = mask

    def _info(self) -> dict[str, Any]:
        return {
            "workload": self._workload_text,
            "gflops": self._gflops,
            "peak": self._peak,
            "nest": self._nest_text,
            "steps_left": self._steps_left,
            "action_mask": self._mask.astype(np.int8),
        }

    def _require_running(self) -> State:
        state = self._require_episode()
        if not self._running:
            raise EpisodeStateError("the episode has ended; call reset() first")
        return state

    def _require_episode(self) -> State:
        if self._state is None:
            raise EpisodeStateError("no episode yet; call reset() first")
        return self._state


def _workloads(choice: str | Workload | Sequence[Workload]) -> tuple[Workload, ...]:
    found = load_workloads(choice) if isinstance(choice, str) else choice
    found = (found,) if isinstance(found, Workload) else tuple(found)
    if not found or not all(isinstance(item, Workload) for item in found):
        raise InvalidConfigError(f"workloads must be text, a Workload, or a sequence of at least one, got {choice!r}")
    return found


def _actions(choice: str | ActionSet, target: str, threads: int) -> ActionSet:
    if choice == "looptune":
        return LoopTuneActions()
    if choice == "full":
        return FullActions(target, threads)
    if isinstance(choice, str) or not isinstance(choice, ActionSet):
        hint = did_you_mean(choice, ACTION_SETS) if isinstance(choice, str) else f"known: {', '.join(ACTION_SETS)}"
        raise InvalidConfigError(f"no action set {choice!r}: {hint} (or an object with ActionSet's members)")
    return choice


def _observation(choice: str | ScheduleObservation) -> ScheduleObservation:
    if not isinstance(choice, str):
        return choice
    if choice not in OBSERVATIONS:
        raise UnknownObservationError(f"no observation {choice!r} of loop nests: {did_you_mean(choice, OBSERVATIONS)}")
    return OBSERVATIONS[choice]()


def _checked_reward(choice: str | ScheduleReward) -> str | ScheduleReward:
    if isinstance(choice, str):
        if choice not in REWARDS:
            raise UnknownRewardError(f"no reward of loop nests is called {choice!r}: {did_you_mean(choice, REWARDS)}")
        return choice
    if not isinstance(choice, ScheduleReward):
        raise InvalidConfigError(
            f"a reward of loop nests is a name or an object with ScheduleReward's members, got {choice!r}"
        )
    return choice
