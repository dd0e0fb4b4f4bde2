"""Files of the user's: a path, a glob or a folder of files of the kinds in ``LANGUAGES``."""

from __future__ import annotations

import glob
import os
import urllib.parse
from pathlib import Path

from compiler_dojo.envs.errors import UnknownProgramError
from compiler_dojo.envs.llvm.lowering import LANGUAGES
from compiler_dojo.envs.programs.program_set import FileSource
from compiler_dojo.envs.programs.selection import GLOB_CHARACTERS

SCHEME = "file://"


def path_of(name: str) -> str:
    """The path that a ``file://`` URI or a path means."""
    return urllib.parse.unquote(name.removeprefix(SCHEME)) if name.startswith(SCHEME) else name


def matching(name: str, lowering: str) -> list[FileSource]:
    """The programs of a path, glob or folder in order; none when nothing matches."""
    path = path_of(name)
    if not os.path.exists(path) and any(character in path for character in GLOB_CHARACTERS):
        paths = sorted(p for p in glob.glob(path, recursive=True) if Path(p).suffix in LANGUAGES)
    elif os.path.isdir(path):
        paths = sorted(str(p) for p in Path(path).rglob("*") if p.suffix in LANGUAGES)
    else:
        paths = [path] if os.path.isfile(path) else []
    return [FileSource(Path(p), lowering) for p in paths]


def select(uri: str, lowering: str) -> list[FileSource]:
    """The programs of a ``file://`` URI, path or glob.

    Raises:
        UnknownProgramError: nothing matches.
    """
    found = matching(uri, lowering)
    if not found:
        raise UnknownProgramError(f"no program matches {uri!r}: expected a file, a folder or a glob")
    return found
