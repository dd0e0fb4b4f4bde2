"""Undefined behaviour is found and named; what is none, or could not be looked for, is said to be so."""

from __future__ import annotations

import dataclasses
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from compiler_dojo.envs.errors import ToolchainError
from compiler_dojo.envs.llvm import sanitizers
from compiler_dojo.envs.llvm.execution import build_executable, run_executable
from compiler_dojo.envs.llvm.sanitizers import Sanitizer, SanitizerReport, find_sanitizer, sanitize
from compiler_dojo.envs.llvm.session import CompilerSession
from compiler_dojo.envs.programs import Program, RunSpecification, load_programs

INCLUDES = "#include <limits.h>\n#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n#include <time.h>\n"
Check = Callable[..., SanitizerReport]


@pytest.fixture(autouse=True)
def _with_sanitizers() -> None:
    try:
        find_sanitizer()
    except ToolchainError as error:
        pytest.skip(str(error))


@pytest.fixture
def check(write: Callable[[str, str], Path]) -> Check:
    """What the sanitizers say of a source, after its plain -O0 build ran."""

    def check(text: str, run: RunSpecification | None = None, name: str = "program.c") -> SanitizerReport:
        (program,) = load_programs(write(name, INCLUDES + text))
        program = dataclasses.replace(program, run=run or RunSpecification())
        with CompilerSession(program.module) as session, build_executable(session) as executable:
            return sanitize(program, run_executable(executable, run or RunSpecification()))

    return check


UNDEFINED = {
    "signed overflow": (
        "volatile int n = INT_MAX;\nint main(void) { printf(\"%d\\n\", n + 1 > n); }",
        "runtime error: signed integer overflow: 2147483647 + 1 cannot be represented in type 'int'",
    ),
    "out of bounds": (
        "int t[4]; volatile int i = 4;\nint main(void) { return t[i] != 0; }",
        "runtime error: index 4 out of bounds for type 'int[4]'",
    ),
    "heap overflow": (
        "int main(void) { char *p = malloc(4); memset(p, 1, 4); volatile int i = 4; return p[i] == 9; }",
        "ERROR: AddressSanitizer: heap-buffer-overflow",
    ),
    "use after free": (
        "int main(void) { int *p = malloc(4); *p = 1; free(p); return *p == 9; }",
        "ERROR: AddressSanitizer: heap-use-after-free",
    ),
    "null pointer": ("int *volatile p; int main(void) { return *p; }", "runtime error: load of null pointer"),
    "shift": ("volatile int s = 40; int main(void) { return 1 << s; }", "runtime error: shift exponent 40"),
}  # fmt: skip


@pytest.mark.parametrize("kind", UNDEFINED)
@pytest.mark.parametrize("name", ["program.c", "program.cpp"])
def test_sanitize__names_undefined_behaviour(check: Check, kind: str, name: str) -> None:
    source, message = UNDEFINED[kind]
    if name == "program.cpp":
        source = source.replace("= malloc", "= (decltype(p))malloc")
    report = check(source, name=name)
    assert report.finding == "undefined"
    assert message in report.detail
    assert f"{name}:" in report.detail
    assert "main" in report.detail
    assert len(report.detail.splitlines()) <= 2


CLEAN = {
    "exit status": "int main(void) { return 7; }",
    "unsigned overflow": "volatile unsigned n = UINT_MAX; int main(void) { return n + 1 != 0; }",
    "leak": "void *volatile p; int main(void) { p = malloc(100); p = 0; }",
    "abort": "int main(void) { abort(); }",
    "words of a report": 'int main(void) { fputs("f.c:1:1: runtime error: none\\n", stderr); return 1; }',
    "status of a report": "int main(void) { return 213; }",
}


@pytest.mark.parametrize("kind", CLEAN)
def test_sanitize__finds_nothing_where_there_is_nothing(check: Check, kind: str) -> None:
    assert check(CLEAN[kind]) == SanitizerReport("clean")


def test_sanitize__does_not_take_its_own_needs_for_faults(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = "int f(int n) { volatile char b[900]; b[0] = n; return n ? f(n - 1) + b[0] : 0; }\n"
    report = check(deep + "int main(void) { return f(8000) == 1; }")
    assert report.finding == "unchecked"
    assert "stack-overflow" in report.detail
    monkeypatch.setattr(sanitizers, "OPTIONS", sanitizers.OPTIONS.replace("mb=2048", "mb=200"))
    # the sanitizer looks ten times a second
    source = """
int main(void) {
    struct timespec moment = {0, 500000000};
    char *p = malloc(SIZE);
    memset(p, 1, SIZE);
    nanosleep(&moment, 0);
}
"""
    assert check("#define SIZE (50 << 20)" + source).finding == "clean"
    report = check("#define SIZE (300 << 20)" + source)
    assert report.finding == "unchecked"
    assert "hard rss limit exhausted" in report.detail


def test_sanitize__takes_a_program_that_prints_otherwise_for_unchecked(check: Check) -> None:
    report = check('int main(void) { struct timespec t; clock_gettime(0, &t); printf("%ld\\n", t.tv_nsec); }')
    assert report == SanitizerReport("unchecked", "it behaves otherwise under sanitizers, without a report")


def test_sanitize__gives_up_on_what_takes_too_long(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sanitizers, "SLOWDOWN", 1.0)
    report = check("int main(void) { for (volatile int i = 0;; i++) {} }", RunSpecification(seconds=0.2))
    assert report == SanitizerReport("unchecked", "it does not end within 0.2 s under sanitizers")


def test_sanitize__says_why_it_could_not_look(
    small_program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = run_of(small_program)
    reasons = {
        "no run specification": dataclasses.replace(small_program, run=None),
        "only IR is known": dataclasses.replace(small_program, source=None),
        "the source .*gone.c is gone": dataclasses.replace(small_program, source=tmp_path / "gone.c"),
    }
    (tmp_path / "wrong.c").write_text("int main(void) { return undeclared; }\n")
    reasons["does not build with sanitizers:\n.*undeclared"] = dataclasses.replace(
        small_program, source=tmp_path / "wrong.c"
    )
    for reason, program in reasons.items():
        report = sanitize(program, plain)
        assert report.finding == "unchecked"
        assert re.search(reason, report.detail, re.DOTALL)
    find_sanitizer.cache_clear()
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sanitizers, "find_clang", lambda: "/bin/false")
    report = sanitize(small_program, plain)
    find_sanitizer.cache_clear()
    assert report.finding == "unchecked"
    assert "apt-get install libclang-rt-19-dev" in report.detail


def run_of(program: Program):
    with CompilerSession(program.module) as session, build_executable(session) as executable:
        return run_executable(executable, program.run or RunSpecification())


# both languages, floating point, allocation of its own, exceptions to the rule in size
@pytest.mark.parametrize(
    "key", ["graphs/union_find", "numerical/fft_polymul", "containers/ring_buffer", "storage/slab_allocator"]
)
def test_sanitize__finds_nothing_in_bundled_programs(key: str) -> None:
    program = load_programs("bundled").get(key)
    assert sanitize(program, run_of(program)) == SanitizerReport("clean")


@pytest.mark.slow
def test_sanitize__finds_nothing_in_any_bundled_program() -> None:
    reports = {program.uri: sanitize(program, run_of(program)) for program in load_programs("bundled")}
    assert {uri: report for uri, report in reports.items() if report != SanitizerReport("clean")} == {}


def test_sanitize__works_with_gcc_too(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    monkeypatch.setattr(sanitizers, "find_sanitizer", lambda: Sanitizer(("gcc",), ("g++",), "gcc"))
    source, message = UNDEFINED["heap overflow"]
    report = check(source)
    assert report.finding == "undefined"
    assert message in report.detail
    assert check(CLEAN["exit status"]) == SanitizerReport("clean")
