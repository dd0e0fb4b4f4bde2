"""From what a user names to a set of programs: bundled, by URI, by a set's name, stored anywhere, or files."""

from __future__ import annotations

import functools
import operator
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from compiler_dojo.envs.errors import InvalidConfigError, UnknownProgramError, did_you_mean
from compiler_dojo.envs.llvm.lowering import check_lowering
from compiler_dojo.envs.programs import bundled, schemes
from compiler_dojo.envs.programs.folders import data_folder
from compiler_dojo.envs.programs.manifest import MANIFEST, is_manifest
from compiler_dojo.envs.programs.program import Program
from compiler_dojo.envs.programs.program_set import GivenSource, ProgramSet, ProgramSource
from compiler_dojo.envs.programs.selection import GLOB_CHARACTERS, Selection, origin_of, split_query
from compiler_dojo.envs.programs.sources import files

STANDARD_CORPORA = ("corpus-train", "corpus-valid", "corpus-test", "whole-test", "corpus-mini", "corpus-tiny")
"""Sets that ``dojo programs build`` makes from committed lists."""

_SCHEME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9+._-]*://")


def load_programs(
    programs: str | Path | Program | ProgramSet | Iterable[str | Path | Program | ProgramSet | ProgramSource],
    lowering: str = "oz",
) -> ProgramSet:
    """The set that a user means.

    Args:
        programs: ``bundled``, ``bundled/train``, ``bundled/test`` or ``bundled/DOMAIN``; a URI or a glob over URIs
            (``debian://zlib/*``); the name of a built or imported set, such as ``corpus-train``; the folder of a
            stored set on any fsspec path; a path, folder or glob of files of the kinds in :data:`LANGUAGES`, such as
            .c, .cpp, .ll and .bc; a program; a set; or several of these. A text may hold several with commas between
            them, and each may end in a selection
            (``corpus-train?language=c&instructions=50..10000&project=zlib&origin=debian``).
        lowering: how sources become bitcode, ``oz`` or ``compilergym``.

    Raises:
        UnknownProgramError: nothing matches.
        InvalidConfigError: unknown lowering or selection.
        DatasetError: a stored set that is meant cannot be read.
    """
    check_lowering(lowering)
    if isinstance(programs, ProgramSet):
        return programs
    if isinstance(programs, Program):
        return ProgramSet(programs.uri, [GivenSource(programs)])
    if isinstance(programs, str | Path):
        return _load_text(str(programs), lowering)
    if not isinstance(programs, Iterable):
        raise InvalidConfigError(f"programs are given by name, path, Program or several of these, got {programs!r}")
    sources: list[ProgramSource] = []
    for item in programs:
        if isinstance(item, ProgramSet):
            sources.extend(item.sources)
        elif isinstance(item, str | Path):
            sources.extend(_load_text(str(item), lowering).sources)
        else:
            sources.append(GivenSource(item) if isinstance(item, Program) else item)
    return ProgramSet("given", sources)


def named_sets() -> list[str]:
    """Names of the sets in the data folder."""
    return sorted(manifest.parent.name for manifest in data_folder().glob(f"*/{MANIFEST}"))


def _load_text(text: str, lowering: str) -> ProgramSet:
    if os.path.exists(text) or ("," not in text and "?" not in text):
        return ProgramSet(text, _sources_of(text, lowering))
    parts = text.split(",")
    if len(parts) > 1:
        paths = files.matching(text, lowering)
        if paths:
            return ProgramSet(text, paths)
        return functools.reduce(operator.or_, (_load_text(part.strip(), lowering) for part in parts))
    name, selection = split_query(text)
    if selection is None:
        return ProgramSet(text, _sources_of(name, lowering))
    return ProgramSet(text, (source for source in _load_text(name, lowering).sources if selection.admits(source)))


def _sources_of(name: str, lowering: str) -> Sequence[ProgramSource]:
    if name == "bundled" or name.startswith("bundled/"):
        return bundled.select(name, lowering)
    if _SCHEME.match(name) and not name.startswith(files.SCHEME):
        return _of_uri(name, lowering)
    if "/" not in name and _is_named(name):
        return _stored(data_folder() / name)
    path = name if "::" in name else files.path_of(name)
    if _holds_set(path):
        return _stored(path)
    if name in STANDARD_CORPORA and not os.path.exists(name):
        raise UnknownProgramError(f"{name} is not built on this machine: `dojo programs build {name}` builds it")
    sources = files.matching(name, lowering)
    if not sources:
        known = ["bundled", "bundled/train", "bundled/test", *STANDARD_CORPORA, *named_sets()]
        raise UnknownProgramError(
            f"no program matches {name!r}: expected a file or glob, or {did_you_mean(name, known)}"
        )
    return sources


def _of_uri(uri: str, lowering: str) -> Sequence[ProgramSource]:
    scheme = origin_of(uri)
    if scheme in schemes.SCHEMES:
        return schemes.select(uri, lowering)
    if _is_named(scheme):
        return _of_named_set(uri, scheme)
    if _is_fsspec(scheme):
        return _stored(uri)
    return schemes.select(uri, lowering, named_sets())


def _of_named_set(uri: str, name: str) -> Sequence[ProgramSource]:
    """Programs of an imported set, whose URIs begin with its name: one, a folder's, or a glob's."""
    sources = _stored(data_folder() / name)
    is_glob = any(character in uri for character in GLOB_CHARACTERS)
    pattern = uri if is_glob else f"{uri.rstrip('/')}/*"
    selection = Selection(uri=(pattern,))
    found = [source for source in sources if source.uri == uri] or [s for s in sources if selection.admits(s)]
    if not found:
        known = [source.uri for source in sources]
        raise UnknownProgramError(f"no program matches {uri!r} in {name}: {did_you_mean(uri, known)}")
    return found


def _is_named(name: str) -> bool:
    return os.path.isfile(data_folder() / name / MANIFEST)


def _stored(path: str | Path) -> Sequence[ProgramSource]:
    from compiler_dojo.envs.programs.storage import open_set

    return open_set(path).sources


def _is_fsspec(scheme: str) -> bool:
    try:
        from fsspec import available_protocols
    except ImportError:
        return False
    return scheme in available_protocols()


def _holds_set(path: str) -> bool:
    """Whether a stored set lies at a path; pyarrow is not needed to say no of a local one."""
    if "::" in path:
        return True
    if path.endswith(".parquet"):
        return os.path.isfile(path)
    if not os.path.isdir(path):
        return False
    if any(Path(path).glob("*.parquet")):
        return True
    manifest = Path(path) / MANIFEST
    return manifest.is_file() and is_manifest(manifest.read_bytes())
