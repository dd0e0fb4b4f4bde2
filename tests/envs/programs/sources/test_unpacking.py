"""Unpacking: honest archives of every compression, and every way in which one may do harm."""

import bz2
import gzip
import io
import lzma
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from compiler_dojo.envs.errors import FetchError, UnsafeArchiveError
from compiler_dojo.envs.programs.sources import unpacking
from compiler_dojo.envs.programs.sources.unpacking import UnpackLimits, read_text, unpack, unpack_sources

FILES = {"suite/a.bc": b"A" * 1000, "suite/sub/b.bc": b"B", "other/c": b"C"}


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "", size: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, target, size
    return info


def make_tar(files: dict[str, bytes], *others: tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            tar.addfile(member(name, size=len(content)), io.BytesIO(content))
        for info in others:
            tar.addfile(info, io.BytesIO(b"x" * info.size) if info.size else None)
    return buffer.getvalue()


@pytest.fixture
def unpacked(tmp_path) -> Callable[..., Path]:
    """Unpack these bytes; nothing but the archive, the folder and its lock may be there afterwards."""

    def run(archive: bytes, prefix: str = "", limits: UnpackLimits = UnpackLimits()) -> Path:  # noqa: B008 - frozen
        path, folder = tmp_path / "archive", tmp_path / "in" / "folder"
        path.write_bytes(archive)
        try:
            unpack(path, folder, prefix, limits)
        except FetchError:
            assert not folder.exists()
            raise
        finally:
            assert {item.name for item in folder.parent.iterdir()} <= {"folder", "folder.lock"}
            assert {item.name for item in tmp_path.iterdir()} == {"archive", "in"}
        return folder

    return run


def content_of(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("compress", [bytes, bz2.compress, gzip.compress, lzma.compress])
def test_archive__is_unpacked_whatever_compresses_it(unpacked, compress) -> None:
    assert content_of(unpacked(compress(make_tar(FILES)))) == FILES


def test_prefix__is_all_that_is_unpacked(unpacked) -> None:
    assert content_of(unpacked(make_tar(FILES), "suite")) == {"a.bc": b"A" * 1000, "sub/b.bc": b"B"}


def test_prefix__that_is_not_there(unpacked) -> None:
    with pytest.raises(FetchError, match="holds no files below 'suit'"):
        unpacked(make_tar(FILES), "suit")


def test_paths__may_begin_with_a_dot_and_later_ones_count(unpacked) -> None:
    archive = make_tar({"./a": b"first"}, member("a", size=3), member("b", tarfile.LNKTYPE, "a"), member("a", size=2))
    assert content_of(unpacked(archive)) == {"a": b"xx", "b": b"xxx"}


def test_links_inside__are_kept(unpacked) -> None:
    archive = make_tar(
        FILES, member("suite/link", tarfile.SYMTYPE, "sub/b.bc"), member("suite/hard", tarfile.LNKTYPE, "suite/a.bc")
    )
    folder = unpacked(archive, "suite")
    assert (folder / "link").is_symlink()
    assert content_of(folder) == {"a.bc": b"A" * 1000, "hard": b"A" * 1000, "link": b"B", "sub/b.bc": b"B"}


def test_modes__are_not_taken_over(unpacked) -> None:
    info = member("a", size=1)
    info.mode = 0o6777
    assert (unpacked(make_tar({}, info)) / "a").stat().st_mode & 0o7111 == 0


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([member("../evil", size=1)], "'../evil' leads outside"),
        ([member("suite/../../evil", size=1)], "leads outside"),
        ([member("/tmp/evil", size=1)], "'/tmp/evil' leads outside"),
        ([member("suite/evil", tarfile.SYMTYPE, "/etc/passwd")], "'evil' is a link to '/etc/passwd', outside"),
        ([member("suite/evil", tarfile.SYMTYPE, "../../../x")], "outside of its folder"),
        ([member("suite/evil", tarfile.SYMTYPE, "..")], "outside of its folder"),
        (
            [member("suite/p/q/up", tarfile.SYMTYPE, "../.."), member("suite/evil", tarfile.SYMTYPE, "p/q/up/../x")],
            "'evil' is a link to 'p/q/up/../x', outside",
        ),
        ([member("suite/d", tarfile.SYMTYPE, "/tmp"), member("suite/d/evil", size=1)], "a link and something else"),
        ([member("suite/a.bc", tarfile.SYMTYPE, "sub/b.bc")], "a link and something else"),
        ([member("suite/evil", tarfile.LNKTYPE, "/etc/passwd")], "is a link to '/etc/passwd', no earlier file"),
        ([member("suite/evil", tarfile.LNKTYPE, "suite/../../archive")], "no earlier file"),
        (
            [member("suite/s", tarfile.SYMTYPE, "/etc/passwd"), member("suite/evil", tarfile.LNKTYPE, "suite/s")],
            "no earlier file",
        ),
        ([member("suite/evil", tarfile.CHRTYPE)], "'suite/evil' is a device or pipe"),
        ([member("suite/evil", tarfile.BLKTYPE)], "device or pipe"),
        ([member("suite/evil", tarfile.FIFOTYPE)], "device or pipe"),
    ],
)  # fmt: skip
def test_archive_that_would_write_outside__is_refused(unpacked, members, message) -> None:
    with pytest.raises(UnsafeArchiveError, match=f"archive is refused: .*{message}.*delete it"):
        unpacked(make_tar(FILES, *members), "suite")
    assert not Path("/tmp/evil").exists()


def test_archive_that_unpacks_to_too_much__is_refused(unpacked) -> None:
    with pytest.raises(UnsafeArchiveError, match="more than 20000000 bytes or 10 members"):
        unpacked(bz2.compress(make_tar({"zeros": bytes(20_000_001)})), limits=UnpackLimits(20_000_000, 10))
    many = make_tar({str(index): b"" for index in range(11)})
    with pytest.raises(UnsafeArchiveError, match="or 10 members"):
        unpacked(many, limits=UnpackLimits(20_000_000, 10))
    assert len(content_of(unpacked(many, limits=UnpackLimits(20_000_000, 11)))) == 11


def test_sparse_file__counts_with_its_full_size(unpacked) -> None:
    # what GNU tar writes for a file that is a hole of 8 GB: the size is in the header, nothing in the archive
    info = member("hole", tarfile.GNUTYPE_SPARSE)
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[483:495] = b"%011o\0" % (8 << 30)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    with pytest.raises(UnsafeArchiveError, match="more than 1000 bytes"):
        unpacked(bytes(header) + bytes(1024), limits=UnpackLimits(1000, 10))


def test_header_that_does_not_end__is_refused(unpacked) -> None:
    info = member("././@PaxHeader", tarfile.XHDTYPE, size=100 << 20)
    with pytest.raises(UnsafeArchiveError, match="a header of more than 1048576 bytes"):
        unpacked(gzip.compress(info.tobuf() + bytes(100 << 20), 1))


@pytest.mark.parametrize("compress", [bz2.compress, gzip.compress, lzma.compress])
@pytest.mark.parametrize(
    "damage", [lambda b: b[: len(b) // 2], lambda b: b[:20] + b"?" * 20 + b[40:], lambda b: b"junk"]
)
def test_damaged_archive__leaves_nothing(unpacked, compress, damage) -> None:
    with pytest.raises(FetchError, match=r"cannot be unpacked into .*delete the archive and try again"):
        unpacked(damage(compress(make_tar({**FILES, "noise": bytes(i * i % 251 for i in range(50_000))}))))


def test_folder__is_unpacked_once_and_after_a_kill(tmp_path) -> None:
    (tmp_path / "archive").write_bytes(make_tar(FILES))
    left = tmp_path / "folder.unpacking"
    left.mkdir()
    (left / "half").write_text("a process was killed here")
    unpack(tmp_path / "archive", tmp_path / "folder")
    assert content_of(tmp_path / "folder") == FILES
    (tmp_path / "archive").unlink()
    unpack(tmp_path / "archive", tmp_path / "folder")


def test_text__is_bounded_and_checked(tmp_path) -> None:
    path = tmp_path / "names.bz2"
    path.write_bytes(bz2.compress("ä\nb\n".encode()))
    assert read_text(path) == "ä\nb\n"
    path.write_bytes(bz2.compress(bytes(10_000)))
    with pytest.raises(UnsafeArchiveError, match="unpacks to more than 1000 bytes"):
        read_text(path, 1000)
    for damaged in (bz2.compress(b"\xff"), path.read_bytes()[:-5]):
        path.write_bytes(damaged)
        with pytest.raises(FetchError, match=r"cannot be read: .*delete it"):
            read_text(path)


def make_zip(files: dict[str, bytes], link: str = "") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        if link:
            info = zipfile.ZipInfo(link)
            info.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(info, "/etc/passwd")
    return buffer.getvalue()


def files_below(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("p.tar.gz", gzip.compress(make_tar({"p-1/a.c": b"A", "p-1/b/c.c": b"C"}))),
        ("p.tar.xz", lzma.compress(make_tar({"p-1/a.c": b"A", "p-1/b/c.c": b"C"}))),
        ("p.zip", make_zip({"p-1/a.c": b"A", "p-1/b/c.c": b"C"})),
    ],
)
def test_unpack_sources__is_the_folder_with_the_sources(tmp_path, name, content) -> None:
    (tmp_path / name).write_bytes(content)
    root = unpack_sources(tmp_path / name, tmp_path / "sources")
    assert root.name == "p-1"
    assert files_below(root) == {"a.c": b"A", "b/c.c": b"C"}


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_unpack_sources__leaves_out_what_is_unsafe_or_large(tmp_path, monkeypatch, kind) -> None:
    monkeypatch.setattr(unpacking, "SOURCE_BYTES", 100)
    files = {"a.c": b"A", "../evil.c": b"E", "large.c": b"L" * 101, "sub/../b.c": b"B", "/abs.c": b"S", "a.c/x": b"X"}
    archive = tmp_path / f"p.{kind}"
    links = [member("out", tarfile.SYMTYPE, "/etc/passwd"), member("hard", tarfile.LNKTYPE, "nothing")]
    archive.write_bytes(
        make_zip(files, "out") if kind == "zip" else make_tar(files, *links, member("d", tarfile.CHRTYPE))
    )
    root = unpack_sources(archive, tmp_path / "in" / "sources")
    assert {"a.c", "large.c", "out", "hard", "d"} & files_below(root).keys() == {"a.c"}
    assert [p.name for p in (tmp_path / "in").iterdir()] == ["sources"]


def test_unpack_sources__keeps_what_a_build_needs_of_files(tmp_path) -> None:
    script, source = member("p/configure", size=1), member("p/a.c", size=1)
    script.mode, script.mtime, source.mtime = 0o4755, 1e9, 1e30
    (tmp_path / "p.tar").write_bytes(make_tar({}, script, source, member("p/sub/alias.c", tarfile.SYMTYPE, "../a.c")))
    root = unpack_sources(tmp_path / "p.tar", tmp_path / "sources")
    assert stat.S_IMODE((root / "configure").stat().st_mode) == 0o755
    assert stat.S_IMODE((root / "a.c").stat().st_mode) == 0o644
    assert (root / "configure").stat().st_mtime == 1e9
    assert (root / "sub" / "alias.c").read_bytes() == b"x"


@pytest.mark.parametrize(
    "links",
    [
        [("out", tarfile.SYMTYPE, "/etc")],
        [("p/out", tarfile.SYMTYPE, "../../..")],
        [("out", tarfile.SYMTYPE, "/tmp"), ("out/dojo-escaped", tarfile.SYMTYPE, "a.c")],
        [("x/out", tarfile.SYMTYPE, "b/../../.."), ("x/b", tarfile.SYMTYPE, "..")],
        [("b", tarfile.SYMTYPE, "."), ("out", tarfile.SYMTYPE, "b/.."), ("hard", tarfile.LNKTYPE, "out/secret.c")],
        [("hard", tarfile.LNKTYPE, "../secret.c")],
        [("../out", tarfile.SYMTYPE, "a.c")],
        [("a.c", tarfile.SYMTYPE, "/etc/passwd")],
        [("hard", tarfile.LNKTYPE, "large.c")],
    ],
)
def test_unpack_sources__leaves_no_way_out(tmp_path, monkeypatch, links) -> None:
    monkeypatch.setattr(unpacking, "SOURCE_BYTES", 100)
    (tmp_path / "secret.c").write_bytes(b"S")
    files = {"p/a.c": b"A", "a.c": b"A", "large.c": b"L" * 101}
    (tmp_path / "p.tar").write_bytes(make_tar(files, *(member(*link) for link in links)))
    root = unpack_sources(tmp_path / "p.tar", tmp_path / "in" / "sources")
    assert {path.resolve().read_bytes() for path in root.rglob("*") if path.is_file()} == {b"A"}
    assert all(path.resolve().is_relative_to(root.resolve()) for path in root.rglob("*"))
    assert {path.name for path in tmp_path.iterdir()} == {"p.tar", "secret.c", "in"}
    assert [path.name for path in (tmp_path / "in").iterdir()] == ["sources"]
    assert not Path("/tmp/dojo-escaped").is_symlink()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("p.tar.gz", gzip.compress(make_tar({"a.c": bytes(range(256)) * 100}))[:150]),
        ("p.tar.gz", b"\x1f\x8b\x08" + b"\0" * 7 + b"\xff" * 50),
        ("p.tar.xz", lzma.compress(make_tar(FILES))[:60] + b"\0" * 60),
        ("p.tar.zst", b"\x28\xb5\x2f\xfd"),
        ("p.zip", make_zip(FILES)[:100]),
        ("p.zip", make_zip({"a.c": b"A" * 1000}).replace(b"K\x4c", b"KL\xff", 1)[:-3]),
    ],
    ids=["cut gz", "bad gz", "bad xz", "unknown", "cut zip", "bad zip"],
)
def test_unpack_sources__says_what_to_do_with_damage(tmp_path, name, content) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FetchError, match=rf"{name} is truncated or damaged: delete .*{name} and fetch it again"):
        unpack_sources(tmp_path / name, tmp_path / "sources")


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_unpack_sources__refuses_too_much(tmp_path, monkeypatch, kind) -> None:
    monkeypatch.setattr(unpacking, "SOURCES_BYTES", 1 << 20)
    files = {f"{i}.c": bytes(1 << 19) for i in range(3)}
    (tmp_path / f"p.{kind}").write_bytes(make_zip(files) if kind == "zip" else make_tar(files))
    with pytest.raises(UnsafeArchiveError, match=rf"p.{kind} unpacks to more than 1 MB"):
        unpack_sources(tmp_path / f"p.{kind}", tmp_path / "sources")


def test_unpack_sources__says_when_the_folder_cannot_be_written(tmp_path) -> None:
    with pytest.raises(FetchError, match=r"absent.tar could not be unpacked into .*: No such file or directory"):
        unpack_sources(tmp_path / "absent.tar", tmp_path / "sources")
