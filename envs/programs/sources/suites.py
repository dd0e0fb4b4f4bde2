"""Programs of published suites by CompilerGym's URIs, ``compilergym://cbench-v1/qsort``, fetched when first used."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from compiler_dojo.envs.errors import FetchError, UnknownProgramError, UnsafeArchiveError, did_you_mean
from compiler_dojo.envs.llvm.lowering import lower
from compiler_dojo.envs.programs.bitcode import upgrade
from compiler_dojo.envs.programs.folders import cache_folder
from compiler_dojo.envs.programs.program import Program, Provenance
from compiler_dojo.envs.programs.sources.fetching import RemoteFile, fetch
from compiler_dojo.envs.programs.sources.suite_table import SUITES, Suite, SuiteHeaders
from compiler_dojo.envs.programs.sources.unpacking import UnpackLimits, is_safe, read_text, unpack

SCHEME = "compilergym://"

_SUGGESTED = 20_000  # among how many names the nearest is looked for; difflib takes a second for these


@dataclass(frozen=True)
class SuiteSource:
    """A program of a published suite."""

    suite: str
    name: str
    lowering: str

    @property
    def uri(self) -> str:
        """``compilergym://SUITE/NAME``."""
        return f"{SCHEME}{self.suite}/{self.name}"

    def load(self) -> Program:
        """Read or compile the program, fetching and unpacking its suite the first time.

        Raises:
            FetchError: the suite's archive cannot be had, or lacks this program.
            UnreadableProgramError: its bitcode is none that this LLVM reads.
            CompilationError: clang rejects its source.
        """
        return _load(self)


def select(uri: str, lowering: str) -> Sequence[SuiteSource]:
    """The program ``compilergym://SUITE/NAME``, or all of ``compilergym://SUITE``.

    Only the list of the suite's names is fetched. Bitcode comes as it is; ``lowering`` is for suites of sources.

    Raises:
        UnknownProgramError: there is no such suite, or no such program in it.
        FetchError: the list cannot be had.
    """
    suite_name, _, name = uri.removeprefix(SCHEME).partition("/")
    suite = SUITES.get(suite_name)
    if suite is None:
        raise UnknownProgramError(f"no published suite {suite_name!r}: {did_you_mean(suite_name, SUITES)}")
    names = names_of(suite)
    if name and name not in names:
        nearest = did_you_mean(name, names[:_SUGGESTED])
        raise UnknownProgramError(f"no program {name!r} in {suite_name}: {nearest}")
    return [SuiteSource(suite_name, each, lowering) for each in ((name,) if name else names)]


def names_of(suite: Suite) -> tuple[str, ...]:
    """Names of the suite's programs, in the published order.

    Raises:
        FetchError: the list cannot be had.
    """
    if isinstance(suite.names, RemoteFile):
        return _read_names(fetch(suite.names, _downloads()))
    return tuple(name for name, _ in suite.names)


@functools.lru_cache(maxsize=32)
def _read_names(path: Path) -> tuple[str, ...]:
    names = tuple(line.strip() for line in read_text(path).splitlines() if line.strip())
    for name in names:
        if not is_safe(name):
            raise UnsafeArchiveError(f"{path}: {name!r} is no name of a program; delete the file and try again")
    return names


@functools.lru_cache(maxsize=1024)
def _load(source: SuiteSource) -> Program:
    suite = SUITES[source.suite]
    file = f"{source.name}{suite.suffix}" if isinstance(suite.names, RemoteFile) else dict(suite.names)[source.name]
    path = _unpacked(suite.archive, suite.name, suite.prefix, suite.limits) / file
    if not path.is_file():
        raise FetchError(f"{source.uri} is in the list of its suite, but {path} is not in the archive; use another one")
    compiled = suite.suffix != ".bc"
    return Program(
        source.uri,
        _compile(path, suite, source.lowering) if compiled else upgrade(path.read_bytes(), source.uri),
        source.lowering if compiled else "given",
        suite.language,
        source=path if compiled else None,
        project=suite.project(source.name),
        provenance=Provenance(
            package=suite.name.rsplit("-", 1)[0],
            version=suite.name.rsplit("-", 1)[1],
            package_source=f"{suite.archive.name}#sha256={suite.archive.sha256}",
            license_expression=suite.licence,
            license_source="suite" if suite.licence else "",
        ),
    )


def _compile(path: Path, suite: Suite, lowering: str) -> bytes:
    flags = [*suite.flags, *(_header_flags(suite.headers) if suite.headers else ())]
    if suite.rewrite is None:
        return lower(path, lowering, flags)
    with tempfile.TemporaryDirectory() as folder:
        unit = Path(folder) / f"{path.stem}.cpp"
        unit.write_bytes(suite.rewrite(path.read_bytes()))
        return lower(unit, lowering, flags)


def _header_flags(headers: SuiteHeaders) -> list[str]:
    included = fetch(headers.included, _downloads())
    return ["-isystem", str(_unpacked(headers.archive, "headers", "", UnpackLimits())), "-include", str(included)]


def _unpacked(archive: RemoteFile, name: str, prefix: str, limits: UnpackLimits) -> Path:
    """The folder of an archive's content, which is fetched and unpacked unless it is there."""
    folder = cache_folder("suites") / f"{name}-{archive.sha256[:12]}"
    if not folder.is_dir():
        unpack(fetch(archive, _downloads()), folder, prefix, limits)
    return folder


def _downloads() -> Path:
    return cache_folder("suites") / "downloads"
