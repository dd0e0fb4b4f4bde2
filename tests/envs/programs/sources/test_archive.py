"""Fetching Debian's packages with apt, from an archive on this machine's disk, well-behaved or not."""

import os
import socket
from pathlib import Path

import pytest
from debian_archive import PLAIN, tarball

from compiler_dojo.envs.errors import FetchError, ToolchainError, UnknownProgramError
from compiler_dojo.envs.programs.sources.archive import Archive, with_sources


def test_index__is_read_with_every_version_newest_last(debian) -> None:
    for version in ("1.10-1", "1.9-1", "1:0.5-1", "1.10~rc1-1"):
        debian.add("pack", version, PLAIN)
    debian.add("native", "3", PLAIN, native=True, maintainer="Another <another@example.org>")
    packages = debian.open().packages()
    assert [package.version for package in packages["pack"]] == ["1.9-1", "1.10~rc1-1", "1.10-1", "1:0.5-1"]
    assert packages["native"][0].sources.name == "native_3.tar.gz"
    assert packages["native"][0].maintainer == "Another <another@example.org>"
    assert debian.open().find("pack").version == "1:0.5-1"
    assert debian.open().find("pack", "1.9-1").version == "1.9-1"


def test_index__leaves_out_packages_without_tarballs_and_names_that_are_paths(debian) -> None:
    debian.add("pack", "1-1", PLAIN)
    index = debian.pool / "Sources"
    entry = index.read_text()
    escaping = entry.replace(" pack_1.orig", " ../pack_1.orig").replace("Package: pack", "Package: escaping")
    empty = "Package: empty\nVersion: 1\nChecksums-Sha256:\n 00 1 empty_1.dsc\n"
    # no blank line at its end, as some tools write it
    index.write_text("\n".join([escaping, empty, entry]).rstrip("\n"))
    assert list(debian.open().packages()) == ["pack"]


def test_unknown_package_or_version__is_refused_with_the_nearest(debian) -> None:
    debian.add("plain", "1-1", PLAIN)
    archive = debian.open()
    with pytest.raises(UnknownProgramError, match="no sources of 'plainn': did you mean 'plain'"):
        archive.find("plainn")
    with pytest.raises(UnknownProgramError, match=r"has plain 1-1, not 2-1: delete .*lists to fetch its index anew"):
        archive.find("plain", "2-1")


def test_update__finds_what_is_new(debian) -> None:
    debian.add("plain", "1-1", PLAIN)
    archive = debian.open()
    assert archive.find("plain").version == "1-1"
    debian.add("plain", "2-1", PLAIN)
    assert debian.open().find("plain").version == "1-1"
    archive.update()
    assert archive.find("plain").version == "2-1"


def test_index__is_fetched_anew_when_apts_sources_have_changed(debian, tmp_path) -> None:
    debian.add("plain", "1-1", PLAIN)
    debian.open().packages()
    other = type(debian)(tmp_path / "other")
    other.add("second", "1-1", PLAIN)
    (debian.configuration / "sources.list.d").mkdir()
    (debian.configuration / "sources.list.d" / "other.sources").write_text(
        f"Types: deb\nURIs: file://{other.pool}\nSuites: ./\nTrusted: yes\n"
    )
    assert sorted(debian.open().packages()) == ["plain", "second"]


def test_update__without_network_says_what_apt_says(tmp_path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        (tmp_path / "sources.list").write_text(f"deb [trusted=yes] http://127.0.0.1:{port}/ ./\n")
        (tmp_path / "apt.conf").write_text("")
        archive = Archive(tmp_path / "apt", tmp_path)
        with pytest.raises(FetchError, match=r"(?s)index of source packages could not be fetched.*127.0.0.1"):
            archive.packages()


def test_configuration__without_archives_is_refused(tmp_path) -> None:
    with pytest.raises(FetchError, match="check the network and the archives in"):
        Archive(tmp_path / "apt", tmp_path).packages()


def test_apt__that_is_missing_is_named(debian, monkeypatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ToolchainError, match="apt-get is not installed"):
        debian.open().update()


def test_apt_helper__that_is_missing_is_named(debian, monkeypatch) -> None:
    monkeypatch.setattr("compiler_dojo.envs.programs.sources.archive.APT_HELPER", "/nowhere/apt-helper")
    with pytest.raises(ToolchainError, match="Debian's sources are fetched by apt, and there is none here"):
        debian.open().update()


def test_folder__that_cannot_be_written_is_named(debian, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FetchError, match=r"cannot be written: .* set DOJO_CACHE"):
        Archive(tmp_path / "file" / "below", debian.configuration).update()


def test_folder__may_be_relative_and_hold_spaces(debian, monkeypatch, tmp_path) -> None:
    debian.add("plain", "1-1", PLAIN)
    debian.add_headers("libc6-dev", "1")
    monkeypatch.chdir(tmp_path)
    archive = Archive(Path("my cache"), debian.configuration)
    assert archive.fetch([archive.find("plain")]) == {}
    archive.fetch_binaries([("libc6-dev", "1")], Path("debs"))
    assert [path.name for path in (tmp_path / "debs").iterdir()] == ["libc6-dev_1_all.deb"]


def test_index__that_is_damaged_is_refused(debian) -> None:
    debian.add("plain", "1-1", PLAIN)
    archive = debian.open()
    archive.update()
    for path in (archive.folder / "lists").glob("*Sources*"):
        path.write_bytes(b"\x04\x22\x4d\x18 no such thing")
    with pytest.raises(FetchError, match=r"index .* cannot be read: delete it"):
        archive.packages()


def test_fetch__reports_each_package_and_fetches_only_what_is_missing(debian) -> None:
    for name in ("one", "two"):
        debian.add(name, "1-1", {**PLAIN, "name": name}, copyright_text="free text")
    archive = debian.open()
    packages = [archive.find("one"), archive.find("two")]
    told: list[str] = []
    assert archive.fetch(packages, told.append) == {}
    assert told == ["one", "two"]
    for package in packages:
        for file in package.files:
            assert archive.path(file).read_bytes() == (debian.pool / file.name).read_bytes()
    (debian.pool / "one_1.orig.tar.gz").unlink()  # it is not asked for again
    archive.path(packages[1].sources).unlink()
    assert debian.open().fetch(packages) == {}


def test_fetch__returns_what_failed_and_fetches_the_rest(debian) -> None:
    missing, wrong = debian.add("missing", "1-1", PLAIN), debian.add("wrong", "1-1", {"a.c": ""}, sha256="0" * 64)
    debian.add("good", "1-1", {"b.c": ""})
    debian.add("bare", "1-1", {"c.c": ""}, copyright_text="x")
    (debian.pool / missing).unlink()
    (debian.pool / "bare_1-1.debian.tar.gz").unlink()
    archive = debian.open()
    gone = archive.find("good")._replace(name="gone", sources=archive.find("good").sources._replace(name="gone.tar.gz"))
    names = ("missing", "wrong", "bare", "good")
    failed = archive.fetch([gone, *map(archive.find, names)])
    # the packaging of `bare` only tells its licence
    assert sorted(failed) == ["gone", "missing", "wrong"]
    assert missing in str(failed["missing"])
    assert wrong in str(failed["wrong"])
    with pytest.raises(FetchError, match=r"(?s)gone 1-1 could not be fetched.*apt says.*gone"):
        raise failed["gone"]
    assert archive.path(archive.find("good").sources).exists()
    assert not archive.path(archive.find("wrong").sources).exists()


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 100_000])
def test_fetch__replaces_a_file_that_is_not_whole(debian, content) -> None:
    debian.add("plain", "1-1", PLAIN)
    archive = debian.open()
    package = archive.find("plain")
    archive.downloads.mkdir(parents=True)
    archive.path(package.sources).write_bytes(content)
    assert archive.fetch([package]) == {}
    assert archive.path(package.sources).read_bytes() == (debian.pool / package.sources.name).read_bytes()


def test_fetch__does_not_take_a_file_that_is_not_whole_for_fetched(debian) -> None:
    name = debian.add("plain", "1-1", PLAIN)
    archive = debian.open()
    package = archive.find("plain")
    archive.downloads.mkdir(parents=True)
    archive.path(package.sources).write_bytes(b"part of it")
    (debian.pool / name).unlink()
    assert list(archive.fetch([package])) == ["plain"]


def test_fetched_files__stay_when_the_archive_goes(debian) -> None:
    debian.add("plain", "1-1", PLAIN)
    archive = debian.open()
    package = archive.find("plain")
    archive.fetch([package])
    (debian.pool / package.sources.name).unlink()
    assert not archive.path(package.sources).is_symlink()
    assert archive.path(package.sources).stat().st_size == package.sources.size


def test_binaries__that_do_not_exist_are_refused(debian, tmp_path) -> None:
    debian.add("plain", "1-1", PLAIN)
    debian.add_headers("libc6-dev", "1")
    with pytest.raises(FetchError, match=r"(?s)headers could not be fetched.*apt says:.*libc6-dev"):
        debian.open().fetch_binaries([("libc6-dev", "2")], tmp_path / "debs")


def test_a_tarball__is_fetched_as_it_is(debian) -> None:
    data = tarball(PLAIN)[:100]
    debian.add("truncated", "1-1", data)
    archive = debian.open()
    assert archive.fetch([archive.find("truncated")]) == {}
    assert archive.path(archive.find("truncated").sources).read_bytes() == data


@pytest.mark.parametrize(
    ("suffix", "text", "expected"),
    [
        (".list", "# deb x\n\ndeb [arch=amd64] http://x y z # why\n", "deb{0} [arch=amd64] http://x y z # why"),
        (".list", "\tdeb http://x y z\ndeb-src http://x y z\n", "deb{0} http://x y z"),
    ],
)
def test_list__gets_source_entries_once(suffix, text, expected) -> None:
    lines = with_sources(text, suffix).splitlines()
    assert lines == [expected.format(""), expected.format("-src")]


def test_list__keeps_archives_of_sources_alone() -> None:
    assert with_sources("deb-src http://x y z\n", ".list") == "deb-src http://x y z\n"


def test_stanzas__get_source_entries() -> None:
    text = "# Types: deb\nTypes: deb\nURIs: http://x\n\ntypes:  deb-src\nEnabled: no\n"
    found = with_sources(text, ".sources")
    assert found == "# Types: deb\nTypes: deb deb-src\nURIs: http://x\n\nTypes: deb deb-src\nEnabled: no\n"


def test_two_processes__share_a_folder(debian, run_python) -> None:
    debian.add("plain", "1-1", PLAIN)
    script = f"""
import concurrent.futures
from pathlib import Path
from compiler_dojo.envs.programs.sources.archive import Archive
def work(_):
    archive = Archive(Path({str(debian.folder / "apt")!r}), Path({str(debian.configuration)!r}))
    return archive.fetch([archive.find("plain")])
with concurrent.futures.ProcessPoolExecutor(3) as pool:
    assert list(pool.map(work, range(3))) == [{{}}] * 3
"""
    done = run_python(script, PATH=os.environ["PATH"])
    assert done.returncode == 0, done.stderr
