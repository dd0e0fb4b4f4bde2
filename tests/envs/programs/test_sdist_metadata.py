"""Versions by file names and PEP 440's order, and licences by PKG-INFO."""

import gzip
import io
import tarfile
import zipfile

import pytest

from compiler_dojo.envs.errors import FetchError, UnsafeArchiveError
from compiler_dojo.envs.programs.sources import sdist_metadata
from compiler_dojo.envs.programs.sources.sdist_metadata import license_expression_of, version_key, version_of


def archive(path, members: dict[str, bytes]):
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as made:
            for name, content in members.items():
                made.writestr(name, content)
    else:
        with tarfile.open(path, f"w:{path.suffix[1:]}") as made:
            for name, content in members.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                made.addfile(entry, io.BytesIO(content))
    return path


def test_version_key__is_in_the_order_of_pep_440() -> None:
    finals = ["1.0", "1.0.post1", "1.0.post2", "1.0.1", "1.2", "1.10", "1!0.1"]
    ordered = ["0.9", "1.0.dev1", "1.0a1", "1.0b1", "1.0b2", "1.0rc1", *finals]
    assert sorted(ordered, key=version_key) == ordered
    assert len({version_key(version) for version in ordered}) == len(ordered)
    assert [version for version in ordered if not version_key(version).is_final] == ordered[1:6]


@pytest.mark.parametrize(
    ("one", "other"),
    [("1.0", "1.0.0"), ("1.0", "v1"), ("1.0c1", "1.0-rc.1"), ("1.0-1", "1.0.post1"), ("1.0alpha2", "1.0a2")],
)
def test_version_key__is_the_same_for_spellings(one, other) -> None:
    assert version_key(one) == version_key(other)


def test_version_key__puts_what_is_no_version_first() -> None:
    assert version_key("final") < version_key("0.0.dev0")


@pytest.mark.parametrize(
    ("filename", "name", "version"),
    [
        ("foo-1.0.tar.gz", "foo", "1.0"),
        ("Foo_Bar-1.0.post1.zip", "foo-bar", "1.0.post1"),
        ("foo.bar-2.0.tgz", "foo-bar", "2.0"),
        ("foo-bar-1.0.tar.gz", "foo", "bar-1.0"),
        ("foo-1.0-py3-none-any.whl", "foo", None),
        ("foo-1.0.tar.gz.asc", "foo", None),
        ("other-1.0.tar.gz", "foo", None),
        ("foo-../x-1.0.tar.gz", "foo", None),
        ("foo-.tar.gz", "foo", None),
    ],
)
def test_version_of__reads_file_names(filename, name, version) -> None:
    assert version_of(filename, name) == version


@pytest.mark.parametrize(
    ("headers", "expression"),
    [
        ("License-Expression: MIT OR Zlib\nClassifier: License :: OSI Approved :: MIT License", "MIT OR Zlib"),
        ("Classifier: License :: OSI Approved\nClassifier: License :: OSI Approved :: MIT License", "MIT"),
        ("License: BSD-3-Clause\nClassifier: License :: OSI Approved :: BSD License", "BSD-3-Clause"),
        ("License: Apache License, Version 2.0", "Apache-2.0"),
        ("License: bsd-2-clause", "BSD-2-Clause"),
        ("License: BSD", ""),
        ("Classifier: License :: OSI Approved :: BSD License", ""),
        ("Classifier: License :: OSI Approved :: MIT License\nClassifier: License :: Public Domain\nLicense: MIT", ""),
        ("Name: foo", ""),
    ],
)
@pytest.mark.parametrize("suffix", [".gz", ".xz", ".bz2", ".zip"])
def test_license__is_told_where_there_is_no_doubt(tmp_path, headers, expression, suffix) -> None:
    text = f"Metadata-Version: 2.1\n{headers}\n\nLicense: in the text\n".encode()
    decoy = b"License-Expression: Decoy\n"
    members = {"foo-1.0/foo.egg-info/PKG-INFO": decoy, "PKG-INFO": decoy, "foo-1.0/PKG-INFO": text}
    assert license_expression_of(archive(tmp_path / f"foo{suffix}", members)) == expression


@pytest.mark.parametrize("suffix", [".gz", ".zip"])
def test_license__is_unknown_without_metadata(tmp_path, suffix) -> None:
    assert license_expression_of(archive(tmp_path / f"foo{suffix}", {"foo-1.0/a.c": b"int a;"})) == ""


@pytest.mark.parametrize("suffix", [".tar.gz", ".tar.xz", ".zip"])
@pytest.mark.parametrize("whole", [True, False])
def test_license__of_what_is_no_archive_is_an_error(tmp_path, suffix, whole) -> None:
    path = tmp_path / f"foo{suffix}"
    content = b"no archive"
    if not whole:
        kind = tmp_path / f"whole{path.suffix}"
        content = archive(kind, {"foo-1.0/a.c": bytes(range(256)) * 999, "foo-1.0/PKG-INFO": b""}).read_bytes()[:200]
    path.write_bytes(content)
    with pytest.raises(FetchError, match=rf"foo\{suffix} is no archive that can be read: "):
        license_expression_of(path)


def test_license__of_what_unpacks_to_too_much_is_an_error(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(sdist_metadata, "LARGEST_ARCHIVE", 1 << 30)
    entry = tarfile.TarInfo("foo-1.0/zeros")
    entry.size = 1 << 40
    path = tmp_path / "foo.tar.gz"
    path.write_bytes(gzip.compress(entry.tobuf() + bytes(1 << 20)))
    with pytest.raises(UnsafeArchiveError, match="unpacks to more than 1 GiB"):
        license_expression_of(path)
