"""Actions that can be given by index or by name."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

from compiler_dojo.envs.errors import InvalidActionError, did_you_mean


def index_of(action: Any, indices: Mapping[str, int]) -> int:
    """The index of an action.

    Args:
        action: an index, of any integer type, or a name.
        indices: by name, from 0 on.

    Raises:
        InvalidActionError: there is no such action.
    """
    if isinstance(action, str):
        if action not in indices:
            raise InvalidActionError(f"no action {action!r}: {did_you_mean(action, indices)}")
        return indices[action]
    try:
        index = operator.index(action)
    except TypeError:
        index = -1
    if not 0 <= index < len(indices):
        raise InvalidActionError(f"actions are 0 to {len(indices) - 1}, got {action!r}")
    return index
