"""Lowering Fortran and Rust: what comes out where their compilers are installed, what is said where they are not."""

import re
from pathlib import Path

import pytest

from compiler_dojo.envs.errors import CompilationError, ToolchainError
from compiler_dojo.envs.llvm.library import load_library
from compiler_dojo.envs.llvm.lowering import LANGUAGES, find_flang, lower
from compiler_dojo.envs.llvm.rustc import find_rustc
from compiler_dojo.envs.llvm.session import CompilerSession
from compiler_dojo.envs.programs import load_programs

MAJOR = load_library().version[0]
FREE = """module sums
contains
  function total(x, n) result(t)
    integer, intent(in) :: n
    real, intent(in) :: x(n)
    real :: t
    integer :: i
    t = 0
    do i = 1, n
      t = t + x(i) * x(i)
    end do
    if (n < 0) print *, "none"
  end function
end module
"""
FIXED = "      SUBROUTINE TWICE(X)\n      REAL X, Y\n      Y = X * 2\n      X = Y + 1\n      PRINT *, X\n      END\n"
RUST = "pub fn total(x: &[u32]) -> u32 {\n    x.iter().map(|v| v * v).sum()\n}\n"


def problem_with(find) -> str:
    try:
        find()
    except ToolchainError as error:
        return str(error)
    return ""


needs_flang = pytest.mark.skipif(bool(problem_with(find_flang)), reason=problem_with(find_flang))
needs_rustc = pytest.mark.skipif(bool(problem_with(find_rustc)), reason=problem_with(find_rustc))


@pytest.fixture
def fresh(monkeypatch):
    """find_flang and find_rustc as in a new process, during the test."""
    monkeypatch.delenv("DOJO_FLANG", raising=False)
    monkeypatch.delenv("DOJO_RUSTC", raising=False)
    find_flang.cache_clear()
    find_rustc.cache_clear()
    yield
    find_flang.cache_clear()
    find_rustc.cache_clear()


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@needs_flang
@pytest.mark.parametrize("suffix", [suffix for suffix, language in LANGUAGES.items() if language == "fortran"])
def test_fortran__is_a_program_and_oz_shrinks_it(write, suffix) -> None:
    path = write(f"sums{suffix}", FREE if suffix[1:3].lower() in ("f9", "f0") else FIXED)
    (program,) = load_programs(path)
    assert (program.language, program.lowering, program.source) == ("fortran", "oz", path)
    with CompilerSession(program.module) as session:
        before = session.instruction_count
        session.run("default<Oz>")
        assert 0 < session.instruction_count < before
    assert list(path.parent.iterdir()) == [path]


@needs_flang
def test_fortran__depends_on_the_text_and_the_name_but_not_on_the_place(write) -> None:
    assert lower(write("here/sums.f90", FREE)) == lower(write("over/there/sums.f90", FREE))


@needs_flang
def test_fortran__capital_suffixes_are_preprocessed_and_included_files_found(write) -> None:
    write("size.inc", "      INTEGER K\n")
    text = "#define BASE 40\n      INTEGER FUNCTION F()\n      INCLUDE 'size.inc'\n      F = BASE + 2\n      END\n"
    with CompilerSession(lower(write("f.F", text))) as session:
        session.run("default<Oz>")
        assert "ret i32 42" in session.ir()


@needs_flang
def test_fortran__shows_flangs_message(write) -> None:
    with pytest.raises(
        CompilationError, match=r"(?s)broken\.f90 does not compile:\n.*broken\.f90:1:3: error: expected"
    ):
        lower(write("broken.f90", "x +\n"))


def test_fortran__says_what_to_install_when_there_is_no_flang(fresh, monkeypatch, tmp_path, write) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    message = f"needs flang {MAJOR}, and none was found: install it with `apt-get install flang-{MAJOR}`"
    with pytest.raises(ToolchainError, match=message):
        lower(write("sums.f90", FREE))
    path = script(tmp_path / "my-flang", "echo flang version 3.1.0")
    monkeypatch.setenv("DOJO_FLANG", path)
    with pytest.raises(ToolchainError, match=f"and DOJO_FLANG={path} is not one"):
        lower(write("sums.f90", FREE))


@needs_rustc
def test_rust__is_a_program_of_its_public_functions_with_size_attributes(write) -> None:
    path = write("with space-1.rs", RUST)
    (program,) = load_programs(path)
    assert (program.language, program.lowering, program.source) == ("rust", "oz", path)
    with CompilerSession(program.module) as session:
        assert "minsize" in session.ir()
        before = session.instruction_count
        session.run("default<Oz>")
        assert 0 < session.instruction_count < before
    assert list(path.parent.iterdir()) == [path]


@needs_rustc
def test_rust__with_a_main_is_what_an_executable_holds(write) -> None:
    module = lower(write("hello.rs", 'fn main() {\n    println!("hello");\n}\n'), "compilergym")
    with CompilerSession(module) as session:
        assert "define i32 @main" in session.ir()
        assert "minsize" not in session.ir()


@needs_rustc
def test_rust__depends_on_the_text_and_the_name_but_not_on_the_place(write) -> None:
    text = "pub fn at(x: &[u8], i: usize) -> u8 {\n    x[i]\n}\n"
    assert lower(write("here/at.rs", text)) == lower(write("over/there/at.rs", text))


@needs_rustc
def test_rust__shows_rustcs_message(write) -> None:
    with pytest.raises(CompilationError, match=r"(?s)broken\.rs does not compile:\nerror.*broken\.rs:1"):
        lower(write("broken.rs", "pub fn f() -> u8 { 1 + }\n"))


def test_rust__of_a_newer_llvm_is_refused_before_it_compiles(fresh, monkeypatch, tmp_path, write) -> None:
    path = script(tmp_path / "my-rustc", "echo rustc 1.95.0; echo LLVM version: 99.1.2")
    monkeypatch.setenv("DOJO_RUSTC", path)
    message = (
        f"{path} is built on LLVM 99, whose bitcode LLVM {MAJOR} cannot read; a rustc built on LLVM {MAJOR} or older "
        f"is needed (Rust 1.85 is built on LLVM 19): install one, and set DOJO_RUSTC to its path, "
        f"or set DOJO_LIBLLVM to a libLLVM 99"
    )
    with pytest.raises(ToolchainError, match=re.escape(message)):
        lower(write("total.rs", RUST))


@pytest.mark.parametrize("text", ["", "echo rustc 1.2.3", "exit 1"], ids=["missing", "silent", "failing"])
def test_rust__says_so_when_there_is_no_rustc(fresh, monkeypatch, tmp_path, write, text) -> None:
    path = script(tmp_path / "my-rustc", text) if text else "/nowhere/rustc"
    monkeypatch.setenv("DOJO_RUSTC", path)
    with pytest.raises(ToolchainError, match=f"{path} is not a rustc that runs; a rustc built on LLVM {MAJOR}"):
        lower(write("total.rs", RUST))
