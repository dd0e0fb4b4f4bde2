"""Downloads that resume where they stopped, are verified by SHA-256, and appear in the cache whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import http.client
import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from compiler_dojo.envs.errors import FetchError, InvalidConfigError

MIRROR_VARIABLE = "DOJO_SUITES_MIRROR"

TIMEOUT = 30.0
"""Seconds without an answer, or below :data:`SLOWEST`, after which a connection is given up."""
SLOWEST = 1000
"""Bytes per second that a connection must bring on average over :data:`TIMEOUT`."""
ATTEMPTS = 4
"""Connections in a row that may bring nothing new before the download is given up."""
PAUSE = 1.0
"""Seconds before the second connection; the later pauses are multiples of it."""

_CHUNK = 1 << 16
_BUSY = (408, 429)  # the only answers of the 400s after which the same request may succeed


@dataclass(frozen=True)
class RemoteFile:
    """A published file.

    Attributes:
        address: where it is published.
        sha256: hash of its content, in hexadecimal digits.
    """

    address: str
    sha256: str

    @property
    def name(self) -> str:
        """Last part of its address."""
        return self.address.rsplit("/", 1)[-1]


def fetch(remote: RemoteFile, folder: Path) -> Path:
    """The file in ``folder``, downloaded unless it is there; what arrived of it before an end of any kind is kept.

    With ``$DOJO_SUITES_MIRROR`` set, the file of the same name is fetched from below that address instead. Processes
    that want the same file wait for one another.

    Raises:
        FetchError: no answer, an answer that is no file, a full disk, or content with another hash.
        InvalidConfigError: the mirror is no http or https address.
    """
    address = _mirrored(remote)
    path = folder / f"{remote.sha256[:12]}-{remote.name}"
    try:
        with exclusive(path):
            if not path.is_file():
                _download(remote, address, path)
            elif (found := sha256_of(path)) != remote.sha256:
                path.unlink()
                raise _wrong_hash(remote, address, path, found)
    except OSError as error:
        raise FetchError(f"{folder} cannot be written: {error}; set DOJO_CACHE to a folder that can") from error
    return path


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the lock of ``path``, a file beside it; the system releases it however this process ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(path.name + ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _mirrored(remote: RemoteFile) -> str:
    mirror = os.environ.get(MIRROR_VARIABLE)
    if not mirror:
        return remote.address
    if not mirror.startswith(("http://", "https://")):
        raise InvalidConfigError(f"{MIRROR_VARIABLE}={mirror}: expected an address with http:// or https://")
    return f"{mirror.rstrip('/')}/{remote.name}"


def _download(remote: RemoteFile, address: str, path: Path) -> None:
    part = path.with_name(path.name + ".part")
    failures = 0
    while True:
        before = _size(part)
        try:
            resumed = _receive(address, part)
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise FetchError(f"no room in {part.parent}: {_kept(part)}; make some and try again") from error
            refused = isinstance(error, urllib.error.HTTPError) and error.code < 500 and error.code not in _BUSY
            failures = 1 if _size(part) > before else failures + 1
            if refused or failures == ATTEMPTS:
                raise _unreachable(address, path, part, error) from error
            time.sleep(PAUSE * failures)
            continue
        found = sha256_of(part)
        if found == remote.sha256:
            part.replace(path)
            return
        part.unlink()
        # a file put together from several answers is wrong when it changed in between: once more, in one piece
        if not resumed:
            raise _wrong_hash(remote, address, path, found)


def _receive(address: str, part: Path) -> bool:
    """Append what is missing to ``part``; whether there was something before."""
    start = _size(part)
    headers = {"User-Agent": "compiler-dojo", **({"Range": f"bytes={start}-"} if start else {})}
    try:
        response = urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 416 and start:  # nothing is missing, or the file there is shorter: the hash will tell
                return True
            raise
    with response:
        continues = bool(response.status == 206)
        if continues and not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            part.unlink()
            raise ConnectionError(f"asked for the bytes from {start} on, got {response.headers['Content-Range']}")
        expected = response.length  # None where the server does not say
        with part.open("ab" if continues else "wb") as file:
            received = _copy(response, file)
    if expected is not None and received < expected:
        raise ConnectionError(f"the connection ended after {received} of {expected} bytes")
    return continues


def _copy(response: http.client.HTTPResponse, file: IO[bytes]) -> int:
    total = recent = 0
    since = time.monotonic()
    while chunk := response.read1(_CHUNK):
        file.write(chunk)
        total += len(chunk)
        recent += len(chunk)
        seconds = time.monotonic() - since
        if seconds >= TIMEOUT:
            if recent < SLOWEST * seconds:
                raise TimeoutError(f"fewer than {SLOWEST} bytes a second for {seconds:.0f} seconds")
            since, recent = time.monotonic(), 0
    return total


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _kept(part: Path) -> str:
    return f"the {_size(part)} bytes that arrived are kept and the next try goes on from there"


def _by_hand(address: str, path: Path) -> str:
    return (
        f"set {MIRROR_VARIABLE} to the address of a folder with {address.rsplit('/', 1)[-1]}, "
        f"or fetch it by hand: `curl -L -o {path} {address}`"
    )


def _unreachable(address: str, path: Path, part: Path, error: Exception) -> FetchError:
    reason = error.reason if type(error) is urllib.error.URLError else error
    kept = f"; {_kept(part)}" if _size(part) else ""
    return FetchError(f"{address} could not be fetched: {reason!s}{kept}; {_by_hand(address, path)}")


def _wrong_hash(remote: RemoteFile, address: str, path: Path, found: str) -> FetchError:
    return FetchError(
        f"{address} has the SHA-256 hash {found}, published was {remote.sha256}: it was changed or damaged on its way, "
        f"and has been deleted; try again, {_by_hand(address, path)}"
    )
