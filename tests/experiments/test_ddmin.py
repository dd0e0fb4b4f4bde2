"""Delta debugging on lists whose smallest failing part is known."""

from __future__ import annotations

import random

import pytest

from compiler_dojo.experiments.ddmin import ddmin


@pytest.mark.parametrize("needed", [[], [0], [19], [3, 4], [0, 7, 19], list(range(20))])
def test_ddmin__finds_what_is_needed_and_nothing_else(needed: list[int]) -> None:
    assert ddmin(range(20), lambda part: set(needed) <= set(part)) == needed


def test_ddmin__no_single_item_of_its_result_can_go() -> None:
    rng = random.Random(0)
    for _ in range(50):
        reasons = [set(rng.sample(range(15), rng.randint(1, 5))) for _ in range(3)]

        def fails(part: list[int], reasons: list[set[int]] = reasons) -> bool:
            return any(reason <= set(part) for reason in reasons)

        smallest = ddmin(range(15), fails)
        assert fails(smallest)
        assert not any(fails([other for other in smallest if other != item]) for item in smallest)


def test_ddmin__stops_when_its_time_is_up() -> None:
    assert ddmin(range(20), lambda part: True, seconds=0.0) == list(range(20))
