"""Fetching source distributions from an index on this machine: what is chosen, and what is said when it goes wrong."""

import base64
import gzip
import hashlib
import html
import http.server
import io
import json
import os
import re
import sys
import tarfile
import threading
from dataclasses import dataclass, field

import pytest

from compiler_dojo.envs.errors import FetchError, InvalidConfigError
from compiler_dojo.envs.programs.sources import sdists
from compiler_dojo.envs.programs.sources.sdists import Index, fetch_sdist, find_index


def sdist(name: str = "foo", version: str = "1.0") -> bytes:
    """An archive with two files, the same bytes for the same arguments."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        for member, content in (("foo.c", b"int foo;"), ("PKG-INFO", b"Name: foo\nLicense-Expression: Zlib\n")):
            entry = tarfile.TarInfo(f"{name}-{version}/{member}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return gzip.compress(raw.getvalue(), mtime=0)


@dataclass
class LocalIndex:
    """An index that serves pages and files, and notes what it was asked for.

    Attributes:
        url: where it is.
        answers: status, headers and body by path.
        asked: the paths that were asked for.
        password: when given, ``user:password`` that it wants.
    """

    url: str
    answers: dict[str, tuple[int, dict[str, str], bytes]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    password: str = ""

    def offer(self, name: str, *files: dict, kind: str = "json") -> None:
        """Serve a package's page and its files; of a file ``body`` is the content and ``sha256`` what is announced."""
        for file in files:
            self.answers[f"/files/{file['filename']}"] = (200, {}, file["body"])
        entries = [
            {
                "filename": file["filename"],
                "url": file.get("url", f"../../files/{file['filename']}"),
                "hashes": {"sha256": file.get("sha256", hashlib.sha256(file["body"]).hexdigest())},
                "yanked": file.get("yanked", False),
            }
            for file in files
        ]
        if kind == "json":
            body, content = (
                json.dumps({"meta": {}, "name": name, "files": entries}),
                "application/vnd.sdists.simple.v1+json",
            )
        else:
            links = [
                f'<a href="{html.escape(entry["url"])}#sha256={entry["hashes"]["sha256"]}"'
                f"{' data-yanked' if entry['yanked'] else ''}>{entry['filename']}</a>"
                for entry in entries
            ]
            body = f"<!DOCTYPE html><html><body>{''.join(links)}</body></html>"
            content = "text/html; charset=utf-8"
        self.answers[f"/simple/{name}/"] = (200, {"Content-Type": content}, body.encode())


@pytest.fixture
def server(monkeypatch, tmp_path):
    """An index on loopback, and an empty cache."""
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("DOJO_CACHE", str(tmp_path / "cache"))
    local = LocalIndex("")

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            local.asked.append(self.path)
            status, headers, body = local.answers.get(self.path, (404, {}, b""))
            expected = "Basic " + base64.b64encode(local.password.encode()).decode()
            if local.password and self.headers.get("Authorization") != expected:
                status, headers, body = 401, {"WWW-Authenticate": 'Basic realm="index"'}, b""
            self.send_response(status)
            for key, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        local.url = f"http://127.0.0.1:{listening.server_port}/simple"
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
        thread.start()
        yield local
        listening.shutdown()
        thread.join()


@pytest.fixture
def index(server) -> Index:
    return Index(server.url)


def tarball(version: str, name: str = "foo", **more) -> dict:
    return {"filename": f"{name}-{version}.tar.gz", "body": sdist(name, version), **more}


@pytest.mark.parametrize("kind", ["json", "html"])
def test_fetch__takes_the_newest_that_is_neither_withdrawn_nor_a_prerelease(server, index, kind) -> None:
    wheel = {"filename": "foo-9.0-py3-none-any.whl", "body": b"wheel"}
    versions = [tarball("1.9"), tarball("1.10"), tarball("2.0rc1"), tarball("1.11", yanked=True)]
    server.offer("foo", wheel, *versions, kind=kind)
    found = fetch_sdist("Foo", index=index)
    assert (found.name, found.version, found.license_expression) == ("foo", "1.10", "Zlib")
    assert found.path.read_bytes() == sdist(version="1.10")
    assert found.sha256 == hashlib.sha256(sdist(version="1.10")).hexdigest()
    assert found.path.parent == sdists.cache_folder("pypi") / "foo"
    assert sorted(path.name for path in found.path.parent.iterdir()) == ["foo-1.10.tar.gz", "foo-1.10.tar.gz.sha256"]


def test_fetch__takes_a_prerelease_or_a_withdrawn_one_when_there_is_nothing_else(server, index) -> None:
    server.offer("foo", tarball("1.0a1"), tarball("1.0b1"))
    server.offer("bar", tarball("1.0", "bar", yanked=True))
    assert fetch_sdist("foo", index=index).version == "1.0b1"
    assert fetch_sdist("bar", index=index).version == "1.0"


@pytest.mark.parametrize("version", ["1.0", "1.0.0", "v1"])
def test_fetch__takes_the_version_that_is_asked_for(server, index, version) -> None:
    server.offer("foo", tarball("1.0", yanked=True), tarball("2.0"))
    assert fetch_sdist("foo", version, index=index).version == "1.0"


def test_fetch__prefers_tarballs(server, index) -> None:
    old = {"filename": "foo-1.0.zip", "body": b"zip"}
    server.offer("foo", old, tarball("1.0"))
    assert fetch_sdist("foo", index=index).path.name == "foo-1.0.tar.gz"


def test_fetch__of_a_pinned_version_asks_once(server, index) -> None:
    server.offer("foo-bar", tarball("1.0", "foo_bar"))
    first = fetch_sdist("foo.bar", "1.0", index=index)
    server.answers.clear()
    asked = len(server.asked)
    assert fetch_sdist("foo-bar", "1.0", first.sha256, index) == first
    assert len(server.asked) == asked == 2


def test_fetch__of_the_newest_downloads_it_once(server, index) -> None:
    server.offer("foo", tarball("1.0"))
    assert fetch_sdist("foo", index=index) == fetch_sdist("foo", index=index)
    assert server.asked == ["/simple/foo/", "/files/foo-1.0.tar.gz", "/simple/foo/"]


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(b"x"), lambda path: path.unlink()])
def test_fetch__repairs_the_cache(server, index, damage) -> None:
    server.offer("foo", tarball("1.0"))
    first = fetch_sdist("foo", "1.0", index=index)
    damage(first.path)
    assert fetch_sdist("foo", "1.0", index=index) == first
    assert first.path.read_bytes() == sdist()


def test_fetch__refuses_what_has_another_hash_than_announced(server, index) -> None:
    server.offer("foo", tarball("1.0", sha256="0" * 64))
    with pytest.raises(
        FetchError, match=rf"foo-1.0.tar.gz has the SHA-256 [0-9a-f]+, but the index announces {'0' * 64}"
    ):
        fetch_sdist("foo", index=index)
    assert list((sdists.cache_folder("pypi") / "foo").iterdir()) == []


def test_fetch__refuses_what_has_another_hash_than_pinned(server, index) -> None:
    server.offer("foo", tarball("1.0"))
    fetch_sdist("foo", "1.0", index=index)
    with pytest.raises(FetchError, match=rf"foo-1\.0\.tar\.gz: the index offers [0-9a-f]+, expected {'1' * 64}"):
        fetch_sdist("foo", "1.0", "1" * 64, index)


def test_fetch__refuses_what_could_not_be_verified(server, index) -> None:
    server.offer("foo", tarball("1.0", sha256=""))
    with pytest.raises(FetchError, match="announces no SHA-256"):
        fetch_sdist("foo", index=index)


def test_fetch__notices_what_was_cut_off(server, index) -> None:
    server.offer("foo", tarball("1.0"))
    status, _, body = server.answers["/files/foo-1.0.tar.gz"]
    headers = {"Content-Length": str(len(body)), "Connection": "close"}
    server.answers["/files/foo-1.0.tar.gz"] = (status, headers, body[:99])
    with pytest.raises(FetchError, match=r"was cut off after 99 of|cannot be fetched: IncompleteRead"):
        fetch_sdist("foo", index=index)
    assert list((sdists.cache_folder("pypi") / "foo").iterdir()) == []


def test_fetch__limits_sizes(server, index, monkeypatch) -> None:
    server.offer("foo", tarball("1.0"))
    monkeypatch.setattr(sdists, "LARGEST_SDIST", 10)
    with pytest.raises(FetchError, match=r"foo-1\.0\.tar\.gz is larger than 0 MiB"):
        fetch_sdist("foo", index=index)
    monkeypatch.setattr(sdists, "LARGEST_PAGE", 10)
    with pytest.raises(FetchError, match=r"simple/foo/: a page of more than 0 MiB"):
        fetch_sdist("foo", index=index)


def test_fetch__says_what_the_index_lacks(server, index) -> None:
    with pytest.raises(FetchError, match=r"/simple/foo/: the index answers 404 Not Found; is the name right\?"):
        fetch_sdist("foo", index=index)
    server.offer("foo", {"filename": "foo-9.0-py3-none-any.whl", "body": b"wheel"})
    with pytest.raises(FetchError, match="foo has no source distribution: the index offers 1 files of other kinds"):
        fetch_sdist("foo", index=index)
    server.offer("foo", tarball("1.20"))
    with pytest.raises(FetchError, match=r"foo has no source distribution of version 1\.2: did you mean '1\.20'\?"):
        fetch_sdist("foo", "1.2", index=index)
    server.answers["/simple/foo/"] = (503, {}, b"")
    with pytest.raises(FetchError, match=r"the index answers 503 Service Unavailable$"):
        fetch_sdist("foo", index=index)


@pytest.mark.parametrize("body", [b"no JSON", b"[]", b'{"files": [{"filename": "x"}]}', b'{"files": [3]}'])
def test_fetch__refuses_what_is_no_page(server, index, body) -> None:
    server.answers["/simple/foo/"] = (200, {"Content-Type": "application/vnd.sdists.simple.v1+json"}, body)
    with pytest.raises(FetchError, match=r"simple/foo/ is no page of a package index \(PEP 503, PEP 691\): "):
        fetch_sdist("foo", index=index)


def test_fetch__leaves_files_of_this_machine_alone(server, index, tmp_path) -> None:
    secret = tmp_path / "foo-1.0.tar.gz"
    secret.write_bytes(sdist())
    server.offer("foo", tarball("1.0", url=secret.as_uri()))
    with pytest.raises(FetchError, match="an index may send to http and https only"):
        fetch_sdist("foo", index=index)
    server.offer("foo", {"filename": "../../foo-1.0.tar.gz", "body": sdist()})
    with pytest.raises(FetchError, match="no source distribution"):
        fetch_sdist("foo", index=index)


def test_fetch__says_when_nothing_can_be_reached(server) -> None:
    with pytest.raises(FetchError, match=r"cannot be fetched: .*refused; check the network, or set PIP_INDEX_URL"):
        fetch_sdist("foo", index=Index("http://127.0.0.1:1/simple"))
    with pytest.raises(FetchError, match="cannot be fetched: "):
        fetch_sdist("foo", index=Index("http://index.invalid/simple"))


def test_fetch__says_when_the_cache_cannot_be_written(server, index, tmp_path, monkeypatch) -> None:
    server.offer("foo", tarball("1.0"))
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DOJO_CACHE", str(tmp_path / "file"))
    with pytest.raises(FetchError, match=r"cannot be written: .*; make room, or set DOJO_CACHE to another folder"):
        fetch_sdist("foo", index=index)


@pytest.mark.parametrize("name", ["", "../foo", "-foo", "foo/bar", "foo bar"])
def test_fetch__refuses_what_is_no_name(name) -> None:
    with pytest.raises(InvalidConfigError, match="is no name of a Python package"):
        fetch_sdist(name)


def test_fetch__gives_the_password_to_the_index_and_to_nobody_else(server) -> None:
    server.offer("foo", tarball("1.0"))
    server.password = "me:it's secret"
    url = server.url.replace("//", "//me:it%27s%20secret@")
    assert fetch_sdist("foo", index=Index(url)).version == "1.0"
    with pytest.raises(FetchError, match="answers 401") as caught:
        fetch_sdist("foo", index=Index(url.replace("it%27s%20secret", "wrong")))
    assert "wrong" not in str(caught.value)


def test_fetch__refuses_certificates_that_are_none(server, tmp_path) -> None:
    with pytest.raises(FetchError, match=f"{re.escape(str(tmp_path))}/none.pem: these certificates cannot be read: "):
        fetch_sdist("foo", index=Index(server.url, f"{tmp_path}/none.pem"))


@pytest.fixture
def pip_alone(monkeypatch):
    """pip without the settings of this machine."""
    for variable in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    find_index.cache_clear()
    yield monkeypatch
    find_index.cache_clear()


def test_find_index__is_pips_default(pip_alone) -> None:
    assert find_index().certificates == ""
    assert re.fullmatch(r"https://\S+/simple", find_index().url)


def test_find_index__is_what_pip_is_set_up_for(pip_alone, write, server) -> None:
    settings = write("pip.conf", "[global]\nindex-url = http://a/simple\ncert = /a.pem\n")
    pip_alone.setenv("PIP_CONFIG_FILE", str(settings))
    assert find_index() == Index("http://a/simple", "/a.pem")
    find_index.cache_clear()
    pip_alone.setenv("PIP_INDEX_URL", server.url)
    server.offer("foo", tarball("1.0"))
    pip_alone.setenv("PIP_CERT", "")
    assert find_index().url == server.url


def test_find_index__honours_no_index(pip_alone) -> None:
    pip_alone.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(FetchError, match="pip is set up to use no index: unset PIP_NO_INDEX"):
        find_index()


def test_find_index__says_when_pip_does_not_run(pip_alone, tmp_path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho No module named pip >&2\nexit 1\n")
    python.chmod(0o755)
    pip_alone.setattr(sys, "executable", str(python))
    with pytest.raises(FetchError, match="because pip does not run: No module named pip; install it with"):
        find_index()
    python.write_text("#!/bin/sh\n")
    with pytest.raises(FetchError, match="pip does not tell its package index: set PIP_INDEX_URL"):
        find_index()
