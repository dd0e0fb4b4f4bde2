"""Behaviours are compared and blame falls where it belongs: on the pass list, on -Oz, or on the program."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from compiler_dojo.envs import semantics
from compiler_dojo.envs.llvm.lowering import lower
from compiler_dojo.envs.llvm.sanitizers import SanitizerReport
from compiler_dojo.envs.llvm.session import CompilerSession
from compiler_dojo.envs.programs import Program, RunSpecification, load_programs
from compiler_dojo.envs.semantics import Judgement, SemanticChecker

INCLUDES = "#include <limits.h>\n#include <stdio.h>\n#include <time.h>\n"
GREETS = 'int main(void) { puts("hello"); return 0; }\n'
# instcombine uses the overflow, plain code generation does not
OVERFLOWS = """
volatile int largest = INT_MAX;
__attribute__((noinline)) int grows(int x) { return x + 1 > x; }
int main(void) { printf("%d\\n", grows(largest)); return 0; }
"""
FOREVER = "int main(void) { for (volatile int i = 0;; i++) {} }\n"

Make = Callable[..., Program]


@pytest.fixture
def make(write: Callable[[str, str], Path]) -> Make:
    """A program with a run specification from a source."""

    def make(text: str, run: RunSpecification | None = None) -> Program:
        (program,) = load_programs(write("program.c", INCLUDES + text))
        return dataclasses.replace(program, run=run or RunSpecification())

    return make


def judge(program: Program, pipeline: str = "function(sroa)", module: bytes | None = None) -> Judgement:
    with CompilerSession(module or program.module, program.uri) as session:
        session.run(pipeline)
        return SemanticChecker().check(program, session)


def test_check__equal_behaviour(make: Make) -> None:
    assert judge(make(GREETS))[:2] == ("equal", "")
    assert judge(make(GREETS), "default<O3>").outcome == "equal"


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        (("hello", "hullo"), r"exit 0, 'hullo\n'"),
        (("return 0", "return 3"), r"exit 3, 'hello\n'"),
        (("return 0", "__builtin_trap()"), "signal "),
        (("return 0", "for (volatile int i = 0;; i++) {}"), "no end in time, "),
    ],
)
def test_check__a_module_that_does_something_else_is_blamed(
    make: Make, write: Callable[[str, str], Path], change: tuple[str, str], seen: str
) -> None:
    program = make(GREETS, RunSpecification(seconds=1.0))
    altered = lower(write("altered.c", INCLUDES + GREETS.replace(*change)))
    judgement = judge(program, module=altered)
    assert judgement.outcome == "differs"
    assert judgement.detail.startswith(f"the program behaves differently with the pass list: {seen}")
    assert judgement.detail.endswith(r"; at -O0 exit 0, 'hello\n'")


def test_check__a_module_that_does_not_link_any_more_is_blamed(make: Make) -> None:
    judgement = judge(make(GREETS), module=b"define i32 @other() {\n  ret i32 0\n}\n")
    assert judgement.outcome == "differs"
    assert "does not link" in judgement.detail


def test_check__undefined_behaviour_is_the_programs(make: Make) -> None:
    for pipeline in ("function(sroa)", "function(sroa,instcombine<no-verify-fixpoint>)"):
        judgement = judge(make(OVERFLOWS), pipeline)
        if judgement.sanitizer.finding == "unchecked":
            pytest.skip(judgement.sanitizer.detail)
        assert judgement.outcome == "undefined behaviour"
        assert "program.c:6:55: runtime error: signed integer overflow" in judgement.detail
        assert judgement.sanitizer == SanitizerReport("undefined", judgement.detail)


def test_check__an_oz_that_differs_is_blamed_itself_where_no_source_is_known(make: Make) -> None:
    judgement = judge(dataclasses.replace(make(OVERFLOWS), source=None))
    assert judgement.outcome == "Oz differs"
    assert judgement.detail == r"the program behaves differently at -Oz: exit 0, '1\n'; at -O0 exit 0, '0\n'"
    assert judgement.sanitizer == SanitizerReport("unchecked", "only IR is known, and sanitizers need the source")


@pytest.mark.parametrize(
    ("text", "run", "problem"),
    [
        (FOREVER, RunSpecification(seconds=0.1), "the -O0 build does not end within 0.1 s"),
        ("int twice(int x) { return 2 * x; }", RunSpecification(), r"at -O0: .*does not link"),
        (GREETS, RunSpecification(output="goodbye\n"), r"the -O0 build prints 'hello\\n', expected 'goodbye\\n'"),
        (
            'int main(void) { struct timespec t; clock_gettime(0, &t); printf("%ld\\n", t.tv_nsec); }',
            RunSpecification(),
            "the program behaves differently in a second run at -O0: ",
        ),
    ],
    ids=["forever", "library", "other output", "clock"],
)
def test_check__what_cannot_be_compared_says_why(make: Make, text: str, run: RunSpecification, problem: str) -> None:
    judgement = judge(make(text, run))
    assert judgement.outcome == "cannot run"
    assert re.match(problem, judgement.detail, re.DOTALL)


def test_check__without_a_run_specification_nothing_runs(make: Make) -> None:
    judgement = judge(dataclasses.replace(make(GREETS), run=None))
    assert judgement[:2] == ("cannot run", "there is no run specification")


def test_check__runs_each_module_once_and_each_program_once_under_sanitizers(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    for name in ("sanitize", "build_executable"):
        original = getattr(semantics, name)
        monkeypatch.setattr(
            semantics, name, lambda *given, name=name, original=original: calls.append(name) or original(*given)
        )
    checker, program = SemanticChecker(), make(GREETS)
    for pipeline in ("function(sroa)", "function(sroa)", "default<O3>", "default<O3>"):
        with CompilerSession(program.module) as session:
            session.run(pipeline)
            assert checker.check(program, session).outcome == "equal"
    # -O0, -Oz and two lists
    assert (calls.count("sanitize"), calls.count("build_executable")) == (1, 4)
