"""Named sets of programs, read when a program is first asked for and sampled by a seeded generator."""

from __future__ import annotations

import functools
import glob
import urllib.parse
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from compiler_dojo.envs.errors import InvalidConfigError, UnknownProgramError, did_you_mean
from compiler_dojo.envs.llvm.lowering import LANGUAGES, check_lowering, lower
from compiler_dojo.envs.programs import bundled
from compiler_dojo.envs.programs.program import Program


class ProgramSource(Protocol):
    """A program that can be loaded; small, picklable and hashable."""

    @property
    def uri(self) -> str:
        """The program's name in its set."""
        ...

    def load(self) -> Program:
        """Read or compile the program."""
        ...


@dataclass(frozen=True)
class GivenSource:
    """A program that is in memory already."""

    program: Program

    @property
    def uri(self) -> str:
        """The program's own URI."""
        return self.program.uri

    def load(self) -> Program:
        """The program."""
        return self.program


@dataclass(frozen=True)
class FileSource:
    """A file of the user's: C, C++, Fortran, Rust, .ll or .bc."""

    path: Path
    lowering: str = "oz"

    @property
    def uri(self) -> str:
        """``file://`` and the absolute path."""
        return self.path.resolve().as_uri()

    def load(self) -> Program:
        """Read the file, compiling what is not IR.

        Raises:
            UnknownProgramError: no such file, or of a kind that is not known.
            CompilationError: its compiler rejects it.
            ToolchainError: no suitable compiler of its language is installed.
        """
        return _load_file(self, self.path.stat().st_mtime_ns if self.path.exists() else 0)


@functools.lru_cache(maxsize=1024)
def _load_file(source: FileSource, modified: int) -> Program:
    """Cached by file and modification time, so that resetting an environment does not compile again."""
    language = LANGUAGES.get(source.path.suffix)
    if language is None:
        kinds = ", ".join(LANGUAGES)
        raise UnknownProgramError(
            f"{source.path}: files of the kinds {kinds} are programs, {source.path.suffix!r} is not"
        )
    if not source.path.is_file():
        raise UnknownProgramError(f"{source.path}: no such file")
    if language == "llvm":
        return Program(source.uri, source.path.read_bytes())
    module = lower(source.path, source.lowering)
    return Program(source.uri, module, source.lowering, language, source=source.path.resolve())


class ProgramSet(Sequence[Program]):
    """Programs under a name, in a fixed order.

    Args:
        name: what reports call the set.
        sources: its programs, loaded when first used.
    """

    def __init__(self, name: str, sources: Iterable[ProgramSource]) -> None:
        self.name = name
        self._sources: dict[str, ProgramSource] = {}
        for source in sources:
            if self._sources.setdefault(source.uri, source) != source:
                raise InvalidConfigError(f"two programs of {name!r} are called {source.uri!r}")
        self.uris: tuple[str, ...] = tuple(self._sources)
        if not self.uris:
            raise UnknownProgramError(f"the program set {name!r} is empty")

    def __len__(self) -> int:
        return len(self.uris)

    def __getitem__(self, index: int | slice) -> Program:  # type: ignore[override]  # slices are not offered
        if isinstance(index, slice):
            raise TypeError("a ProgramSet is indexed by integers; use ProgramSet.get for URIs")
        return self._sources[self.uris[index]].load()

    def __iter__(self) -> Iterator[Program]:
        return (source.load() for source in self._sources.values())

    def __contains__(self, item: object) -> bool:
        return (item.uri if isinstance(item, Program) else item) in self._sources

    def __repr__(self) -> str:
        return f"ProgramSet({self.name!r}, {len(self)} programs)"

    def get(self, uri: str) -> Program:
        """The program with this URI, or, when that is unambiguous, whose URI ends in ``/uri``.

        Raises:
            UnknownProgramError: there is none; the message suggests the nearest.
        """
        if uri in self._sources:
            return self._sources[uri].load()
        endings = [known for known in self.uris if known.endswith("/" + uri)]
        if len(endings) == 1:
            return self._sources[endings[0]].load()
        raise UnknownProgramError(f"no program {uri!r} in {self.name}: {did_you_mean(uri, self.uris)}")

    def sample(self, rng: np.random.Generator) -> Program:
        """A program drawn uniformly."""
        return self[int(rng.integers(len(self)))]


def load_programs(
    programs: str | Path | Program | ProgramSet | Iterable[str | Path | Program | ProgramSource], lowering: str = "oz"
) -> ProgramSet:
    """The set that a user means.

    Args:
        programs: ``bundled``, ``bundled/train``, ``bundled/test``, ``bundled/DOMAIN`` or ``bundled://DOMAIN/NAME``;
            a path or glob of .c, .cpp, .f90, .rs, .ll, .bc and further files (:data:`LANGUAGES`); a program; a set;
            or several of these.
        lowering: how sources become bitcode, ``oz`` or ``compilergym``.

    Raises:
        UnknownProgramError: nothing matches.
        InvalidConfigError: unknown lowering.
    """
    check_lowering(lowering)
    if isinstance(programs, ProgramSet):
        return programs
    if isinstance(programs, Program):
        return ProgramSet(programs.uri, [GivenSource(programs)])
    if isinstance(programs, str | Path):
        return ProgramSet(str(programs), _named_sources(str(programs), lowering))
    if not isinstance(programs, Iterable):
        raise InvalidConfigError(f"programs are given by name, path, Program or several of these, got {programs!r}")
    sources: list[ProgramSource] = []
    for item in programs:
        if isinstance(item, str | Path):
            sources.extend(_named_sources(str(item), lowering))
        else:
            sources.append(GivenSource(item) if isinstance(item, Program) else item)
    return ProgramSet("given", sources)


def _named_sources(name: str, lowering: str) -> Sequence[ProgramSource]:
    if name == "bundled" or name.startswith(("bundled/", "bundled://")):
        return bundled.select(name, lowering)
    path = urllib.parse.unquote(name.removeprefix("file://")) if name.startswith("file://") else name
    if not Path(path).exists() and any(character in path for character in "*?["):
        paths = sorted(p for p in glob.glob(path, recursive=True) if Path(p).suffix in LANGUAGES)
    elif Path(path).is_dir():
        paths = sorted(str(p) for p in Path(path).rglob("*") if p.suffix in LANGUAGES)
    else:
        paths = [path] if Path(path).is_file() else []
    if not paths:
        known = ["bundled", "bundled/train", "bundled/test"]
        raise UnknownProgramError(
            f"no program matches {name!r}: expected a file or glob, or {did_you_mean(name, known)}"
        )
    return [FileSource(Path(p), lowering) for p in paths]
