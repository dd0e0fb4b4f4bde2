"""``debian://PACKAGE/path/to/unit.c``: units of Debian's source packages, and whole programs linked from them."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compiler_dojo.envs.errors import CompilationError, FetchError, UnknownProgramError
from compiler_dojo.envs.llvm.once import once
from compiler_dojo.envs.programs.program import Program
from compiler_dojo.envs.programs.sources.archive import Archive, SourcePackage, shared_archive
from compiler_dojo.envs.programs.sources.headers import Headers, fetch_headers
from compiler_dojo.envs.programs.sources.packages import (
    PackageJob,
    list_units,
    load_linked,
    load_unit,
    project_of,
    units_at,
)

SCHEME = "debian"
LINKED = "debian+linked"

HEADERS = Path(__file__).parents[1] / "corpora" / "headers.json"
"""Binary packages whose headers programs are compiled with, each with its version."""


def job_for(package: SourcePackage, archive: Archive, **settings: Any) -> PackageJob:
    """The job that builds a package's programs; settings are fields of :class:`PackageJob`."""
    return PackageJob(
        scheme=SCHEME,
        name=package.name,
        version=package.version,
        archive=archive.path(package.sources),
        package_source=f"{package.sources.name}#sha256={package.sources.sha256}",
        packaging=archive.path(package.packaging) if package.packaging else None,
        **{"project": project_of(package.name), **settings},
    )


def find_headers(archive: Archive) -> tuple[Headers, str]:
    """The pinned headers, and what is to be said of them: "" or that some had to be of newer versions.

    Raises:
        FetchError: neither the pinned nor the archive's present versions can be fetched.
    """
    pinned = [(name, version) for name, version in json.loads(HEADERS.read_text()).items()]
    folder = archive.folder
    try:
        return fetch_headers(pinned, archive, folder), ""
    except FetchError:
        newest = [(name, "") for name, _ in pinned]
        headers = fetch_headers(newest, archive, folder / "newest")
        return headers, (
            "the archive has other versions of the pinned headers by now, and its present ones are used: some programs "
            "may differ from the list"
        )


@once
def shared_headers() -> Headers:
    """The machine's headers, found once per process."""
    return find_headers(shared_archive())[0]


@dataclass(frozen=True)
class DebianSource:
    """A unit of a source package, or a program that is linked from a unit and what it needs.

    Attributes:
        package: the source package, with ``=VERSION`` where one was asked for.
        path: of the unit in the package.
        lowering: how it becomes bitcode.
        linked: whether the whole program is meant.
    """

    package: str
    path: str
    lowering: str = "oz"
    linked: bool = False

    @property
    def uri(self) -> str:
        """``debian://PACKAGE/PATH`` or ``debian+linked://PACKAGE/PATH``."""
        return f"{LINKED if self.linked else SCHEME}://{self.package}/{self.path}"

    def load(self) -> Program:
        """Fetch the package unless it is there, and compile the unit.

        Raises:
            UnknownProgramError: the archive has no such package, or the package no such unit.
            FetchError: the package cannot be fetched.
            CompilationError: the unit does not compile without the package's own build.
        """
        return _load(self)


@functools.lru_cache(maxsize=1024)
def _load(source: DebianSource) -> Program:
    if source.linked:
        programs, reasons = _linked(source.package, source.lowering)
        if source.path not in programs:
            reason = reasons.get(source.path, "it defines no main")
            raise CompilationError(f"{source.uri} makes no whole program: {reason}")
        return dataclasses.replace(programs[source.path], uri=source.uri)
    program = load_unit(_fetched(source.package, source.lowering), source.path, shared_headers())
    if isinstance(program, str):
        raise CompilationError(f"{source.uri} does not compile outside the package's own build: {program}")
    return dataclasses.replace(program, uri=source.uri)


@functools.lru_cache(maxsize=1024)
def _fetched(text: str, lowering: str) -> PackageJob:
    name, _, version = text.partition("=")
    archive = shared_archive()
    package = archive.find(name, version or None)
    failed = archive.fetch([package])
    if failed:
        raise failed[name]
    return job_for(package, archive, lowering=lowering)


@functools.lru_cache(maxsize=64)
def _units(package: str, lowering: str) -> tuple[str, ...]:
    return tuple(list_units(_fetched(package, lowering), shared_headers()))


@functools.lru_cache(maxsize=8)
def _linked(package: str, lowering: str) -> tuple[dict[str, Program], dict[str, str]]:
    return load_linked(_fetched(package, lowering), shared_headers())


def select(uri: str, lowering: str) -> Sequence[DebianSource]:
    """The program that a URI means, or all units, or all whole programs, of a package or of a folder in it.

    To know which units make whole programs, all units of the package are compiled.

    Raises:
        UnknownProgramError: no package is named, the archive has none of that name, or it has no such unit.
        FetchError: the package cannot be fetched.
    """
    scheme, _, rest = uri.partition("://")
    package, _, path = rest.partition("/")
    if not package:
        raise UnknownProgramError(f"{uri}: which package? A URI is {SCHEME}://PACKAGE/PATH, as debian://zlib/inflate.c")
    linked = scheme == LINKED
    units = units_at(package, path, _units(package, lowering))
    if linked and units != [path]:
        units = [unit for unit in units if unit in _linked(package, lowering)[0]]
        if not units:
            raise UnknownProgramError(f"{uri}: no unit of {package} there makes a whole program: try {SCHEME}://")
    return [DebianSource(package, unit, lowering, linked) for unit in units]
