"""Searches over the actions of any environment that can be forked: greedy, beam, random, evolution."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from compiler_dojo.agents.protocols import Budget, ForkableEnv, SearchResult

PATIENCE = 2_000
"""Steps without a new measurement after which a search that counts those alone gives up: all was measured before."""


class _BudgetSpentError(Exception):
    """Ends a search from wherever it is."""


@dataclass
class _Node:
    """A state of the environment, and how it was reached.

    Attributes:
        env: in that state; the search's own.
        actions: from the root.
        value: sum of their rewards.
        best: the largest value on the way.
        ended: whether the episode has.
        observation: None at the root.
    """

    env: ForkableEnv
    actions: tuple[int, ...] = ()
    value: float = 0.0
    best: float = 0.0
    ended: bool = False
    observation: Any = None

    @property
    def key(self) -> tuple[float, bytes]:
        """Equal for states that are taken for the same one."""
        return self.value, np.asarray(self.observation).tobytes()

    def legal(self) -> list[int]:
        """Actions that can be taken."""
        return [] if self.ended else [int(action) for action in np.flatnonzero(self.env.action_masks())]


@dataclass
class _Exploration:
    """Takes steps as long as the budget lasts, and remembers the best state that one led to."""

    start: ForkableEnv
    budget: Budget
    steps: int = 0
    best: tuple[float, tuple[int, ...]] = (0.0, ())
    improvements: list[tuple[int, float, float]] = field(default_factory=list)
    _open: set[Any] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._began = time.perf_counter()
        self._counted = self._before = self._count()
        self._last_measured = 0

    def _count(self) -> int:
        return self.budget.counter() if self.budget.counter is not None else 0

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._began

    def root(self) -> _Node:
        """The state in which the search began."""
        return _Node(self._fork(self.start))

    def _fork(self, env: ForkableEnv) -> ForkableEnv:
        fork = env.fork()
        self._open.add(fork)
        return fork

    def release(self, *nodes: _Node) -> None:
        """These states are not needed any more."""
        for node in nodes:
            self._open.discard(node.env)
            node.env.close()

    def advance(self, node: _Node, action: int) -> _Node:
        """The state after an action; the one before is gone."""
        self._check()
        observation, reward, terminated, truncated, _ = node.env.step(action)
        self.steps += 1
        actions, value = (*node.actions, action), node.value + float(reward)
        after = _Node(node.env, actions, value, max(node.best, value), terminated or truncated, observation)
        best, shortest = self.best
        if value > best or (value == best and len(actions) < len(shortest)):
            if value > best:
                self.improvements.append((self.steps, self.seconds, value))
            self.best = value, actions
        return after

    def child(self, node: _Node, action: int) -> _Node:
        """The state after an action; the one before stays."""
        return self.advance(_Node(self._fork(node.env), node.actions, node.value, node.best), action)

    def _check(self) -> None:
        budget = self.budget
        if budget.steps is not None and self.steps >= budget.steps:
            raise _BudgetSpentError
        if budget.seconds is not None and self.seconds >= budget.seconds:
            raise _BudgetSpentError
        if budget.measurements is None:
            return
        counted = self._count()
        if counted - self._before >= budget.measurements:
            raise _BudgetSpentError
        if counted > self._counted:
            self._counted, self._last_measured = counted, self.steps
        elif self.steps - self._last_measured >= PATIENCE:
            raise _BudgetSpentError

    def result(self) -> SearchResult:
        """The best that was found; frees what is open."""
        for env in self._open:
            env.close()
        value, actions = self.best
        measured = self._count() - self._before
        return SearchResult(actions, value, self.steps, self.seconds, measured, tuple(self.improvements))


class _Searcher(ABC):
    """Runs a search until it ends or the budget does."""

    def search(self, env: ForkableEnv, budget: Budget, rng: np.random.Generator) -> SearchResult:
        """See :class:`~compiler_dojo.agents.protocols.Search`."""
        exploration = _Exploration(env, budget)
        try:
            self._run(exploration, rng)
        except _BudgetSpentError:
            pass
        except BaseException:
            exploration.result()
            raise
        return exploration.result()

    @abstractmethod
    def _run(self, exploration: _Exploration, rng: np.random.Generator) -> None:
        """Explore until the budget is spent or there is nothing more to try."""


@dataclass(frozen=True)
class GreedySearch(_Searcher):
    """Takes the first action of the best sequence of up to ``lookahead`` actions, until none is better than none.

    Of equally good sequences the shorter is the better one, then the one of lower actions.
    """

    lookahead: int = 1

    def _run(self, exploration: _Exploration, rng: np.random.Generator) -> None:
        node = exploration.root()
        while not node.ended:
            value, actions = self._best(exploration, node, self.lookahead)
            if value <= node.value:
                return
            node = exploration.advance(node, actions[len(node.actions)])

    def _best(self, exploration: _Exploration, node: _Node, depth: int) -> tuple[float, tuple[int, ...]]:
        """Value and actions of the best state that is at most so many actions away."""
        best = node.value, node.actions
        for action in node.legal() if depth else ():
            child = exploration.child(node, action)
            found = self._best(exploration, child, depth - 1)
            exploration.release(child)
            if found[0] > best[0] or (found[0] == best[0] and len(found[1]) < len(best[1])):
                best = found
        return best


@dataclass(frozen=True)
class BeamSearch(_Searcher):
    """Keeps the ``width`` states of the largest values.

    ``breadth``: of all states that are one action from those kept before, so that a search that the budget does not
    end takes at most width * actions steps per level. ``depth``: of each state's successors, the best of which is
    followed to the end of the episode before the next one is tried. States that look equal count as one.
    """

    width: int = 4
    order: Literal["breadth", "depth"] = "breadth"

    def _run(self, exploration: _Exploration, rng: np.random.Generator) -> None:
        if self.order == "depth":
            self._descend(exploration, exploration.root())
            return
        beam = [exploration.root()]
        while beam:
            found = [child for node in beam for child in self._children(exploration, node)]
            exploration.release(*beam)
            beam = self._kept(exploration, found)

    def _descend(self, exploration: _Exploration, node: _Node) -> None:
        for child in self._kept(exploration, self._children(exploration, node)):
            self._descend(exploration, child)
        exploration.release(node)

    def _children(self, exploration: _Exploration, node: _Node) -> list[_Node]:
        return [exploration.child(node, action) for action in node.legal()]

    def _kept(self, exploration: _Exploration, nodes: Sequence[_Node]) -> list[_Node]:
        """The best different states, best first."""
        different: dict[tuple[float, bytes], _Node] = {}
        for node in nodes:
            different.setdefault(node.key, node)
        kept = sorted(different.values(), key=lambda node: -node.value)[: self.width]
        chosen = {id(node) for node in kept}
        exploration.release(*(node for node in nodes if id(node) not in chosen))
        return kept


@dataclass(frozen=True)
class RandomSearch(_Searcher):
    """Episodes of uniformly random legal actions, as many as the budget allows."""

    def _run(self, exploration: _Exploration, rng: np.random.Generator) -> None:
        while True:
            exploration.release(_roll_out(exploration, rng))


def _roll_out(exploration: _Exploration, rng: np.random.Generator) -> _Node:
    node = exploration.root()
    if not node.legal():
        raise _BudgetSpentError  # nothing can be done here
    while legal := node.legal():
        node = exploration.advance(node, int(rng.choice(legal)))
    return node


@dataclass(frozen=True)
class EvolutionarySearch(_Searcher):
    """A population of action lists: random ones first, then children of the best that replace the worst.

    A child is a list cut and continued with the end of another, in which an action was then replaced, inserted or
    removed. Played from the start, actions that are not legal where they come are left out. Its fitness is the largest
    value on the way. Parents are the better of two drawn at random.

    Args:
        population: lists that are kept, all different.
        crossover: share of the children that have two parents.
    """

    population: int = 24
    crossover: float = 0.5

    def _run(self, exploration: _Exploration, rng: np.random.Generator) -> None:
        ranked: dict[tuple[int, ...], float] = {}
        for _ in range(self.population):
            node = _roll_out(exploration, rng)
            ranked[node.actions] = node.best
            exploration.release(node)
        actions = len(exploration.start.action_masks())
        while True:
            lists = sorted(ranked, key=lambda item: (-ranked[item], len(item), item))[: self.population]
            ranked = {item: ranked[item] for item in lists}
            # lists are in falling order, so that the smaller index is the better one
            first, second = (lists[int(rng.integers(len(lists), size=2).min())] for _ in range(2))
            child = list(first)
            if rng.random() < self.crossover:
                cut = int(rng.integers(1 + min(len(first), len(second))))
                child = [*first[:cut], *second[cut:]]
            _mutate(child, actions, rng)
            node = exploration.root()
            for action in child:
                if action in node.legal():
                    node = exploration.advance(node, action)
            ranked[node.actions] = node.best
            exploration.release(node)


def _mutate(actions: list[int], choices: int, rng: np.random.Generator) -> None:
    """Insert, replace or remove an action."""
    kind, position, action = rng.integers(3), int(rng.integers(len(actions) + 1)), int(rng.integers(choices))
    if kind == 0 or position == len(actions):
        actions.insert(position, action)
    elif kind == 1:
        actions[position] = action
    else:
        del actions[position]
