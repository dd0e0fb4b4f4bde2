"""What users name: URIs and globs over them, named sets, stored folders, several with commas, and what is unknown."""

import shutil

import pytest

from compiler_dojo.envs.errors import DatasetError, UnknownProgramError
from compiler_dojo.envs.programs import Program, load_programs, loading, schemes
from compiler_dojo.envs.programs.loading import named_sets
from compiler_dojo.envs.programs.program_set import FileSource, GivenSource
from compiler_dojo.envs.programs.schemes import SCHEMES, select
from compiler_dojo.envs.programs.sources import files
from compiler_dojo.envs.programs.storage import write_set

C = "int f(int x) { return x + 1; }\n"


@pytest.fixture
def named(stored, data_folder):
    """The stored set under the name ``mine``."""
    data_folder.mkdir()
    return shutil.copytree(stored, data_folder / "mine")


def test_name__finds_a_set_of_the_data_folder(named, rows) -> None:
    programs = load_programs("mine")
    assert (programs.name, list(programs)) == ("mine", [row.program for row in rows])
    assert named_sets() == ["mine"]
    twice = programs.filter(project="project1").filter(language="c")
    assert load_programs(twice.name).uris == twice.uris
    chosen = load_programs("mine?language=c&instructions=5..12&project=project1&origin=debian")
    assert chosen.uris == ("debian://project1/src/unit11.c",)


def test_name__of_a_set_comes_before_a_folder_and_loses_to_a_longer_path(named, tmp_path, monkeypatch, write) -> None:
    write("mine/a.c", C)
    monkeypatch.chdir(tmp_path)
    assert len(load_programs("mine")) == 30
    assert len(load_programs("./mine")) == 1


@pytest.mark.parametrize("name", loading.STANDARD_CORPORA)
def test_name__of_a_standard_corpus_says_how_to_build_it(data_folder, name) -> None:
    with pytest.raises(UnknownProgramError, match=f"{name} is not built on this machine: `dojo programs build {name}`"):
        load_programs(f"{name}?language=c")


def test_name__that_is_nearly_known_is_suggested(named) -> None:
    for name, nearest in (("mime", "mine"), ("corpus-tain", "corpus-train"), ("bundle/train", "bundled/train")):
        with pytest.raises(UnknownProgramError, match=f"expected a file or glob, or did you mean '{nearest}'"):
            load_programs(name)


@pytest.mark.parametrize(
    ("pattern", "count"),
    [
        ("bundled://crypto/*", 6),
        ("bundled://crypto/[ax]*", 2),
        ("bundled://*/xtea", 1),
        ("bundled://cryp*", 6),
        ("bundled://crypto/xte?", 1),
    ],
)
def test_glob__over_uris(pattern, count) -> None:
    programs = load_programs(pattern)
    assert (programs.name, len(programs)) == (pattern, count)
    assert all(uri.startswith("bundled://") for uri in programs.uris)


def test_glob__that_matches_nothing_suggests_the_nearest() -> None:
    with pytest.raises(UnknownProgramError, match=r"no program matches 'bundled://crypto/xtae\*': did you mean 'bund"):
        load_programs("bundled://crypto/xtae*")


def test_scheme__that_is_unknown_is_refused_with_the_nearest(named) -> None:
    for uri, nearest in (("debiam://zlib/inflate.c", "debian"), ("mime://x", "mine")):
        with pytest.raises(UnknownProgramError, match=f"unknown scheme in '{uri}': did you mean '{nearest}'"):
            load_programs(uri)


def test_scheme__is_looked_up_when_it_is_used(monkeypatch, small_program) -> None:
    assert set(SCHEMES) == {
        "file", "bundled", "debian", "debian+linked", "pypi", "csmith", "llvm-stress", "compilergym", "compile",
    }  # fmt: skip
    monkeypatch.setitem(schemes.SCHEMES, "mine", "nothing.there:select")
    with pytest.raises(ModuleNotFoundError, match="nothing"):
        load_programs("mine://x")


def numbered(uri: str, lowering: str) -> list[GivenSource]:
    """A source of programs whose scheme has an option of its own."""
    last, _, option = uri.removeprefix("numbered://").partition("?")
    return [
        GivenSource(Program(f"numbered://{number}?{option}", b"", lowering, "c" if number % 2 else "c++"))
        for number in range(int(last))
    ]


def test_scheme__keeps_its_own_options(monkeypatch) -> None:
    monkeypatch.setitem(schemes.SCHEMES, "numbered", f"{__name__}:numbered")
    for text in ("numbered://4?size=2&language=c", "numbered://4?size=2?language=c"):
        assert load_programs(text).uris == ("numbered://1?size=2", "numbered://3?size=2")
    assert load_programs("numbered://3?size=2").filter(language="c").uris == ("numbered://1?size=2",)
    assert len(load_programs("numbered://2?size=2,numbered://2?size=3")) == 4


def test_scheme__of_files_takes_paths_and_globs(write, tmp_path) -> None:
    write("a.c", C)
    assert select(f"file://{tmp_path}/*.c", "oz") == [FileSource(tmp_path / "a.c")]
    assert files.select(str(tmp_path), "oz") == [FileSource(tmp_path / "a.c")]
    with pytest.raises(UnknownProgramError, match=r"no program matches '.*b\.c': expected a file, a folder or a glob"):
        select(f"file://{tmp_path}/b.c", "oz")


def test_comma__joins_sets(named, write) -> None:
    path = write("a.c", C)
    text = f"bundled/graphs,mine?project=project1, {path}"
    programs = load_programs(text)
    assert (programs.name, len(programs)) == (f"bundled/graphs,mine?project=project1,{path}", 5 + 6 + 1)
    assert load_programs(["mine", "bundled/graphs"]).uris[30:] == load_programs("bundled/graphs").uris
    assert load_programs([programs, "mine?project=project2"]).uris[12:] == load_programs("mine?project=project2").uris
    long = ",".join(["bundled/graphs"] * 300)  # longer than a path may be
    assert len(load_programs(long)) == 5


def test_comma__in_a_path_that_exists_is_a_part_of_it(write, tmp_path) -> None:
    programs = load_programs(write("one,two.c", C))
    assert programs.uris == ((tmp_path / "one,two.c").as_uri(),)
    assert load_programs(str(tmp_path / "one,*.c")).uris == programs.uris
    assert load_programs(write("who?is=it.c", C)).uris == ((tmp_path / "who?is=it.c").as_uri(),)
    with pytest.raises(UnknownProgramError, match=r"no program matches '.*/one'"):
        load_programs(f"{tmp_path}/one,b.c")


def test_uri__of_an_imported_set_finds_its_programs(data_folder, rows) -> None:
    renamed = [
        row._replace(program=row.program.__class__(f"mine://{place}", row.program.module))
        for row, place in zip(rows, ("a/x", "a/y", "ab/x", "top"), strict=False)
    ]
    write_set(str(data_folder / "mine"), "mine", renamed)
    assert load_programs("mine://a/x").uris == ("mine://a/x",)
    assert load_programs("mine://a").uris == ("mine://a/x", "mine://a/y")
    assert load_programs("mine://*/x").uris == ("mine://a/x", "mine://ab/x")
    assert load_programs("mine://").uris == load_programs("mine").uris
    with pytest.raises(UnknownProgramError, match="no program matches 'mine://tpo' in mine: did you mean 'mine://top'"):
        load_programs("mine://tpo")


def test_folder__of_files_beside_an_unrelated_manifest_is_a_folder_of_files(write, tmp_path) -> None:
    write("a.c", C)
    for text in ("{}", "[1]", "no JSON"):
        write("manifest.json", text)
        assert len(load_programs(tmp_path)) == 1


def test_path__of_a_file_system_without_a_set_is_refused() -> None:
    with pytest.raises(DatasetError, match="memory://nothing: no stored set of programs"):
        load_programs("memory://nothing")


def test_bundled_programs__are_loaded_without_pyarrow(run_python) -> None:
    done = run_python(
        "import sys; from compiler_dojo.envs.programs import load_programs; load_programs('bundled/train').version; "
        "print([m for m in ('pyarrow', 'fsspec') if m in sys.modules])"
    )
    assert done.stdout == "[]\n", done.stderr
