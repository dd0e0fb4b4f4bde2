"""`dojo reduce`: planted reproducers become smaller and still fail; those that cannot are told so."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from experiments_support import Dojo

from compiler_dojo.envs.llvm.passes import find_pass
from compiler_dojo.envs.llvm.reproducer import Reproducer
from compiler_dojo.envs.programs import load_programs
from compiler_dojo.experiments import llvm_reduce
from compiler_dojo.experiments.failure_check import FailureCheck
from compiler_dojo.experiments.fuzz_oracles import RESTART
from compiler_dojo.experiments.llvm_reduce import shrink_module
from compiler_dojo.experiments.reduction import command_line, reduce_reproducer

CRASH = "function(trigger-crash-function)"
SOME = [find_pass(name).pipeline for name in ("sroa", "gvn", "simplifycfg", "licm", "dse")]
SMALL = load_programs("bundled://graphs/union_find")[0]
TOOL = shutil.which("llvm-reduce-19")
needs_llvm_reduce = pytest.mark.skipif(TOOL is None, reason="llvm-reduce-19 is not installed")


def plant(
    folder: Path, pipelines: list[str], failure: str = "CompilerCrashedError", program: bytes = SMALL.module
) -> Path:
    return Reproducer(program, pipelines, failure, "planted", "19.1.7", "planted", 20.0).save(folder)


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@needs_llvm_reduce
def test_reduce__leaves_one_pass_and_almost_no_program(tmp_path: Path) -> None:
    folder = plant(tmp_path, [*SOME, CRASH])
    before = files_in(folder)
    done = reduce_reproducer(folder, seconds=60)
    assert files_in(folder) == before
    assert done.folder.parent == tmp_path
    assert done.folder != folder
    assert (done.before.passes, done.after.passes, done.skipped) == (6, 1, None)
    assert done.before.instructions > 100
    assert done.after.instructions < 10
    smaller = Reproducer.load(done.folder)
    assert FailureCheck(smaller)(smaller.program, smaller.pipelines)
    assert done.command == f"opt-19 -passes='{CRASH}' {done.folder / 'program.bc'} -disable-output"


def test_reduce__without_llvm_reduce_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llvm_reduce.shutil, "which", lambda name: None)
    done = reduce_reproducer(plant(tmp_path, [*SOME, CRASH]), tmp_path / "out")
    assert done.skipped == "no llvm-reduce: install it with `apt-get install llvm-19`"
    assert done.after.passes == 1
    assert done.folder.parent == tmp_path / "out"


def test_reduce__does_not_shrink_a_program_whose_meaning_counts(tmp_path: Path) -> None:
    program = load_programs("bundled://compression/canonical_huffman")[0].module
    breaks = "function(unify-loop-exits)"
    done = reduce_reproducer(plant(tmp_path, [*SOME[4:], breaks, "strip-dead-prototypes"], "output-status", program))
    assert "undefined behaviour" in (done.skipped or "")
    smaller = Reproducer.load(done.folder)
    assert smaller.program == program
    assert smaller.pipelines == [breaks, "strip-dead-prototypes"]


def test_reduce__prints_one_line_of_sizes_and_json_has_the_same(
    dojo: Dojo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llvm_reduce.shutil, "which", lambda name: None)
    folder = plant(tmp_path, [*SOME[:2], CRASH])
    text, as_json = dojo("reduce", folder), dojo("reduce", folder, "--json")
    assert (text.status, as_json.status) == (0, 0), text.err
    values = json.loads(as_json.out)
    before, after = values["before"], values["after"]
    line = f"instructions {before['instructions']} -> {after['instructions']}, passes 3 -> 1: {values['folder']}"
    assert line in text.out.splitlines()
    assert values["command"] in text.out.splitlines()


def test_reduce__of_what_no_longer_fails_says_so(dojo: Dojo, tmp_path: Path) -> None:
    done = dojo("reduce", plant(tmp_path, SOME))
    assert done.status == 1
    assert "NoLongerFailsError: planted no longer fails: 5 passes end without CompilerCrashedError" in done.err
    assert "(LLVM 19.1.7 then, " in done.err


def test_reduce__of_a_folder_without_a_reproducer_says_so(dojo: Dojo, tmp_path: Path) -> None:
    done = dojo("reduce", tmp_path)
    assert done.status == 1
    assert "holds no reproducer" in done.err
    empty = dojo("reduce", plant(tmp_path, []))
    assert empty.status == 1
    assert "names no pass" in empty.err


@needs_llvm_reduce
def test_shrink_module__keeps_what_is_interesting() -> None:
    assert TOOL is not None
    smaller = shrink_module(TOOL, SMALL.module, lambda candidate: b"main" in candidate, 30)
    assert b"main" in smaller
    assert len(smaller) < len(SMALL.module) / 2


@needs_llvm_reduce
@pytest.mark.parametrize("seconds", [30.0, 0.0])
def test_shrink_module__gives_the_program_back_when_nothing_smaller_is_interesting(seconds: float) -> None:
    assert TOOL is not None
    assert shrink_module(TOOL, SMALL.module, lambda candidate: False, seconds) == SMALL.module


@pytest.mark.parametrize(
    ("pipelines", "command"),
    [
        (["dce"], "opt-19 -passes=dce /r/program.bc -disable-output"),
        (["function(gvn<no-pre>)", "dce"], "opt-19 -passes='function(gvn<no-pre>),dce' /r/program.bc -disable-output"),
        (["emitting an object"], "llc-19 -filetype=obj -o /dev/null /r/program.bc"),
        (["dce", "emitting an object"], "opt-19 -passes=dce /r/program.bc | llc-19 -filetype=obj -o /dev/null"),
        (["dce", RESTART, "dce"], None),
    ],
)
def test_command_line__shows_it_with_llvms_own_tools(pipelines: list[str], command: str | None) -> None:
    assert command_line(Path("/r"), pipelines) == command
