"""Lowering C and C++ with clang: what comes out, and what is said when clang or the source is at fault."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from compiler_dojo.envs.errors import CompilationError, InvalidConfigError, ToolchainError
from compiler_dojo.envs.llvm.library import load_library
from compiler_dojo.envs.llvm.lowering import LANGUAGES, LOWERINGS, check_lowering, clang_version, find_clang, lower
from compiler_dojo.envs.llvm.session import CompilerSession

SOURCE = "int total(const int *p, int n) {\n  int t = 0;\n  for (int i = 0; i < n; i++) t += p[i];\n  return t;\n}\n"


@pytest.fixture
def fresh_clang(monkeypatch):
    """find_clang as in a new process, during the test."""
    monkeypatch.delenv("DOJO_CLANG", raising=False)
    find_clang.cache_clear()
    yield find_clang
    find_clang.cache_clear()


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def attributes_of(module: bytes) -> set[str]:
    with CompilerSession(module) as session:
        return set(re.findall(r"^attributes #\d+ = \{ (.*) \}$", session.ir(), re.MULTILINE)[0].split())


def test_lower__oz_gives_what_clang_oz_gives_its_passes(write) -> None:
    module = lower(write("total.c", SOURCE))
    assert {"minsize", "optsize"} <= attributes_of(module)
    with CompilerSession(module) as session:
        assert "alloca" in session.ir()
        assert "!dbg" not in session.ir()
        before = session.instruction_count
        session.run("default<Oz>")
        assert session.instruction_count < before


def test_lower__compilergym_has_no_size_attributes(write) -> None:
    attributes = attributes_of(lower(write("total.c", SOURCE), "compilergym"))
    assert not attributes & {"minsize", "optsize", "optnone", "noinline"}


@pytest.mark.parametrize("lowering", LOWERINGS)
def test_lower__then_llvms_pipeline_is_what_clang_makes(write, lowering) -> None:
    source = write("total.c", SOURCE)
    level = LOWERINGS[lowering][0]
    command = [find_clang(), level, "-g0", "-w", "-S", "-emit-llvm", source.name, "-o", "-"]
    ir = subprocess.run(command, cwd=source.parent, capture_output=True, check=True).stdout
    with CompilerSession(lower(source, lowering)) as ours, CompilerSession(ir) as clangs:
        ours.run(f"default<{level[1:]}>")
        assert ours.instruction_count == clangs.instruction_count


@pytest.mark.parametrize("suffix", [suffix for suffix, language in LANGUAGES.items() if language in ("c", "c++")])
def test_lower__knows_the_language_by_the_suffix(write, suffix) -> None:
    source = (
        SOURCE
        if LANGUAGES[suffix] == "c"
        else "template <class T> T same(T x) { return x; }\nint f() { return same(1); }\n"
    )
    with CompilerSession(lower(write(f"program{suffix}", source))) as session:
        assert session.instruction_count > 0


def test_lower__depends_on_the_text_and_the_name_but_not_on_the_place(write, monkeypatch, tmp_path) -> None:
    first = lower(write("here/total.c", SOURCE))
    monkeypatch.chdir(write("over/there/total.c", SOURCE).parent)
    assert lower(Path("total.c")) == first
    monkeypatch.chdir(tmp_path)
    assert lower(Path("over/there/total.c")) == first


@pytest.mark.parametrize("name", ["with space.c", "-dash.c", "quote'.c", "ünïcode.c"])
def test_lower__takes_any_file_name(write, name) -> None:
    with CompilerSession(lower(write(name, SOURCE))) as session:
        assert session.instruction_count > 0


def test_lower__finds_headers_beside_the_file_and_takes_flags(write) -> None:
    write("part.h", "#define BASE 1\n")
    source = write("whole.c", '#include "part.h"\nint f(void) { return BASE + EXTRA; }\n')
    with CompilerSession(lower(source, flags=["-DEXTRA=41"])) as session:
        assert "ret i32 42" in session.ir()


def test_lower__shows_clangs_message(write) -> None:
    source = write("broken.c", "int f(void) {\n  return 1 +;\n}\n")
    with pytest.raises(CompilationError, match=r"(?s)broken\.c does not compile:\n.*:2:13: error: expected expression"):
        lower(source)


def test_lower__refuses_an_unknown_lowering(write) -> None:
    with pytest.raises(InvalidConfigError, match="unknown lowering 'o0': did you mean 'oz'"):
        lower(write("total.c", SOURCE), "o0")
    assert check_lowering("oz") == LOWERINGS["oz"]


def test_find_clang__is_of_libllvms_version(fresh_clang) -> None:
    assert clang_version(fresh_clang())[0] == load_library().version[0]


def test_find_clang__takes_the_variable(fresh_clang, monkeypatch, tmp_path) -> None:
    wrapper = script(tmp_path / "my-clang", f'exec {fresh_clang()} "$@"')
    fresh_clang.cache_clear()
    monkeypatch.setenv("DOJO_CLANG", wrapper)
    assert fresh_clang() == wrapper


@pytest.mark.parametrize(
    "content",
    ["", "echo clang version 14.0.6", "echo gcc 12", "exit 1"],
    ids=["missing", "older", "another", "failing"],
)
def test_find_clang__refuses_what_the_variable_names_wrongly(
    fresh_clang, monkeypatch, tmp_path, write, content
) -> None:
    path = script(tmp_path / "my-clang", content) if content else "/nowhere/clang"
    monkeypatch.setenv("DOJO_CLANG", path)
    major = load_library().version[0]
    message = f"needs clang {major}, and DOJO_CLANG={path} is not one: install it with `apt-get install clang-{major}`"
    with pytest.raises(ToolchainError, match=re.escape(message)):
        lower(write("total.c", SOURCE))


def test_find_clang__says_what_to_install_when_there_is_none(fresh_clang, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        ToolchainError, match=r"none was found: .*apt-get install clang-.*\.ll and \.bc files need no clang"
    ):
        fresh_clang()


def test_find_clang__without_one_programs_in_ir_still_load(fresh_clang, monkeypatch, tmp_path, make_env) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert make_env().reset(seed=0)[1]["cost"] == 133.0


def test_clang_version__is_zero_for_what_is_no_clang(tmp_path) -> None:
    assert clang_version(script(tmp_path / "echo", "echo hello")) == (0, 0, 0)
    assert clang_version(script(tmp_path / "vendor", "echo Debian clang version 19.1.7 '(3)'")) == (19, 1, 7)
    assert clang_version(os.devnull) == (0, 0, 0)
