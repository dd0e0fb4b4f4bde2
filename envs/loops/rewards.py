"""What a nest is worth: GFLOP/s measured on this machine, or estimated by a cost model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

from compiler_dojo.envs.errors import UnknownRewardError, did_you_mean
from compiler_dojo.envs.loops.nest import Nest


@runtime_checkable
class ScheduleReward(Protocol):
    """Says how fast a nest runs.

    Attributes:
        deterministic: equal nests are worth the same, always.
        platform_dependent: another machine gives other numbers.
    """

    deterministic: bool
    platform_dependent: bool

    def gflops(self, nest: Nest) -> float:
        """Billions of floating-point operations per second; equal nests may be remembered.

        Raises:
            IllegalScheduleError: no code can be generated for the nest.
        """


@runtime_checkable
class KnowsPeak(Protocol):
    """A reward that also says what its machine can do at most."""

    def peak(self, dtype: str = "float32", threads: int = 1) -> float:
        """GFLOP/s of multiply-adds alone."""


def peak_of(reward: ScheduleReward, target: str, dtype: str, threads: int) -> float:
    """The most that the machine does, in GFLOP/s: what the reward says, or the analytical model if it says nothing."""
    if not isinstance(reward, KnowsPeak):
        from compiler_dojo.envs.loops.costs import AnalyticalCost
        from compiler_dojo.envs.loops.targets import find_target

        reward = AnalyticalCost(find_target(target))
    return reward.peak(dtype, threads)


class MeasuredReward:
    """Compiles nests and times them; the peak is that of a kernel that does nothing but multiply and add.

    Args:
        target: name of the CPU to compile for; it must run here.
    """

    deterministic = False
    platform_dependent = True

    def __init__(self, target: str = "native") -> None:
        from compiler_dojo.envs.loops.runner import Runner

        self._runner = Runner(target)

    def gflops(self, nest: Nest) -> float:
        """In the best sample; nests of equal keys are measured once."""
        return self._runner.gflops(nest)

    def peak(self, dtype: str = "float32", threads: int = 1) -> float:
        """Measured once in a process."""
        from compiler_dojo.envs.loops.measure import measured_peak

        return measured_peak(self._runner.target, dtype, threads)


def _analytical(target: str) -> ScheduleReward:
    from compiler_dojo.envs.loops.costs import AnalyticalCost
    from compiler_dojo.envs.loops.targets import find_target

    return AnalyticalCost(find_target(target))


def _learned(target: str) -> ScheduleReward:
    from compiler_dojo.envs.loops.learned_cost import LearnedCost
    from compiler_dojo.envs.loops.targets import find_target

    return LearnedCost(find_target(target))


REWARDS: Mapping[str, Callable[[str], ScheduleReward]] = {
    "measured": MeasuredReward,
    "analytical": _analytical,
    "learned": _learned,
}
"""Every reward that has a name, made for the name of a target."""


def make_reward(name: str, target: str = "native") -> ScheduleReward:
    """The reward of a name.

    Raises:
        UnknownRewardError: there is none.
    """
    if name not in REWARDS:
        raise UnknownRewardError(f"no reward of loop nests is called {name!r}: {did_you_mean(name, REWARDS)}")
    return REWARDS[name](target)
