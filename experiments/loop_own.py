"""Our own code generator among the peers of the loops benchmark, with whatever chooses the nest."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from compiler_dojo.envs.loops.actions import LoopTuneActions
from compiler_dojo.envs.loops.codegen import generate
from compiler_dojo.envs.loops.jit import Jit
from compiler_dojo.envs.loops.nest import Nest, start_nest
from compiler_dojo.envs.loops.targets import Target
from compiler_dojo.envs.loops.workload import Workload
from compiler_dojo.experiments.loop_native import prepared
from compiler_dojo.experiments.loop_peers import Array, PreparedKernel

Schedule = Callable[[Workload], Nest]

SCRIPT = "split_4 swap_down swap_down down split_16 swap_up swap_up swap_up"
"""LoopTune's actions with which 22 of its agent's 25 published rollouts start: a baseline that looks at nothing."""


def scripted(workload: Workload) -> Nest:
    """The nest after the actions of :data:`SCRIPT`; those that are illegal change nothing, as LoopTune has it."""
    actions = LoopTuneActions()
    state = actions.start(workload)
    for name in SCRIPT.split():
        action = actions.names.index(name)
        if actions.mask(state)[action]:
            state = actions.apply(state, action)
    return state.nest


def divided(schedule: Schedule, threads: int) -> Schedule:
    """A schedule whose outermost loop is divided over threads."""
    if threads == 1:
        return schedule
    return lambda workload: schedule(workload).with_(threads=threads)


SCHEDULES: Mapping[str, Schedule] = {"start": start_nest, "script": scripted}
"""Nests that need no training, by the name under which they appear among the peers."""


class OurPeer:
    """A way to choose a nest, and our code for it.

    Args:
        name: in tables.
        schedule: chooses; the time that it takes is the tuning time, with code generation and compilation.
        target: to generate code for.
    """

    def __init__(self, name: str, schedule: Schedule, target: Target) -> None:
        self.name = name
        self._schedule, self._target = schedule, target
        self._jit: Jit | None = None

    def available(self) -> str:
        """Whether this machine can run code for the target."""
        return (
            ""
            if not self._target.missing_features()
            else f"this machine cannot run code for {self._target.name}: take native"
        )

    def prepare(self, workload: Workload, operands: Sequence[Array]) -> PreparedKernel:
        """Choose, generate and compile.

        Raises:
            IllegalScheduleError: no code can be generated for the chosen nest.
        """
        self._jit = self._jit or Jit(self._target)
        start = time.perf_counter()
        code = generate(self._schedule(workload), self._target)
        kernel = self._jit.compile(code.ir)
        seconds = time.perf_counter() - start
        how = "; ".join(line.strip() for line in code.nest.lines())
        return prepared(kernel, operands, code.iterations, how, seconds, code.workspace_bytes, code.nest.threads)
