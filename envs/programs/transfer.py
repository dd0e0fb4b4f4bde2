"""Sets in and out: a folder of program files becomes a stored set, and a set becomes files."""

from __future__ import annotations

import dataclasses
import itertools
import os
import re
import urllib.parse
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from compiler_dojo.envs.errors import DatasetError, DojoError, InvalidConfigError, UnknownProgramError, did_you_mean
from compiler_dojo.envs.llvm.lowering import LANGUAGES, check_lowering
from compiler_dojo.envs.llvm.session import CompilerSession, is_bitcode
from compiler_dojo.envs.programs.columns import Row
from compiler_dojo.envs.programs.folders import data_folder
from compiler_dojo.envs.programs.manifest import MANIFEST
from compiler_dojo.envs.programs.measure import measure
from compiler_dojo.envs.programs.program import Program
from compiler_dojo.envs.programs.program_set import FileSource, ProgramSet, ProgramSource
from compiler_dojo.envs.programs.schemes import SCHEMES
from compiler_dojo.envs.programs.sources.files import matching
from compiler_dojo.envs.programs.storage import write_set

Progress = Callable[[int, int], None]
"""Called with how many programs are done, and of how many."""

Format = Literal["bitcode", "ir", "parquet"]
FORMATS: tuple[Format, ...] = ("bitcode", "ir", "parquet")

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9+._-]*")


@dataclass(frozen=True)
class ImportReport:
    """What became of a folder.

    Attributes:
        name: the set's name; ``load_programs`` takes it.
        folder: where it is stored.
        programs: how many programs it holds.
        failures: why a file is not among them, by its path in the folder.
    """

    name: str
    folder: Path
    programs: int
    failures: dict[str, str] = field(default_factory=dict)

    @property
    def reasons(self) -> Counter[str]:
        """How many files failed by each kind of error."""
        return Counter(reason.partition(":")[0] for reason in self.failures.values())


def import_folder(
    folder: str | Path,
    name: str,
    lowering: str = "oz",
    replace: bool = False,
    progress: Progress | None = None,
    workers: int | None = None,
) -> ImportReport:
    """Store the program files under a folder (kinds: :data:`LANGUAGES`) as the set ``name``, measured.

    A file ``crypto/aes.c`` becomes ``NAME://crypto/aes`` (with its suffix where two files differ in nothing else), of
    the project ``crypto``: its first folder, or its own name when it is in none. Files that cannot be read or compiled
    are left out and reported.

    Args:
        folder: where the files are.
        name: of the set; letters, digits and ``+ - . _``.
        lowering: how sources become bitcode.
        replace: overwrite a set of this name.
        progress: called after each file.
        workers: threads that compile, by default one for each core.

    Raises:
        InvalidConfigError: the name cannot be used, or the lowering is unknown.
        UnknownProgramError: no file of these kinds is there.
        DatasetError: there is a set of this name, no file could be used, or the set cannot be written.
    """
    check_lowering(lowering)
    check_name(name)
    target = data_folder() / name
    if (target / MANIFEST).exists() and not replace:
        raise DatasetError(f"there is a set {name!r} in {target}: choose another name, or replace it")
    files = matching(str(folder), lowering) if Path(folder).is_dir() else []
    if not files:
        raise UnknownProgramError(f"{folder}: expected a folder with files of the kinds {', '.join(LANGUAGES)}")
    paths = [file.path.relative_to(folder) for file in files]
    uris = _uris(paths, name)
    failures: dict[str, str] = {}
    count = 0

    def one(number: int) -> Row | str:
        path = paths[number]
        project = path.parts[0] if len(path.parts) > 1 else path.stem
        return _read(files[number], uris[number], project)

    def rows() -> Iterator[Row]:
        nonlocal count
        for number, result in enumerate(pool.map(one, range(len(files)))):
            if isinstance(result, str):
                failures[paths[number].as_posix()] = result
            else:
                count += 1
                yield result
            if progress is not None:
                progress(number + 1, len(files))

    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        try:
            readable = rows()
            first = next(readable, None)
            if first is None:
                path, reason = next(iter(failures.items()))
                raise DatasetError(f"{folder}: none of {len(files)} files is a program; {path}: {reason}")
            details = {"source": str(Path(folder).resolve()), "lowering": lowering, "failures": failures}
            write_set(str(target), name, itertools.chain([first], readable), details)
        finally:
            pool.shutdown(cancel_futures=True)
    return ImportReport(name, target, count, failures)


def export_set(
    programs: ProgramSet, folder: str | Path, format: Format = "bitcode", progress: Progress | None = None
) -> int:
    """Write a set as files.

    Args:
        programs: what to write.
        folder: where; it is made. ``ORIGIN/PATH.bc`` or ``.ll`` are put under it after each program's URI; for Parquet
            it is any fsspec path.
        format: ``bitcode``, ``ir`` (text) or ``parquet`` (a stored set with measurements).
        progress: called after each program.

    Returns:
        How many programs were written.

    Raises:
        InvalidConfigError: unknown format.
        DatasetError: the folder cannot be written.
        InvalidProgramError: a program cannot be read as IR, or, for Parquet, measured.
    """
    if format not in FORMATS:
        raise InvalidConfigError(f"sets are not written as {format!r}: {did_you_mean(format, FORMATS)}")
    sources = programs.sources
    if format == "parquet":
        write_set(str(folder), programs.name, _counted(sources, progress))
        return len(sources)
    for number, source in enumerate(sources):
        program = source.load()
        path = Path(folder, *_parts(program.uri))
        suffix, content = (".ll", _text(program)) if format == "ir" else (".bc", _bitcode(program))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            (path.parent / (path.name + suffix)).write_bytes(content)
        except OSError as error:
            raise DatasetError(f"{program.uri} cannot be written: {error}; choose another folder") from error
        if progress is not None:
            progress(number + 1, len(sources))
    return len(sources)


def measured(source: ProgramSource) -> Row:
    """A program with its measurements: as stored where they are, else taken now."""
    known = getattr(source, "row", None)
    row: Row | None = known() if known is not None else None
    if row is not None:
        return row
    program = source.load()
    return Row(program, measure(program))


def check_name(name: str) -> None:
    """Check that a set may have this name: it is a folder's, and the scheme of its programs' URIs.

    Raises:
        InvalidConfigError: it may not.
    """
    from fsspec import available_protocols

    if not _NAME.fullmatch(name):
        raise InvalidConfigError(f"{name!r} cannot name a set: use letters, digits and + - . _, such as cbench-v1")
    if name in SCHEMES or name in available_protocols():
        raise InvalidConfigError(f"{name}:// means something else: choose another name for the set")


def _uris(paths: Sequence[Path], name: str) -> list[str]:
    stems = [path.with_suffix("").as_posix() for path in paths]
    shared = Counter(stems)
    names = [stem if shared[stem] == 1 else path.as_posix() for stem, path in zip(stems, paths, strict=True)]
    return [f"{name}://{urllib.parse.quote(item)}" for item in names]


def _read(file: FileSource, uri: str, project: str) -> Row | str:
    """A file as a row, or why it is none."""
    try:
        program = dataclasses.replace(file.load(), uri=uri, project=project, source=None)
        return Row(program, measure(program))
    except (DojoError, OSError) as error:
        return f"{type(error).__name__}: {error}"


def _counted(sources: Sequence[ProgramSource], progress: Progress | None) -> Iterator[Row]:
    for number, source in enumerate(sources):
        yield measured(source)
        if progress is not None:
            progress(number + 1, len(sources))


def _parts(uri: str) -> list[str]:
    """A URI as names of folders and a file that stay inside the folder they are put in."""
    parts = [urllib.parse.quote(part, safe=" %+@,=~") for part in uri.replace("://", "/", 1).split("/") if part]
    return [part.replace(".", "%2E") if set(part) == {"."} else part for part in parts] or ["program"]


def _text(program: Program) -> bytes:
    with CompilerSession(program.module, program.uri) as session:
        return session.ir().encode()


def _bitcode(program: Program) -> bytes:
    if is_bitcode(program.module):
        return program.module
    with CompilerSession(program.module, program.uri) as session:
        return session.bitcode()
