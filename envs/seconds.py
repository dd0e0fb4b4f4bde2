"""Measured times that do not make two runs of one episode differ."""

from __future__ import annotations


class Seconds(float):
    """A measured time. Any two are equal: what the clock said is not part of what an episode is.

    Gymnasium's checker, and whoever compares two runs of one episode, compares their infos with ``==``.
    """

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Seconds) or NotImplemented

    def __ne__(self, other: object) -> bool:
        return False if isinstance(other, Seconds) else NotImplemented

    def __hash__(self) -> int:
        return hash(Seconds)
