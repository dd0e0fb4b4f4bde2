"""ComPile from the Hugging Face hub by streaming: ``compile://LANGUAGE/INDEX``, bitcode of production packages.

A. Grossman et al., "ComPile: A Large IR Dataset from Production Sources", 2023, arXiv:2309.15432.
"""

from __future__ import annotations

import functools
import itertools
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from compiler_dojo.envs.errors import (
    CompilerFailedError,
    FetchError,
    InvalidProgramError,
    ToolchainError,
    UnknownProgramError,
    did_you_mean,
)
from compiler_dojo.envs.programs.bitcode import upgrade
from compiler_dojo.envs.programs.program import Program, Provenance

SCHEME = "compile://"
REPOSITORY = "llvm-ml/ComPile"
REVISION = "17467629bb49a1460d1539e2816ffa0606727a82"
"""Commit of the data set that the indices count in: version 1.0, split into folders by language."""
REVISION_VARIABLE = "DOJO_COMPILE_REVISION"

FOLDERS: dict[str, str] = {"c": "c", "c++": "cpp", "julia": "julia", "rust": "rust", "swift": "swift"}
"""Folder below ``data/`` of the files of each language."""

_BATCH = 16  # rows
_BUFFER_BYTES = 1 << 20
_SHUFFLED = 256  # rows among which the next one is drawn
_CONNECTIONS = 16

# parts of an address that name no project
_GENERIC = frozenset({"archive", "refs", "tags", "releases", "download", "downloads", "raw", "tarball", "files", "src"})
_SUFFIXES = re.compile(r"(\.(tar|tgz|tbz2|txz|zip|git|crate|gz|bz2|xz|lz|orig|src))+$")
_VERSION = re.compile(r"([-_]|^)v?\d[\w.+~-]*$")


@dataclass(frozen=True)
class Refused:
    """A program of the data set that cannot be used, and why."""

    uri: str
    reason: str


@dataclass(frozen=True)
class HubSource:
    """A program of ComPile by its place among those of its language.

    Loading one reads its file, of 500 MB, up to it: use :func:`stream` for more than a few.
    """

    language: str
    index: int

    @property
    def uri(self) -> str:
        """``compile://LANGUAGE/INDEX``."""
        return _uri(self.language, self.index)

    def load(self) -> Program:
        """Fetch the program.

        Raises:
            FetchError: the hub cannot be reached.
            UnreadableProgramError: its bitcode is none that this LLVM reads.
            UnknownProgramError: there are fewer programs of this language.
        """
        return _load(self)


def select(uri: str, lowering: str) -> Sequence[HubSource]:
    """The program ``compile://LANGUAGE/INDEX``, or all of ``compile://LANGUAGE``; they come as they are.

    Raises:
        UnknownProgramError: no such language, or the index is no number.
        FetchError: counting all programs of a language needs the hub, and it cannot be reached.
    """
    language, _, index = uri.removeprefix(SCHEME).partition("/")
    _check_language(language)
    if not index:
        return [HubSource(language, number) for number in range(_offsets(language, _revision())[-1])]
    if not (index.isascii() and index.isdecimal()):
        raise UnknownProgramError(f"{uri}: expected {SCHEME}{language}/INDEX with a number from 0 on, got {index!r}")
    return [HubSource(language, int(index))]


def stream(language: str, limit: int | None = None, seed: int | None = None) -> Iterator[Program | Refused]:
    """Programs of a language as they arrive, and what could not be used instead of others.

    Args:
        language: ``c``, ``c++``, ``julia``, ``rust`` or ``swift``.
        limit: number of programs and refusals after which to stop; None for all.
        seed: None for the published order; a number for files in an order drawn from it, and the rows of each shuffled
            in a small buffer. Programs of one package are neighbours, and a file has some hundreds of packages.

    Raises:
        UnknownProgramError: no such language.
        FetchError: the hub cannot be reached, or not any more.
        ToolchainError: the hub's client is not installed.
    """
    _check_language(language)
    rows = _rows_in_order(language) if seed is None else _rows_shuffled(language, np.random.default_rng(seed))
    for index, row in itertools.islice(rows, limit):
        yield _program_or_refusal(language, index, row)


@functools.lru_cache(maxsize=1024)
def _load(source: HubSource) -> Program:
    offsets = _offsets(source.language, _revision())
    if source.index >= offsets[-1]:
        raise UnknownProgramError(f"{source.uri}: ComPile has {offsets[-1]} programs of this language")
    number = next(number for number, end in enumerate(offsets[1:]) if source.index < end)
    rows = _rows(_files(source.language, _revision())[number])
    row = next(itertools.islice(rows, source.index - offsets[number], None))
    return _program(source.language, source.index, row)


def _program_or_refusal(language: str, index: int, row: Mapping[str, Any]) -> Program | Refused:
    try:
        return _program(language, index, row)
    except (InvalidProgramError, CompilerFailedError) as error:
        return Refused(_uri(language, index), str(error))


def _program(language: str, index: int, row: Mapping[str, Any]) -> Program:
    uri = _uri(language, index)
    package_source = _text(row.get("package_source"))
    project = _project(package_source) or f"compile-{language}"
    return Program(
        uri,
        upgrade(row["content"] or b"", uri),
        language=_text(row.get("language")) or language,
        project=project,
        provenance=Provenance(
            package=project,
            package_source=package_source,
            license_expression=_text(row.get("license_expression")),
            license_source=_text(row.get("license_source")),
            license_files=tuple(_text(item) for item in row.get("license_files") or ()),
        ),
    )


def _rows_in_order(language: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    return enumerate(row for path in _files(language, _revision()) for row in _rows(path))


def _rows_shuffled(language: str, rng: np.random.Generator) -> Iterator[tuple[int, Mapping[str, Any]]]:
    offsets, files = _offsets(language, _revision()), _files(language, _revision())
    for number in rng.permutation(len(files)):
        yield from _shuffled(enumerate(_rows(files[number]), offsets[number]), rng)


def _shuffled(rows: Iterable[Any], rng: np.random.Generator) -> Iterator[Any]:
    buffer: list[Any] = []
    for row in rows:
        if len(buffer) < _SHUFFLED:
            buffer.append(row)
            continue
        place = int(rng.integers(_SHUFFLED))
        yield buffer[place]
        buffer[place] = row
    for place in rng.permutation(len(buffer)):
        yield buffer[place]


def _rows(path: str) -> Iterator[Mapping[str, Any]]:
    """Rows of a Parquet file on the hub, of which no more is read than is asked for.

    A file is one row group of 500 MB, which ``datasets`` streams as a whole before its first row.
    """
    with _hub(path):
        import pyarrow.parquet

        file = _open(path)
    with file:
        with _hub(path):
            parquet = pyarrow.parquet.ParquetFile(file, buffer_size=_BUFFER_BYTES, pre_buffer=False)
            batches = parquet.iter_batches(batch_size=_BATCH)
        if "content" not in parquet.schema_arrow.names:
            columns = ", ".join(parquet.schema_arrow.names)
            raise FetchError(f"{path} has the columns {columns}, and no content: it is no file of ComPile's")
        while True:
            with _hub(path):
                batch = next(batches, None)
            if batch is None:
                return
            yield from batch.to_pylist()


@functools.lru_cache(maxsize=32)
def _files(language: str, revision: str) -> tuple[str, ...]:
    """Paths on the hub of the files of a language, by number."""
    folder = f"datasets/{REPOSITORY}@{revision}/data/{FOLDERS[language]}"
    with _hub(folder):
        listed = _file_system().ls(folder, detail=False)
    paths = [str(path) for path in listed if str(path).endswith(".parquet")]
    if not paths:
        raise FetchError(f"{folder} holds no Parquet files; {_remedy()}")
    return tuple(sorted(paths, key=lambda path: [int(digits) for digits in re.findall(r"\d+", path.split("/")[-1])]))


@functools.lru_cache(maxsize=32)
def _offsets(language: str, revision: str) -> tuple[int, ...]:
    """Index of the first program of each file, and at the end their number; reads the end of each file."""
    with ThreadPoolExecutor(_CONNECTIONS) as pool:
        return tuple(itertools.accumulate(pool.map(_row_count, _files(language, revision)), initial=0))


def _row_count(path: str) -> int:
    with _hub(path):
        import pyarrow.parquet

        with _open(path) as file:
            return int(pyarrow.parquet.ParquetFile(file).metadata.num_rows)


def _open(path: str) -> Any:
    return _file_system().open(path, "rb")


def _file_system() -> Any:
    import fsspec

    return fsspec.filesystem("hf")


@contextmanager
def _hub(path: str) -> Iterator[None]:
    """Name what was asked of the hub when it fails; its clients raise errors of half a dozen libraries."""
    try:
        yield
    except ImportError as error:
        raise ToolchainError(f"ComPile needs {error.name}: `pip install 'compiler-dojo[compile]'`") from error
    except Exception as error:
        raise FetchError(f"{path} could not be read: {type(error).__name__}: {error}; {_remedy()}") from error


def _remedy() -> str:
    return (
        "check the network, set HF_ENDPOINT to a mirror of the hub, or, if the commit is gone, "
        f"{REVISION_VARIABLE}=main, where indices may mean other programs"
    )


def _revision() -> str:
    return os.environ.get(REVISION_VARIABLE) or REVISION


def _check_language(language: str) -> None:
    if language not in FOLDERS:
        raise UnknownProgramError(f"ComPile has no language {language!r}: {did_you_mean(language, FOLDERS)}")


def _uri(language: str, index: int) -> str:
    return f"{SCHEME}{language}/{index}"


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _project(package_source: str) -> str:
    """The project of a package by the address of its source: the last part that is a name, without its version."""
    path = package_source.split("://", 1)[-1].split("?", 1)[0].split("#", 1)[0]
    for part in reversed(path.rstrip("/").split("/")):
        name = _VERSION.sub("", _SUFFIXES.sub("", part.lower()))
        if len(name) > 1 and name not in _GENERIC and not re.fullmatch(r"[0-9a-f]{12,}", part):
            return name
    return ""
