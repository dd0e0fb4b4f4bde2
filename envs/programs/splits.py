"""Splits without leaks: whole projects, no module twice in a split, no module and no large function in two splits.

All functions work on :class:`Entry` records alone, so they serve sets that are far too large to be held in memory.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from compiler_dojo.envs.errors import InvalidConfigError, did_you_mean
from compiler_dojo.envs.programs.measure import Measurement
from compiler_dojo.envs.programs.program import Program

PRIORITY = ("test", "valid", "train")
"""Splits, the one that keeps what it shares with others first."""

Reason = Literal["module in the same split", "module in another split", "function in another split"]


class Entry(NamedTuple):
    """What must be known of a program to split it from others.

    Attributes:
        uri: the program's URI.
        project: the project it is a part of, or ``""`` when that is not known.
        split: the split it is to be in.
        structural_hash: hash of its module.
        function_hashes: hashes of its functions that are large enough to be compared.
    """

    uri: str
    project: str
    split: str
    structural_hash: str
    function_hashes: tuple[bytes, ...]

    @classmethod
    def of(cls, program: Program, measurement: Measurement, split: str) -> Entry:
        """The entry of a measured program."""
        return cls(program.uri, program.project, split, measurement.structural_hash, measurement.function_hashes)


class Removal(NamedTuple):
    """A program that is left out.

    Attributes:
        uri: the program.
        reason: what it has in common with another program.
        duplicate_of: URI of that program, which is kept.
    """

    uri: str
    reason: Reason
    duplicate_of: str


class Deduplicated(NamedTuple):
    """What :func:`remove_duplicates` decided.

    Attributes:
        kept: URIs, by split in the order of priority, then in sorted order.
        removed: the others, in the same order.
    """

    kept: tuple[str, ...]
    removed: tuple[Removal, ...]


def remove_duplicates(entries: Iterable[Entry], priority: Sequence[str] = PRIORITY) -> Deduplicated:
    """Choose the programs to keep so that no split holds a module twice and no two splits share code.

    In a split, of programs with equal module hashes the first in sorted order of URIs stays. A program goes when its
    module, or any of its functions that are compared, is in a program that an earlier split of ``priority`` keeps. The
    choice does not depend on the order of ``entries``.

    Raises:
        InvalidConfigError: an entry's split is not in ``priority``, or two entries have the same URI.
    """
    splits: dict[str, list[Entry]] = {name: [] for name in priority}
    for entry in entries:
        if entry.split not in splits:
            raise InvalidConfigError(
                f"{entry.uri} is in split {entry.split!r}, which has no place in the order of priority: "
                f"{did_you_mean(entry.split, priority)}"
            )
        splits[entry.split].append(entry)
    kept: list[str] = []
    removed: list[Removal] = []
    # of the splits before, with the program that has it
    modules: dict[str, str] = {}
    functions: dict[bytes, str] = {}
    seen: set[str] = set()
    for members in splits.values():
        stay: dict[str, Entry] = {}
        for entry in sorted(members, key=lambda entry: entry.uri):
            if entry.uri in seen:
                raise InvalidConfigError(f"two programs are called {entry.uri}; give each a URI of its own")
            seen.add(entry.uri)
            shared = next((functions[item] for item in entry.function_hashes if item in functions), None)
            if entry.structural_hash in modules:
                removed.append(Removal(entry.uri, "module in another split", modules[entry.structural_hash]))
            elif shared is not None:
                removed.append(Removal(entry.uri, "function in another split", shared))
            elif entry.structural_hash in stay:
                removed.append(Removal(entry.uri, "module in the same split", stay[entry.structural_hash].uri))
            else:
                stay[entry.structural_hash] = entry
        for module, entry in stay.items():
            kept.append(entry.uri)
            modules[module] = entry.uri
            for item in entry.function_hashes:
                functions.setdefault(item, entry.uri)
    return Deduplicated(tuple(kept), tuple(removed))


def split_projects(projects: Iterable[str], fractions: Mapping[str, float], seed: int = 0) -> dict[str, str]:
    """Draw a split for each project.

    A project's split depends on its name, the fractions and the seed alone, so projects that are added later move no
    other. The fractions hold on average.

    Args:
        projects: names; the same name always gets the same split.
        fractions: share of each split, such as ``{"train": 0.8, "valid": 0.1, "test": 0.1}``.
        seed: another seed gives another, independent draw.

    Raises:
        InvalidConfigError: the fractions are negative or do not add up to 1.
    """
    if any(not share >= 0 for share in fractions.values()) or not math.isclose(sum(fractions.values()), 1.0):
        raise InvalidConfigError(f"fractions of splits are at least 0 and add up to 1, got {dict(fractions)}")
    return {project: _draw(project, fractions, seed) for project in projects}


def _draw(project: str, fractions: Mapping[str, float], seed: int) -> str:
    digest = hashlib.sha256(f"{seed}:{project}".encode()).digest()
    point = int.from_bytes(digest[:8], "big") / 2**64
    end, split = 0.0, ""
    for name, share in fractions.items():
        if share > 0:
            end, split = end + share, name
            if point < end:
                break
    return split  # the last one when rounding leaves a gap below 1


def check_splits(splits: Mapping[str, Iterable[Entry]]) -> list[str]:
    """What is in more than one split: a sentence for each project, module and function, none when there is no leak.

    Args:
        splits: the entries of each split; what they themselves say of their split does not count. Programs of unknown
            projects may be anywhere.
    """
    # a program for each split that a thing is in
    found: dict[str, dict[str | bytes, dict[str, str]]] = {"project": {}, "module": {}, "function": {}}
    for split, entries in splits.items():
        for entry in entries:
            if entry.project:
                found["project"].setdefault(entry.project, {}).setdefault(split, entry.uri)
            found["module"].setdefault(entry.structural_hash, {}).setdefault(split, entry.uri)
            for item in entry.function_hashes:
                found["function"].setdefault(item, {}).setdefault(split, entry.uri)
    return [
        f"{kind} {item.hex() if isinstance(item, bytes) else item} is in {_places(places)}"
        for kind, items in found.items()
        for item, places in items.items()
        if len(places) > 1
    ]


def _places(places: Mapping[str, str]) -> str:
    return " and ".join(f"{split} ({uri})" for split, uri in places.items())
