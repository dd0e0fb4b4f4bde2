"""Whole programs: which units are linked, what comes out of it, and what is said when nothing does."""

import re
from pathlib import Path

import pytest

from compiler_dojo.envs.errors import CompilationError, ToolchainError
from compiler_dojo.envs.llvm.execution import build_executable, run_executable
from compiler_dojo.envs.llvm.lowering import LANGUAGES, lower
from compiler_dojo.envs.llvm.session import CompilerSession
from compiler_dojo.envs.llvm.tools import find_llvm_tool
from compiler_dojo.envs.programs import Program, Provenance, RunSpecification
from compiler_dojo.envs.programs.linking import Symbols, link, read_symbols, whole_programs

try:
    find_llvm_tool("llvm-link")
    MISSING = ""
except ToolchainError as error:
    MISSING = str(error)
needs_llvm_link = pytest.mark.skipif(bool(MISSING), reason=MISSING)

PROVENANCE = Provenance("pack", "1.0", "pack_1.0.orig.tar.xz", "MIT")
MAIN = """
#include <stdio.h>
int twice(int x);
extern int base;
static int helper(int x) { return x + 1; }
int unused_by_main(int x) { return helper(x) * 7; }
int main(int argc, char **argv) { printf("%d\\n", helper(twice(argc + base))); return 0; }
"""
TWICE = """
int base = 20;
int calls;
static int helper(int x) { calls++; return 2 * x; }
int twice(int x) { return helper(x); }
int far_away(int x);
int reaches_far(int x) { return far_away(x); }
"""


@pytest.fixture
def unit(write):
    """A unit of the package ``pack``, from its path and its text."""

    def unit(path: str, text: str) -> Program:
        language = LANGUAGES[Path(path).suffix]
        module = lower(write(path, text))
        return Program(f"debian://pack/{path}", module, "oz", language, "tools", project="pack", provenance=PROVENANCE)

    return unit


def output_of(program: Program, pipeline: str = "") -> str:
    with CompilerSession(program.module, program.uri) as session:
        if pipeline:
            session.run(pipeline)
        with build_executable(session) as executable:
            result = run_executable(executable, RunSpecification())
    assert result.status == 0
    return result.output


def ir_of(program: Program) -> str:
    with CompilerSession(program.module) as session:
        return session.ir()


@needs_llvm_link
def test_whole_programs__link_a_main_with_what_it_needs_and_run(unit) -> None:
    units = [unit("main.c", MAIN), unit("lib/twice.c", TWICE), unit("lib/other.c", "int other(void) { return 1; }")]
    (program,) = whole_programs(units, "pack", smallest=1)
    assert program.uri == "debian+linked://pack/main.c"
    assert (program.lowering, program.language, program.domain, program.run) == ("oz", "c", "tools", None)
    assert (program.project, program.provenance) == ("pack", PROVENANCE)
    assert output_of(program) == output_of(program, "default<Oz>") == "43\n"


@needs_llvm_link
def test_whole_programs__only_main_is_visible_and_the_dead_is_gone(unit) -> None:
    (program,) = whole_programs([unit("twice.c", TWICE), unit("main.c", MAIN)], "pack", smallest=1)
    ir = ir_of(program)
    visible = re.findall(r"^define (?!internal)[^@]*@(\w+)", ir, re.MULTILINE)
    assert visible == ["main"]
    assert "@base = internal global i32 20" in ir
    assert len(re.findall(r"^define internal [^@]*@helper", ir, re.MULTILINE)) == 2
    for dead in ("unused_by_main", "reaches_far", "far_away"):
        assert dead not in ir
    assert re.findall(r"^declare [^@]*@(\w+)", ir, re.MULTILINE) == ["printf"]


@needs_llvm_link
def test_whole_programs__do_not_depend_on_the_order_of_the_units(unit) -> None:
    units = [unit("main.c", MAIN), unit("a/twice.c", TWICE), unit("b/twice.c", TWICE), unit("z.c", "int z;")]
    assert list(whole_programs(units, "pack", 1)) == list(whole_programs(reversed(units), "pack", 1))


@needs_llvm_link
@pytest.mark.parametrize(
    ("paths", "chosen"),
    [
        (["app/z.c", "a.c", "lib/a.c"], "app/z.c"),
        (["other/a.c", "a.c", "lib/deep/b.c"], "a.c"),
        (["app/sub/x.c", "app/sub/w.c", "b/a/x.c"], "app/sub/w.c"),
    ],
)
def test_whole_programs__take_the_nearest_definition(unit, paths, chosen) -> None:
    definitions = [unit(path, f'const char *name(void) {{ return "{path}"; }}') for path in paths]
    main = unit(
        "app/main.c", "int puts(const char *); const char *name(void); int main(void) { puts(name()); return 0; }"
    )
    (program,) = whole_programs([main, *definitions], "pack", smallest=1)
    assert output_of(program) == f"{chosen}\n"


@needs_llvm_link
def test_whole_programs__pass_over_a_definition_that_does_not_fit(unit) -> None:
    main = unit("main.c", "int f(void); int usage(void) { return 1; } int main(void) { return f() + usage() - 4; }")
    clashing = unit("a.c", "int usage(void) { return 2; } int f(void) { return 5; }")
    fitting = unit("b.c", "int f(void) { return 3; }")
    (program,) = whole_programs([main, clashing, fitting], "pack", smallest=1)
    assert output_of(program) == ""
    failures: dict[str, str] = {}
    assert list(whole_programs([main, clashing], "pack", 1, failures=failures)) == []
    assert failures == {
        main.uri: "debian://pack/main.c needs f of debian://pack/a.c, which defines usage a second time"
    }


@needs_llvm_link
def test_whole_programs__never_hold_two_mains(unit) -> None:
    shared = "int shared(void) { return 0; } int main(void) { return shared(); }"
    one, other = unit("one.c", shared), unit("other.c", "int shared(void); int main(void) { return shared(); }")
    programs = list(whole_programs([one, other], "pack", smallest=1))
    assert [program.uri for program in programs] == ["debian+linked://pack/one.c", "debian+linked://pack/other.c"]
    assert "declare i32 @shared" in ir_of(programs[1])


@needs_llvm_link
def test_whole_programs__are_none_without_a_main(unit) -> None:
    failures: dict[str, str] = {}
    static = unit("static.c", "static int main(void) { return 1; } int f(void) { return main(); }")
    assert list(whole_programs([unit("twice.c", TWICE), static], "pack", failures=failures)) == []
    assert list(whole_programs([], "pack", failures=failures)) == []
    assert failures == {}


@needs_llvm_link
def test_whole_programs__share_inline_functions_of_cpp_and_keep_constructors(unit) -> None:
    shared = "inline int counted() { static int n; return ++n; }\n"
    setup = shared + "struct Early { Early() { counted(); } } early;\nint more() { return counted(); }\n"
    main = shared + '#include <cstdio>\nint more();\nint main() { more(); std::printf("%d\\n", counted()); }\n'
    (program,) = whole_programs([unit("main.cpp", main), unit("setup.cpp", setup)], "pack", smallest=1)
    assert program.language == "c++"
    assert output_of(program) == output_of(program, "default<Oz>") == "3\n"


@needs_llvm_link
def test_whole_programs__of_a_c_main_with_cpp_units_are_cpp(unit) -> None:
    part = unit("part.cc", 'extern "C" int f() { return 0; }')
    (program,) = whole_programs([unit("main.c", "int f(void); int main(void) { return f(); }"), part], "pack", 1)
    assert program.language == "c++"


@needs_llvm_link
def test_whole_programs__keep_visible_what_inline_assembly_names(unit) -> None:
    text = """
    int answer(void) { return 42; }
    int hidden = 1;
    __asm__(".globl forty_two\\n.set forty_two, answer\\n");
    int forty_two(void);
    int main(void) { return forty_two() - 42; }
    """
    (program,) = whole_programs([unit("main.c", text)], "pack", smallest=1)
    assert output_of(program) == ""
    assert "define i32 @answer" in re.sub(r"dso_local |noundef ", "", ir_of(program))
    assert "hidden" not in ir_of(program)


@needs_llvm_link
def test_whole_programs__have_so_many_instructions(unit) -> None:
    units = [unit("main.c", MAIN), unit("twice.c", TWICE)]
    (program,) = whole_programs(units, "pack", smallest=1)
    with CompilerSession(program.module) as session:
        size = session.instruction_count
    assert len(list(whole_programs(units, "pack", size, size))) == 1
    for smallest, largest in ((size + 1, 100), (1, size - 1)):
        failures: dict[str, str] = {}
        assert list(whole_programs(units, "pack", smallest, largest, failures)) == []
        message = f"debian://pack/main.c links to {size} instructions, not {smallest} to {largest}"
        assert failures == {"debian://pack/main.c": message}


@needs_llvm_link
def test_whole_programs__leave_out_units_that_cannot_be_read(unit) -> None:
    broken = Program("debian://pack/broken.c", b"BC\xc0\xdenonsense", "oz", "c")
    failures: dict[str, str] = {}
    units = [unit("main.c", MAIN), broken, unit("twice.c", TWICE)]
    assert len(list(whole_programs(units, "pack", 1, failures=failures))) == 1
    assert list(failures) == [broken.uri]
    assert failures[broken.uri].startswith("pack: symbols cannot be read:\n")


@needs_llvm_link
def test_read_symbols__tells_strong_from_weak(unit) -> None:
    text = """
    int strong(int x); extern int wanted; __attribute__((weak)) int weak(void) { return 1; }
    __attribute__((weak)) int perhaps(void);
    static int local(void) { return wanted; }
    int data = 3; const int fixed = 4; int zero;
    int strong(int x) { return x + local() + (perhaps ? perhaps() : 0); }
    """
    (symbols,) = read_symbols([unit("a.c", text)], "pack")
    assert symbols.strong == {"strong", "data", "fixed", "zero"}
    assert (symbols.weak, symbols.undefined) == ({"weak"}, {"wanted"})
    assert read_symbols([unit("empty.c", "")], "pack") == [Symbols()]


@needs_llvm_link
def test_link__says_what_llvm_link_says(unit) -> None:
    units = [unit("a.c", "int f(void) { return 1; }"), unit("b.c", "int f(void) { return 2; }")]
    with pytest.raises(CompilationError, match=r"(?s)pack/a does not link:\n.*symbol multiply defined"):
        link(units, "pack/a")


@needs_llvm_link
def test_link__that_fails_is_a_failure_of_one_program(unit) -> None:
    flags = 'target datalayout = "e"\n!llvm.module.flags = !{{!0}}\n!0 = !{{i32 1, !"wchar_size", i32 {}}}\n'
    ours = unit("main.c", "int f(void); int main(void) { return f(); }")
    with CompilerSession((flags.format(2) + "define i32 @f() {\n  ret i32 0\n}\n").encode()) as session:
        theirs = Program("debian://pack/f.c", session.bitcode(), "oz", "c")
    failures: dict[str, str] = {}
    assert list(whole_programs([ours, theirs], "pack", 1, failures=failures)) == []
    assert "does not link:" in failures[ours.uri]
    assert "wchar_size" in failures[ours.uri]


def test_whole_programs__say_what_to_install(small_program, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolchainError, match=r"llvm-nm \d+ is needed, and none was found: .*`apt-get install llvm-"):
        list(whole_programs([small_program], "pack"))
    with pytest.raises(ToolchainError, match=r"llvm-link \d+ is needed"):
        link([small_program], "pack")
