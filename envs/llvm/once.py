"""A cache for functions whose first call may come from several threads at once."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Hashable
from typing import TypeVar

T = TypeVar("T")


def once(function: Callable[..., T]) -> Callable[..., T]:
    """Like ``functools.cache``, but never calls the function twice for the same arguments."""
    cached = functools.cache(function)
    lock = threading.RLock()

    @functools.wraps(function)
    def call(*arguments: Hashable) -> T:
        with lock:
            return cached(*arguments)

    return call
