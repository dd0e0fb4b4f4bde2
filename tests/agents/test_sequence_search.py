"""Greedy search on environments whose best sequence is known."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pytest

from compiler_dojo.agents.sequence_search import greedy_sequence


class Switches:
    """A forkable environment: action ``i`` divides the cost by ``factors[i]`` the first time, and fails if that is 0.

    The greedy sequence is the factors in falling order, and no order of as many actions does better.
    """

    def __init__(self, factors: Sequence[float], cost: float = 1e6) -> None:
        self.factors = factors
        self.cost = cost
        self.actions: list[int] = []
        self.closed = False
        self.forks: list[Switches] = []

    def fork(self) -> Switches:
        other = Switches(self.factors, self.cost)
        other.actions = list(self.actions)
        self.forks.append(other)
        return other

    def multistep(self, actions: Sequence[int]) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        info: dict[str, Any] = {}
        for action in actions:
            if self.factors[action] == 0.0:
                info["error"] = "PassFailedError: this one always fails"
            elif action not in self.actions:
                self.cost /= self.factors[action]
            self.actions.append(action)
        return None, 0.0, False, False, {**info, "cost": self.cost}

    def close(self) -> None:
        self.closed = True

    def family(self) -> list[Switches]:
        """All forks, and theirs."""
        return [fork for child in self.forks for fork in (child, *child.family())]


def final_cost(factors: Sequence[float], sequence: Sequence[int]) -> float:
    env = Switches(factors)
    env.multistep(sequence)
    return env.cost


def test_greedy_sequence__finds_the_known_optimum_and_stops_there() -> None:
    factors = [1.5, 4.0, 1.0, 2.0]
    found = greedy_sequence([Switches(factors)], range(4), length=10, seconds=60.0)
    assert found == [1, 3, 0]
    best = min(final_cost(factors, sequence) for sequence in itertools.product(range(4), repeat=3))
    assert final_cost(factors, found) == best


def test_greedy_sequence__stops_at_its_length() -> None:
    assert greedy_sequence([Switches([1.5, 4.0, 2.0])], range(3), length=2, seconds=60.0) == [1, 2]


def test_greedy_sequence__weighs_all_programs_by_their_logarithms() -> None:
    # action 0 saves most of the large program's instructions, action 1 the larger mean of the logarithms
    large, small = Switches([3.0, 1.0], cost=1e6), Switches([1.0, 4.0], cost=100.0)
    assert greedy_sequence([large, small], range(2), length=1, seconds=60.0) == [1]


def test_greedy_sequence__takes_only_the_candidates() -> None:
    assert greedy_sequence([Switches([8.0, 4.0, 2.0])], [2, 1], length=5, seconds=60.0) == [1, 2]


def test_greedy_sequence__never_takes_an_action_that_fails_somewhere() -> None:
    envs = [Switches([2.0, 8.0]), Switches([2.0, 0.0])]
    assert greedy_sequence(envs, range(2), length=5, seconds=60.0) == [0]


def test_greedy_sequence__is_empty_when_every_action_fails() -> None:
    assert greedy_sequence([Switches([0.0, 0.0])], range(2), length=5, seconds=60.0) == []


def test_greedy_sequence__is_over_when_the_time_is() -> None:
    assert greedy_sequence([Switches([2.0, 4.0])], range(2), length=5, seconds=0.0) == []


def test_greedy_sequence__leaves_the_environments_as_they_were_and_closes_its_forks() -> None:
    envs = [Switches([2.0, 4.0, 1.0]), Switches([3.0, 1.0, 1.0])]
    greedy_sequence(envs, range(3), length=5, seconds=60.0)
    for env in envs:
        assert env.actions == []
        assert env.cost == 1e6
        assert not env.closed
        assert env.family()
        assert all(fork.closed for fork in env.family())


def test_greedy_sequence__closes_its_forks_when_the_time_is_over() -> None:
    env = Switches([2.0])
    greedy_sequence([env], range(1), length=5, seconds=0.0)
    assert all(fork.closed for fork in env.family())


def test_greedy_sequence__reports_each_action_found_with_the_share_of_time() -> None:
    reports: list[tuple[float, list[int]]] = []
    greedy_sequence(
        [Switches([2.0, 4.0])],
        range(2),
        length=5,
        seconds=60.0,
        progress=lambda share, found: reports.append((share, list(found))),
    )
    assert [found for _, found in reports] == [[1], [1, 0]]
    assert all(0.0 < share < 1.0 for share, _ in reports)


@pytest.mark.parametrize("threads", [1, 4])
def test_greedy_sequence__does_not_depend_on_the_number_of_threads(threads: int) -> None:
    envs = [Switches([1.0 + program * action**2 / 10 for action in range(6)]) for program in range(1, 5)]
    found = greedy_sequence(envs, range(6), length=6, seconds=60.0, threads=threads)
    assert found == [5, 4, 3, 2, 1]


@pytest.mark.parametrize("factor", [1.0, 0.5], ids=["nothing changes", "everything grows"])
def test_greedy_sequence__is_empty_when_no_action_helps(factor: float) -> None:
    assert greedy_sequence([Switches([factor] * 2)], range(2), length=5, seconds=60.0) == []


def test_greedy_sequence__tells_costs_below_one_apart() -> None:
    assert greedy_sequence([Switches([2.0, 4.0], cost=0.5)], range(2), length=5, seconds=60.0) == [1, 0]
