"""The peer is asked through a stand-in for its interpreter; the real one runs where DOJO_PEER_PYTHON names it."""

from __future__ import annotations

import ast
import io
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from experiments_support import table_row
from rich.console import Console

from compiler_dojo.envs.errors import CompilationError, ToolchainError, UnknownProgramError
from compiler_dojo.envs.programs import bundled
from compiler_dojo.experiments import peer
from compiler_dojo.experiments.peer import (
    CLANG_VARIABLE,
    PEER_TABLE,
    SCRIPT,
    PeerFailure,
    PeerMeasurement,
    Percentiles,
    Timings,
    downgrade,
    find_peer_clang,
    lower_for_peer,
    measure_peer,
    peer_table,
    source_file,
    write_runtime,
)

URI = "bundled://graphs/union_find"
CALLS = ("reset", "step", "fork", "multistep", "graph")
ANSWER = {
    "program": URI, "instructions": 143, "instructions_oz": 66, "failed_steps": 1, "forks": 3, "forks_unequal": 2,
    "times": {name: [i - 0.5, float(i), i + 0.5] for i, name in enumerate(CALLS, 1)},
}  # fmt: skip

Fake = Callable[[str], Path]


@pytest.fixture
def fake(tmp_path: Path) -> Fake:
    """Makes an executable of the text of a Python script."""

    def make(body: str) -> Path:
        path = tmp_path / "fake"
        path.write_text(f"#!{sys.executable}\n{body}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path

    return make


@pytest.fixture
def lowered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is compiled, as no old clang may be there."""
    monkeypatch.setattr(peer, "lower_for_peer", lambda source, lowering: f"; {source.name} {lowering}")


def answering(*answers: dict[str, Any], then: str = "") -> str:
    lines = "\n".join(json.dumps(answer) for answer in answers)
    return f"import sys, time\nsys.stdin.read()\nprint({lines!r}, flush=True)\n{then}"


@pytest.mark.usefixtures("lowered")
def test_measure_peer__reads_what_the_script_says(fake: Fake) -> None:
    broken = {"program": "bundled://crypto/xtea", "error": "ValueError: no"}
    python = fake(answering(ANSWER, broken))
    measurement, failure = measure_peer(python, [URI, "bundled://crypto/xtea"], repeats=1)
    assert failure == PeerFailure("bundled://crypto/xtea", "ValueError: no")
    assert isinstance(measurement, PeerMeasurement)
    assert measurement.step == Percentiles(low=1.5, median=2.0, high=2.5)
    assert (measurement.failed_steps, measurement.forks, measurement.forks_unequal) == (1, 3, 2)
    assert measurement.timings == Timings(143, 1.0, 2.0, 3.0, 4.0, 5.0, URI)


@pytest.mark.usefixtures("lowered")
def test_measure_peer__hands_over_the_job_and_a_runtime(fake: Fake, tmp_path: Path) -> None:
    python = fake(
        "import json, os, sys\n"
        "runtime = os.environ['COMPILER_GYM_SITE_DATA'] + '/llvm-v0'\n"
        f"seen = [json.load(sys.stdin), sys.argv[1:], sorted(os.listdir(runtime)), os.listdir(runtime + '/bin')]\n"
        f"json.dump(seen, open({str(tmp_path / 'seen')!r}, 'w'))\n"
        f"print({json.dumps(ANSWER)!r})"
    )
    measure_peer(python, [URI], repeats=7, lowering="compilergym", steps=20, seed=3)
    job, arguments, runtime, tools = json.loads((tmp_path / "seen").read_text())
    module = "; union_find.c compilergym"
    assert job == {"repeats": 7, "steps": 20, "seed": 3, "programs": [{"program": URI, "module": module}]}
    assert arguments == ["-I", str(SCRIPT)]
    assert runtime == [".unpacked", "bin"]
    assert sorted(tools) == ["clang", "llvm-size"]


@pytest.mark.usefixtures("lowered")
@pytest.mark.parametrize(
    ("body", "match"),
    [
        (
            answering({"fatal": "version", "detail": "3.12"}),
            r"needs Python 3\.8 to 3\.10, and .* is 3\.12: .*==0\.2\.5",
        ),
        (answering({"fatal": "import", "detail": "no gym"}), r"cannot import compiler_gym .*no gym.*==0\.2\.5"),
        (answering({"fatal": "service", "detail": "libtinfo.so.5"}), "does not start .*apt-get install libtinfo5"),
        (answering({"fatal": "tea", "detail": ""}), "one JSON object per program, and wrote .*tea"),
        (answering({"program": URI, "instructions": 3}), "one JSON object per program, and wrote .*instructions"),
        (answering(ANSWER, then="sys.exit('oh dear')"), r"status 1 after 1: oh dear; .*==0\.2\.5"),
        (answering(ANSWER, ANSWER), "answered for 1 programs, but ended with status 0 after 2: it wrote nothing"),
        ("print('hello')", "one JSON object per program, and wrote 'hello'"),
        ("raise SystemExit(3)", "answered for 1 programs, but ended with status 3 after 0"),
    ],
)
def test_measure_peer__says_what_is_wrong(fake: Fake, body: str, match: str) -> None:
    with pytest.raises(ToolchainError, match=f"(?s){match}"):
        measure_peer(fake(body), [URI], repeats=1)


@pytest.mark.usefixtures("lowered")
def test_measure_peer__gives_up_and_leaves_no_process(fake: Fake, tmp_path: Path) -> None:
    child = tmp_path / "child"
    python = fake(
        "import subprocess, time\n"
        "process = subprocess.Popen(['sleep', '60'])\n"
        f"open({str(child)!r}, 'w').write(str(process.pid))\n"
        "time.sleep(60)"
    )
    with pytest.raises(ToolchainError, match=r"did not finish within 2 s"):
        measure_peer(python, [URI], repeats=1, seconds=2.0)
    status = Path(f"/proc/{child.read_text()}/stat")
    # killed; a zombie if nobody above has collected it yet
    assert not status.exists() or status.read_text().split()[2] == "Z"


@pytest.mark.usefixtures("lowered")
def test_measure_peer__refuses_a_missing_interpreter(tmp_path: Path) -> None:
    with pytest.raises(ToolchainError, match=r"cannot be run \(No such file.*compiler_gym==0\.2\.5"):
        measure_peer(tmp_path / "python3.8", [URI], repeats=1)


@pytest.mark.usefixtures("lowered")
def test_measure_peer__refuses_our_own_interpreter() -> None:
    with pytest.raises(ToolchainError, match=r"needs Python 3\.8 to 3\.10|cannot import compiler_gym"):
        measure_peer(Path(sys.executable), [URI], repeats=1)


def test_measure_peer__refuses_an_unknown_program() -> None:
    with pytest.raises(UnknownProgramError, match="graphs/union_find"):
        measure_peer(Path("python3.8"), ["bundled://graphs/union_fin"], repeats=1)


def test_script__parses_as_python_3_8() -> None:
    ast.parse(SCRIPT.read_text(), feature_version=(3, 8))


def test_source_file__exists_for_every_bundled_program() -> None:
    assert all(source_file(key).suffix == (".c" if entry["language"] == "c" else ".cpp")
               for key, entry in bundled.manifest().items())  # fmt: skip


def test_downgrade__takes_the_type_from_sret_alone() -> None:
    text = 'call void @f(%"a(b)"* sret(%"a(b)") align 8 %1, { i32 }* byval({ i32 }) %2, %T* sret(%T) %3) ; @sret(i8)'
    assert downgrade(text) == 'call void @f(%"a(b)"* sret align 8 %1, { i32 }* byval({ i32 }) %2, %T* sret %3) ; @sret'


@pytest.fixture
def fake_clang(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Puts a clang of a version in DOJO_PEER_CLANG."""

    def make(version: str, body: str) -> None:
        path = fake(
            "import sys\n"
            f"if sys.argv[1:] == ['--version']:\n    print('clang version {version}')\n    raise SystemExit\n{body}"
        )
        monkeypatch.setenv(CLANG_VARIABLE, str(path))

    return make


@pytest.mark.parametrize(("version", "finite"), [("13.0.1", True), ("12.0.0", True), ("11.1.0", False)])
def test_lower_for_peer__compiles_with_our_flags(fake_clang: Any, version: str, finite: bool) -> None:
    fake_clang(version, "print('sret(%T)', sys.argv[1:])")
    text = lower_for_peer(Path("some/file.c"), "compilergym")
    flags = ["-O1", "-Xclang", "-disable-llvm-passes", "-g0", "-w", "-Qn", "-emit-llvm", "-S"]
    assert text == f"sret {[*flags, *['-fno-finite-loops'] * finite, 'some/file.c', '-o', '-']}\n"


def test_lower_for_peer__carries_the_diagnostics(fake_clang: Any) -> None:
    fake_clang("13.0.1", "sys.exit('file.c:1: dreadful')")
    with pytest.raises(CompilationError, match=r"file\.c does not compile for CompilerGym:\nfile\.c:1: dreadful"):
        lower_for_peer(Path("file.c"))


def test_find_peer_clang__refuses_a_newer_one(fake_clang: Any) -> None:
    fake_clang("14.0.6", "")
    with pytest.raises(ToolchainError, match=rf"from 10 to 13, and {CLANG_VARIABLE}=.* is not one: .*clang-13"):
        find_peer_clang()


def test_find_peer_clang__says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CLANG_VARIABLE, raising=False)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ToolchainError, match="none was found: install it with `apt-get install clang-13`"):
        find_peer_clang()


def test_write_runtime__tools_answer_at_once(tmp_path: Path) -> None:
    write_runtime(tmp_path)
    tools = tmp_path / "site" / "llvm-v0" / "bin"
    command = [tools / "clang", "-w", "-xir", "-", "-o", "object", "-c"]
    assert subprocess.run(command, input="text", capture_output=True, text=True, check=True).stdout == ""
    sizes = subprocess.run([tools / "llvm-size", "object"], capture_output=True, text=True, check=True).stdout
    lines = sizes.splitlines()
    assert [line.split("\t")[0].strip() for line in lines] == ["text", "1"]


def measured(program: str, instructions: int, **changes: Any) -> PeerMeasurement:
    values = {name: Percentiles(i - 0.5, float(i), i + 0.5) for i, name in enumerate(CALLS, 1)}
    fields: dict[str, Any] = {"instructions_oz": 66, "failed_steps": 1, "forks": 3, "forks_unequal": 2}
    return PeerMeasurement(program, instructions, **{**fields, **values, **changes})


def printed(*arguments: Any) -> str:
    console = Console(file=io.StringIO(), width=250, color_system=None)
    console.print(peer_table(*arguments))
    return console.file.getvalue()  # type: ignore[attr-defined]  # the StringIO above


def test_peer_table__puts_the_same_programs_side_by_side() -> None:
    ours = [Timings(133, 0.1, 0.25, 0.5, 7, 1234.5, URI), Timings(259, 1, 2, 3, 4, None, "bundled://crypto/xtea")]
    text = printed(ours, [measured(URI, 143), PeerFailure("bundled://crypto/xtea", "ValueError: no")])
    row = table_row(text, "graphs/union_find")
    assert row == ["graphs/union_find", "133", "143", "0.1", "1", "0.25", "2", "0.5", "3", "7", "4", "1234", "5"]
    assert table_row(text, "crypto/xtea") == ["crypto/xtea", "259", "failed", "1", "2", "3", "4"]
    assert "2 of 3 forks differ" in text
    assert "1 calls failed" in text
    assert "bundled://crypto/xtea failed: ValueError: no" in text


def test_peer_table__refuses_other_lengths() -> None:
    with pytest.raises(ValueError, match="shorter"):
        peer_table([Timings(133, 1, 1, 1, 1)], [])


def test_peer_table__marks_the_earlier_figures_and_matches_sizes() -> None:
    text = printed([Timings(100, 1, 1, 1, 1, None, "a://small"), Timings(9000, 1, 1, 1, 1, None, "a://large")], None)
    assert "measured earlier, NOT now" in text
    assert "EPYC" in text
    rows = [line.replace("│", " ").split() for line in text.splitlines() if line.lstrip(" │").startswith(("sm", "la"))]
    assert [(row[0], int(row[2])) for row in rows] == [
        ("small" if row.instructions < 900 else "large", row.instructions) for row in PEER_TABLE
    ]
    assert rows[0] == ["small", "100", "80", "1", "2", "1", "0.45", "1", "16", "1", "3.7", "8.8"]


@pytest.mark.slow
@pytest.mark.skipif("DOJO_PEER_PYTHON" not in os.environ, reason="DOJO_PEER_PYTHON names no Python with compiler_gym")
def test_measure_peer__runs_the_real_one() -> None:
    # C, and C++ whose sret attributes LLVM 10 must not misread
    programs = ["bundled://graphs/union_find", "bundled://storage/query_engine"]
    small, large = measure_peer(Path(os.environ["DOJO_PEER_PYTHON"]), programs, repeats=2)
    assert isinstance(small, PeerMeasurement)
    assert isinstance(large, PeerMeasurement)
    assert (small.program, large.program) == tuple(programs)
    assert 66 <= small.instructions_oz < small.instructions < large.instructions_oz < large.instructions
    assert small.forks == 2
    for measurement in (small, large):
        for name in CALLS:
            low, median, high = getattr(measurement, name)
            assert 0 < low <= median <= high
