"""Unpacking archives that nobody vouches for: nothing outside the folder, nothing without bound, all or nothing."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Protocol

from compiler_dojo.envs.errors import FetchError, UnsafeArchiveError
from compiler_dojo.envs.programs.sources.fetching import exclusive

SOURCES_BYTES = 1 << 30
"""What :func:`unpack_sources` unpacks a package to at most."""
SOURCE_MEMBERS = 1_000_000
SOURCE_BYTES = 16 << 20
"""The largest file that it keeps; the largest C files of Debian have 10 MB."""

_HEADER_BYTES = 1 << 20  # more than any honest member's headers; tarfile reads them into memory
_REPORT = "delete it, and tell whoever published it"
_DAMAGE = (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, OSError)
_CLASHES = (FileExistsError, IsADirectoryError, NotADirectoryError)  # two members of one name, or one in the other


@dataclass(frozen=True)
class UnpackLimits:
    """What an archive may unpack to.

    Attributes:
        size: bytes of all files together.
        members: number of files, folders and links.
    """

    size: int = 8 << 30
    members: int = 200_000


DEFAULT_LIMITS = UnpackLimits()


def unpack(archive: Path, folder: Path, prefix: str = "", limits: UnpackLimits = DEFAULT_LIMITS) -> None:
    """Unpack what the tar archive holds below ``prefix`` into ``folder``, which appears complete or not at all.

    Does nothing when the folder is there. File modes and owners are not taken over.

    Raises:
        UnsafeArchiveError: a path or link leads outside, a member is no file, folder or link, or there is too much.
        FetchError: the archive is damaged, holds nothing below the prefix, or the folder cannot be written.
    """
    if folder.is_dir():
        return
    with exclusive(folder):
        if folder.is_dir():
            return
        work = folder.with_name(folder.name + ".unpacking")
        shutil.rmtree(work, ignore_errors=True)  # left by a process that was killed
        try:
            with open_compressed(archive) as stream:
                _extract(stream, work, PurePosixPath(prefix), limits)
            if not work.is_dir():
                raise FetchError(f"{archive} holds no files below {prefix!r}")
            work.rename(folder)
        except _DAMAGE as error:
            remedy = "if the disk is not full, delete the archive and try again"
            raise FetchError(f"{archive} cannot be unpacked into {folder}: {error}; {remedy}") from error
        except UnsafeArchiveError as error:
            raise UnsafeArchiveError(f"{archive} is refused: {error}; {_REPORT}") from None
        finally:
            shutil.rmtree(work, ignore_errors=True)


def unpack_sources(archive: Path, folder: Path) -> Path:
    """Unpack what can be compiled of a package, a tar or zip archive, below a new folder; the folder with its contents.

    What :func:`unpack` refuses is left out here: an odd file or link says nothing against a package's other sources.
    Only files and links to them inside the tree are unpacked, and no file over 16 MB.

    Raises:
        FetchError: the archive is truncated or damaged, or of an unknown kind.
        UnsafeArchiveError: it unpacks to more than 1 GB or a million files.
    """
    try:
        folder.mkdir(parents=True)
        (_unpack_zip if archive.suffix == ".zip" else _unpack_tar)(archive, folder)
    except (*_DAMAGE, zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise FetchError(f"{archive.name} could not be unpacked into {folder.parent}: {error.strerror}") from error
        raise FetchError(f"{archive.name} is truncated or damaged: delete {archive} and fetch it again") from error
    inside = list(folder.iterdir())
    return inside[0] if len(inside) == 1 and inside[0].is_dir() else folder


def _unpack_tar(archive: Path, folder: Path) -> None:
    total = 0
    links: list[tarfile.TarInfo] = []
    with tarfile.open(archive) as members:
        for count, member in enumerate(members):
            if count >= SOURCE_MEMBERS:
                raise UnsafeArchiveError(
                    f"{archive.name} unpacks to more than {SOURCE_MEMBERS:,} files: it is left out"
                )
            if not (member.isfile() or member.issym() or member.islnk()) or member.size > SOURCE_BYTES:
                continue
            total = _added(total, member.size, archive)
            if member.isfile():
                _write_inside(members, member, folder)
            else:
                links.append(member)
    _link_inside(links, folder)


def _write_inside(members: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    path = _inside(member.name, folder)
    if path is None:
        return
    with contextlib.suppress(*_CLASHES):
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(members, member, path)
        # a package's own build runs scripts, and makes anew what is older than its source
        path.chmod(0o755 if member.mode & 0o100 else 0o644)
        with contextlib.suppress(OverflowError, OSError):  # a time that no file can have
            os.utime(path, (member.mtime, member.mtime))


def _link_inside(links: list[tarfile.TarInfo], folder: Path) -> None:
    """Last of all, so that no file is written through a link; those that lead outside are left out."""
    root = Path(os.path.realpath(folder))

    def stays(path: Path | None) -> bool:
        return path is not None and Path(os.path.realpath(path)).is_relative_to(root)

    made: list[Path] = []
    for link in links:
        path = _inside(link.name, folder)
        target = _inside(link.linkname, folder) if link.islnk() else None
        if path is None or not stays(path.parent) or (link.islnk() and not stays(target)):
            continue
        with contextlib.suppress(FileNotFoundError, *_CLASHES):
            path.parent.mkdir(parents=True, exist_ok=True)
            if target is None:
                path.symlink_to(link.linkname)
            else:
                os.link(target, path)
            made.append(path)
            if not stays(path):
                path.unlink()
    for path in made:  # a later link may have turned an earlier one
        if not stays(path):
            path.unlink(missing_ok=True)


def _inside(name: str, folder: Path) -> Path | None:
    """Where a member of this name belongs, a leading slash aside; None outside the folder."""
    path = os.path.normpath(name.lstrip("/"))
    return folder / path if is_safe(path) and path != "." else None


def _unpack_zip(archive: Path, folder: Path) -> None:
    total = 0
    with zipfile.ZipFile(archive) as members:
        for member in members.infolist():
            link = stat.S_ISLNK(member.external_attr >> 16)
            if member.is_dir() or link or member.file_size > SOURCE_BYTES or not is_safe(member.filename):
                continue
            total = _added(total, member.file_size, archive)
            try:
                members.extract(member, folder)
            except _CLASHES:
                continue


def _added(total: int, size: int, archive: Path) -> int:
    if total + size > SOURCES_BYTES:
        raise UnsafeArchiveError(f"{archive.name} unpacks to more than {SOURCES_BYTES >> 20} MB: it is left out")
    return total + size


def read_text(archive: Path, limit: int = 256 << 20) -> str:
    """The text of a compressed file.

    Raises:
        UnsafeArchiveError: it unpacks to more than ``limit`` bytes.
        FetchError: it is damaged or no UTF-8.
    """
    try:
        with open_compressed(archive) as stream:
            content = stream.read(limit + 1)
        if len(content) > limit:
            raise UnsafeArchiveError(f"{archive} unpacks to more than {limit} bytes; {_REPORT}")
        text = content.decode()
    except (*_DAMAGE, UnicodeDecodeError) as error:
        raise FetchError(f"{archive} cannot be read: {error}; delete it and try again") from error
    return text


def is_safe(name: str) -> bool:
    """Whether this path of an archive or manifest stays below the folder that it is meant for."""
    return not name.startswith("/") and ".." not in name.split("/") and "\0" not in name


class Stream(Protocol):
    """What :func:`tarfile.open` needs to read in one pass."""

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes."""
        ...


def open_compressed(path: Path) -> IO[bytes]:
    """The decompressed content of a bzip2, gzip, xz or uncompressed file, told apart by their first bytes."""
    with path.open("rb") as file:
        magic = file.read(6)
    if magic.startswith(b"BZh"):
        return bz2.open(path)
    if magic.startswith(b"\x1f\x8b"):
        return gzip.open(path)  # type: ignore[return-value]  # a GzipFile reads like any binary file
    if magic == b"\xfd7zXZ\x00":
        return lzma.open(path)
    return path.open("rb")


class _Meter:
    """A stream of which only as much is read as its headers announced: a header that never ends fills no memory."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.left = _HEADER_BYTES

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self.left -= len(data)
        if self.left < 0:
            raise UnsafeArchiveError(f"a header of more than {_HEADER_BYTES} bytes")
        return data


def _extract(stream: Stream, folder: Path, prefix: PurePosixPath, limits: UnpackLimits) -> None:
    meter = _Meter(stream)
    size = count = 0
    links: list[tuple[Path, str]] = []
    with tarfile.open(fileobj=meter, mode="r|") as tar:  # type: ignore[call-overload]  # a stream needs only read()
        while (member := tar.next()) is not None:
            tar.members.clear()  # tarfile would keep every member in memory
            meter.left = member.size + _HEADER_BYTES
            size += member.size
            count += 1
            if size > limits.size or count > limits.members:
                raise UnsafeArchiveError(f"it unpacks to more than {limits.size} bytes or {limits.members} members")
            if not is_safe(member.name):
                raise UnsafeArchiveError(f"the path {member.name!r} leads outside of its folder")
            if not (member.isreg() or member.isdir() or member.issym() or member.islnk()):
                raise UnsafeArchiveError(f"{member.name!r} is a device or pipe")
            path = _place(member.name, folder, prefix)
            if path is None or member.isdir():
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            if member.issym():
                links.append((path, member.linkname))
            elif member.islnk():
                _link(member, path, folder, prefix)
            else:
                _write(tar, member, path)
    _link_symbolically(links, folder)


def _place(name: str, folder: Path, prefix: PurePosixPath) -> Path | None:
    """Where a member is unpacked to; None for what lies outside of the prefix."""
    path = PurePosixPath(name)
    return folder / path.relative_to(prefix) if path.is_relative_to(prefix) and path != prefix else None


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    content = tar.extractfile(member)
    assert content is not None  # it is a regular file
    path.unlink(missing_ok=True)  # the later of two members of one name counts; never write through a hard link
    with path.open("xb") as file:
        shutil.copyfileobj(content, file, 1 << 20)


def _link(member: tarfile.TarInfo, path: Path, folder: Path, prefix: PurePosixPath) -> None:
    target = _place(member.linkname, folder, prefix) if is_safe(member.linkname) else None
    if target is None or not target.is_file():
        raise UnsafeArchiveError(f"{member.name!r} is a link to {member.linkname!r}, no earlier file of the archive")
    os.link(target, path)


def _link_symbolically(links: list[tuple[Path, str]], folder: Path) -> None:
    """Last of all, so that no file is written through a link; then none may lead outside, by whatever other links."""
    for path, target in links:
        if path.exists() or path.is_symlink():
            raise UnsafeArchiveError(f"{path.relative_to(folder).as_posix()!r} is a link and something else as well")
        path.symlink_to(target)
    root = os.path.realpath(folder)
    for path, target in links:
        if os.path.isabs(target) or not Path(os.path.realpath(path)).is_relative_to(root):
            name = path.relative_to(folder).as_posix()
            raise UnsafeArchiveError(f"{name!r} is a link to {target!r}, outside of its folder")
