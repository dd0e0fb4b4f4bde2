"""Programs and sets of them: bundled, files of every kind, globs, folders, objects; found by name, drawn by seed."""

import hashlib
import os
import pickle
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from compiler_dojo.envs.errors import InvalidConfigError, UnknownProgramError
from compiler_dojo.envs.llvm.session import CompilerSession
from compiler_dojo.envs.programs import Program, ProgramSet, RunSpecification, load_programs, program_set
from compiler_dojo.envs.programs.program_set import FileSource, GivenSource

C = "int f(int x) { return x + 1; }\n"
CPP = "template <class T> T g(T x) { return x; }\nint f(int x) { return g(x); }\n"
LL = "define i32 @f(i32 %x) {\nentry:\n  %y = add i32 %x, 1\n  ret i32 %y\n}\n"
# as LLVM 14 wrote it
OLD_LL = """
%pair = type { i32, %pair* }
define i32 @f(%pair* %p, i32 (i32)* %g) {
  %field = getelementptr inbounds %pair, %pair* %p, i32 0, i32 0
  %value = load i32, i32* %field
  %result = call i32 %g(i32 %value)
  ret i32 %result
}
"""


def instructions(program: Program) -> int:
    with CompilerSession(program.module, program.uri) as session:
        return session.instruction_count


@pytest.mark.parametrize(
    ("name", "content", "language", "lowering"),
    [
        ("a.c", C, "c", "compilergym"),
        ("b.cpp", CPP, "c++", "compilergym"),
        ("c.cc", CPP, "c++", "compilergym"),
        ("d.ll", LL, "llvm", "given"),
        ("with space.c", C, "c", "compilergym"),
    ],
)
def test_file__is_a_program(write, name, content, language, lowering) -> None:
    path = write(name, content)
    for given in (path, str(path)):
        (program,) = load_programs(given, "compilergym")
        assert (program.uri, program.language, program.lowering) == (path.as_uri(), language, lowering)
        assert program.run is None
        assert program.source == (path if language != "llvm" else None)
        assert instructions(program) > 0


def test_file__of_bitcode_is_taken_as_it_is(write, small_program) -> None:
    (program,) = load_programs(write("program.bc", small_program.module))
    assert program.module == small_program.module
    assert program.lowering == "given"


def test_file__of_text_from_llvm_14_is_a_program(write) -> None:
    assert instructions(load_programs(write("old.ll", OLD_LL))[0]) == 4


def test_file__of_bitcode_from_an_old_llvm_is_upgraded(write, tmp_path) -> None:
    assembler = next(filter(None, map(shutil.which, ("llvm-as-14", "llvm-as-15"))), None)
    if assembler is None:
        pytest.skip("no llvm-as 14 or 15 is installed")
    subprocess.run([assembler, write("old.ll", OLD_LL), "-o", tmp_path / "old.bc"], check=True)
    assert instructions(load_programs(tmp_path / "old.bc")[0]) == 4


def test_file__is_compiled_once_until_it_changes(write, monkeypatch) -> None:
    compiled = []
    lower = program_set.lower
    monkeypatch.setattr(program_set, "lower", lambda *arguments: compiled.append(1) or lower(*arguments))
    path = write("a.c", C)
    programs = load_programs(path)
    first = programs[0]
    assert programs[0] is first
    assert load_programs(path)[0] is first
    write("a.c", "int f(int x) { int y = x * 3; return y - 1; }\n")
    os.utime(path, ns=(1, 1))  # whatever the clock's resolution
    assert programs[0].sha256 != first.sha256
    assert len(compiled) == 2


def test_uri__of_a_file_finds_it_again(write) -> None:
    for name in ("plain.c", "with space.c", "100%.c"):
        (program,) = load_programs(write(name, C))
        assert load_programs(program.uri)[0] == program


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.c", ["a.c", "b.c"]),
        ("[ab].*", ["a.c", "b.c"]),
        ("**/*", ["a.c", "b.c", "deep/c.ll", "deep/er/d.cpp"]),
        ("", ["a.c", "b.c", "deep/c.ll", "deep/er/d.cpp"]),  # the folder itself
        ("deep/c.ll", ["deep/c.ll"]),
    ],
)
def test_pattern__gives_the_programs_it_matches_in_order(write, tmp_path, pattern, expected) -> None:
    for name, content in (("b.c", C), ("a.c", C), ("deep/c.ll", LL), ("deep/er/d.cpp", CPP), ("notes.txt", "")):
        write(name, content)
    programs = load_programs(str(tmp_path / pattern))
    assert list(programs.uris) == [(tmp_path / name).as_uri() for name in expected]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.c", "no program matches '.*missing.c': expected a file or glob"),
        ("*.c", r"no program matches '.*\*\.c'"),
        ("", "no program matches"),
        ("../bundle", "no program matches"),
    ],
)
def test_pattern__that_matches_nothing_is_refused(tmp_path, name, message) -> None:
    with pytest.raises(UnknownProgramError, match=message):
        load_programs(str(tmp_path / name))


def test_file__that_is_missing_or_of_another_kind_is_refused(write, tmp_path) -> None:
    with pytest.raises(UnknownProgramError, match=r"gone\.c: no such file"):
        FileSource(tmp_path / "gone.c").load()
    with pytest.raises(UnknownProgramError, match=r"notes\.txt: files of the kinds .* are programs, '\.txt' is not"):
        FileSource(write("notes.txt", "")).load()


def test_load_programs__suggests_the_nearest_name() -> None:
    with pytest.raises(UnknownProgramError, match="did you mean 'bundled/train'"):
        load_programs("bundle/train")


def test_load_programs__refuses_an_unknown_lowering_whatever_the_programs(small_program) -> None:
    for programs in ("bundled", small_program):
        with pytest.raises(InvalidConfigError, match="unknown lowering 'O1': known: compilergym, oz"):
            load_programs(programs, "O1")


def test_load_programs__takes_programs_sources_and_sets(small_program, write) -> None:
    given = load_programs([small_program, FileSource(write("a.c", C)), GivenSource(Program("mine", LL.encode()))])
    assert [program.uri.rpartition("/")[2] for program in given] == ["union_find", "a.c", "mine"]
    assert load_programs(given) is given
    assert load_programs(iter([small_program])).uris == (small_program.uri,)
    assert list(load_programs(small_program)) == [small_program]


def test_program_set__is_a_sequence_of_programs() -> None:
    graphs = load_programs("bundled/graphs")
    assert repr(graphs) == f"ProgramSet('bundled/graphs', {len(graphs)} programs)"
    assert [program.uri for program in graphs] == list(graphs.uris) == sorted(graphs.uris)
    assert graphs[-1] == graphs[len(graphs) - 1]
    assert graphs[0] in graphs
    assert graphs.uris[0] in graphs
    assert "bundled://crypto/xtea" not in graphs
    with pytest.raises(IndexError):
        graphs[len(graphs)]
    with pytest.raises(TypeError, match="indexed by integers"):
        graphs[:2]


def test_program_set__loads_nothing_until_asked(write, tmp_path) -> None:
    write("good.c", C)
    write("wrong.c", "int")
    programs = load_programs(str(tmp_path / "*.c"))
    assert len(programs) == 2
    assert programs.get("good.c").language == "c"


def test_get__finds_by_uri_or_by_its_end_where_that_is_clear() -> None:
    programs = load_programs("bundled")
    for name in ("bundled://storage/slab_allocator", "storage/slab_allocator", "slab_allocator"):
        assert programs.get(name).uri == "bundled://storage/slab_allocator"
    two = ProgramSet("two", [GivenSource(Program(f"mine://{folder}/x", LL.encode())) for folder in "ab"])
    assert two.get("a/x").uri == "mine://a/x"
    with pytest.raises(UnknownProgramError, match="x"):
        two.get("x")


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("bundled://crypto/xtae", "crypto/xtea"),
        ("crypto/xtae", "crypto/xtea"),
        ("xtae", "crypto/xtea"),
        ("b_treee", "containers/b_tree"),
        ("nbody_verle", "simulation/nbody_verlet"),
    ],
)
def test_get__suggests_the_nearest_program(name, nearest) -> None:
    with pytest.raises(
        UnknownProgramError, match=f"no program '{name}' in bundled: did you mean 'bundled://{nearest}'"
    ):
        load_programs("bundled").get(name)


def test_sample__is_uniform_and_the_generators_alone() -> None:
    programs = load_programs("bundled/graphs")
    draws = [[programs.sample(rng).uri for _ in range(300)] for rng in map(np.random.default_rng, (1, 1, 2))]
    assert draws[0] == draws[1] != draws[2]
    # 300 draws of 5: 60 each, with a standard deviation of 7
    assert all(30 < draws[0].count(uri) < 90 for uri in programs.uris)


def test_program_set__pickles(write) -> None:
    for programs in (load_programs("bundled/graphs"), load_programs(write("a.c", C))):
        copy = pickle.loads(pickle.dumps(programs))
        assert (copy.name, copy.uris, copy[0]) == (programs.name, programs.uris, programs[0])


def test_program__knows_its_hash_and_hides_its_code() -> None:
    program = Program("mine", LL.encode(), run=RunSpecification(("x",)))
    assert program.sha256 == hashlib.sha256(LL.encode()).hexdigest()
    assert "define" not in repr(program)
    assert program == Program("mine", LL.encode(), run=RunSpecification(("x",)))
    assert program == Program("mine", LL.encode(), run=RunSpecification(("x",)), source=Path("mine.c"))
    assert len({program, Program("mine", LL.encode()), Program("yours", LL.encode())}) == 3
