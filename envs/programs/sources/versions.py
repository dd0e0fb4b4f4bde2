"""The order of Debian's version numbers, as the policy manual gives it (section 5.6.12)."""

from __future__ import annotations

import re

_PART = re.compile(r"(\D*)(\d*)")
_END = 0


def compare_versions(first: str, second: str) -> int:
    """Below zero where the first version is older than the second, zero where they are equal, above where newer."""
    a, b = _key(first), _key(second)
    return (a > b) - (a < b)


def _key(version: str) -> tuple[int, list[tuple[list[int], int]], list[tuple[list[int], int]]]:
    """Epoch, upstream's version and Debian's revision, in a form that sorts."""
    epoch, _, rest = version.rpartition(":") if version.count(":") < 2 else version.partition(":")
    upstream, dash, revision = rest.rpartition("-")
    return int(epoch or 0), _parts(upstream if dash else rest), _parts(revision if dash and revision else "0")


def _parts(text: str) -> list[tuple[list[int], int]]:
    """Words and numbers in turn, up to an end that sorts before every letter but after a tilde."""
    found = [(word, number) for word, number in _PART.findall(text) if word or number]
    return [([*map(_rank, word), _END], int(number or 0)) for word, number in [*found, ("", "")]]


def _rank(character: str) -> int:
    """Tildes come before the end of a word, and letters before all other characters."""
    if character == "~":
        return _END - 1
    return ord(character) if character.isalpha() else ord(character) + 256
