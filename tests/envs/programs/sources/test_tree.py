"""Trees of sources: unpacking them, honest or not; which files are units, and where their headers are."""

import bz2
import gzip
import lzma
import os
import tarfile
from pathlib import Path

import pytest
from debian_archive import PLAIN, link, tarball

from compiler_dojo.envs.errors import FetchError, UnsafeArchiveError
from compiler_dojo.envs.programs.sources import unpacking
from compiler_dojo.envs.programs.sources.tree import is_foreign, scan
from compiler_dojo.envs.programs.sources.unpacking import unpack_sources

BOTH = frozenset({"c", "c++"})


def unpacked(tmp_path: Path, data: bytes) -> dict[str, str]:
    archive = tmp_path / "archive.tar"
    archive.write_bytes(data)
    root = unpack_sources(archive, tmp_path / "in" / "folder")
    return {path.relative_to(root).as_posix(): path.read_text() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("compression", ["gz", "bz2", "xz", ""])
@pytest.mark.parametrize("prefix", ["", "plain-1/"])
def test_unpack__gives_the_folder_with_the_contents(tmp_path, compression, prefix) -> None:
    assert unpacked(tmp_path, tarball(PLAIN, prefix=prefix, compression=compression)) == PLAIN


def test_unpack__stays_in_its_folder(tmp_path) -> None:
    outside = tmp_path / "outside.txt"
    outside.write_text("kept")
    pipe = tarfile.TarInfo("pack/pipe")
    pipe.type = tarfile.FIFOTYPE
    members = [
        link("pack/absolute.h", str(outside)), link("pack/up.h", "../../../outside.txt"), link("pack/out", "../.."),
        link("pack/inside.h", "a.c"), link("pack/dangling.h", "nothing"), pipe,
    ]  # fmt: skip
    files = {
        "pack/a.c": "int a;", "../escaped.c": "", "pack/../../escaped.c": "", "/absolute.c": "", "pack/absolute.h": "x",
        "pack/out/written.c": "",
    }  # fmt: skip
    found = unpacked(tmp_path, tarball(files, *members))
    assert outside.read_text() == "kept"
    assert not list(tmp_path.rglob("escaped.c"))
    assert not (tmp_path / "written.c").exists()
    assert {"pack/a.c", "pack/inside.h", "absolute.c"} <= found.keys()
    for path in (tmp_path / "in").rglob("*"):
        assert Path(os.path.realpath(path)).is_relative_to(tmp_path / "in")


def test_unpack__leaves_out_large_files(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(unpacking, "SOURCE_BYTES", 10)
    assert sorted(unpacked(tmp_path, tarball({"a/small.c": "x" * 10, "a/large.c": "x" * 11}))) == ["small.c"]


def test_unpack__refuses_what_unpacks_to_too_much(tmp_path, monkeypatch) -> None:
    (tmp_path / "a.tar").write_bytes(tarball({f"{n}.c": "x" * (1 << 20) for n in range(4)}))
    monkeypatch.setattr(unpacking, "SOURCES_BYTES", 3 << 20)
    with pytest.raises(UnsafeArchiveError, match="unpacks to more than 3 MB"):
        unpack_sources(tmp_path / "a.tar", tmp_path / "one")
    monkeypatch.setattr(unpacking, "SOURCE_MEMBERS", 2)
    with pytest.raises(UnsafeArchiveError, match="unpacks to more than 2 files"):
        unpack_sources(tmp_path / "a.tar", tmp_path / "two")


NOISE = {"noise.c": os.urandom(1 << 16)}


@pytest.mark.parametrize(
    ("compress", "harm"),
    [
        *((compress, "cut") for compress in (gzip.compress, bz2.compress, lzma.compress, bytes)),
        # gzip's check of its content comes after what tarfile reads; every file's hash is checked when it is fetched
        *((compress, "flip") for compress in (bz2.compress, lzma.compress, bytes)),
    ],
)
def test_unpack__refuses_what_is_truncated_or_damaged(tmp_path, compress, harm) -> None:
    data = bytearray(compress(tarball(NOISE, compression="")))
    if harm == "cut":
        del data[len(data) // 2 :]
    elif compress is bytes:
        data[100] ^= 0xFF  # of what is not compressed, only headers are checked
    else:
        data[len(data) // 2] ^= 0xFF
    (tmp_path / "a.tar").write_bytes(data)
    with pytest.raises(FetchError, match=r"a.tar is truncated or damaged: delete .*a.tar and fetch it again"):
        unpack_sources(tmp_path / "a.tar", tmp_path / "folder")


def test_unpack__of_nothing_and_of_no_archive(tmp_path) -> None:
    with pytest.raises(FetchError, match=r"absent.tar could not be unpacked into .*: No such file"):
        unpack_sources(tmp_path / "absent.tar", tmp_path / "one")
    (tmp_path / "text.tar").write_text("no archive")
    with pytest.raises(FetchError, match="truncated or damaged"):
        unpack_sources(tmp_path / "text.tar", tmp_path / "two")


def test_units__are_sources_that_no_other_includes_and_of_this_platform(make_tree) -> None:
    tree = make_tree(
        {
            "a.c": '#include "part.c"\n', "sub/part.c": "", "b.cc": "", "win32/w.c": "", "file_win32.c": "", "x.h": "",
            ".git/hidden.c": "", "README": "",
        }
    )  # fmt: skip
    assert tree.units(BOTH) == ["a.c", "b.cc"]
    assert tree.units(frozenset({"c++"})) == ["b.cc"]
    assert is_foreign("src/macosx/a.c")


def test_includes__are_found_by_name_and_follow_headers(make_tree) -> None:
    tree = make_tree(
        {
            "src/a.c": '#include "one.h"\n#include <stdio.h>\n#include <glow/glow.h>\n#include "nowhere.h"\n',
            "include/one.h": "#include <deep/two.h>\n", "lib/inner/deep/two.h": "", "compat/stdio.h": "",
        }
    )  # fmt: skip
    found = tree.includes("src/a.c")
    assert found.folders == ("include", "lib/inner")
    assert found.system == ("usr/include/glow-2.0", "usr/lib/x86_64-linux-gnu/glow-2.0/include")
    assert found.missing == ("nowhere.h",)


def test_folders__that_shadow_system_headers_come_last(make_tree) -> None:
    tree = make_tree({"src/a.c": '#include "own.h"\n', "compat/own.h": "", "compat/string.h": ""})
    assert tree.includes("src/a.c").late == ("compat",)


@pytest.mark.parametrize("name", ["../../../../etc/passwd", "/etc/passwd", "a\0b.h", "x" * 5000 + ".h", "é.h"])
def test_includes__of_strange_names_are_missing(make_tree, name) -> None:
    tree = make_tree({"src/a.c": f'#include "{name}"\n'})
    assert len(tree.includes("src/a.c").missing) == 1


def test_scan__takes_files_that_end_early_or_are_gone(tmp_path) -> None:
    (tmp_path / "a.c").write_bytes(
        b'#include "no end\n# include <a.h>\n  #\tinclude"b.h"\r\n//#include <c.h>\n#include <a.h>'
    )
    assert scan(tmp_path / "a.c") == ((False, "a.h"), (True, "b.h"))
    assert scan(tmp_path / "absent.c") == ()
