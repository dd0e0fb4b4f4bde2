"""The standard corpora: committed lists of packages, units and hashes, from which each machine builds the same sets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from compiler_dojo.envs.errors import UnknownProgramError, did_you_mean

FOLDER = Path(__file__).parent
GROUPS: dict[str, tuple[str, ...]] = {"corpus": ("corpus-train", "corpus-valid", "corpus-test", "whole-test")}
"""Names that stand for several corpora."""


@dataclass(frozen=True)
class PinnedPackage:
    """A source package and its programs.

    Attributes:
        sha256: of the tarball with the sources.
        units: first 16 hexadecimal digits of each program's hash, by the unit's path.
    """

    name: str
    version: str
    sha256: str
    project: str
    domain: str
    units: Mapping[str, str]


@dataclass(frozen=True)
class Corpus:
    """A corpus as its list describes it.

    Attributes:
        about: one sentence on what it is for.
        instructions: least and most unoptimised instructions of its programs.
        selection: figures of how the list was made.
        linked: whether its programs are whole programs.
    """

    name: str
    about: str
    packages: tuple[PinnedPackage, ...]
    instructions: tuple[int, int] = (50, 10_000)
    lowering: str = "oz"
    linked: bool = False
    selection: Mapping[str, Any] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """How many programs it has."""
        return sum(len(package.units) for package in self.packages)


def corpus_names() -> list[str]:
    """The corpora that have lists."""
    return sorted(path.stem for path in FOLDER.glob("*.jsonl"))


def read_corpus(name: str) -> Corpus:
    """The list of a corpus: a line on the corpus, and one for each package.

    Raises:
        UnknownProgramError: there is no such list.
    """
    path = FOLDER / f"{name}.jsonl"
    if not path.is_file():
        raise UnknownProgramError(f"no standard corpus {name!r}: {did_you_mean(name, [*corpus_names(), *GROUPS])}")
    first, *rest = (json.loads(line) for line in path.read_text().splitlines())
    first["instructions"] = tuple(first["instructions"])
    return Corpus(packages=tuple(PinnedPackage(**line) for line in rest), **first)


def write_corpus(corpus: Corpus, folder: Path = FOLDER) -> None:
    """Write a corpus's list."""
    first = {
        "name": corpus.name,
        "about": corpus.about,
        "instructions": list(corpus.instructions),
        "lowering": corpus.lowering,
        "linked": corpus.linked,
        "selection": dict(corpus.selection),
    }
    lines = [json.dumps(first)]
    for package in sorted(corpus.packages, key=lambda package: package.name):
        units = dict(sorted(package.units.items()))
        lines.append(json.dumps({**package.__dict__, "units": units}, separators=(",", ":")))
    (folder / f"{corpus.name}.jsonl").write_text("\n".join(lines) + "\n")
