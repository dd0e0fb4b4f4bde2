"""Folders become sets, counting what cannot be read; sets become files."""

from pathlib import Path

import pytest

from compiler_dojo.envs.errors import DatasetError, InvalidConfigError, UnknownProgramError
from compiler_dojo.envs.programs import Program, ProgramSet, load_programs
from compiler_dojo.envs.programs.program_set import GivenSource
from compiler_dojo.envs.programs.storage import open_set, read_rows, verify_set
from compiler_dojo.envs.programs.transfer import export_set, import_folder

C = "int f(int x) { return x + 1; }\n"
CPP = "template <class T> T g(T x) { return x; }\nint f(int x) { return g(x); }\n"
LL = "define i32 @f(i32 %x) {\n  ret i32 %x\n}\n"


@pytest.fixture
def sources(write, small_program) -> Path:
    """A folder of five programs and three that are none."""
    write("in/crypto/deep/aes.c", C)
    write("in/crypto/aes.cpp", CPP)
    write("in/crypto/aes.ll", LL)
    write("in/with space/#1.c", C)
    path = write("in/find.bc", small_program.module)
    write("in/wrong.c", "int")
    write("in/crypto/short.bc", small_program.module[:100])
    write("in/empty.ll", "")
    write("in/README.md", "")
    return path.parent


def test_import__stores_what_can_be_read_and_says_what_cannot(sources, data_folder, small_program) -> None:
    seen: list[tuple[int, int]] = []
    report = import_folder(sources, "suite-v1", progress=lambda done, total: seen.append((done, total)))
    assert (report.name, report.folder, report.programs) == ("suite-v1", data_folder / "suite-v1", 5)
    assert sorted(report.failures) == ["crypto/short.bc", "empty.ll", "wrong.c"]
    assert "CompilationError: " in report.failures["wrong.c"]
    assert report.reasons["CompilationError"] == 1
    assert seen == [(done, 8) for done in range(1, 9)]
    verify_set(report.folder)
    programs = load_programs("suite-v1")
    assert {program.uri: (program.project, program.language) for program in programs} == {
        "suite-v1://crypto/aes.cpp": ("crypto", "c++"),
        "suite-v1://crypto/aes.ll": ("crypto", "llvm"),
        "suite-v1://crypto/deep/aes": ("crypto", "c"),
        "suite-v1://find": ("find", "llvm"),
        "suite-v1://with%20space/%231": ("with space", "c"),
    }
    assert programs.get("find").module == small_program.module
    for uri in programs.uris:
        assert load_programs(uri).uris == (uri,)
    assert next(row for row in read_rows(report.folder) if "find" in row.program.uri).measurement.instructions_o0 == 133
    assert load_programs("suite-v1?instructions=100..").uris == ("suite-v1://find",)


def test_import__keeps_an_existing_set_unless_told(sources, data_folder, write) -> None:
    first = import_folder(sources, "mine", "compilergym")
    version = load_programs("mine").version
    with pytest.raises(DatasetError, match=r"there is a set 'mine' in .*: choose another name, or replace it"):
        import_folder(sources / "crypto", "mine")
    assert load_programs("mine").version == version
    assert import_folder(sources / "crypto", "mine", replace=True).programs == 3 < first.programs
    assert set(load_programs("mine").uris) == {"mine://deep/aes", "mine://aes.cpp", "mine://aes.ll"}


def test_import__of_nothing_readable_is_refused(write, tmp_path, data_folder) -> None:
    write("in/wrong.c", "int")
    with pytest.raises(DatasetError, match=r"none of 1 files is a program; wrong\.c: CompilationError"):
        import_folder(tmp_path / "in", "mine")
    assert not (data_folder / "mine").exists()
    (tmp_path / "in/wrong.c").unlink()
    for folder in ("in", "out"):
        with pytest.raises(UnknownProgramError, match=r"expected a folder with files of the kinds \.c, \.cc"):
            import_folder(tmp_path / folder, "mine")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a/b", "'a/b' cannot name a set: use letters"),
        ("..", "cannot name a set"),
        ("", "cannot name a set"),
        ("debian", "debian:// means something else: choose another name"),
        ("memory", "memory:// means something else"),
    ],
)
def test_import__refuses_names_that_cannot_be_found_again(sources, data_folder, name, message) -> None:
    with pytest.raises(InvalidConfigError, match=message):
        import_folder(sources, name)


@pytest.mark.parametrize(("format", "suffix"), [("bitcode", ".bc"), ("ir", ".ll")])
def test_export__writes_files_that_are_programs_again(tmp_path, format, suffix) -> None:
    programs = load_programs("bundled/graphs")
    text = Program("mine://../../up/./x y", LL.encode())
    mixed = programs | ProgramSet("text", [GivenSource(text)])
    seen: list[int] = []
    assert export_set(mixed, tmp_path / "out", format, lambda done, total: seen.append(done)) == 6
    assert seen == [1, 2, 3, 4, 5, 6]
    names = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert names == sorted(
        [f"out/{uri.replace('://', '/')}{suffix}" for uri in programs.uris]
        + [f"out/mine/%2E%2E/%2E%2E/up/%2E/x y{suffix}"]
    )
    again = load_programs(tmp_path / "out/bundled")
    if format == "bitcode":
        assert [program.module for program in again] == [program.module for program in programs]
    else:
        assert [program.module[:12] for program in again] == [b"; ModuleID ="] * 5


def test_export__to_parquet_keeps_what_is_stored_and_measures_the_rest(stored, rows, tmp_path) -> None:
    export_set(open_set(stored) | load_programs("bundled://graphs/union_find"), tmp_path / "out", "parquet")
    *first, last = read_rows(tmp_path / "out")
    assert first == rows
    assert last.measurement.instructions_o0 == 133
    assert load_programs(tmp_path / "out")[30] == load_programs("bundled://graphs/union_find")[0]
    # without measurements, as others' files are
    export_set(load_programs(next(stored.glob("shard-00000*"))).filter(project="project1"), "memory://few", "parquet")
    assert len(load_programs("memory://few")) == 3


def test_export__refuses_unknown_formats_and_says_what_cannot_be_written(tmp_path) -> None:
    programs = load_programs("bundled/graphs")
    with pytest.raises(InvalidConfigError, match="sets are not written as 'bitcod': did you mean 'bitcode'"):
        export_set(programs, tmp_path, "bitcod")
    (tmp_path / "bundled").write_text("in the way")
    with pytest.raises(DatasetError, match=r"bundled://graphs/.* cannot be written: .*; choose another folder"):
        export_set(programs, tmp_path)
