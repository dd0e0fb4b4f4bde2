"""A package's unpacked sources: its files, its translation units, and the headers that these include."""

from __future__ import annotations

import functools
import itertools
import os
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from compiler_dojo.envs.llvm.lowering import LANGUAGES
from compiler_dojo.envs.programs.sources.headers import STANDARD, Headers

FOREIGN = frozenset(
    "win32 win windows win64 wince winnt msdos dos djgpp os2 vms openvms mac macos macosx osx darwin carbon cocoa "
    "amiga amigaos atari beos haiku riscos symbian android ios iphone palm palmos epoc netware mpeix vxworks qnx "
    "cygwin mingw msvc msvc6 msvc10 vc vc6 vc7 vc8 vc9 vc10 vc++ vcnet visualc visualc6 visualstudio vs2008 vs2010 "
    "vs2015 vs2017 w32 pc borland watcom bcc32 solaris sunos hpux aix irix osf1 ultrix freebsd netbsd openbsd "
    "dragonfly hurd minix neon altivec wasm cuda opencl jni node_modules".split()
)
"""Folders for platforms that programs are not compiled for here."""

_FOREIGN_STEM = re.compile(
    r"(?i).*[-_.](windows|win(32|64|ce|nt)?|w32|dos|os2|vms|mac|macos|macosx|osx|darwin|cocoa|amiga|beos|haiku|symbian|android|"
    r"solaris\d?|sunos\d?|hpux\d*|aix\d?|irix\d?|osf1?|ultrix|(free|net|open|dragonfly)bsd\d?|hurd|qnx|cygwin|mingw|neon|"
    r"altivec|vsx|msa|arm|aarch64|ppc|mips|sparc|sysctl|kstat|mach)$"
)

_INCLUDE = re.compile(rb"^[ \t]*#[ \t]*(?:include|include_next|import)[ \t]*([<\"])([^\">\n]+)[>\"]", re.MULTILINE)
_LICENSE = re.compile(r"(?i)^(copying|licen[cs]e|copyright|unlicense|notice)([._-].*)?$")


class Includes(NamedTuple):
    """What a translation unit needs to find its headers.

    Attributes:
        folders: folders of the tree, relative to its root, in the order in which they are searched.
        late: folders of the tree that hold names of system headers: searched for ``"x.h"``, and last for ``<x.h>``.
        system: folders of system headers beyond the standard ones, relative to their root.
        missing: names found nowhere.
    """

    folders: tuple[str, ...]
    late: tuple[str, ...]
    system: tuple[str, ...]
    missing: tuple[str, ...]


class SourceTree:
    """The files below a folder.

    Args:
        root: the folder.
        headers: the system's headers.
    """

    def __init__(self, root: Path, headers: Headers) -> None:
        self.root = root
        self.headers = headers
        self._scanned: dict[str, tuple[tuple[bool, str], ...]] = {}
        self._shadowing: dict[str, bool] = {}
        self.refresh()

    def refresh(self) -> None:
        """List the files anew, after some were made."""
        self.files = tuple(sorted(self._walk()))
        self._set = frozenset(self.files)
        self._shadowing.clear()
        self._by_name: dict[str, list[str]] = {}
        for path in self.files:
            self._by_name.setdefault(path.rsplit("/", 1)[-1], []).append(path)

    def license_files(self) -> tuple[str, ...]:
        """Files with the names that licences have, nearest to the root first, ten at most."""
        found = [path for path in self.files if _LICENSE.match(path.rsplit("/", 1)[-1])]
        return tuple(sorted(found, key=lambda path: (path.count("/"), path))[:10])

    def units(self, languages: frozenset[str]) -> list[str]:
        """Paths of the translation units in these languages, sorted.

        Sources that other files include are none, and neither are those in folders of other platforms.
        """
        sources = [path for path in self.files if LANGUAGES.get(posixpath.splitext(path)[1]) in languages]
        included = {
            name.rsplit("/", 1)[-1]
            for path in sources
            for _, name in self.includes_of(path)
            if posixpath.splitext(name)[1] in LANGUAGES
        }
        return [path for path in sources if path.rsplit("/", 1)[-1] not in included and not is_foreign(path)]

    def includes(self, unit: str) -> Includes:
        """Where the headers of a unit are, found by name; those of the headers too."""
        search = _Search(self, unit)
        search.run()
        late = tuple(folder for folder in search.folders if self._shadows(folder))
        folders = tuple(folder for folder in search.folders if folder not in late)
        return Includes(folders, late, tuple(search.system), tuple(search.missing))

    def contains(self, path: str) -> bool:
        """Whether the tree has this file."""
        return path in self._set

    def candidates(self, name: str) -> list[str]:
        """Files whose path ends in an included name, those for other platforms left out."""
        return [path for path in _endings(self._by_name, name) if not is_foreign(path)]

    def includes_of(self, path: str) -> tuple[tuple[bool, str], ...]:
        """Names that a file includes, each with whether in quotes."""
        found = self._scanned.get(path)
        if found is None:
            found = self._scanned[path] = scan(self.root / path)
        return found

    def _shadows(self, folder: str) -> bool:
        """Whether a folder holds files with names of the system's headers."""
        if folder not in self._shadowing:
            prefix = f"{folder}/" if folder != "." else ""
            inside = (path[len(prefix) :] for path in self.files if path.startswith(prefix))
            self._shadowing[folder] = not self.headers.standard_names.isdisjoint(inside)
        return self._shadowing[folder]

    def _walk(self) -> Iterator[str]:
        for folder, folders, names in os.walk(self.root):
            folders[:] = [
                name for name in folders if not name.startswith(".") and not os.path.islink(f"{folder}/{name}")
            ]
            relative = os.path.relpath(folder, self.root)
            prefix = "" if relative == "." else f"{relative}/"
            yield from (prefix + name for name in names if os.path.isfile(f"{folder}/{name}"))


class _Search:
    """One unit's search for its headers."""

    def __init__(self, tree: SourceTree, unit: str) -> None:
        self.tree = tree
        self.unit = unit
        self.folders: list[str] = []
        self.system: list[str] = []
        self.missing: list[str] = []

    def run(self) -> None:
        done = {self.unit}
        waiting = [self.unit]
        while waiting:
            path = waiting.pop(0)
            for quoted, name in self.tree.includes_of(path):
                found = self._find(path, quoted, name)
                if found is not None and found not in done:
                    done.add(found)
                    waiting.append(found)

    def _find(self, includer: str, quoted: bool, name: str) -> str | None:
        """The tree's file that an include means; folders of new ones are added to the search path."""
        tree = self.tree
        if quoted:
            beside = posixpath.normpath(posixpath.join(posixpath.dirname(includer), name))
            if tree.contains(beside):
                return beside
        for folder in self.folders:
            path = posixpath.normpath(posixpath.join(folder, name))
            if tree.contains(path):
                return path
        if name in tree.headers.standard_names:
            self._need_system(f"{STANDARD[0]}/{name}")
            return None
        found = _nearest(tree.candidates(name), self.unit)
        if found is not None:
            self._add(found[: -len(name)].rstrip("/") or ".")
            return found
        if not self._find_system(name) and name not in self.missing:
            self.missing.append(name)
        return None

    def _add(self, folder: str) -> None:
        if folder not in self.folders:
            self.folders.append(folder)

    def _find_system(self, name: str) -> bool:
        for folder in tuple(self.system):
            if f"{folder}/{name}" in self.tree.headers.paths:
                self._need_system(f"{folder}/{name}")
                return True
        found = self.tree.headers.search(name)
        if not found:
            return False
        self.system.append(found[0])
        self._need_system(f"{found[0]}/{name}")
        return True

    def _need_system(self, path: str) -> None:
        for folder in system_folders(self.tree.headers, path):
            if folder not in self.system:
                self.system.append(folder)


@functools.lru_cache(maxsize=1 << 16)
def system_folders(headers: Headers, path: str) -> tuple[str, ...]:
    """Folders beyond the standard ones that a system header's own includes need."""
    folders: list[str] = []
    done, waiting = {path}, [path]
    while waiting:
        current = waiting.pop(0)
        for quoted, name in scan(headers.root / current):
            beside = posixpath.normpath(posixpath.join(posixpath.dirname(current), name))
            choices = [f"{folder}/{name}" for folder in (*folders, *STANDARD)]
            found = next((p for p in ([beside] if quoted else []) + choices if p in headers.paths), None)
            if found is None:
                if name in headers.standard_names:
                    continue
                places = sorted(headers.search(name), key=lambda folder: not current.startswith(folder))
                if not places:
                    continue
                folders.append(places[0])
                found = f"{places[0]}/{name}"
            if found not in done:
                done.add(found)
                waiting.append(found)
    return tuple(folders)


@functools.lru_cache(maxsize=1 << 15)
def scan(path: Path) -> tuple[tuple[bool, str], ...]:
    """Names that a file includes, each with whether in quotes."""
    try:
        data = path.read_bytes()
    except OSError:
        return ()
    pairs = _INCLUDE.findall(data)
    return tuple(dict.fromkeys((mark == b'"', name.decode("latin-1").strip()) for mark, name in pairs))


def is_foreign(path: str) -> bool:
    """Whether a file is for another platform, as its folders or the end of its name say."""
    *folders, name = path.split("/")
    stem = posixpath.splitext(name)[0]
    return any(folder.lower() in FOREIGN for folder in folders) or _FOREIGN_STEM.fullmatch(stem) is not None


def _endings(by_name: dict[str, list[str]], name: str) -> list[str]:
    paths = by_name.get(name.rsplit("/", 1)[-1], [])
    return [path for path in paths if path == name or path.endswith("/" + name)] if "/" in name else list(paths)


def _nearest(paths: list[str], unit: str) -> str | None:
    """The path that shares the most folders with a unit; of those the shortest."""
    if not paths:
        return None
    parts = unit.split("/")[:-1]

    def key(path: str) -> tuple[int, int, str]:
        shared = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(parts, path.split("/")[:-1], strict=False))
        return (-len(list(shared)), path.count("/"), path)

    return min(paths, key=key)
