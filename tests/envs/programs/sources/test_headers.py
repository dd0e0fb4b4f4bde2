"""Headers out of binary packages: whole or not at all, pinned, and no others."""

import os
import shutil
from pathlib import Path

import pytest
from debian_archive import HEADERS, write_headers

from compiler_dojo.envs.errors import FetchError
from compiler_dojo.envs.programs.sources.headers import DONE, Headers, fetch_headers


def test_headers__are_unpacked_and_nothing_else_is(debian) -> None:
    others = {"usr/bin/tool": "", "usr/lib/x86_64-linux-gnu/libx.a": "", "etc/x.h": ""}
    debian.add_headers("libc6-dev", "1", {**HEADERS, **others})
    debian.add_headers("linux-libc-dev", "2", {"usr/include/linux/types.h": ""})
    headers = fetch_headers([("libc6-dev", "1"), ("linux-libc-dev", "")], debian.open())
    assert headers.paths == {*HEADERS, "usr/include/linux/types.h"}
    assert {"stdio.h", "sys/types.h", "linux/types.h", "stddef.h"} <= headers.standard_names
    assert headers.search("glow/glow.h") == ["usr/include/glow-2.0"]
    assert headers.search("glowconfig.h") == ["usr/lib/x86_64-linux-gnu/glow-2.0/include"]
    assert headers.search("stddef.h") == []


def test_headers__are_fetched_once_and_anew_for_another_list(debian) -> None:
    file = debian.add_headers("libc6-dev", "1")
    archive = debian.open()
    root = fetch_headers([("libc6-dev", "1")], archive).root
    file.unlink()
    assert fetch_headers([("libc6-dev", "1")], archive).root == root
    debian.add_headers("libc6-dev", "2", {"usr/include/stdio.h": "// new"})
    archive.update()
    assert fetch_headers([("libc6-dev", "2")], archive).paths == {"usr/include/stdio.h"}
    assert (root / "usr/include/stdio.h").read_text() == "// new"
    assert not [path.name for path in archive.folder.glob("headers-*")]


@pytest.mark.parametrize("damage", [b"", b"no archive", None])
def test_headers__that_cannot_be_unpacked_leave_the_old_ones(debian, damage) -> None:
    debian.add_headers("libc6-dev", "1")
    archive = debian.open()
    headers = fetch_headers([("libc6-dev", "1")], archive)

    class Damaging:
        folder = archive.folder

        def fetch_binaries(self, packages: object, folder: Path) -> None:
            archive.fetch_binaries([("libc6-dev", "1")], folder)
            for deb in folder.glob("*.deb"):
                deb.write_bytes(deb.read_bytes()[:-300] if damage is None else damage)

    with pytest.raises(FetchError, match=r"libc6-dev_1_all.deb could not be unpacked"):
        fetch_headers([("libc6-dev", "3")], Damaging())  # type: ignore[arg-type]
    assert Headers(headers.root).paths == set(HEADERS)
    assert fetch_headers([("libc6-dev", "1")], archive).paths == set(HEADERS)


def test_headers__whose_list_is_damaged_are_fetched_anew(debian) -> None:
    debian.add_headers("libc6-dev", "1")
    root = fetch_headers([("libc6-dev", "1")], debian.open()).root
    (root / DONE).write_text("{")
    shutil.rmtree(root / "usr")
    assert fetch_headers([("libc6-dev", "1")], debian.open()).paths == set(HEADERS)


def test_headers__that_cannot_be_written_are_refused(debian, tmp_path) -> None:
    debian.add_headers("libc6-dev", "1")
    (tmp_path / "file").write_text("")
    with pytest.raises(FetchError, match=r"headers cannot be written: .* set DOJO_CACHE"):
        fetch_headers([("libc6-dev", "1")], debian.open(), tmp_path / "file")


def test_functions__are_kept_and_read_anew_when_what_was_kept_is_damaged(tmp_path) -> None:
    root = write_headers(tmp_path)
    found = Headers(root).functions
    assert {"printf", "malloc", "strlen"} <= found
    assert "glow" not in found
    kept = root / "functions.json"
    assert Headers(root).functions == found
    kept.write_text(kept.read_text()[:20])
    assert Headers(root).functions == found
    kept.unlink()
    kept.mkdir()  # it cannot be written
    assert Headers(root).functions == found
    assert sorted(os.listdir(root)) == ["functions.json", "usr"]
