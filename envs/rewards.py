"""What agents are paid for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from compiler_dojo.envs.errors import UnknownRewardError, did_you_mean
from compiler_dojo.envs.llvm.session import CompilerSession
from compiler_dojo.envs.metrics import METRICS
from compiler_dojo.envs.prepared import LEVELS, PreparedProgram


@runtime_checkable
class Reward(Protocol):
    """A reward: the drop of a cost from step to step, on a scale of the program's own.

    The reward of a step is ``(cost before - cost after) / scale``, so the sum over an episode telescopes to
    ``(first cost - last cost) / scale``. A reward of your own is any object with these members.

    Attributes:
        metric: name of the cost, for records.
        deterministic: equal episodes get equal rewards.
        platform_dependent: rewards depend on the target machine.
        error_value: the reward of a step that failed.
    """

    @property
    def metric(self) -> str: ...  # noqa: D102
    @property
    def deterministic(self) -> bool: ...  # noqa: D102
    @property
    def platform_dependent(self) -> bool: ...  # noqa: D102
    @property
    def error_value(self) -> float: ...  # noqa: D102

    def cost(self, session: CompilerSession, prepared: PreparedProgram) -> float:
        """The cost of the session's module now."""
        ...

    def scale(self, prepared: PreparedProgram) -> float:
        """What one unit of reward is worth in cost, for this program; positive."""
        ...

    def baselines(self, prepared: PreparedProgram) -> dict[str, float]:
        """Costs to compare with, by name, as ``info["baselines"]`` shows them."""
        ...


@dataclass(frozen=True)
class CostReduction:
    """The part of a baseline's saving that a pass achieves.

    Args:
        metric: ``instruction_count``, ``text_size`` or ``runtime``.
        baseline: the optimisation level to compare with.
        scale_by: ``gap`` divides by what the baseline saves, ``max(cost(O0) - cost(baseline), 1)``: an episode
            from O0 that reaches parity earns 1.0 (CompilerGym; CodeZero, arXiv 2404.16077). ``baseline`` divides
            by ``cost(baseline)``: the sum is the share of the baseline saved (Coreset-NVP, arXiv 2301.05104).
        error_value: the reward of a step that failed.

    Raises:
        UnknownRewardError: unknown metric, baseline or scale.
    """

    metric: str = "instruction_count"
    baseline: str = "Oz"
    scale_by: Literal["gap", "baseline"] = "gap"
    error_value: float = -1.0

    def __post_init__(self) -> None:
        for value, known in (
            (self.metric, METRICS),
            (self.baseline, LEVELS),
            (self.scale_by, ("gap", "baseline")),
        ):
            if value not in known:
                raise UnknownRewardError(f"unknown reward setting {value!r}: {did_you_mean(value, known)}")

    @property
    def deterministic(self) -> bool:
        """Whether equal episodes get equal rewards."""
        return METRICS[self.metric].deterministic

    @property
    def platform_dependent(self) -> bool:
        """Whether rewards depend on the target machine."""
        return METRICS[self.metric].platform_dependent

    def cost(self, session: CompilerSession, prepared: PreparedProgram) -> float:
        """The metric's value for the session's module."""
        return METRICS[self.metric].measure(session, prepared.program)

    def scale(self, prepared: PreparedProgram) -> float:
        """Cost per unit of reward."""
        baseline = prepared.cost(self.metric, self.baseline)
        if self.scale_by == "baseline":
            return baseline
        smallest = 1.0 if METRICS[self.metric].deterministic else 1e-6
        return max(prepared.cost(self.metric, "O0") - baseline, smallest)

    def baselines(self, prepared: PreparedProgram) -> dict[str, float]:
        """The cost at O0 and at the baseline."""
        return {level: prepared.cost(self.metric, level) for level in ("O0", self.baseline)}
