"""Debian source packages and headers, fetched by apt from the archive that the machine is set up for.

apt runs with folders of its own, so that nothing of the system's changes and no root is needed; its signatures and
hashes hold as everywhere else. Source entries are added to the machine's binary ones.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from compiler_dojo.envs.errors import FetchError, ToolchainError, UnknownProgramError, did_you_mean
from compiler_dojo.envs.llvm.once import once
from compiler_dojo.envs.programs.folders import cache_folder
from compiler_dojo.envs.programs.sources.fetching import exclusive, sha256_of
from compiler_dojo.envs.programs.sources.paragraphs import fields_of
from compiler_dojo.envs.programs.sources.versions import compare_versions

APT_FOLDER = Path("/etc/apt")
APT_HELPER = "/usr/lib/apt/apt-helper"
# files per call of apt's downloader: it keeps the connection open within one
BATCH = 16

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

    @property
    def files(self) -> tuple[ArchiveFile, ...]:
        """The tarballs."""
        return (self.sources,) if self.packaging is None else (self.sources, self.packaging)


class Archive:
    """What apt can fetch.

    Args:
        folder: where apt keeps indices and downloads; by default in the cache.
        configuration: folder with ``sources.list`` and ``sources.list.d``.
    """

    def __init__(self, folder: Path | None = None, configuration: Path = APT_FOLDER) -> None:
        # apt is run in other folders too
        self.folder = Path(os.path.abspath(folder or cache_folder("debian")))
        self.downloads = self.folder / "downloads"
        self._configuration = configuration
        self._packages: dict[str, list[SourcePackage]] | None = None

    def update(self) -> None:
        """Fetch the indices anew; processes that share the folder wait for one another.

        Raises:
            ToolchainError: there is no apt.
            FetchError: no index of sources could be fetched, or the folder cannot be written.
        """
        with self._locked():
            self._update()

    def packages(self) -> Mapping[str, Sequence[SourcePackage]]:
        """Source packages with tarballs by name, each with its versions in the archive, newest last.

        The index is fetched when there is none yet, or apt's sources have changed.

        Raises:
            ToolchainError: there is no apt.
            FetchError: no index of sources could be fetched or read, or the folder cannot be written.
        """
        if self._packages is None:
            with self._locked():
                if not self._is_set_up() or not self._indices():
                    self._update()
                texts = [self._read_index(path) for path in self._indices()]
            found: dict[str, dict[str, SourcePackage]] = {}
            for package in filter(None, map(_read_package, "\n\n".join(texts).split("\n\n"))):
                found.setdefault(package.name, {}).setdefault(package.version, package)
            newest_last = functools.cmp_to_key(compare_versions)
            self._packages = {
                name: [versions[version] for version in sorted(versions, key=newest_last)]
                for name, versions in found.items()
            }
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
            f"the archive has {name} {', '.join(p.version for p in versions)}, not {version}: delete "
            f"{self.folder / 'lists'} to fetch its index anew, or add an archive of that date to the sources in "
            f"{self._configuration}"
        )

    def fetch(
        self, packages: Iterable[SourcePackage], report: Callable[[str], None] | None = None
    ) -> dict[str, FetchError]:
        """Download sources and packaging of these packages into :attr:`downloads`, those that are not there yet.

        Packaging only tells the licence, and a third of it is gone from some archives: a package does without.

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
            with self._locked():
                missing, complaints = self._download(batch)
            for package in batch:
                lost = package.sources.name
                if lost in missing:
                    failed[package.name] = FetchError(
                        f"{lost} of {package.name} {package.version} could not be fetched, or has the wrong size or "
                        "hash: check the network and the disk and try again; some archives lack old files; apt says:\n"
                        f"{_lines_about((package.name, lost), complaints)}"
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
        folder = Path(os.path.abspath(folder))
        folder.mkdir(parents=True, exist_ok=True)
        names = [f"{name}={version}" if version else name for name, version in packages]
        with self._locked():
            done = self._apt("apt-get", "download", *names, cwd=folder)
        if done.returncode != 0:
            raise FetchError(
                "headers could not be fetched: check the network; where the archive has newer versions by now, "
                f"`dojo programs build debian` takes those; apt says:\n{_last_lines(done.stderr)}"
            )

    def _download(self, packages: Sequence[SourcePackage]) -> tuple[set[str], str]:
        """Download what is not there yet; returns the names of files that did not arrive, and what apt says."""
        wanted = {file.name: file for package in packages for file in package.files if not self._is_there(file)}
        if not wanted:
            return set(), ""
        self.downloads.mkdir(parents=True, exist_ok=True)
        names = [f"{package.name}={package.version}" for package in packages]
        addresses, complaints = self._addresses(names)
        if not wanted.keys() <= addresses.keys() and len(names) > 1:
            # one package that apt does not find keeps it from naming the files of those that follow
            for name in names:
                more, complaint = self._addresses([name])
                addresses, complaints = {**more, **addresses}, complaints + complaint
        arguments: list[str] = []
        for name, file in wanted.items():
            if name in addresses:
                # of a file on this machine it would make a link
                address = re.sub("^file:", "copy:", addresses[name])
                arguments += [address, str(self.path(file)), f"SHA256:{file.sha256}"]
        if arguments:
            complaints += self._apt(APT_HELPER, "download-file", *arguments).stderr
        return {name for name, file in wanted.items() if not self._is_there(file)}, complaints

    def _addresses(self, names: Sequence[str]) -> tuple[dict[str, str], str]:
        """Where the files of packages are, and what apt complains of.

        apt knows the addresses: a file may lie in any of several archives.
        """
        done = self._apt("apt-get", "source", "--print-uris", "--only-source", *names)
        found = re.findall(r"^'([^']+)' (\S+) \d+ ", done.stdout, re.MULTILINE)
        return {name: address for address, name in found}, done.stderr

    def _is_there(self, file: ArchiveFile) -> bool:
        path = self.path(file)
        return path.is_file() and path.stat().st_size == file.size and sha256_of(path) == file.sha256

    def _indices(self) -> list[str]:
        listing = self._apt("apt-get", "indextargets", "--format", "$(FILENAME)", "Created-By: Sources").stdout
        return listing.splitlines()

    def _read_index(self, path: str) -> str:
        done = self._apt(APT_HELPER, "cat-file", path)
        if done.returncode != 0:
            raise FetchError(
                f"the index {path} cannot be read: delete it to have it fetched anew; apt says:\n"
                f"{_last_lines(done.stderr)}"
            )
        return done.stdout

    def _update(self) -> None:
        self._set_up()
        done = self._apt("apt-get", "update")
        self._packages = None
        if not self._indices():
            raise FetchError(
                "the index of source packages could not be fetched: check the network and the archives in "
                f"{self._configuration}, then try again; apt says:\n{_last_lines(done.stderr)}"
            )

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other processes from the folder: apt gives up where it finds its own locks taken."""
        try:
            with exclusive(self.folder / "apt"):
                yield
        except OSError as error:
            raise FetchError(
                f"{self.folder} cannot be written: {error}; free space there, or set DOJO_CACHE to another folder"
            ) from error

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
        for name, text in self._sources().items():
            (parts / name).write_text(text, encoding="utf-8", errors="surrogateescape")
        status = self.folder / "status"
        status.write_text("")
        settings = {
            "Dir::Etc::sourcelist": "/dev/null",
            "Dir::Etc::sourceparts": parts,
            "Dir::State::lists": self.folder / "lists",
            # what is installed here would count as the newest version
            "Dir::State::status": status,
            "Dir::Cache": self.folder / "cache",
            "Acquire::Languages": "none",
            "Acquire::Retries": 2,
            "APT::Sandbox::User": "root",
        }
        lines = (f'{name} "{value}";\n' for name, value in settings.items())
        (self.folder / "apt.conf").write_text("".join(lines))

    def _sources(self) -> dict[str, str]:
        """apt's files of sources by name, with source entries."""
        given = self._configuration
        paths = [given / "sources.list", *sorted((given / "sources.list.d").glob("*"))]
        return {
            path.name: with_sources(path.read_text(encoding="utf-8", errors="surrogateescape"), path.suffix)
            for path in paths
            if path.suffix in (".list", ".sources") and path.is_file()
        }

    def _is_set_up(self) -> bool:
        """Whether apt's own folders are there, for the sources of today."""
        parts = self.folder / "sources.list.d"
        if not (self.folder / "apt.conf").exists() or not parts.is_dir():
            return False
        kept = {path.name: path.read_text(encoding="utf-8", errors="surrogateescape") for path in parts.iterdir()}
        return kept == self._sources()

    def _apt(self, *command: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "APT_CONFIG": str(self.folder / "apt.conf"), "LC_ALL": "C"}
        try:
            return subprocess.run(
                command,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                check=False,
                env=environment,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
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
        return re.sub(r"^Types[ \t]*:.*$", "Types: deb deb-src", text, flags=re.MULTILINE | re.IGNORECASE)
    lines: dict[str, None] = {}  # without repetition, of which apt warns
    for line in text.splitlines():
        entry = re.match(r"\s*deb(-src)?(\s.*)", line)
        if entry:
            lines.update(
                dict.fromkeys([f"deb-src{entry[2]}"] if entry[1] else [f"deb{entry[2]}", f"deb-src{entry[2]}"])
            )
    return "".join(f"{line}\n" for line in lines)


def _read_package(paragraph: str) -> SourcePackage | None:
    """A paragraph of an index; None for a package without tarballs of sources."""
    fields = fields_of(paragraph)
    sources = packaging = None
    for line in fields.get("checksums-sha256", "").splitlines():
        parts = line.split()
        # a name is no path: the file is written under it
        if len(parts) != 3 or not _TARBALL.search(parts[2]) or "/" in parts[2]:
            continue
        file = ArchiveFile(parts[2], int(parts[1]), parts[0])
        if ".debian.tar." in file.name:
            packaging = file
        elif ".orig-" not in file.name:
            sources = file
    if sources is None:
        return None
    return SourcePackage(
        fields["package"],
        fields["version"],
        fields.get("maintainer", ""),
        fields.get("section", ""),
        sources,
        packaging,
    )


def _lines_about(names: Iterable[str], text: str) -> str:
    """The lines that hold one of these names, or the last ones where none does."""
    lines = [line for line in text.splitlines() if any(name in line for name in names)]
    return _last_lines("\n".join(lines) or text)


def _last_lines(text: str, count: int = 5) -> str:
    return "\n".join(text.strip().splitlines()[-count:])
