"""The best single pass list for a whole set of programs: the baseline every learned policy has to beat."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

FINALISTS = 8
SMALLEST_COST = 1e-12


class ForkableEnv(Protocol):
    """What the search needs of an environment in an episode."""

    def fork(self) -> ForkableEnv:
        """A copy in the same state."""
        ...

    def multistep(self, actions: Sequence[int]) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Take several actions."""
        ...

    def close(self) -> None:
        """Free it."""
        ...


def greedy_sequence(
    envs: Sequence[ForkableEnv],
    actions: Sequence[int],
    length: int,
    seconds: float,
    threads: int = 2,
    progress: Callable[[float, list[int]], None] | None = None,
) -> list[int]:
    """Grow one sequence for all programs, each time by the action that lowers the mean log cost most.

    All actions are tried on the cheaper half of the programs, and the best eight of them on all.

    Args:
        envs: one environment per program, at the start of its episode; each is left as it was.
        actions: the candidates.
        length: actions at most.
        seconds: time at most; the sequence found so far is returned when it is over.
        threads: environments stepped in parallel.
        progress: called after each action found with the share of the time used and the sequence.

    Returns:
        The actions; shorter than ``length`` when no action helps any more.
    """
    start = time.monotonic()
    heads = [env.fork() for env in envs]
    # the cheaper half of the programs takes a tenth of the time: it chooses who is tried on all
    small = sorted(heads, key=_log_cost)[: max(len(heads) // 2, 1)]
    found: list[int] = []
    with ThreadPoolExecutor(threads) as pool:

        def total(on: Sequence[ForkableEnv], *more: int) -> float:
            if time.monotonic() - start > seconds:
                raise TimeoutError
            return math.fsum(pool.map(lambda head: _log_cost(head, *more), on))

        try:
            current = total(heads)
            while len(found) < length:
                ranked = sorted(actions, key=lambda action: total(small, action))
                finalists = {action: total(heads, action) for action in ranked[:FINALISTS]}
                best = min(finalists, key=lambda action: finalists[action])
                if finalists[best] >= current - 1e-9:
                    break
                current = finalists[best]
                found.append(best)
                list(pool.map(lambda head, action=best: head.multistep([action]), heads))
                if progress is not None:
                    progress((time.monotonic() - start) / seconds, found)
        except TimeoutError:
            pass
        finally:
            for head in heads:
                head.close()
    return found


def _log_cost(head: ForkableEnv, *actions: int) -> float:
    """Logarithm of the cost after these actions; infinite when one fails."""
    trial = head.fork()
    info = trial.multistep(actions)[-1]
    trial.close()
    return math.inf if "error" in info else math.log(max(info["cost"], SMALLEST_COST))
