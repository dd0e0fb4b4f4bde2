"""Searches on environments whose best actions are known, and in loop nests with a reward made for the purpose."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from compiler_dojo.agents.protocols import Budget, Search, SearchResult
from compiler_dojo.agents.search import BeamSearch, EvolutionarySearch, GreedySearch, RandomSearch

SEARCHES: dict[str, Search] = {
    "greedy": GreedySearch(),
    "greedy 2": GreedySearch(lookahead=2),
    "beam breadth": BeamSearch(width=3),
    "beam depth": BeamSearch(width=3, order="depth"),
    "random": RandomSearch(),
    "evolution": EvolutionarySearch(population=4),
}


class Spelling:
    """Letters are appended to a word of at most ``length``; a word is worth what ``worth`` says.

    The last letter may not come twice in a row: it is masked, and taking it all the same is an error. What a word is
    worth is measured when it is spelled for the first time.
    """

    def __init__(self, worth: dict[str, float], letters: str = "abc", length: int = 4) -> None:
        self.worth, self.letters, self.length = worth, letters, length
        self.word = ""
        self.family: list[Spelling] = [self]
        self.measured: set[str] = {""}
        self.steps = [0]
        self.closed = False

    def value(self, word: str) -> float:
        return self.worth.get(word, 0.0)

    def fork(self) -> Spelling:
        assert not self.closed
        other = Spelling(self.worth, self.letters, self.length)
        other.word = self.word
        other.family, other.measured, other.steps = self.family, self.measured, self.steps
        self.family.append(other)
        return other

    def action_masks(self) -> np.ndarray:
        return np.array([letter != self.word[-1:] for letter in self.letters])

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert not self.closed
        assert self.action_masks()[action]
        assert len(self.word) < self.length
        before = self.value(self.word)
        self.word += self.letters[action]
        self.measured.add(self.word)
        self.steps[0] += 1
        observation = np.frombuffer(self.word.ljust(self.length).encode(), np.uint8)
        return observation, self.value(self.word) - before, False, len(self.word) == self.length, {}

    def close(self) -> None:
        assert not self.closed
        self.closed = True


def run(search: Search, env: Spelling, seed: int = 0, **budget: Any) -> SearchResult:
    return search.search(env, Budget(**(budget or {"steps": 10_000})), np.random.default_rng(seed))


def spell(env: Spelling, actions: Sequence[int]) -> str:
    return "".join(env.letters[action] for action in actions)


STAIRS = {"b": 1.0, "ba": 2.0, "bab": 3.0, "babc": 4.0}
"""Every letter of the best word pays."""

GAP = {"a": 1.0, "ba": 2.0, "c": 1.5, "bacb": 5.0}
"""The best word begins with a letter that does not pay, and goes through another."""


@pytest.mark.parametrize("name", SEARCHES)
def test_search__finds_a_word_of_which_every_letter_pays(name) -> None:
    env = Spelling(STAIRS)
    result = run(SEARCHES[name], env)
    assert spell(env, result.actions) == "babc"
    assert result.value == 4.0
    assert isinstance(SEARCHES[name], Search)


@pytest.mark.parametrize("name", SEARCHES)
def test_search__returns_the_shortest_actions_that_reach_the_value(name) -> None:
    env = Spelling({"c": 1.0, "ca": 1.0, "cab": 0.5})
    assert spell(env, run(SEARCHES[name], env).actions) == "c"


@pytest.mark.parametrize("name", SEARCHES)
def test_search__takes_no_action_where_none_pays(name) -> None:
    result = run(SEARCHES[name], Spelling({"a": -1.0}))
    assert (result.actions, result.value, result.improvements) == ((), 0.0, ())


@pytest.mark.parametrize("name", SEARCHES)
def test_search__leaves_the_environment_and_closes_every_fork(name) -> None:
    env = Spelling(GAP)
    run(SEARCHES[name], env, steps=100)
    assert env.word == ""
    assert [fork.closed for fork in env.family] == [False] + [True] * (len(env.family) - 1)


@pytest.mark.parametrize("name", SEARCHES)
def test_search__counts_the_steps_it_takes(name) -> None:
    env = Spelling(GAP)
    result = run(SEARCHES[name], env, steps=17)
    assert result.steps == env.steps[0] <= 17
    values = [value for _, _, value in result.improvements]
    assert values == sorted(set(values))
    assert values[-1] == result.value
    assert all(steps <= result.steps and seconds <= result.seconds for steps, seconds, _ in result.improvements)


@pytest.mark.parametrize("name", ["beam breadth", "beam depth", "random", "evolution"])
def test_search__spends_its_steps_exactly(name) -> None:
    for steps in (0, 1, 5, 12):
        env = Spelling(GAP)
        assert run(SEARCHES[name], env, steps=steps).steps == env.steps[0] == steps


@pytest.mark.parametrize("name", ["beam breadth", "beam depth", "random", "evolution"])
def test_search__spends_its_measurements_exactly(name) -> None:
    for count in (0, 1, 5, 9):
        env = Spelling(GAP)
        measured = env.measured
        result = run(SEARCHES[name], env, measurements=count, counter=lambda measured=measured: len(measured))
        assert result.measurements == len(measured) - 1 == count


@pytest.mark.parametrize("name", ["random", "evolution"])
def test_search__gives_up_when_everything_has_been_measured(name) -> None:
    env = Spelling({"ab": 1.0}, letters="ab", length=2)
    result = run(SEARCHES[name], env, measurements=1000, counter=lambda: len(env.measured))
    assert result.measurements == 4
    assert spell(env, result.actions) == "ab"


@pytest.mark.parametrize("name", SEARCHES)
def test_search__ends_when_its_time_does(name) -> None:
    env = Spelling(GAP)
    assert run(SEARCHES[name], env, seconds=0.0).steps == 0
    assert run(SEARCHES[name], env, seconds=0.02).seconds < 1.0


@pytest.mark.parametrize("name", SEARCHES)
def test_search__depends_on_the_seed_alone(name) -> None:
    rng = np.random.default_rng(7)
    words = ["".join(letters) for length in range(1, 7) for letters in itertools.product("abcd", repeat=length)]
    worth = dict(zip(words, rng.normal(size=len(words)), strict=True))
    results = [run(SEARCHES[name], Spelling(worth, "abcd", 6), seed=seed, steps=150) for seed in (3, 3, 4)]
    assert results[0]._replace(seconds=0, improvements=()) == results[1]._replace(seconds=0, improvements=())
    assert [step for step, *_ in results[0].improvements] == [step for step, *_ in results[1].improvements]
    if name in ("random", "evolution"):
        assert results[0].improvements[0] != results[2].improvements[0]


def test_greedy__stops_where_no_letter_pays() -> None:
    env = Spelling(GAP)
    assert spell(env, run(SEARCHES["greedy"], env).actions) == "c"


def test_greedy__looks_as_far_ahead_as_it_is_told() -> None:
    env = Spelling(GAP)
    assert spell(env, run(SEARCHES["greedy 2"], env).actions) == "bacb"
    assert spell(env, run(GreedySearch(lookahead=4), env).actions) == "bacb"


def test_greedy__takes_as_many_steps_as_there_are_sequences() -> None:
    env = Spelling({})
    assert run(SEARCHES["greedy"], env).steps == 3
    assert run(SEARCHES["greedy 2"], env).steps == 3 + 3 * 2


def test_beam__of_width_one_cannot_cross_the_gap_that_wider_ones_cross() -> None:
    env = Spelling(GAP)
    assert spell(env, run(BeamSearch(width=1), env).actions) == "c"
    assert spell(env, run(BeamSearch(width=3), env).actions) == "bacb"


@pytest.mark.parametrize("order", ["breadth", "depth"])
def test_beam__as_wide_as_the_tree_tries_everything(order) -> None:
    env = Spelling({"abca": 1.0})
    result = run(BeamSearch(width=100, order=order), env)
    assert result.steps == 3 + 6 + 12 + 24
    assert spell(env, result.actions) == "abca"


def test_beam__of_breadth_takes_width_times_actions_steps_per_level() -> None:
    assert run(BeamSearch(width=2), Spelling({})).steps == 3 + 4 + 4 + 4


def test_beam__of_depth_ends_an_episode_before_it_tries_the_second_best() -> None:
    env = Spelling(STAIRS)
    # the first descent: three successors of nothing, two of each prefix of the best word
    result = run(BeamSearch(width=2, order="depth"), env, steps=3 + 2 + 2 + 2)
    assert spell(env, result.actions) == "babc"


class Sum(Spelling):
    """Worth and looks depend on how often each letter was taken, not on their order."""

    def value(self, word: str) -> float:
        return super().value("".join(sorted(word)))

    def fork(self) -> Sum:
        other = super().fork()
        other.__class__ = Sum
        return other  # type: ignore[return-value]

    def action_masks(self) -> np.ndarray:
        return np.ones(len(self.letters), np.bool_)

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        _, *rest = super().step(action)
        return np.array([self.word.count(letter) for letter in self.letters]), *rest  # type: ignore[return-value]


def test_beam__counts_states_that_look_equal_as_one() -> None:
    env = Sum({}, letters="ab", length=3)
    # one, then two, three words that differ by more than the order, each with two successors
    assert run(BeamSearch(width=100), env).steps == 2 + 4 + 6


def test_evolution__combines_what_random_search_does_not_meet() -> None:
    word = "abcdabcdab"
    worth = {word[:length]: float(length) for length in range(1, len(word) + 1)}
    searches = (RandomSearch(), EvolutionarySearch())
    random, evolution = (run(search, Spelling(worth, "abcd", 10), steps=4000).value for search in searches)
    assert random < 7.0
    assert evolution >= 8.0


def test_search__closes_every_fork_when_a_step_fails() -> None:
    class Failing(Spelling):
        def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
            raise RuntimeError("the compiler is gone")

        def fork(self) -> Spelling:
            other = super().fork()
            other.__class__ = Failing
            return other

    env = Failing({})
    with pytest.raises(RuntimeError, match="the compiler is gone"):
        run(RandomSearch(), env)
    assert [fork.closed for fork in env.family[1:]] == [True]


def test_budget__needs_a_limit() -> None:
    for budget in ({}, {"steps": -1}, {"seconds": -1.0}):
        with pytest.raises(ValueError, match="a budget has a limit that is not negative"):
            Budget(**budget)
    with pytest.raises(ValueError, match="a budget of measurements needs a counter of them"):
        Budget(measurements=3)
