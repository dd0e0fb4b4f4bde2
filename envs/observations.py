"""What agents see of a program."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from compiler_dojo.envs.errors import UnknownObservationError, did_you_mean
from compiler_dojo.envs.llvm.graph import edge_bounds, node_bounds
from compiler_dojo.envs.llvm.library import AUTOPHASE_SIZE, INSTCOUNT_SIZE
from compiler_dojo.envs.llvm.session import CompilerSession
from compiler_dojo.envs.prepared import PreparedProgram

LARGEST_COUNT = np.iinfo(np.int64).max // 2


@dataclass
class EpisodeView:
    """What an observation may look at.

    Attributes:
        session: the program as it is now.
        prepared: the program's baselines.
        histogram: times each action was taken, float32 of shape (actions,).
        passes_left: what is left of the budget.
        budget: the budget.
    """

    session: CompilerSession
    prepared: PreparedProgram
    histogram: npt.NDArray[np.float32]
    passes_left: int
    budget: int


@runtime_checkable
class Observation(Protocol):
    """A view of the program and the episode. One of your own is any object with these two methods."""

    def space(self, actions: int, budget: int) -> gym.Space[Any]:
        """The space of the values, for this many actions and this budget."""
        ...

    def observe(self, view: EpisodeView) -> Any:
        """The value now."""
        ...


class Features:
    """The default: Autophase, sizes, what was done, and how long is left, in one vector.

    float32 of shape (60 + actions,):

    ======================  =======================================================================
    0 to 55                 Autophase counts divided by the instruction count, clipped to [0, 1]
    56                      log(instructions) / 10
    57                      log(instructions / instructions at -O0), clipped to [-10, 10]
    58                      log(instructions / instructions at -Oz), clipped to [-10, 10]
    59 to 59 + actions      times each action was taken, divided by the budget
    last                    passes left, divided by the budget
    ======================  =======================================================================
    """

    def space(self, actions: int, budget: int) -> gym.Space[Any]:
        """A Box."""
        low = np.zeros(60 + actions, np.float32)
        high = np.ones(60 + actions, np.float32)
        low[57:59] = -10.0
        high[56:59] = 10.0
        return gym.spaces.Box(low, high, dtype=np.float32)

    def observe(self, view: EpisodeView) -> npt.NDArray[np.float32]:
        """The vector now."""
        actions = len(view.histogram)
        vector = np.empty(60 + actions, np.float32)
        vector[:56] = view.session.autophase_shares()
        size = math.log(max(view.session.instruction_count, 1))
        vector[56] = size / 10.0
        vector[57] = _clip(size - view.prepared.log_count("O0"))
        vector[58] = _clip(size - view.prepared.log_count("Oz"))
        np.multiply(view.histogram, 1.0 / view.budget, out=vector[59 : 59 + actions])
        vector[-1] = view.passes_left / view.budget
        return vector


def _clip(value: float) -> float:
    return min(max(value, -10.0), 10.0)


class Autophase:
    """Autophase counts, int64 of shape (56,)."""

    def space(self, actions: int, budget: int) -> gym.Space[Any]:
        """A Box."""
        return gym.spaces.Box(0, LARGEST_COUNT, (AUTOPHASE_SIZE,), np.int64)

    def observe(self, view: EpisodeView) -> npt.NDArray[np.int64]:
        """The counts now."""
        return view.session.autophase()


class InstCount:
    """LLVM's InstCount, int64 of shape (70,)."""

    def space(self, actions: int, budget: int) -> gym.Space[Any]:
        """A Box."""
        return gym.spaces.Box(0, LARGEST_COUNT, (INSTCOUNT_SIZE,), np.int64)

    def observe(self, view: EpisodeView) -> npt.NDArray[np.int64]:
        """The counts now."""
        return view.session.instcount()


class Histogram:
    """Times each action was taken, float32 of shape (actions,)."""

    def space(self, actions: int, budget: int) -> gym.Space[Any]:
        """A Box."""
        return gym.spaces.Box(0.0, float(budget), (actions,), np.float32)

    def observe(self, view: EpisodeView) -> npt.NDArray[np.float32]:
        """The counts now."""
        return view.histogram.copy()


# Printable and control characters that LLVM's assembly writer emits; everything else is escaped by it.
IR_CHARACTERS = frozenset(map(chr, (*range(32, 127), 10)))
LARGEST_TEXT = 1 << 24


class IR:
    """The module as text; vector environments with shared memory reserve its greatest length for each."""

    def space(self, actions: int, budget: int) -> gym.Space[Any]:
        """A Text space."""
        return gym.spaces.Text(LARGEST_TEXT, charset=IR_CHARACTERS)

    def observe(self, view: EpisodeView) -> str:
        """The text now."""
        return view.session.ir()


class Bitcode:
    """The module as LLVM bitcode: a sequence of bytes, uint8."""

    def space(self, actions: int, budget: int) -> gym.Space[Any]:
        """A Sequence of bytes, stacked into an array."""
        return gym.spaces.Sequence(gym.spaces.Discrete(256), stack=True)

    def observe(self, view: EpisodeView) -> npt.NDArray[np.uint8]:
        """The bitcode now, uint8 of shape (bytes,)."""
        return np.frombuffer(view.session.bitcode(), np.uint8)


class Graph:
    """The program graph in ProGraML's schema; :mod:`compiler_dojo.envs.llvm.graph` explains its columns.

    Gymnasium's GraphInstance of N nodes and E edges: ``nodes`` int32 of shape (N, 7), ``edges`` (flow and position)
    int32 of shape (E, 2), ``edge_links`` (source and target) int32 of shape (E, 2).
    """

    def space(self, actions: int, budget: int) -> gym.Space[Any]:
        """A Graph of two Boxes."""
        (node_low, node_high), (edge_low, edge_high) = node_bounds(), edge_bounds()
        return gym.spaces.Graph(
            gym.spaces.Box(node_low, node_high, dtype=np.int32), gym.spaces.Box(edge_low, edge_high, dtype=np.int32)
        )

    def observe(self, view: EpisodeView) -> gym.spaces.GraphInstance:
        """The graph now."""
        graph = view.session.graph()
        return gym.spaces.GraphInstance(graph.nodes, graph.edge_features, graph.edge_links)


class Several:
    """Several observations as a Dict, by name."""

    def __init__(self, parts: Mapping[str, Observation]) -> None:
        self.parts = dict(parts)

    def space(self, actions: int, budget: int) -> gym.Space[Any]:
        """A Dict of the parts' spaces."""
        return gym.spaces.Dict({name: part.space(actions, budget) for name, part in self.parts.items()})

    def observe(self, view: EpisodeView) -> dict[str, Any]:
        """The parts' values now."""
        return {name: part.observe(view) for name, part in self.parts.items()}


OBSERVATIONS: dict[str, type[Observation]] = {
    "features": Features,
    "autophase": Autophase,
    "instcount": InstCount,
    "histogram": Histogram,
    "ir": IR,
    "bitcode": Bitcode,
    "graph": Graph,
}
"""Observations by the name that ``observation=`` takes."""

ObservationChoice: TypeAlias = "str | Observation | Sequence[str] | Mapping[str, str | Observation]"


def make_observation(choice: ObservationChoice) -> Observation:
    """The observation that a name, an object, a list of names, or a mapping of names to either stands for.

    Raises:
        UnknownObservationError: unknown name; the message suggests the nearest.
    """
    if isinstance(choice, str):
        if choice not in OBSERVATIONS:
            raise UnknownObservationError(f"unknown observation {choice!r}: {did_you_mean(choice, OBSERVATIONS)}")
        return OBSERVATIONS[choice]()
    if isinstance(choice, Observation):
        return choice
    if isinstance(choice, Mapping):
        return Several({name: make_observation(part) for name, part in choice.items()})
    if isinstance(choice, Sequence):
        return Several({name: make_observation(name) for name in choice})
    raise UnknownObservationError(
        "an observation is a name, an object with space() and observe(), a list or a mapping; "
        f"got {type(choice).__name__}"
    )
