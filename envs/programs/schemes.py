"""Which module knows the programs of which URI scheme; it is imported when the scheme is first used."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from compiler_dojo.envs.errors import UnknownProgramError, did_you_mean
from compiler_dojo.envs.programs.selection import GLOB_CHARACTERS, Selection, origin_of

if TYPE_CHECKING:
    from compiler_dojo.envs.programs.program_set import ProgramSource

SCHEMES: dict[str, str] = {
    "file": "compiler_dojo.envs.programs.sources.files:select",
    "bundled": "compiler_dojo.envs.programs.bundled:select",
    "debian": "compiler_dojo.envs.programs.sources.debian:select",
    "debian+linked": "compiler_dojo.envs.programs.sources.debian:select",
    "pypi": "compiler_dojo.envs.programs.sources.pypi:select",
    "csmith": "compiler_dojo.envs.programs.sources.generators:select",
    "llvm-stress": "compiler_dojo.envs.programs.sources.generators:select",
    "compilergym": "compiler_dojo.envs.programs.sources.suites:select",
    "compile": "compiler_dojo.envs.programs.sources.hub:select",
}
"""``module:function`` by scheme; the function takes the URI and the lowering and returns program sources."""


def select(uri: str, lowering: str, other_schemes: Iterable[str] = ()) -> Sequence[ProgramSource]:
    """The programs that a URI or a glob over URIs means; ``*`` matches slashes too.

    A glob asks the scheme for what lies under its last part without a wildcard: ``debian://zlib/*.c`` for
    ``debian://zlib``.

    Args:
        uri: ``SCHEME://...``.
        lowering: how sources become bitcode.
        other_schemes: what else could have been meant, for the message.

    Raises:
        UnknownProgramError: an unknown scheme, or nothing matches.
    """
    scheme = origin_of(uri)
    if scheme not in SCHEMES:
        raise UnknownProgramError(f"unknown scheme in {uri!r}: {did_you_mean(scheme, (*SCHEMES, *other_schemes))}")
    module, _, function = SCHEMES[scheme].partition(":")
    find: Callable[[str, str], Sequence[ProgramSource]] = getattr(importlib.import_module(module), function)
    path = re.split(r"\?\w+=", uri, maxsplit=1)[0]  # without the scheme's own options
    wildcard = min((path.find(character) for character in GLOB_CHARACTERS if character in path), default=-1)
    if scheme == "file" or wildcard < 0:
        return find(uri, lowering)
    parent = uri[: uri.rindex("/", 0, wildcard) + 1]
    under = find(parent if parent == f"{scheme}://" else parent.rstrip("/"), lowering)
    selection = Selection(uri=(uri,))
    found = [source for source in under if selection.admits(source)]
    if not found:
        near = did_you_mean(uri, [source.uri for source in under])
        raise UnknownProgramError(f"no program matches {uri!r}: {near}")
    return found
