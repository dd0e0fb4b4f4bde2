"""Reading stored programs: an index of the light columns in memory, the bitcode fetched row by row."""

from __future__ import annotations

import bisect
import functools
import hashlib
import itertools
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compiler_dojo.envs.errors import DatasetError
from compiler_dojo.envs.programs.columns import CONTENT, LIGHT, Row, measurement_of, program_of, row_of
from compiler_dojo.envs.programs.manifest import AGAIN, MANIFEST, Manifest
from compiler_dojo.envs.programs.measure import Measurement
from compiler_dojo.envs.programs.program import Program
from compiler_dojo.envs.programs.selection import Facts

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from fsspec import AbstractFileSystem

# a thread closes its files beyond these; our own sets have about ten
OPEN_FILES = 64

# A schema's metadata carries this key when the file is a part of a set of ours, which counts only with its manifest.
SHARD_KEY = b"compiler_dojo_shard"


def locate(path: str | Path) -> tuple[AbstractFileSystem, str]:
    """The file system and the path in it; relative local paths become absolute.

    Raises:
        DatasetError: pyarrow or fsspec is not installed, or the kind of path is not known.
    """
    try:
        import pyarrow.parquet  # noqa: F401 - asked for here, so that one message serves all that follows
        from fsspec.core import url_to_fs
    except ImportError:
        raise DatasetError(
            "stored sets need pyarrow and fsspec: install them with `pip install 'compiler-dojo[programs]'`"
        ) from None
    try:
        system, root = url_to_fs(str(path))
    except (ValueError, ImportError, OSError) as error:
        raise DatasetError(f"{path}: no such place: {error}") from error
    return system, root.rstrip("/") or root


def is_local(system: AbstractFileSystem) -> bool:
    """Whether paths of this file system are paths of the machine."""
    from fsspec.implementations.local import LocalFileSystem

    return isinstance(system, LocalFileSystem)


def open_parquet(system: AbstractFileSystem, path: str, metadata: pq.FileMetaData | None = None) -> pq.ParquetFile:
    """Open a Parquet file; its buffers are the caller's thread's alone.

    Raises:
        DatasetError: it is missing, cut short, or not Parquet.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq
    from fsspec.implementations.memory import MemoryFileSystem

    try:
        # read() rather than a memory map: as fast, and a file that shrinks while open is an error, not a SIGBUS
        if is_local(system):
            stream = pa.OSFile(path)
        elif isinstance(system, MemoryFileSystem):  # its open files share one position
            stream = pa.BufferReader(system.cat_file(path))
        else:
            stream = system.open(path, "rb")
        return pq.ParquetFile(stream, metadata=metadata)
    except FileNotFoundError:
        raise DatasetError(f"{path}: a file of the set is missing: {AGAIN}") from None
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path}: cut short or not a Parquet file ({error}): {AGAIN}") from error


class StoredPrograms:
    """The rows of a stored set, or of Parquet files of someone else's that have a ``content`` column.

    Opening reads the light columns; bitcode is read one row group at a time, and a thread keeps its last one. May be
    used by many threads, in forked processes, and pickled: the copy opens the same files and checks that they are
    of the same content.

    Args:
        path: a set's folder, a folder of Parquet files, or one file, on any fsspec path.

    Raises:
        DatasetError: there is no set, or it cannot be read.
    """

    def __init__(self, path: str | Path) -> None:
        system, root = locate(path)
        self.path = root if is_local(system) else str(path)
        self.manifest: Manifest | None = None
        if system.isfile(root):
            names = [root]
        elif system.isfile(f"{root}/{MANIFEST}"):
            self.manifest = read_manifest(system, root)
            names = [f"{root}/{shard.name}" for shard in self.manifest.shards]
        else:
            names = sorted(system.glob(f"{root}/*.parquet"))
        if not names:
            raise DatasetError(f"{path}: no stored set of programs: there is neither {MANIFEST} nor a Parquet file")
        self._files: Sequence[str] = names
        self._metadata: dict[int, tuple[pq.FileMetaData, list[int]]] = {}
        self._threads = threading.local()
        if self.manifest is not None:
            self._check_files(system, root, self.manifest)
            table = self._read_index(system, f"{root}/{self.manifest.index.name}")
            rows = [shard.rows for shard in self.manifest.shards]
            self.identity = self.manifest.index.sha256
        else:
            table, rows = self._read_light_columns(system, whole=names != [root])
            sizes = [(name, system.size(name)) for name in names]
            self.identity = hashlib.sha256(repr(sizes).encode()).hexdigest()[:12]
        self._starts = [0, *itertools.accumulate(rows)]
        self._index = table
        self._columns: dict[str, Sequence[Any]] = {}
        if self.manifest is not None and not self.manifest.count == len(table) == len(self):
            raise DatasetError(f"{path}: the index and the shards hold different numbers of programs: {AGAIN}")

    def __len__(self) -> int:
        return self._starts[-1]

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self.path, self.identity)

    def values(self, row: int) -> dict[str, Any]:
        """The light columns of a row."""
        return {name: self.column(name)[row] for name in self._index.column_names}

    def column(self, name: str) -> Sequence[Any]:
        """A light column; None where the files lack it."""
        if name not in self._columns:
            known = name in self._index.column_names
            self._columns[name] = _listed(self._index.column(name)) if known else [None] * len(self)
        return self._columns[name]

    @functools.cached_property
    def uris(self) -> Sequence[str]:
        """URIs of all rows; where the files hold none, the file's and ``#`` with the row in it."""
        system, _ = locate(self.path)
        names = [Path(file).as_uri() if is_local(system) else system.unstrip_protocol(file) for file in self._files]
        numbered = (
            f"{name}#{row}"
            for name, (start, end) in zip(names, itertools.pairwise(self._starts), strict=True)
            for row in range(end - start)
        )
        return tuple(given or own for given, own in zip(self.column("uri"), numbered, strict=True))

    def facts(self, row: int) -> Facts | None:
        """What filters look at, or None when the files hold no hash of the program."""
        sha256 = self.column("sha256")[row]
        if sha256 is None:
            return None
        language, project, count = (self.column(name)[row] for name in ("language", "project", "instructions_o0"))
        return Facts(sha256, language or "", project or "", count)

    def program(self, row: int) -> Program:
        """Read a program.

        Raises:
            DatasetError: the files were damaged or replaced meanwhile.
        """
        content = self._group(row, (CONTENT,))
        return program_of(content[CONTENT], {**self.values(row), "uri": self.uris[row]})

    def row(self, row: int) -> Row | None:
        """Read a program with its measurements; None when the files hold none.

        Raises:
            DatasetError: the files were damaged or replaced meanwhile.
        """
        if self.column("instructions_o0")[row] is None:
            return None
        return row_of({**self.values(row), **self._group(row, (CONTENT, "function_hashes"))})

    def measurement(self, row: int) -> Measurement | None:
        """Read a program's measurements without the program; None when the files hold none.

        Raises:
            DatasetError: the files were damaged or replaced meanwhile.
        """
        if self.column("instructions_o0")[row] is None:
            return None
        return measurement_of({**self.values(row), **self._group(row, ("function_hashes",))})

    def _group(self, row: int, columns: tuple[str, ...]) -> dict[str, Any]:
        """Columns that are not in the index."""
        file = bisect.bisect_right(self._starts, row) - 1
        local = self._thread()
        _, ends = self._opened(local, file)[1]
        inside = row - self._starts[file]
        group = bisect.bisect_right(ends, inside)
        key = (file, group, columns)
        if local.key != key:
            local.chunks = self._read_group(local, file, group, columns)
            local.key = key
        offset = inside - (ends[group - 1] if group else 0)
        return {name: chunk[offset].as_py() for name, chunk in local.chunks.items()}

    def _read_group(self, local: Any, file: int, group: int, columns: tuple[str, ...]) -> dict[str, Any]:
        reader, _ = self._opened(local, file)
        try:
            table = reader.read_row_group(group, columns=list(columns), use_threads=False)
        except (OSError, ValueError) as error:
            raise DatasetError(f"{self._files[file]}: damaged or cut short ({error}): {AGAIN}") from error
        return {name: table.column(name) for name in columns}

    def _thread(self) -> Any:
        """This thread's open files and last row group; a forked process shares no file position with its parent."""
        local = self._threads
        if getattr(local, "process", None) != os.getpid():
            local.process, local.files, local.key, local.chunks = os.getpid(), {}, None, {}
            local.system, _ = locate(self.path)
        return local

    def _opened(self, local: Any, file: int) -> tuple[pq.ParquetFile, tuple[pq.FileMetaData, list[int]]]:
        reader = local.files.get(file)
        if reader is None:
            if len(local.files) >= OPEN_FILES:
                local.files.clear()
            known = self._metadata.get(file)
            reader = open_parquet(local.system, self._files[file], known[0] if known else None)
            if known is None:
                self._metadata[file] = reader.metadata, group_ends(reader.metadata)
            local.files[file] = reader
        return reader, self._metadata[file]

    def _check_files(self, system: AbstractFileSystem, root: str, manifest: Manifest) -> None:
        for stored in (manifest.index, *manifest.shards):
            path = f"{root}/{stored.name}"
            try:
                size = system.size(path)
            except FileNotFoundError:
                raise DatasetError(f"{path}: a file of the set is missing: {AGAIN}") from None
            if size != stored.size:
                raise DatasetError(f"{path}: {size} bytes, and {stored.size} were written: {AGAIN}")

    def _read_index(self, system: AbstractFileSystem, path: str) -> pa.Table:
        try:
            return open_parquet(system, path).read(use_threads=False)
        except (OSError, ValueError) as error:
            raise DatasetError(f"{path}: the index is damaged ({error}): {AGAIN}") from error

    def _read_light_columns(self, system: AbstractFileSystem, whole: bool) -> tuple[pa.Table, list[int]]:
        import pyarrow as pa

        tables, rows = [], []
        for number, path in enumerate(self._files):
            reader = open_parquet(system, path)
            columns = reader.schema_arrow.names
            if whole and SHARD_KEY in (reader.schema_arrow.metadata or {}):
                raise DatasetError(f"{path}: its set has no {MANIFEST}, so its writing did not end: {AGAIN}")
            if CONTENT not in columns:
                raise DatasetError(f"{path}: no column {CONTENT!r} with bitcode: not a file of programs")
            try:
                tables.append(reader.read(columns=[name for name in LIGHT if name in columns], use_threads=False))
            except (OSError, ValueError) as error:
                raise DatasetError(f"{path}: damaged or cut short ({error}): {AGAIN}") from error
            self._metadata[number] = reader.metadata, group_ends(reader.metadata)
            rows.append(reader.metadata.num_rows)
        return pa.concat_tables(tables, promote_options="permissive"), rows


class StoredSource:
    """A program of a stored set: equal to others of the same URI and content."""

    __slots__ = ("_number", "_programs")

    def __init__(self, programs: StoredPrograms, number: int) -> None:
        self._programs, self._number = programs, number

    @property
    def uri(self) -> str:
        """The URI that the program was stored under."""
        return self._programs.uris[self._number]

    def load(self) -> Program:
        """Read the program.

        Raises:
            DatasetError: the files were damaged or replaced meanwhile.
        """
        return self._programs.program(self._number)

    def facts(self) -> Facts | None:
        """What filters look at, without reading the program; None when that was not stored."""
        return self._programs.facts(self._number)

    def row(self) -> Row | None:
        """The program with its measurements; None when they were not stored.

        Raises:
            DatasetError: the files were damaged or replaced meanwhile.
        """
        return self._programs.row(self._number)

    def values(self) -> dict[str, Any]:
        """The light columns of the program's row (:data:`columns.LIGHT`), without reading the program."""
        return self._programs.values(self._number)

    def measurement(self) -> Measurement | None:
        """The program's measurements, without reading the program; None when they were not stored.

        Raises:
            DatasetError: the files were damaged or replaced meanwhile.
        """
        return self._programs.measurement(self._number)

    @property
    def manifest(self) -> Manifest | None:
        """The manifest of the set, or None for files that are no set of ours."""
        return self._programs.manifest

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StoredSource) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def __repr__(self) -> str:
        return f"StoredSource({self.uri!r})"

    def _identity(self) -> tuple[str, str]:
        own = f"{self._programs.identity}#{self._number}"
        return self.uri, self._programs.column("sha256")[self._number] or own


def read_manifest(system: AbstractFileSystem, root: str) -> Manifest:
    """The manifest of a set's folder.

    Raises:
        DatasetError: there is none, or it cannot be used.
    """
    path = f"{root}/{MANIFEST}"
    try:
        return Manifest.from_json(system.cat_file(path), path)
    except FileNotFoundError:
        raise DatasetError(f"{path}: no such file: {AGAIN}") from None


def group_ends(metadata: pq.FileMetaData) -> list[int]:
    """Number of the first row after each row group."""
    return list(itertools.accumulate(metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)))


def _listed(column: pa.ChunkedArray) -> list[Any]:
    """A column's values; equal texts are one object, as most columns have few different ones."""
    seen: dict[str, str] = {}
    return [seen.setdefault(value, value) if isinstance(value, str) else value for value in column.to_pylist()]


@functools.lru_cache(maxsize=4)
def _reopen(path: str, identity: str) -> StoredPrograms:
    """What unpickling calls; environments of one process share what it opens."""
    programs = StoredPrograms(path)
    if programs.identity != identity:
        raise DatasetError(f"{path}: the set was replaced since it was pickled: open it again")
    return programs
