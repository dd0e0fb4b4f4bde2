"""Delta debugging (Zeller, Hildebrandt, 2002): a shorter list that still fails, of which no single item can go."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def ddmin(items: Sequence[T], fails: Callable[[list[T]], bool], seconds: float = float("inf")) -> list[T]:
    """The smallest part of ``items`` in their order that was found to fail; no single item can be left out.

    Args:
        items: a list that fails.
        fails: whether a shorter list does.
        seconds: after this time, the smallest list so far is returned.
    """
    end = time.perf_counter() + seconds
    smallest, parts = list(items), 2
    while smallest and time.perf_counter() < end:
        size = max(len(smallest) // parts, 1)
        for start in range(0, len(smallest), size):
            rest = smallest[:start] + smallest[start + size :]
            if time.perf_counter() < end and fails(rest):
                smallest, parts = rest, max(parts - 1, 2)
                break
        else:
            if size == 1:
                break
            parts = min(parts * 2, len(smallest))
    return smallest
