"""Named sets of programs, read when a program is first asked for and sampled by a seeded generator."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from compiler_dojo.envs.errors import InvalidConfigError, UnknownProgramError, did_you_mean
from compiler_dojo.envs.llvm.lowering import LANGUAGES, lower
from compiler_dojo.envs.programs.manifest import content_version
from compiler_dojo.envs.programs.program import Program
from compiler_dojo.envs.programs.selection import Selection, facts_of


class ProgramSource(Protocol):
    """A program that can be loaded; small, picklable and hashable.

    One that knows more without loading says so by ``facts() -> Facts | None`` (see ``facts_of``) and ``row() -> Row``.
    """

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
                raise InvalidConfigError(f"two programs of {name!r} are called {source.uri!r}: leave one of them out")
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

    def sample(self, rng: np.random.Generator, by: str = "program") -> Program:
        """A program drawn uniformly.

        Args:
            rng: where chance comes from.
            by: ``program``, or ``project`` to draw a project and then a program of it, so that large projects weigh no
                more than small ones; a program of no known project counts as one of its own.

        Raises:
            InvalidConfigError: unknown ``by``.
        """
        if by == "program":
            return self[int(rng.integers(len(self)))]
        if by != "project":
            raise InvalidConfigError(f"programs are sampled by 'program' or 'project', got {by!r}")
        projects = self._by_project
        members = projects[int(rng.integers(len(projects)))]
        return self[members[int(rng.integers(len(members)))]]

    @functools.cached_property
    def version(self) -> str:
        """12 hexadecimal digits that name the set's content, whatever its order; loads what is not stored."""
        return content_version(facts_of(source).sha256 for source in self._sources.values())

    @property
    def sources(self) -> tuple[ProgramSource, ...]:
        """The set's programs before they are loaded."""
        return tuple(self._sources.values())

    def filter(
        self,
        language: str | Collection[str] | None = None,
        origin: str | Collection[str] | None = None,
        project: str | Collection[str] | None = None,
        instructions: tuple[float | None, float | None] | None = None,
        predicate: Callable[[Program], bool] | None = None,
        uri: str | Collection[str] | None = None,
    ) -> ProgramSet:
        """The programs that meet every condition given; a program is loaded only where nothing stored answers.

        Args:
            language: ``c``, ``c++``, ...; several in a collection, as for the next two.
            origin: scheme of the URI, such as ``debian``.
            project: the program's project.
            instructions: least and greatest size of the unoptimised module in LLVM IR instructions, None for no limit.
            predicate: called last, with each program that meets the rest.
            uri: glob over URIs; ``*`` matches slashes too.

        Raises:
            UnknownProgramError: no program meets the conditions.
        """
        selection = Selection.of(language, origin, project, uri, instructions)
        chosen = [
            source
            for source in self._sources.values()
            if selection.admits(source) and (predicate is None or predicate(source.load()))
        ]
        name = f"({self.name})" if "," in self.name else self.name
        query = "&".join(filter(None, (str(selection), "predicate" if predicate else "")))
        return ProgramSet(f"{name}?{query}", chosen)

    def __or__(self, other: ProgramSet) -> ProgramSet:
        return ProgramSet(f"{self.name},{other.name}", (*self.sources, *other.sources))

    def split(self, fractions: Mapping[str, float], seed: int = 0) -> dict[str, ProgramSet]:
        """Parts of the set by whole project, as :func:`splits.split_projects` draws them; named ``NAME/PART``.

        A program of no known project counts as one of its own. Duplicates stay; ``splits.remove_duplicates`` finds
        them.

        Args:
            fractions: share of the projects of each part, such as ``{"train": 0.8, "test": 0.2}``.
            seed: another seed gives another draw.

        Raises:
            InvalidConfigError: the fractions do not add up to 1.
            UnknownProgramError: a part got no project.
        """
        from compiler_dojo.envs.programs.splits import split_projects

        projects = [facts_of(source).project or uri for uri, source in self._sources.items()]
        drawn = split_projects(projects, fractions, seed)
        parts: dict[str, list[ProgramSource]] = {part: [] for part, share in fractions.items() if share > 0}
        for project, source in zip(projects, self._sources.values(), strict=True):
            parts[drawn[project]].append(source)
        return {part: ProgramSet(f"{self.name}/{part}", sources) for part, sources in parts.items()}

    @functools.cached_property
    def _by_project(self) -> Sequence[Sequence[int]]:
        """Numbers of the programs of each project, in the order in which the projects first come."""
        projects: dict[str, list[int]] = {}
        for number, (uri, source) in enumerate(self._sources.items()):
            projects.setdefault(facts_of(source).project or uri, []).append(number)
        return tuple(projects.values())
