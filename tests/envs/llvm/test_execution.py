"""Building executables and running them under limits: output, arguments, exit status, time, memory, space."""

import os

import pytest

from compiler_dojo.envs.errors import InvalidProgramError, ToolchainError
from compiler_dojo.envs.llvm.execution import RunResult, build_executable, find_linker, run_executable
from compiler_dojo.envs.llvm.lowering import lower
from compiler_dojo.envs.llvm.session import CompilerSession
from compiler_dojo.envs.programs import RunSpecification


@pytest.fixture
def run_c(write):
    """Compile, link and run a C program."""

    def run(source: str, specification: RunSpecification | None = None, pipeline: str = "") -> RunResult:
        includes = (
            "#include <math.h>\n#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n#include <unistd.h>\n"
        )
        with CompilerSession(lower(write("program.c", includes + source)), "program.c") as session:
            if pipeline:
                session.run(pipeline)
            with build_executable(session) as executable:
                return run_executable(executable, specification or RunSpecification())

    return run


@pytest.mark.parametrize("pipeline", ["", "default<Oz>", "default<O3>"])
def test_run__gives_what_the_program_prints(run_c, pipeline) -> None:
    result = run_c('int main(void) { for (int i = 0; i < 3; i++) printf("%g\\n", sqrt(i * i)); }', pipeline=pipeline)
    assert (result.status, result.output) == (0, "0\n1\n2\n")
    assert result.seconds > 0.0


def test_run__passes_the_arguments(run_c) -> None:
    run = RunSpecification(("one", "two words", "$HOME"))
    result = run_c("int main(int n, char **a) { for (int i = 1; i < n; i++) puts(a[i]); return n; }", run)
    assert (result.status, result.output) == (4, "one\ntwo words\n$HOME\n")


def test_run__gives_the_signal_that_ended_it(run_c) -> None:
    assert run_c("int main(void) { abort(); }").status == -6


def test_run__of_too_long_has_no_status(run_c) -> None:
    result = run_c('int main(void) { puts("on"); fflush(stdout); for (;;) pause(); }', RunSpecification(seconds=0.2))
    assert (result.status, result.output) == (None, "on\n")


def test_run__cannot_take_all_memory(run_c) -> None:
    source = (
        'int main(void) { void *p = malloc(3UL << 30); if (p) *(volatile char *)p = 1; puts(p ? "taken" : "refused"); }'
    )
    assert run_c(source).output == "refused\n"


def test_run__cannot_print_without_end(run_c) -> None:
    source = (
        "int main(void) { static char b[1 << 20]; memset(b, 'x', sizeof b); for (;;) fwrite(b, 1, sizeof b, stdout); }"
    )
    result = run_c(source)
    assert result.status == -25  # SIGXFSZ
    assert len(result.output) == 16 << 20


def test_run__has_no_input_no_environment_and_a_folder_of_its_own(run_c, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("SECRET", "leaked")
    monkeypatch.chdir(tmp_path)
    source = """
int main(void) {
    printf("%d %s\\n", getchar(), getenv("SECRET") ? "leaked" : "clean");
    FILE *f = fopen("left-behind", "w");
    char folder[4096];
    puts(getcwd(folder, sizeof folder));
    return f == NULL;
}
"""
    result = run_c(source)
    first, folder = result.output.splitlines()
    assert (result.status, first) == (0, "-1 clean")
    assert not os.path.exists(f"{folder}/left-behind")
    assert not (tmp_path / "left-behind").exists()


def test_run__decodes_what_is_no_text(run_c) -> None:
    assert run_c("int main(void) { putchar(0xff); putchar('a'); }").output == "\N{REPLACEMENT CHARACTER}a"


def test_build__removes_the_executable_afterwards(small_program) -> None:
    with CompilerSession(small_program.module) as session:
        with build_executable(session) as executable:
            assert os.access(executable, os.X_OK)
        assert not executable.parent.exists()
        # code generation worked on a copy
        assert session.instruction_count == 133


def test_build__needs_a_main(write) -> None:
    session = CompilerSession(lower(write("f.c", "int f(void) { return 1; }")), "f.c")
    with pytest.raises(InvalidProgramError, match=r"(?s)f\.c does not link:\n.*main"), build_executable(session):
        pass


def test_build__needs_a_linker(small_program, monkeypatch, tmp_path) -> None:
    assert os.access(find_linker(), os.X_OK)
    monkeypatch.setenv("PATH", str(tmp_path))
    session = CompilerSession(small_program.module)
    with pytest.raises(ToolchainError, match=r"linker: .*`apt-get install g\+\+`"), build_executable(session):
        pass
