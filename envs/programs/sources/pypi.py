"""``pypi://NAME[==VERSION]/path/to/unit.c``: units of Python packages' source distributions."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from compiler_dojo.envs.errors import CompilationError, UnknownProgramError
from compiler_dojo.envs.programs.program import Program
from compiler_dojo.envs.programs.sources.debian import shared_headers
from compiler_dojo.envs.programs.sources.packages import PackageJob, list_units, load_unit, units_at
from compiler_dojo.envs.programs.sources.sdists import fetch_sdist

SCHEME = "pypi"


def job_for(name: str, version: str | None = None, **settings: Any) -> PackageJob:
    """The job that builds the programs of a source distribution, which is fetched unless it is there.

    Args:
        name: of the package.
        version: the one to fetch, or None for the newest.
        settings: further fields of :class:`PackageJob`.

    Raises:
        InvalidConfigError: this is no name of a package.
        FetchError: there is no such source distribution, or it cannot be fetched.
    """
    sdist = fetch_sdist(name, version)
    return PackageJob(
        scheme=SCHEME,
        name=sdist.name,
        version=sdist.version,
        archive=sdist.path,
        package_source=f"{sdist.path.name}#sha256={sdist.sha256}",
        license_expression=sdist.license_expression,
        **{"project": sdist.name, **settings},
    )


@dataclass(frozen=True)
class PypiSource:
    """A unit of a source distribution.

    Attributes:
        package: its name, with ``==VERSION`` where one was asked for.
        path: of the unit in the package.
        lowering: how it becomes bitcode.
    """

    package: str
    path: str
    lowering: str = "oz"

    @property
    def uri(self) -> str:
        """``pypi://PACKAGE/PATH``."""
        return f"{SCHEME}://{self.package}/{self.path}"

    def load(self) -> Program:
        """Fetch the package unless it is there, and compile the unit; nothing of the package is run.

        Raises:
            FetchError: the package cannot be fetched.
            CompilationError: the unit does not compile without the package's own build.
        """
        return _load(self)


@functools.lru_cache(maxsize=1024)
def _load(source: PypiSource) -> Program:
    program = load_unit(_fetched(source.package, source.lowering), source.path, shared_headers())
    if isinstance(program, str):
        raise CompilationError(f"{source.uri} does not compile outside the package's own build: {program}")
    return dataclasses.replace(program, uri=source.uri)


@functools.lru_cache(maxsize=1024)
def _fetched(package: str, lowering: str) -> PackageJob:
    name, _, version = package.partition("==")
    return job_for(name, version or None, lowering=lowering)


@functools.lru_cache(maxsize=64)
def _units(package: str, lowering: str) -> tuple[str, ...]:
    return tuple(list_units(_fetched(package, lowering), shared_headers()))


def select(uri: str, lowering: str) -> Sequence[PypiSource]:
    """The program that a URI means, or all units of a package or of a folder in it.

    Raises:
        UnknownProgramError: no package is named, it has no such unit, or no C or C++ at all.
        InvalidConfigError: this is no name of a package.
        FetchError: there is no such source distribution, or it cannot be fetched.
    """
    package, _, path = uri.removeprefix(f"{SCHEME}://").partition("/")
    if not package:
        raise UnknownProgramError(
            f"{uri}: which package? A URI is {SCHEME}://NAME/PATH or {SCHEME}://NAME==VERSION/PATH"
        )
    return [PypiSource(package, unit, lowering) for unit in units_at(package, path, _units(package, lowering))]
