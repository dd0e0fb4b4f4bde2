"""Metrics, held against what other tools say of the same module."""

import re
import shutil
import subprocess

import pytest

from compiler_dojo.envs.errors import InvalidProgramError
from compiler_dojo.envs.llvm.session import CompilerSession
from compiler_dojo.envs.metrics import METRICS
from compiler_dojo.envs.programs import Program, RunSpecification, load_programs

EXITS_WITH_3 = Program("exits", b"define i32 @main() {\n  ret i32 3\n}\n", run=RunSpecification())


def measure(metric: str, program: Program) -> float:
    with CompilerSession(program.module, program.uri) as session:
        return METRICS[metric].measure(session, program)


def test_instruction_count__counts_the_lines_of_the_text() -> None:
    program = Program(
        "counted",
        b"define i32 @f(i32 %x) {\n  %a = add i32 %x, 1\n  %b = mul i32 %a, 2\n  ret i32 %b\n}\n"
        b"define void @g() {\n  unreachable\n}\ndeclare void @h()\n",
    )
    assert measure("instruction_count", program) == 4.0


@pytest.mark.parametrize("uri", ["bundled://graphs/union_find", "bundled://containers/ring_buffer"])
def test_text_size__is_what_binutils_say_of_the_object(tmp_path, uri) -> None:
    size = shutil.which("size")
    if size is None:
        pytest.skip("binutils are not installed")
    program = load_programs(uri)[0]
    with CompilerSession(program.module) as session:
        (tmp_path / "program.o").write_bytes(session.object_code())
    table = subprocess.run([size, "-A", tmp_path / "program.o"], capture_output=True, text=True, check=True).stdout
    sections = [int(number) for number in re.findall(r"^\.text\S*\s+(\d+)", table, re.MULTILINE)]
    assert measure("text_size", program) == sum(sections) > 0


def test_runtime__is_positive_and_declares_itself_measured(make_env) -> None:
    env = make_env(programs="bundled://simulation/galois_lfsr", reward="runtime", passes=["sroa", "lcssa"])
    _, info = env.reset(seed=0)
    assert info["cost"] > 0.0
    assert all(seconds > 0.0 for seconds in info["baselines"].values())
    assert env.step(0)[4]["cost"] > 0.0
    assert not env.reward.deterministic
    assert "median of 5 runs" in METRICS["runtime"].protocol


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (Program("unrunnable", EXITS_WITH_3.module), "unrunnable has no run specification"),
        (EXITS_WITH_3, "exits exits with 3 when its run time is measured"),
        (Program("library", b"define void @f() {\n  ret void\n}\n", run=RunSpecification()), "library does not link"),
    ],
    ids=lambda value: value.uri if isinstance(value, Program) else "",
)
def test_runtime__refuses_what_cannot_be_timed(program, message) -> None:
    with pytest.raises(InvalidProgramError, match=message):
        measure("runtime", program)


def test_metrics__declare_themselves() -> None:
    declared = {name: (metric.deterministic, metric.platform_dependent) for name, metric in METRICS.items()}
    assert declared == {"instruction_count": (True, False), "text_size": (True, True), "runtime": (False, True)}
    assert all(metric.unit and metric.protocol for metric in METRICS.values())
