"""System headers from pinned packages, so that programs do not depend on what a machine has installed."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from compiler_dojo.envs.errors import FetchError
from compiler_dojo.envs.programs.sources.archive import Archive
from compiler_dojo.envs.programs.sources.fetching import exclusive

TRIPLE = "x86_64-linux-gnu"
GCC = "12"
STANDARD = ("usr/include", f"usr/include/{TRIPLE}")
"""Folders that the compiler searches by itself, for every language."""

CPP = (f"usr/include/c++/{GCC}", f"usr/include/{TRIPLE}/c++/{GCC}", f"usr/include/c++/{GCC}/backward")
"""Folders of C++'s standard library."""

COMPILER = frozenset(
    "stddef.h stdarg.h stdbool.h float.h iso646.h stdalign.h stdnoreturn.h limits.h stdint.h tgmath.h stdatomic.h "
    "varargs.h cpuid.h unwind.h mm_malloc.h omp.h arm_neon.h altivec.h".split()
)
"""Headers that clang brings, besides those of x86's intrinsics."""

DONE = "packages.json"
# folders that packages tell compilers to search: /usr/include/glib-2.0 and the like
_SEARCHED = re.compile(
    rf"usr/include/({TRIPLE}/)?(?!(?:{TRIPLE}|c\+\+|linux|asm|asm-generic|bits|gnu|sys|net|netinet|arpa|rpc|drm|rdma|scsi|sound|"
    r"video|xen|mtd|misc|bsd|X11|GL|cpp?)(?:/|$))[^/]+|usr/lib/[^/]+/[^/]+/include"
)
_FUNCTION = re.compile(rb"\b([a-z_][a-z0-9_]*) ?\(")
_HEADER = re.compile(rf"\./usr/(include/.*|lib/{TRIPLE}/[^/]+/include/.*)")


class Headers:
    """Header files under one root, laid out as on a system.

    Args:
        root: the folder that holds ``usr/include``.
    """

    def __init__(self, root: Path) -> None:
        # the compiler runs in another folder
        self.root = Path(os.path.abspath(root))

    @functools.cached_property
    def by_name(self) -> dict[str, list[str]]:
        """Paths below :attr:`root` by base name, in sorted order."""
        found: dict[str, list[str]] = {}
        for path in sorted(_files_below(self.root)):
            found.setdefault(path.rsplit("/", 1)[-1], []).append(path)
        return found

    @functools.cached_property
    def standard_names(self) -> frozenset[str]:
        """Names by which headers are included without any search path, such as ``sys/types.h``."""
        folders = tuple(f"{folder}/" for folder in (*STANDARD, *CPP))
        below = (path[len(folder) :] for path in self.paths for folder in folders if path.startswith(folder))
        return COMPILER.union(below)

    @functools.cached_property
    def paths(self) -> frozenset[str]:
        """All paths below :attr:`root`."""
        return frozenset(path for paths in self.by_name.values() for path in paths)

    def search(self, name: str) -> list[str]:
        """Folders beyond the standard ones that have a header of this name, nearest to the root first."""
        if name in COMPILER or name.endswith("intrin.h"):
            return []
        paths = self.by_name.get(name.rsplit("/", 1)[-1], [])
        folders = (path[: -len(name) - 1] for path in paths if path.endswith("/" + name))
        return sorted(filter(_SEARCHED.fullmatch, folders), key=lambda folder: (folder.count("/"), folder))

    @functools.cached_property
    def functions(self) -> frozenset[str]:
        """Lower-case names that the C library's headers declare or define as something called."""
        kept = self.root / "functions.json"
        with contextlib.suppress(OSError, ValueError):
            return frozenset(json.loads(kept.read_text()))
        names: set[str] = set()
        for path in self.paths:
            folder = path.rsplit("/", 1)[0]
            if folder in STANDARD or folder in (f"{STANDARD[1]}/sys", f"{STANDARD[1]}/bits", f"{STANDARD[0]}/arpa"):
                names.update(name.decode() for name in _FUNCTION.findall((self.root / path).read_bytes()))
        # other processes may read it meanwhile, and the folder may be another user's
        with contextlib.suppress(OSError), tempfile.TemporaryDirectory(dir=self.root) as temporary:
            fresh = Path(temporary) / kept.name
            fresh.write_text(json.dumps(sorted(names)))
            os.replace(fresh, kept)
        return frozenset(names)

    def flags(self, language: str) -> list[str]:
        """Flags that make clang search these headers and no others of the system."""
        flags = [f"--sysroot={self.root}", f"-fmacro-prefix-map={self.root}="]
        if language == "c++":
            flags += [f"-stdlib++-isystem{self.root}/{folder}" for folder in CPP]
        return flags


def fetch_headers(packages: Sequence[tuple[str, str]], archive: Archive, folder: Path | None = None) -> Headers:
    """The headers of binary packages, fetched and unpacked unless they are there already.

    Args:
        packages: names with versions, "" for the newest.
        archive: where they come from.
        folder: where they go; by default the archive's folder.

    Raises:
        FetchError: a package could not be fetched or unpacked.
    """
    root = (folder or archive.folder) / "headers"
    wanted = [list(package) for package in packages]
    try:
        with exclusive(root):
            if not _is_done(root, wanted):
                _replace(root, wanted, packages, archive)
    except OSError as error:
        raise FetchError(
            f"{root} cannot be written: {error}; free space there, or set DOJO_CACHE to another folder"
        ) from error
    return Headers(root)


def _is_done(root: Path, wanted: list[list[str]]) -> bool:
    try:
        return bool(json.loads((root / DONE).read_text()) == wanted)
    except (OSError, ValueError):
        return False


def _replace(root: Path, wanted: list[list[str]], packages: Sequence[tuple[str, str]], archive: Archive) -> None:
    """Unpack headers beside the root, and put them in its place in one step."""
    with tempfile.TemporaryDirectory(dir=root.parent, prefix="headers-") as temporary:
        debs, fresh = Path(temporary) / "debs", Path(temporary) / "headers"
        archive.fetch_binaries(packages, debs)
        fresh.mkdir()
        for deb in sorted(debs.glob("*.deb")):
            _unpack(deb, fresh)
        (fresh / DONE).write_text(json.dumps(wanted))
        # moved away first: a kill while they are deleted must not leave some of the old ones with their list
        if root.exists():
            os.rename(root, Path(temporary) / "old")
        os.rename(fresh, root)


def _unpack(deb: Path, folder: Path) -> None:
    """Unpack a package's headers; links are followed by what they point to, where it is a header too."""
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(deb)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            _extract(process.stdout, folder)
            problem = None
        except (tarfile.TarError, KeyError, EOFError) as error:
            problem = error
        process.stdout.read()
    if process.returncode != 0 or problem is not None:
        raise FetchError(f"{deb.name} could not be unpacked: {problem or 'it is damaged'}; try again") from problem


def _extract(stream: IO[bytes], folder: Path) -> None:
    with tarfile.open(fileobj=stream, mode="r|") as members:
        # Debian 12's Python has no filters yet; apt has verified who signed these packages
        members.extraction_filter = getattr(tarfile, "tar_filter", None)
        for member in members:
            if _HEADER.fullmatch(member.name) and not member.isdev():
                members.extract(member, folder)


def _files_below(root: Path) -> Iterator[str]:
    for folder, _, names in os.walk(root / "usr"):
        relative = os.path.relpath(folder, root)
        # some packages hold links into packages that are not here
        yield from (f"{relative}/{name}" for name in names if os.path.isfile(f"{folder}/{name}"))
