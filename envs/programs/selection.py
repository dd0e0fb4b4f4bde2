"""Which programs of a set are meant: by language, origin, project, size and URI, as arguments or as a query's text."""

from __future__ import annotations

import fnmatch
import math
import re
import urllib.parse
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from compiler_dojo.envs.errors import InvalidConfigError, did_you_mean

if TYPE_CHECKING:
    from compiler_dojo.envs.programs.program_set import ProgramSource

GLOB_CHARACTERS = "*?["

KEYS = ("language", "origin", "project", "uri", "instructions")

_QUERY = re.compile(r"\?(\w+=[^?]*)$")


class Facts(NamedTuple):
    """What filters and splits look at.

    Attributes:
        sha256: hash of the program's module.
        language: as in the program.
        project: as in the program.
        instructions: LLVM IR instructions of the unoptimised module, or None when not known.
    """

    sha256: str
    language: str
    project: str
    instructions: int | None


def facts_of(source: ProgramSource, measured: bool = False) -> Facts:
    """Facts of a program: what is stored beside it where something is, else by loading it.

    Args:
        source: the program; one with a method ``facts() -> Facts | None`` answers by itself.
        measured: the number of instructions is needed.
    """
    known = getattr(source, "facts", None)
    facts: Facts | None = known() if known is not None else None
    if facts is not None and (facts.instructions is not None or not measured):
        return facts
    program = source.load()
    instructions = None
    if measured:
        from compiler_dojo.envs.programs.measure import measure

        instructions = measure(program, levels=()).instructions_o0
    return Facts(program.sha256, program.language, program.project, instructions)


def origin_of(uri: str) -> str:
    """The scheme of a URI, such as ``debian``; empty when it has none."""
    scheme, separator, _ = uri.partition("://")
    return scheme if separator else ""


@dataclass(frozen=True)
class Selection:
    """Conditions that all have to hold; an empty one always does.

    Attributes:
        language: languages, such as ``c``.
        origin: URI schemes, such as ``debian``.
        project: names of projects.
        uri: globs over URIs; ``*`` matches slashes too.
        instructions: least and greatest number of instructions of the unoptimised module, both included.
    """

    language: tuple[str, ...] = ()
    origin: tuple[str, ...] = ()
    project: tuple[str, ...] = ()
    uri: tuple[str, ...] = ()
    instructions: tuple[float, float] | None = None

    @classmethod
    def of(
        cls,
        language: str | Collection[str] | None,
        origin: str | Collection[str] | None,
        project: str | Collection[str] | None,
        uri: str | Collection[str] | None,
        instructions: tuple[float | None, float | None] | None,
    ) -> Selection:
        """A selection from arguments; None leaves a condition out."""
        size = None
        if instructions is not None:
            low, high = instructions
            size = (low or 0, math.inf if high is None else high)
        return cls(_texts(language), _texts(origin), _texts(project), _texts(uri), size)

    @classmethod
    def parse(cls, query: str) -> Selection:
        """A selection from ``language=c&instructions=50..10000&project=zlib&origin=debian``; keys may be repeated.

        Raises:
            InvalidConfigError: an unknown key, or no range of instructions.
        """
        given = urllib.parse.parse_qs(query.replace("+", "%2B"), keep_blank_values=True)
        for key in given:
            if key not in KEYS:
                raise InvalidConfigError(f"programs are not selected by {key!r}: {did_you_mean(key, KEYS)}")
        ranges = given.pop("instructions", None)
        instructions = _range(ranges[-1]) if ranges else None
        return cls(**{key: tuple(values) for key, values in given.items()}, instructions=instructions)

    def __str__(self) -> str:
        """The query that :meth:`parse` reads."""
        parts = [f"{key}={value}" for key in KEYS[:-1] for value in getattr(self, key)]
        if self.instructions is not None:
            low, high = self.instructions
            parts.append(f"instructions={low:.0f}..{'' if math.isinf(high) else f'{high:.0f}'}")
        return "&".join(parts)

    def admits(self, source: ProgramSource) -> bool:
        """Whether a program meets the conditions; it is loaded only where they ask for more than is known of it."""
        uri = source.uri
        if self.origin and origin_of(uri) not in self.origin:
            return False
        if self.uri and not any(fnmatch.fnmatchcase(uri, pattern) for pattern in self.uri):
            return False
        if not (self.language or self.project or self.instructions):
            return True
        facts = facts_of(source)
        if self.language and facts.language not in self.language:
            return False
        if self.project and facts.project not in self.project:
            return False
        if self.instructions is None:
            return True
        count = facts.instructions
        if count is None:
            count = facts_of(source, measured=True).instructions
        return count is not None and self.instructions[0] <= count <= self.instructions[1]


def split_query(name: str) -> tuple[str, Selection | None]:
    """``NAME?language=c`` as the name and its selection; a question mark without ``key=`` is a part of the name.

    Other keys stay with a URI, as they are for its scheme: ``csmith://7?size=small``.

    Raises:
        InvalidConfigError: the query cannot be understood.
    """
    match = _QUERY.search(name)
    if match is None:
        return name, None
    base, parts = name[: match.start()], match[1].split("&")
    if not origin_of(base):
        return base, Selection.parse(match[1])
    ours = [part for part in parts if part.partition("=")[0] in KEYS]
    others = [part for part in parts if part not in ours]
    return "?".join(filter(None, (base, "&".join(others)))), Selection.parse("&".join(ours)) if ours else None


def _texts(value: str | Collection[str] | None) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value or ())


def _range(text: str) -> tuple[float, float]:
    match = re.fullmatch(r"(\d*)\.\.(\d*)", text)
    if match is None:
        raise InvalidConfigError(f"instructions={text}: expected LOW..HIGH, such as 50..10000, 50.. or ..10000")
    low, high = match.groups()
    return int(low or 0), int(high) if high else math.inf
