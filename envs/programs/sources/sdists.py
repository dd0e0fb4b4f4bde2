"""Source distributions of Python packages, fetched from the index that pip is set up for; none of their code is run."""

from __future__ import annotations

import ast
import contextlib
import functools
import hashlib
import html.parser
import http.client
import json
import os
import re
import ssl
import subprocess
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

from compiler_dojo.envs.errors import FetchError, InvalidConfigError, did_you_mean
from compiler_dojo.envs.programs.folders import cache_folder
from compiler_dojo.envs.programs.sources.fetching import sha256_of
from compiler_dojo.envs.programs.sources.sdist_metadata import SUFFIXES, license_expression_of, version_key, version_of

TIMEOUT_SECONDS = 60.0
LARGEST_PAGE, LARGEST_SDIST = 64 << 20, 512 << 20
CHUNK = 1 << 20
# JSON is what PEP 691 defines; older indexes have HTML only (PEP 503)
ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"


@dataclass(frozen=True)
class Sdist:
    """A source distribution on this machine.

    Attributes:
        path: the archive, in the cache.
        name: the package's normalised name (PEP 503).
        version: its version, as the file name has it.
        sha256: the archive's hash, in hexadecimal digits; it is the one that the index announced.
        license_expression: SPDX expression where the metadata tell it without doubt, else "".
    """

    path: Path
    name: str
    version: str
    sha256: str
    license_expression: str


@dataclass(frozen=True)
class Index:
    """A package index.

    Attributes:
        url: of the index; the pages of packages are below it.
        certificates: file of the authorities to trust, or "" for the system's.
    """

    url: str
    certificates: str = ""


class _File(NamedTuple):
    """A file that an index offers."""

    filename: str
    url: str
    sha256: str
    yanked: bool


def fetch_sdist(name: str, version: str | None = None, sha256: str = "", index: Index | None = None) -> Sdist:
    """Fetch a package's source distribution into the cache, unless it is there.

    A pinned version that is in the cache is taken from there without asking the index.

    Args:
        name: of the package.
        version: the one to fetch; by default the newest that is neither withdrawn nor a pre-release.
        sha256: hash that the archive must have; by default the one that the index announces.
        index: where to look; by default :func:`find_index`.

    Raises:
        InvalidConfigError: this is no name of a package.
        FetchError: no network, no such package, version or source distribution, or what came is not what was announced.
        UnsafeArchiveError: the archive unpacks to too much.
    """
    if not re.fullmatch(r"[A-Za-z0-9]([\w.-]*[A-Za-z0-9])?", name, re.ASCII):
        raise InvalidConfigError(f"{name!r} is no name of a Python package: letters, digits, and - _ . between them")
    normalised = re.sub(r"[-_.]+", "-", name).lower()
    folder = cache_folder("pypi") / normalised
    path = _in_cache(folder, normalised, version, sha256) if version is not None else None
    if path is None:
        with _connection(index or find_index()) as opened:
            chosen = _choose(_offered(opened, normalised), normalised, version)
            if sha256 and chosen.sha256 != sha256:
                raise FetchError(
                    f"{chosen.filename}: the index offers {chosen.sha256}, expected {sha256}: of another version?"
                )
            path = folder / chosen.filename
            if _hash_in_cache(path) != chosen.sha256:
                _download(opened, chosen, path)
    found = version_of(path.name, normalised)
    assert found is not None
    return Sdist(path, normalised, found, _sidecar(path).read_text(), license_expression_of(path))


@functools.cache
def find_index() -> Index:
    """The index that ``pip download`` would use, by its environment variables, its configuration, or its default.

    pip is asked, so that mirrors and private indexes work as they do for pip. Of several indexes the first is used.

    Raises:
        FetchError: pip is not installed or has no index.
    """
    settings: dict[str, str] = {}
    for line in _pip("config", "list").splitlines():
        key, _, value = line.partition("=")
        with contextlib.suppress(ValueError, SyntaxError):
            settings[key] = str(ast.literal_eval(value))

    def setting(option: str) -> str:
        places = (":env:", "download", "global")  # pip's order
        return next((settings[key] for place in places if (key := f"{place}.{option}") in settings), "")

    if setting("no-index") not in ("", "0", "false", "False"):
        raise FetchError("pip is set up to use no index: unset PIP_NO_INDEX, or no-index in its configuration")
    # the help text is the one place where pip tells its default
    default = re.search(r"Base URL of the Python Package Index \(default\s+(\S+?)\)", _pip("download", "--help"))
    url = setting("index-url") or (default[1] if default else "")
    if not url:
        raise FetchError("pip does not tell its package index: set PIP_INDEX_URL")
    return Index(url, setting("cert"))


def _pip(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "pip", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "10000"},  # no line breaks inside URLs
    )
    if done.returncode != 0:
        raise FetchError(
            f"which package index to use is not known, because pip does not run: {done.stderr.strip()[-300:]}; "
            "install it with `apt-get install python3-pip` or `python -m ensurepip`"
        )
    return done.stdout


@dataclass(frozen=True)
class _Connection:
    """How to reach an index whose user and password, if any, are no longer in its URL."""

    url: str
    opener: urllib.request.OpenerDirector

    @contextlib.contextmanager
    def open(self, url: str) -> Iterator[http.client.HTTPResponse]:
        """The answer to a GET.

        Raises:
            FetchError: there is none.
        """
        if urllib.parse.urlsplit(url).scheme not in {"http", "https", urllib.parse.urlsplit(self.url).scheme}:
            raise FetchError(f"{url}: an index may send to http and https only")
        request = urllib.request.Request(url, headers={"Accept": ACCEPT, "Accept-Encoding": "identity"})
        with _network_errors(url), self.opener.open(request, timeout=TIMEOUT_SECONDS) as response:
            yield response


@contextlib.contextmanager
def _connection(index: Index) -> Iterator[_Connection]:
    parts = urllib.parse.urlsplit(index.url)
    where = parts.netloc.rpartition("@")[2]
    url = parts._replace(netloc=where).geturl().rstrip("/")
    passwords = urllib.request.HTTPPasswordMgrWithPriorAuth()
    if parts.username is not None:
        user, password = urllib.parse.unquote(parts.username), urllib.parse.unquote(parts.password or "")
        passwords.add_password(None, f"{parts.scheme}://{where}", user, password, is_authenticated=True)
    try:
        context = ssl.create_default_context(cafile=index.certificates or None)
    except OSError as error:
        raise FetchError(f"{index.certificates}: these certificates cannot be read: {error}") from None
    handlers = [urllib.request.HTTPSHandler(context=context), urllib.request.HTTPBasicAuthHandler(passwords)]
    opener = urllib.request.build_opener(*handlers)
    try:
        yield _Connection(url, opener)
    finally:
        opener.close()


@contextlib.contextmanager
def _network_errors(url: str) -> Iterator[None]:
    """Turn what the network raises into FetchError."""
    try:
        yield
    except urllib.error.HTTPError as error:
        error.close()
        missing = "; is the name right?" if error.code in (404, 410) else ""
        raise FetchError(f"{url}: the index answers {error.code} {error.reason}{missing}") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error or type(error).__name__
        raise FetchError(
            f"{url} cannot be fetched: {reason}; check the network, or set PIP_INDEX_URL to an index within reach"
        ) from None


def _offered(index: _Connection, name: str) -> list[_File]:
    """The files of a package's page."""
    url = f"{index.url}/{name}/"
    with index.open(url) as response:
        page = response.read(LARGEST_PAGE + 1)
        base, kind = response.url, response.headers.get_content_type()
    if len(page) > LARGEST_PAGE:
        raise FetchError(f"{url}: a page of more than {LARGEST_PAGE >> 20} MiB")
    try:
        return _from_json(page, base) if kind.endswith("json") else _from_html(page, base)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FetchError(f"{url} is no page of a package index (PEP 503, PEP 691): {error!r}") from None


def _from_json(page: bytes, base: str) -> list[_File]:
    return [
        _File(
            str(file["filename"]),
            urllib.parse.urljoin(base, file["url"]),
            str(file.get("hashes", {}).get("sha256", "")),
            bool(file.get("yanked", False)),
        )
        for file in json.loads(page)["files"]
    ]


def _from_html(page: bytes, base: str) -> list[_File]:
    parser = _Links()
    parser.feed(page.decode())
    parser.close()
    files = []
    for attributes in parser.links:
        url, fragment = urllib.parse.urldefrag(urllib.parse.urljoin(base, attributes.get("href") or ""))
        filename = urllib.parse.unquote(urllib.parse.urlsplit(url).path.rpartition("/")[2])
        kind, _, value = fragment.partition("=")
        files.append(_File(filename, url, value if kind == "sha256" else "", "data-yanked" in attributes))
    return files


class _Links(html.parser.HTMLParser):
    """Collects the attributes of a page's links."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[dict[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.links.append(dict(attrs))


def _choose(files: list[_File], name: str, version: str | None) -> _File:
    """The source distribution of a version, or of the newest one."""
    sdists = [(found, file) for file in files if (found := version_of(file.filename, name)) is not None]
    if not sdists:
        raise FetchError(f"{name} has no source distribution: the index offers {len(files)} files of other kinds")
    if version is not None:
        fitting = [pair for pair in sdists if _is_version(pair[0], version)]
        if not fitting:
            near = did_you_mean(version, {found for found, _ in sdists})
            raise FetchError(f"{name} has no source distribution of version {version}: {near}")
    else:
        kept = [pair for pair in sdists if not pair[1].yanked] or sdists
        fitting = [pair for pair in kept if version_key(pair[0]).is_final] or kept
        newest = max(version_key(found) for found, _ in fitting)
        fitting = [pair for pair in fitting if version_key(pair[0]) == newest]
    _, chosen = min(fitting, key=lambda pair: (SUFFIXES.index(_suffix(pair[1].filename)), pair[1].filename))
    if not re.fullmatch(r"[0-9a-f]{64}", chosen.sha256):
        raise FetchError(f"{chosen.filename}: the index announces no SHA-256, so that it could not be verified")
    return chosen


def _is_version(found: str, wanted: str) -> bool:
    return found == wanted or version_key(found) == version_key(wanted) != version_key("")


def _suffix(filename: str) -> str:
    return next(suffix for suffix in SUFFIXES if filename.endswith(suffix))


def _in_cache(folder: Path, name: str, version: str, sha256: str) -> Path | None:
    """The archive of this version that is in the cache and whole."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        found = version_of(path.name, name)
        if found is not None and _is_version(found, version):
            present = _hash_in_cache(path)
            if present and (not sha256 or present == sha256):
                return path
    return None


def _hash_in_cache(path: Path) -> str:
    """An archive's SHA-256 when it is the one noted beside it, else ""."""
    try:
        noted = _sidecar(path).read_text()
        present = sha256_of(path)
    except OSError:
        return ""
    return present if present == noted else ""


def _sidecar(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _download(index: _Connection, file: _File, path: Path) -> None:
    """Fetch a file; it appears under its name only when it is whole and its hash right.

    Raises:
        FetchError: the network fails, the hash is another, or there is no room.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".fetching-") as folder:
            unfinished, note = Path(folder) / "archive", Path(folder) / "hash"
            with unfinished.open("wb") as output:
                digest = _copy(index, file, output)
            if digest != file.sha256:
                raise FetchError(f"{file.url} has the SHA-256 {digest}, but the index announces {file.sha256}")
            note.write_text(digest)
            note.replace(_sidecar(path))
            unfinished.replace(path)
    except OSError as error:
        raise FetchError(f"{path} cannot be written: {error}; make room, or set DOJO_CACHE to another folder") from None


def _copy(index: _Connection, file: _File, output: IO[bytes]) -> str:
    """Copy what the index sends into a file; the SHA-256 of it."""
    digest, size = hashlib.sha256(), 0
    with index.open(file.url) as response:
        expected = response.headers.get("Content-Length")
        while chunk := response.read(CHUNK):
            digest.update(chunk)
            size += len(chunk)
            if size > LARGEST_SDIST:
                raise FetchError(f"{file.url} is larger than {LARGEST_SDIST >> 20} MiB")
            output.write(chunk)
    if expected is not None and size < int(expected):
        raise FetchError(f"{file.url} was cut off after {size} of {expected} bytes; run this again")
    return digest.hexdigest()
