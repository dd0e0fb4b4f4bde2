"""Licences of files, from debian/copyright and by other means."""

import pytest
from debian_archive import tarball

from compiler_dojo.envs.programs.sources.licenses import Licenses, spdx

DEP5 = r"""Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: pack
License: GPL-3

Files: *
Copyright: 2020 Some One
License: GPL-2+
 This program is free software.
 .
 License: not this one

Files: src/*.c
  lib/?.h
Copyright: 2021 Another
License: Expat or
 GPL-2

Files: src/odd\*name.c
Copyright: 2022
License: BSD-3-clause, and Zlib or Expat

License: Expat
 Permission is granted
"""


def test_copyright__of_several_stanzas_counts_from_the_last(make_tree) -> None:
    tree = make_tree({"debian/copyright": DEP5, "COPYING": "", "sub/LICENSE.txt": ""})
    licenses = Licenses(tree, None)
    assert licenses.files == ("COPYING", "debian/copyright", "sub/LICENSE.txt")
    assert licenses.of("main.c") == ("GPL-2.0-or-later", "debian/copyright")
    assert licenses.of("src/deep/a.c") == ("LicenseRef-Expat-or", "debian/copyright")
    assert licenses.of("lib/x.h")[0] == "LicenseRef-Expat-or"
    assert licenses.of("lib/xy.h")[0] == "GPL-2.0-or-later"
    assert licenses.of("src/odd*name.c")[0] == "BSD-3-Clause AND (Zlib OR MIT)"
    assert licenses.of("src/oddXname.c")[0] == "LicenseRef-Expat-or"


def test_copyright__comes_from_the_packaging(make_tree, tmp_path) -> None:
    packaging = tmp_path / "packaging.tar.gz"
    packaging.write_bytes(tarball({"./debian/copyright": DEP5.replace("Files: *", "Files: main.c")}))
    licenses = Licenses(make_tree({"main.c": ""}), packaging, "MIT")
    assert licenses.of("main.c") == ("GPL-2.0-or-later", "debian/copyright")
    assert licenses.of("other.c") == ("MIT", "index")


@pytest.mark.parametrize(
    "data",
    [b"", b"no archive", tarball({"debian/copyright": DEP5 * 500})[:-900], tarball({"x": ""})],
    ids=["empty", "no archive", "truncated", "other files"],
)
def test_packaging__without_a_copyright_leaves_the_default(make_tree, tmp_path, data) -> None:
    packaging = tmp_path / "packaging.tar.gz"
    packaging.write_bytes(data)
    assert Licenses(make_tree({"a.c": ""}), packaging, "MIT").of("a.c") == ("MIT", "index")
    assert Licenses(make_tree({"a.c": ""}), tmp_path / "absent", "").of("a.c") == ("", "")


def test_free_text__leaves_the_names_of_files(make_tree) -> None:
    tree = make_tree({"debian/copyright": "This is free software.\nLicense: as Perl.\n", "LICENSE": ""})
    assert Licenses(tree, None).of("a.c") == ("", "file names")


def test_long_copyright_without_licenses__takes_no_time(make_tree) -> None:
    tree = make_tree({"debian/copyright": "Files: a\n" + " b\n" * 40_000})
    assert Licenses(tree, None).of("a") == ("", "file names")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("GPL-2", "GPL-2.0-only"), ("LGPL-2.1+", "LGPL-2.1-or-later"), ("AGPL-3.0-only", "AGPL-3.0-only"),
        ("GPL-2+ or Expat", "GPL-2.0-or-later OR MIT"), ("GPL-2+ and/or ISC", "GPL-2.0-or-later OR ISC"),
        ("GPL-2 or Expat, and zlib", "(GPL-2.0-only OR MIT) AND Zlib"), ("ISC, Expat", "ISC AND MIT"),
        ("Apache-2.0", "Apache-2.0"), ("CC-BY-SA-3.0", "CC-BY-SA-3.0"), ("BSL-1.0", "BSL-1.0"),
        ("my own (!)", "LicenseRef-my-own"), ("!", "LicenseRef-unknown"), ("", ""), (",", ""),
    ],
)  # fmt: skip
def test_spdx__of_debians_names(name, expected) -> None:
    assert spdx(name) == expected
