"""A web site on this machine that serves what a test puts there, well or badly, and remembers what it was asked for."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

import pytest
from debian_archive import write_headers

from compiler_dojo.envs.programs.sources import fetching
from compiler_dojo.envs.programs.sources.headers import Headers
from compiler_dojo.envs.programs.sources.tree import SourceTree


class Request(NamedTuple):
    """What the site was asked for; ``start`` is where the wanted range begins, None when all of it is wanted."""

    name: str
    start: int | None


@dataclass
class Site:
    """Files by name, and how they are served.

    Attributes:
        cuts: bytes after which the connection ends, a number per request, while there are any.
        statuses: answers instead of the file, a number per request, while there are any.
        ranges: a part of a file is served when a part is asked for.
        shift: bytes by which a part begins later than asked for.
        pause: seconds between 10 kB.
        silent: never answers.
    """

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    cuts: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    ranges: bool = True
    shift: int = 0
    pause: float = 0.0
    silent: bool = False
    closed: threading.Event = field(default_factory=threading.Event)

    def asked_for(self) -> list[str]:
        return [request.name for request in self.requests]


class Handler(BaseHTTPRequestHandler):
    site: Site

    def do_GET(self) -> None:
        site = self.site
        name = self.path.rsplit("/", 1)[-1]
        wanted = self.headers.get("Range")
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else None
        site.requests.append(Request(name, start))
        if site.silent:
            site.closed.wait(20)
            return
        content = site.files.get(name)
        if site.statuses or content is None:
            self.send_error(site.statuses.pop(0) if site.statuses else 404)
            return
        if start is None or not site.ranges:
            self.send_response(200)
        elif start >= len(content):
            self.send_error(416)
            return
        else:
            start += site.shift
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            content = content[start:]
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self._send(content[: site.cuts.pop(0)] if site.cuts else content)

    def _send(self, content: bytes) -> None:
        try:
            for first in range(0, len(content), 10_000):
                self.wfile.write(content[first : first + 10_000])
                if self.site.pause:
                    self.wfile.flush()
                    time.sleep(self.site.pause)
        except ConnectionError:
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("SiteHandler", (Handler,), {"site": site}))
    server.daemon_threads = True
    site.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield site
    site.closed.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def mirror(site, tmp_path, monkeypatch) -> Site:
    """The site as mirror of everything that is fetched, a cache of its own, and little patience."""
    monkeypatch.setenv("DOJO_SUITES_MIRROR", f"{site.address}/mirror")
    monkeypatch.setenv("DOJO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(fetching, "PAUSE", 0.01)
    return site


@pytest.fixture
def make_tree(tmp_path, headers) -> Callable[..., SourceTree]:
    """Write these files, and take them for a package's sources."""

    def make(files: dict[str, str], name: str = "tree", headers: Headers = headers) -> SourceTree:
        return SourceTree(write_headers(tmp_path / name, files), headers)

    return make
