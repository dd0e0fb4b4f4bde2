"""Debian source packages and headers, fetched by apt from the archive that the machine is set up for.

apt runs with folders of its own, so that nothing of the system's changes and no root is needed; its signatures and
hashes hold as everywhere else. Source entries are added to the machine's binary ones.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from compiler_dojo.envs.errors import FetchError, ToolchainError, UnknownProgramError, did_you_mean
from compiler_dojo.envs.llvm.once import once
from compiler_dojo.envs.programs.folders import cache_folder
from compiler_dojo.envs.programs.sources.fetching import sha256_of

APT_FOLDER = Path("/etc/apt")
APT_HELPER = "/usr/lib/apt/apt-helper"
# files per call of apt's downloader: it keeps the connection open within one
BATCH = 16

_FIELD = re.compile(r"^([A-Za-z0-9-]+):(.*(?:\n[ \t].*)*)", re.MULTILINE)
_TARBALL = re.compile(r"\.tar\.(gz|xz|bz2|lzma|zst)$")


class ArchiveFile(NamedTuple):
    """A file of a source package: its name, bytes, and SHA-256 in hexadecimal digits."""

    name: str
    size: int
    sha256: str


class SourcePackage(NamedTuple):
    """A source package as the archive's index describes it.

    Attributes:
        sources: the tarball with upstream's sources.
        packaging: the tarball with Debian's part (``debian/copyright``), or None where it is in ``sources``.
    """

    name: str
    version: str
    maintainer: str
    section: str
    sources: ArchiveFile
    packaging: ArchiveFile | None


class Archive:
    """What apt can fetch.

    Args:
        folder: where apt keeps indices and downloads; by default in the cache.
        configuration: folder with ``sources.list`` and ``sources.list.d``.
    """

    def __init__(self, folder: Path | None = None, configuration: Path = APT_FOLDER) -> None:
        self.folder = folder or cache_folder("debian")
        self.downloads = self.folder / "downloads"
        self._configuration = configuration
        self._packages: dict[str, list[SourcePackage]] | None = None

    def update(self) -> None:
        """Fetch the indices anew.

        Raises:
            ToolchainError: there is no apt.
            FetchError: no index of sources could be fetched.
        """
        self._set_up()
        done = self._apt("apt-get", "update")
        self._packages = None
        if not self._indices():
            raise FetchError(
                "the index of source packages could not be fetched: check the network and the archives in "
                f"{self._configuration}, then try again; apt says:\n{_last_lines(done.stderr)}"
            )

    def packages(self) -> Mapping[str, Sequence[SourcePackage]]:
        """Source packages with tarballs by name, each with its versions in the archive, newest last.

        The index is fetched when there is none yet.
        """
        if self._packages is None:
            if not (self.folder / "apt.conf").exists() or not self._indices():
                self.update()
            text = self._apt(APT_HELPER, "cat-file", *self._indices()).stdout
            found: dict[str, list[SourcePackage]] = {}
            for paragraph in text.split("\n\n"):
                package = _read_package(paragraph)
                if package is not None:
                    found.setdefault(package.name, []).append(package)
            self._packages = found
        return self._packages

    def find(self, name: str, version: str | None = None) -> SourcePackage:
        """A package, by default in its newest version.

        Raises:
            UnknownProgramError: the archive has no such package, or not in this version.
        """
        versions = self.packages().get(name)
        if not versions:
            raise UnknownProgramError(
                f"the archive has no sources of {name!r}: {did_you_mean(name, list(self.packages()))}"
            )
        for package in reversed(versions):
            if version in (None, package.version):
                return package
        raise UnknownProgramError(
            f"the archive has {name} {', '.join(p.version for p in versions)}, not {version}: `apt-get update` may "
            "be due, or add an archive of that date to apt's sources"
        )

    def fetch(
        self, packages: Iterable[SourcePackage], report: Callable[[str], None] | None = None
    ) -> dict[str, FetchError]:
        """Download sources and packaging of these packages into :attr:`downloads`, those that are not there yet.

        Args:
            packages: which ones.
            report: called with a package's name when it is there, or failed.

        Returns:
            What failed, by package name.
        """
        wanted = list(packages)
        failed: dict[str, FetchError] = {}
        for start in range(0, len(wanted), BATCH):
            batch = wanted[start : start + BATCH]
            self._download(batch)
            for package in batch:
                if not self.path(package.sources).exists():
                    failed[package.name] = FetchError(
                        f"{package.sources.name} of {package.name} {package.version} could not be fetched, or its "
                        "hash is wrong: check the network and try again; some archives lack old files"
                    )
                if report is not None:
                    report(package.name)
        return failed

    def path(self, file: ArchiveFile) -> Path:
        """Where a file is, once fetched."""
        return self.downloads / file.name

    def fetch_binaries(self, packages: Sequence[tuple[str, str]], folder: Path) -> None:
        """Download binary packages, given by name and version ("" for the newest), into a folder.

        Raises:
            FetchError: one of them could not be fetched.
        """
        self.packages()  # with the index
        folder.mkdir(parents=True, exist_ok=True)
        names = [f"{name}={version}" if version else name for name, version in packages]
        done = self._apt("apt-get", "download", *names, cwd=folder)
        if done.returncode != 0:
            raise FetchError(
                "headers could not be fetched: check the network; where the archive has newer versions by now, "
                f"`dojo programs build debian` takes those; apt says:\n{_last_lines(done.stderr)}"
            )

    def _download(self, packages: Sequence[SourcePackage]) -> None:
        wanted: dict[str, ArchiveFile] = {}
        for package in packages:
            for file in (package.sources, package.packaging):
                if file is not None and not self._is_there(file):
                    wanted[file.name] = file
        if not wanted:
            return
        self.downloads.mkdir(parents=True, exist_ok=True)
        names = [f"{package.name}={package.version}" for package in packages]
        # apt knows the addresses: a file may lie in any of several archives
        listing = self._apt("apt-get", "source", "--print-uris", "--only-source", *names).stdout
        arguments: list[str] = []
        for line in listing.splitlines():
            match = re.match(r"'([^']+)' (\S+) \d+ ", line)
            if match and match[2] in wanted:
                file = wanted[match[2]]
                arguments += [match[1], str(self.path(file)), f"SHA256:{file.sha256}"]
        if arguments:
            self._apt(APT_HELPER, "download-file", *arguments)

    def _is_there(self, file: ArchiveFile) -> bool:
        path = self.path(file)
        return path.exists() and path.stat().st_size == file.size and sha256_of(path) == file.sha256

    def _indices(self) -> list[str]:
        listing = self._apt("apt-get", "indextargets", "--format", "$(FILENAME)", "Created-By: Sources").stdout
        return listing.split()

    def _set_up(self) -> None:
        if not os.access(APT_HELPER, os.X_OK):
            raise ToolchainError(
                "Debian's sources are fetched by apt, and there is none here: use Debian or Ubuntu, or import a "
                "folder with `dojo programs import`"
            )
        parts = self.folder / "sources.list.d"
        for folder in (parts, self.folder / "lists" / "partial", self.folder / "cache" / "archives" / "partial"):
            folder.mkdir(parents=True, exist_ok=True)
        for old in parts.iterdir():
            old.unlink()
        given = self._configuration
        for path in [given / "sources.list", *sorted((given / "sources.list.d").glob("*"))]:
            if path.is_file() and path.suffix in (".list", ".sources"):
                (parts / path.name).write_text(with_sources(path.read_text(), path.suffix))
        settings = {
            "Dir::Etc::sourcelist": "/dev/null",
            "Dir::Etc::sourceparts": parts,
            "Dir::State::lists": self.folder / "lists",
            "Dir::Cache": self.folder / "cache",
            "Acquire::Languages": "none",
            "Acquire::Retries": 2,
            "APT::Sandbox::User": "root",
        }
        lines = (f'{name} "{value}";\n' for name, value in settings.items())
        (self.folder / "apt.conf").write_text("".join(lines))

    def _apt(self, *command: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "APT_CONFIG": str(self.folder / "apt.conf"), "LC_ALL": "C"}
        try:
            return subprocess.run(
                command, capture_output=True, text=True, errors="replace", check=False, env=environment, cwd=cwd
            )
        except FileNotFoundError as error:
            raise ToolchainError(f"{error.filename} is not installed: Debian's sources are fetched by apt") from None


@once
def shared_archive() -> Archive:
    """The machine's archive, whose index is read once per process."""
    return Archive()


def with_sources(text: str, suffix: str) -> str:
    """The text of a file of apt's, with source entries beside the binary ones."""
    if suffix == ".sources":
        return re.sub(r"^Types:.*$", "Types: deb deb-src", text, flags=re.MULTILINE)
    lines = [line for line in text.splitlines() if re.match(r"\s*deb\s", line)]
    return "".join(f"{line}\n{re.sub('^[ ]*deb', 'deb-src', line)}\n" for line in lines)


def _read_package(paragraph: str) -> SourcePackage | None:
    """A paragraph of an index; None for a package without tarballs of sources.

    python-debian reads the 34,000 packages of Debian 12 in a minute, this in two seconds.
    """
    fields = {name: value.strip() for name, value in _FIELD.findall(paragraph)}
    sources = packaging = None
    for line in fields.get("Checksums-Sha256", "").splitlines():
        parts = line.split()
        if len(parts) != 3 or not _TARBALL.search(parts[2]):
            continue
        file = ArchiveFile(parts[2], int(parts[1]), parts[0])
        if ".debian.tar." in file.name:
            packaging = file
        elif ".orig-" not in file.name:
            sources = file
    if sources is None:
        return None
    return SourcePackage(
        fields["Package"],
        fields["Version"],
        fields.get("Maintainer", ""),
        fields.get("Section", ""),
        sources,
        packaging,
    )


def _last_lines(text: str, count: int = 5) -> str:
    return "\n".join(text.strip().splitlines()[-count:])
