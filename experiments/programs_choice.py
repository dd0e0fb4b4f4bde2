"""What ``dojo programs build`` is to build, from what its arguments say."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from compiler_dojo.envs.errors import InvalidConfigError, did_you_mean

if TYPE_CHECKING:
    from compiler_dojo.envs.programs.building import PackageChoice

SCHEMES = ("debian", "pypi")
"""What sets of one's own choice are built from."""


def standard_names(names: Sequence[str]) -> list[str]:
    """Names of standard corpora, those that stand for several replaced by these; each once.

    Raises:
        InvalidConfigError: there is no such corpus.
    """
    from compiler_dojo.envs.programs.corpora import GROUPS, corpus_names

    known = corpus_names()
    found: list[str] = []
    for name in names:
        if name not in known and name not in GROUPS:
            raise InvalidConfigError(
                f"nothing called {name!r} to build: {did_you_mean(name, [*known, *GROUPS, *SCHEMES])}"
            )
        found += GROUPS.get(name, (name,))
    return list(dict.fromkeys(found))


def package_names(text: str) -> tuple[str, ...]:
    """Names with commas between them, or the lines of a file but for empty ones and comments.

    Raises:
        InvalidConfigError: the file cannot be read.
    """
    if not Path(text).is_file():
        return tuple(item.strip() for item in text.split(",") if item.strip())
    try:
        lines = Path(text).read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidConfigError(f"{text}: not a list of packages, one in each line: {error}") from error
    return tuple(line.strip() for line in lines if line.strip() and not line.startswith("#"))


def default_name(choice: PackageChoice) -> str:
    """What a set of one's own choice is called without --name."""
    if choice.sample:
        return f"{choice.scheme}-sample-{choice.sample}-seed-{choice.seed}"
    if len(choice.packages) == 1:
        return f"{choice.scheme}-{choice.packages[0].partition('=')[0]}"
    return f"{choice.scheme}-packages"


def size_range(text: str) -> tuple[int, int]:
    """``LOW..HIGH`` instructions as numbers; a missing end is no limit.

    Raises:
        InvalidConfigError: it is no range.
    """
    from compiler_dojo.envs.programs.selection import Selection

    low, high = Selection.parse(f"instructions={text}").instructions or (0, math.inf)
    return int(low), sys.maxsize if math.isinf(high) else int(high)
