"""Writing sets of programs: Parquet shards, an index of their light columns, and a manifest that appears last."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import itertools
import os
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compiler_dojo.envs.errors import DatasetError
from compiler_dojo.envs.programs.columns import LIGHT, Row, batch_of, row_of, schema, values_of
from compiler_dojo.envs.programs.manifest import AGAIN, MANIFEST, Manifest, StoredFile, content_version
from compiler_dojo.envs.programs.program_set import ProgramSet
from compiler_dojo.envs.programs.stored import (
    SHARD_KEY,
    StoredPrograms,
    StoredSource,
    is_local,
    locate,
    open_parquet,
    read_manifest,
)

if TYPE_CHECKING:
    import pyarrow as pa
    from fsspec import AbstractFileSystem

__all__ = ["Row", "open_set", "read_rows", "verify_set", "write_part", "write_set"]

# 4,000 programs of 16.6 kB take 55, 48, 45 and 43 MB in groups of 1 to 4 (66 MB uncompressed), and a core reads about
# 6,300, 5,000, 4,700 and 3,900 of them a second in shuffled order. Each open shard of 2,000 keeps 11 MB of metadata in
# groups of 2, 5 MB in groups of 4. Groups of 8 are read half as fast as those of 4.
ROWS_PER_GROUP = 3
ZSTD_LEVEL = 3

_OURS = re.compile(r"(shard-\d+|index)-[0-9a-f]{12}\.parquet|\.partial-.*|" + re.escape(MANIFEST))


def open_set(folder: str | Path) -> ProgramSet:
    """The programs of a stored set, or of Parquet files with a ``content`` column, read when they are first used.

    Args:
        folder: a set's folder, a folder of Parquet files or one such file, on any fsspec path.

    Raises:
        DatasetError: there is none, it is damaged, or a later release wrote it.
    """
    programs = StoredPrograms(folder)
    name = programs.manifest.name if programs.manifest else str(folder)
    return ProgramSet(name, (StoredSource(programs, number) for number in range(len(programs))))


def read_rows(path: str | Path) -> Iterator[Row]:
    """Rows of a file of :func:`write_part` or of a set of :func:`write_set`, in order.

    Raises:
        DatasetError: the file is damaged, or holds no measurements.
    """
    programs = StoredPrograms(path)
    for number in range(len(programs)):
        row = programs.row(number)
        if row is None:
            raise DatasetError(f"{path}: row {number} was stored without measurements: import the programs instead")
        yield row


def write_part(path: str | Path, rows: Iterable[Row]) -> int:
    """Write one Parquet file, which appears when it is complete; the same rows give the same bytes.

    Returns:
        How many rows there were; without any the file is empty but valid.

    Raises:
        DatasetError: the disk is full, or the place cannot be written.
    """
    system, target = locate(path)
    folder, _, _ = target.rpartition("/")
    with _writing(system, folder) as name:
        written = _write_parquet(system, name, rows)
        _move(system, name, target)
    return written.rows


def write_set(
    folder: str | Path,
    name: str,
    rows: Iterable[Row],
    details: Mapping[str, Any] | None = None,
    rows_per_shard: int = 2000,
) -> None:
    """Write a set, replacing one that is there.

    Files carry their content's hash in their names and the manifest is written last, in one step: whoever opens the
    folder finds the old set until the new one is complete. The same rows give the same files.

    Args:
        folder: where, on any fsspec path; it is made, and may hold nothing but an older set.
        name: what the set is called.
        rows: its programs, in order.
        details: whatever else is to be known of the set, as JSON can hold it.
        rows_per_shard: programs of one file.

    Raises:
        DatasetError: no row, two programs of one URI, a full disk, a folder of other things, or another writer.
    """
    notes = dict(details or {})
    system, root = locate(folder)
    with _writing(system, root) as partial, alone(system, root):
        strangers = [path for path in _names(system, root) if not _OURS.fullmatch(path)]
        if strangers:
            raise DatasetError(f"{folder}: holds {strangers[0]!r}, which is no part of a set: give an empty folder")
        index = _Index()
        shards = []
        remaining = iter(rows)
        for number in itertools.count():
            chunk = index.following(itertools.islice(remaining, rows_per_shard))
            shard = _write_parquet(system, partial, chunk, shard=True)
            if shard.rows == 0:
                break
            shards.append(_named(system, root, partial, f"shard-{number:05}", shard))
        if not shards:
            raise DatasetError(f"{folder}: no programs to store")
        stored = _named(system, root, partial, "index", _write_index(system, partial, index.table()))
        manifest = Manifest(
            name=name,
            version=content_version(index.hashes),
            count=len(index.hashes),
            llvm_version=", ".join(sorted(index.llvm_versions)),
            index=stored,
            shards=tuple(shards),
            details=notes,
        )
        system.pipe_file(partial, manifest.to_json().encode())
        _move(system, partial, f"{root}/{MANIFEST}")
        current = {MANIFEST, stored.name, *(shard.name for shard in shards)}
        for old in _names(system, root):
            if old not in current:
                system.rm_file(f"{root}/{old}")


def verify_set(folder: str | Path) -> None:
    """Read everything of a stored set and hold it against its hashes.

    Raises:
        DatasetError: the first thing found wrong.
    """
    system, root = locate(folder)
    manifest = read_manifest(system, root)
    programs = StoredPrograms(folder)
    for stored in (manifest.index, *manifest.shards):
        path = f"{root}/{stored.name}"
        found = hashlib.sha256()
        with system.open(path, "rb") as stream:
            while block := stream.read(1 << 20):
                found.update(block)
        if found.hexdigest() != stored.sha256:
            raise DatasetError(f"{path}: SHA-256 {found.hexdigest()}, and {stored.sha256} was written: {AGAIN}")
    index = _Index()
    for number, _ in enumerate(index.following(map(row_of, _shard_values(system, root, manifest)))):
        if index.last() != programs.values(number):
            raise DatasetError(f"{folder}: the index differs from the shards in row {number}: {AGAIN}")
    if (content_version(index.hashes), len(index.hashes)) != (manifest.version, manifest.count):
        raise DatasetError(f"{folder}: the programs are not those that the manifest counts: {AGAIN}")


class _Index:
    """Collects the light columns of rows that pass by."""

    def __init__(self) -> None:
        self.hashes: list[str] = []
        self.llvm_versions: set[str] = set()
        self._columns: dict[str, list[Any]] = {name: [] for name in LIGHT}
        self._uris: set[str] = set()

    def following(self, rows: Iterable[Row]) -> Iterator[Row]:
        """The rows, each collected before it is passed on."""
        for row in rows:
            program, measurement = row
            if program.uri in self._uris:
                raise DatasetError(f"two programs are called {program.uri!r}: a set holds a URI once")
            self._uris.add(program.uri)
            self.hashes.append(program.sha256)
            self.llvm_versions.add(measurement.llvm_version)
            values = values_of(row)
            for name, column in self._columns.items():
                column.append(values[name])
            yield row

    def last(self) -> dict[str, Any]:
        """The light columns of the last row."""
        return {name: column[-1] for name, column in self._columns.items()}

    def table(self) -> pa.Table:
        """All rows."""
        import pyarrow as pa

        fields = [schema().field(name) for name in self._columns]
        return pa.table(self._columns, schema=pa.schema(fields, metadata={SHARD_KEY: b"1"}))


class _Hashed(io.RawIOBase):
    """A stream that counts and hashes what is written through it."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.size = 0
        self.sha256 = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._stream.write(data)
        self.sha256.update(data)
        self.size += len(data)
        return len(data)

    def tell(self) -> int:
        return self.size


def _write_parquet(system: AbstractFileSystem, path: str, rows: Iterable[Row], shard: bool = False) -> StoredFile:
    kept = schema().with_metadata({SHARD_KEY: b"1"}) if shard else schema()
    remaining = iter(rows)

    def batches() -> Iterator[pa.RecordBatch]:
        while group := list(itertools.islice(remaining, ROWS_PER_GROUP)):
            yield batch_of(group)

    return _write_batches(system, path, kept, batches(), ROWS_PER_GROUP)


def _write_index(system: AbstractFileSystem, path: str, table: pa.Table) -> StoredFile:
    return _write_batches(system, path, table.schema, table.to_batches(), max(len(table), 1))


def _write_batches(
    system: AbstractFileSystem, path: str, columns: pa.Schema, batches: Iterable[pa.RecordBatch], rows_per_group: int
) -> StoredFile:
    import pyarrow.parquet as pq

    rows = 0
    with system.open(path, "wb") as stream:
        hashed = _Hashed(stream)
        # neither dictionaries nor statistics pay in groups this small; the index is one group
        writer = pq.ParquetWriter(
            hashed,
            columns,
            compression="zstd",
            compression_level=ZSTD_LEVEL,
            use_dictionary=rows_per_group > ROWS_PER_GROUP,
            write_statistics=False,
        )
        with writer:
            for batch in batches:
                writer.write_batch(batch, rows_per_group)
                rows += batch.num_rows
    return StoredFile(path, rows, hashed.size, hashed.sha256.hexdigest())


def _named(system: AbstractFileSystem, root: str, partial: str, kind: str, stored: StoredFile) -> StoredFile:
    """Give a finished file the name that its content's hash is a part of."""
    name = f"{kind}-{stored.sha256[:12]}.parquet"
    _move(system, partial, f"{root}/{name}")
    return StoredFile(name, stored.rows, stored.size, stored.sha256)


def _move(system: AbstractFileSystem, source: str, target: str) -> None:
    if is_local(system):
        os.replace(source, target)
    else:
        system.mv(source, target)


def _names(system: AbstractFileSystem, root: str) -> list[str]:
    return sorted(path.rsplit("/", 1)[-1] for path in system.ls(root, detail=False, refresh=True))


@contextlib.contextmanager
def _writing(system: AbstractFileSystem, folder: str) -> Iterator[str]:
    """A name for files that are being written, gone afterwards; the folder is made.

    Raises:
        DatasetError: the operating system refuses a write.
    """
    partial = f"{folder}/.partial-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    try:
        system.makedirs(folder or "/", exist_ok=True)
        yield partial
    except OSError as error:
        raise DatasetError(
            f"{folder}: cannot be written: {error}; free space there, or choose another folder "
            "(DOJO_PROGRAMS sets where the named sets are kept)"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            if system.exists(partial):
                system.rm_file(partial)


@contextlib.contextmanager
def alone(system: AbstractFileSystem, root: str) -> Iterator[None]:
    """Keep other writers of this machine out of a folder; a killed process keeps nobody out.

    Raises:
        DatasetError: another process is writing there.
    """
    if not is_local(system):
        yield
        return
    handle = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DatasetError(f"{root}: another process is writing this set: wait until it has ended") from None
        yield
    finally:
        os.close(handle)


def _shard_values(system: AbstractFileSystem, root: str, manifest: Manifest) -> Iterator[dict[str, Any]]:
    for shard in manifest.shards:
        reader = open_parquet(system, f"{root}/{shard.name}")
        for batch in reader.iter_batches(batch_size=64, use_threads=False):
            yield from batch.to_pylist()
