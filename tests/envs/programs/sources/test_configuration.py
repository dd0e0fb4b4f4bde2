"""Headers made from templates: what autoconf, CMake and Meson would have asked, answered from the headers."""

import pytest

from compiler_dojo.envs.programs.sources.configuration import Configuration, make_headers, put_generic_header

AUTOCONF = """@TOP@
#undef HAVE_STRING_H
#undef HAVE_WINDOWS_H
# undef HAVE_PRINTF
#undef HAVE_NO_SUCH_FUNCTION
#undef HAVE_DECL_PRINTF
#undef HAVE_DECL_NOTHING
#undef SIZEOF_LONG
#undef SIZEOF_
#undef ALIGNOF_DOUBLE
#undef HAVE_
#undef HAVE_SYS_TYPES_H
#undef PACKAGE_VERSION
#undef WORDS_BIGENDIAN
"""


@pytest.fixture
def configuration(headers) -> Configuration:
    return Configuration(headers)


def test_autoconf__gets_what_the_headers_have(configuration) -> None:
    filled = configuration.fill(AUTOCONF).splitlines()
    assert filled == [
        "",
        "#define HAVE_STRING_H 1",
        "/* #undef HAVE_WINDOWS_H */",
        "#define HAVE_PRINTF 1",
        "/* #undef HAVE_NO_SUCH_FUNCTION */",
        "#define HAVE_DECL_PRINTF 1",
        "#define HAVE_DECL_NOTHING 0",
        "#define SIZEOF_LONG 8",
        "#define SIZEOF_ 8",
        "#define ALIGNOF_DOUBLE 8",
        "/* #undef HAVE_ */",
        "#define HAVE_SYS_TYPES_H 1",
        '#define PACKAGE_VERSION "1.0"',
        "/* #undef WORDS_BIGENDIAN */",
    ]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("#cmakedefine HAVE_STRING_H", "#define HAVE_STRING_H 1"),
        ("#cmakedefine01 HAVE_WINDOWS_H", "#define HAVE_WINDOWS_H 0"),
        ("  #cmakedefine HAVE_WINDOWS_H 1", "/* #undef HAVE_WINDOWS_H */"),
        ('#cmakedefine PACKAGE_NAME "@PACKAGE_NAME@"', '#define PACKAGE_NAME "dojo"'),
        ("#mesondefine HAVE_PRINTF", "#define HAVE_PRINTF 1"),
        ('#define NAME "@PACKAGE_NAME@"', '#define NAME "dojo"'),
        ("#define MAJOR ${PACK_VERSION_MAJOR}", "#define MAJOR 1"),
        ("typedef @UINT32_TYPE@ word;", "typedef uint32_t word;"),
        ("plain text", "plain text"),
    ],
)
def test_cmake_and_meson__are_filled(configuration, line, expected) -> None:
    assert configuration.fill(line) == expected


def test_templates__become_headers_unless_these_are_there(make_tree) -> None:
    tree = make_tree(
        {
            "config.h.in": "#undef HAVE_STRING_H\n", "there.h.in": "new", "there.h": "old", "conf.h.cmake": "x",
            "folder.h/inside.c": "", "folder.h.in": "a folder has its name", "b/meson.h.meson": "y",
        }
    )  # fmt: skip
    assert make_headers(tree) == ["config.h", "b/meson.h", "conf.h"]
    assert (tree.root / "there.h").read_text() == "old"
    assert tree.contains("b/meson.h")
    assert make_headers(tree) == []


def test_template__keeps_bytes_that_are_no_utf8(make_tree) -> None:
    tree = make_tree({"a.c": ""})
    (tree.root / "config.h.in").write_bytes(b"/* \xe9 */\n#undef HAVE_STRING_H\n")
    tree.refresh()
    assert make_headers(tree) == ["config.h"]
    assert (tree.root / "config.h").read_bytes() == b"/* \xe9 */\n#define HAVE_STRING_H 1\n"


def test_generic_header__holds_what_there_is(make_tree) -> None:
    tree = make_tree({"a.c": ""})
    folder = put_generic_header(tree, "sub/config.h")
    assert folder is not None
    text = (tree.root / folder / "sub/config.h").read_text()
    assert "#define HAVE_STRING_H 1" in text
    assert "#define HAVE_PRINTF 1" in text
    assert "HAVE_WINDOWS_H" not in text
    tree.refresh()
    assert tree.files == ("a.c",)


@pytest.mark.parametrize(
    "name",
    ["../config.h", "x/../../config.h", "/tmp/x/config.h", "a\0/config.h", "a" * 300 + "/config.h"],
)
def test_generic_header__is_written_nowhere_but_in_the_tree(make_tree, tmp_path, name) -> None:
    tree = make_tree({"a.c": ""})
    assert put_generic_header(tree, name) is None
    assert [path.name for path in tmp_path.iterdir()] == ["tree"]
    assert list(tree.root.rglob("*.h")) == []
