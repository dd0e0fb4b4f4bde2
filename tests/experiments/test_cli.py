"""The command as users meet it: tables, JSON with the same numbers, and errors of one line."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from experiments_support import Dojo, Run, run_dojo, table_row

from compiler_dojo.envs.llvm.sandbox import find_sandbox
from compiler_dojo.envs.programs import load_programs
from compiler_dojo.experiments.doctor import examine
from compiler_dojo.experiments.evaluation import rows_as_mappings, rows_of
from compiler_dojo.experiments.records import read_records, write_records

URI = "bundled://graphs/union_find"
SET = "bundled/simulation"


@pytest.mark.parametrize(
    "command", ["doctor", "train", "evaluate", "validate", "tune", "fuzz", "reduce", "bench env", "bench programs"]
)
def test_help__of_every_command_shows_an_example(dojo: Dojo, command: str) -> None:
    for option in ("--help", "-h"):
        done = dojo(*command.split(), option)
        assert done.status == 0
        text = " ".join(done.out.split())
        assert "Example: dojo" in text or "Examples: dojo" in text
        assert f"dojo {command}" in text.split("Example", 1)[1]


@pytest.mark.parametrize("arguments", [[], ["--help"], ["bench"], ["programs"]])
def test_help__is_what_no_arguments_show(dojo: Dojo, arguments: list[str]) -> None:
    done = dojo(*arguments)
    text = done.out + done.err
    assert "Usage: " in text
    assert ("evaluate" in text) == (arguments not in (["bench"], ["programs"]))


def test_dojo__an_unknown_command_or_option_is_a_usage_error(dojo: Dojo) -> None:
    for arguments in (["evaluat"], ["evaluate", "--agnt", "random"], ["evaluate"], ["bench", "env", "--repeats", "0"]):
        done = dojo(*arguments)
        assert done.status == 2
        assert "Error" in done.err


@pytest.mark.parametrize(
    ("arguments", "agent"),
    [
        (["--agent", "-Oz"], "-Oz"),
        (["--agent", "random", "--set", "budget=5", "--set", "start=Oz", "--seed", "3"], "random policy"),
    ],
)
def test_evaluate__table_and_json_have_the_same_numbers(dojo: Dojo, arguments: list[str], agent: str) -> None:
    arguments = ["evaluate", *arguments, "--programs", SET]
    table, as_json = dojo(*arguments), dojo(*arguments, "--json")
    assert (table.status, as_json.status) == (0, 0)
    values = json.loads(as_json.out)
    assert [row["name"] for row in values["rows"]] == list(dict.fromkeys([agent, "-Oz"]))
    interval = values["rows"][0]["instructions"]
    per_program, summary = table.out.split(f"{SET}: {len(load_programs(SET))} programs")
    assert table_row(summary, agent)[1] == f"{interval['mean']:.3f} [{interval['low']:.3f}, {interval['high']:.3f}]"
    for record in values["records"]:
        cells = table_row(per_program, record["program"].removeprefix("bundled://"))
        assert cells[4] == f"{record['costs']['instruction_count']:.0f}"
        ratios = [record["baselines"][metric]["Oz"] / cost for metric, cost in record["costs"].items()]
        assert cells[5:] == [f"{ratio:.3f}" for ratio in ratios]


def test_evaluate__several_episodes_are_one_row_and_no_program_table(dojo: Dojo) -> None:
    done = dojo("evaluate", "--agent", "random", "--episodes", 3, "--programs", URI, "--set", "budget=4")
    assert "[" in table_row(done.out, "random policy (mean of 3)")[1]
    assert "graphs/union_find " not in done.out


def test_evaluate__takes_the_run_folder_its_policy_and_its_sequence(dojo: Dojo, debug_run: Run) -> None:
    paths = {
        debug_run.folder: "debug-run",
        debug_run.folder / "agent": "agent",
        debug_run.folder / "sequence.json": "best single sequence",
    }
    found = {}
    for path, name in paths.items():
        values = json.loads(dojo("evaluate", "--agent", path, "--programs", URI, "--json").out)
        assert values["rows"][0]["name"] == name
        found[path.name] = values["records"][0]["passes"]
    assert found["debug-run"] == found["agent"]
    assert len(found["agent"]) == 45
    assert found["sequence.json"] == json.loads((debug_run.folder / "sequence.json").read_text())["passes"]


def test_evaluate__stochastic_draws_other_actions(dojo: Dojo, debug_run: Run) -> None:
    arguments = ["evaluate", "--agent", debug_run.folder, "--programs", URI, "--json"]
    first, drawn = (json.loads(dojo(*arguments, *more).out) for more in ([], ["--stochastic"]))
    assert first["records"][0]["passes"] != drawn["records"][0]["passes"]


def test_evaluate__out_holds_the_records_and_the_manifest(dojo: Dojo, tmp_path: Path) -> None:
    out = tmp_path / "some" / "folder"
    arguments = ["evaluate", "--agent", "random", "--programs", URI, "--seed", 4, "--out", out]
    done = dojo(*arguments, "--json")
    assert done.status == 0
    records = list(read_records(out / "records.jsonl"))
    values = json.loads(done.out)
    assert [json.loads(json.dumps(dataclasses.asdict(record))) for record in records] == values["records"]
    assert json.loads(json.dumps(rows_as_mappings(rows_of(records)))) == values["rows"]
    config = json.loads((out / "manifest.json").read_text())["config"]
    assert (config["agent"], config["programs"], config["seed"]) == ("random", URI, 4)
    assert config["env"]["budget"] == 45


def test_evaluate__out_refuses_a_folder_with_records(dojo: Dojo, tmp_path: Path) -> None:
    arguments = ["evaluate", "--agent", "-Oz", "--programs", URI, "--out", tmp_path / "out"]
    assert dojo(*arguments).status == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    done = dojo(*arguments)
    assert done.status == 1
    assert " ".join(done.err.split()).endswith("exists: give another --out")
    assert done.err.startswith("InvalidConfigError: ")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


@pytest.fixture
def records_folder(dojo: Dojo, tmp_path: Path) -> Path:
    out = tmp_path / "run"
    arguments = ["--programs", URI, "--out", out, "--set", "budget=10", "--episodes", 3]
    assert dojo("evaluate", "--agent", "random", *arguments).status == 0
    return out


def test_validate__a_good_run_passes(dojo: Dojo, records_folder: Path) -> None:
    sanitized = sum(finding.subject == "sanitizers" and finding.found is not None for finding in examine())
    summary = (
        f"3 records replayed, 3 programs' outputs compared, 0 of {sanitized} sanitized programs with undefined "
        f"behaviour, 0 problems\nsandbox: {find_sandbox().kind}"
    )
    for path in (records_folder, records_folder / "records.jsonl"):
        done = dojo("validate", path)
        assert done.status == 0
        assert done.out.strip().endswith(summary)
    done = dojo("validate", records_folder, "--json")
    assert done.status == 0
    values = json.loads(done.out)
    assert values.keys() == {
        "records", "executed", "sandbox", "sanitized", "undefined_behaviour", "unsanitized", "problems"
    }  # fmt: skip
    assert (values["records"], values["executed"], values["sanitized"]) == (3, 3, sanitized)
    assert values["sandbox"] == find_sandbox().kind
    assert values["undefined_behaviour"] == values["problems"] == []
    assert len(values["unsanitized"]) == 1 - sanitized


def test_validate__a_tampered_run_fails_and_names_the_record(dojo: Dojo, records_folder: Path) -> None:
    path = records_folder / "records.jsonl"
    first, second, third = read_records(path)
    path.unlink()
    better = {**second.costs, "instruction_count": second.costs["instruction_count"] - 1.0}
    write_records(path, [first, dataclasses.replace(second, costs=better), third])
    done = dojo("validate", records_folder)
    assert done.status == 1
    assert f"{URI} (random policy (mean of 3)): replay gives costs" in done.out
    assert "3 records replayed, 2 programs' outputs compared, " in done.out
    assert ", 1 problems" in done.out
    done = dojo("validate", records_folder, "--json")
    assert done.status == 1
    values = json.loads(done.out)
    assert (values["records"], values["executed"]) == (3, 2)
    (problem,) = values["problems"]
    assert (problem["agent"], problem["program"]) == (second.agent, URI)
    assert problem["problem"].startswith("replay gives costs")


@pytest.mark.parametrize("text", ["[/red]", "[bold]"])
def test_validate__prints_problems_with_brackets_as_they_are(dojo: Dojo, records_folder: Path, text: str) -> None:
    path = records_folder / "records.jsonl"
    (first, *_) = read_records(path)
    path.unlink()
    write_records(path, [dataclasses.replace(first, error=f"Wrong: {text}")])
    done = dojo("validate", records_folder)
    assert done.status == 1
    assert f"the episode itself failed: Wrong: {text}" in done.out


MISTAKES = [
    (["evaluate", "--agent", "randm"], "UnknownAgentError: no agent 'randm': "),
    (["evaluate", "--agent", "-Oz", "--programs", "bundled/tests"], "UnknownProgramError: no bundled program or set"),
    (["evaluate", "--agent", "random", "--set", "budgett=3"], "InvalidConfigError: unknown setting 'budgett': did"),
    (["evaluate", "--agent", "random", "--set", "passes=sizes"], "UnknownPassError: unknown pass set 'sizes': did you"),
    (["train", "--preset", "debugs", "--out", "run"], "InvalidConfigError: no preset 'debugs': did you mean 'debug'"),
    (["train", "--preset", "debug", "--out", "run", "--set", "stps=1"], "InvalidConfigError: unknown setting 'stps'"),
    (["train", "--preset", "absent.yaml", "--out", "run"], "InvalidConfigError: cannot read the preset absent.yaml"),
    (["programs", "list", "absent.c"], "UnknownProgramError: no program matches 'absent.c'"),
    (["validate", "absent"], "InvalidRecordError: no records at absent: "),
]


@pytest.mark.parametrize(("arguments", "message"), MISTAKES, ids=lambda value: value[:30] if len(value) > 9 else "")
def test_mistake__is_a_class_and_a_message_on_stderr_and_status_1(
    dojo: Dojo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = dojo(*arguments)
    assert done.status == 1
    assert done.out == ""
    assert " ".join(done.err.split()).startswith(message)
    assert "Traceback" not in done.err
    # a mistake leaves nothing behind
    assert list(tmp_path.iterdir()) == []


def test_mistake__reaches_the_shell_as_status_1_without_a_traceback() -> None:
    done = run_dojo("validate", "absent")
    assert (done.status, done.out) == (1, "")
    assert done.err == "InvalidRecordError: no records at absent: give a run folder or a records.jsonl file\n"


def test_mistake__without_libllvm_says_how_to_get_it() -> None:
    done = run_dojo("programs", "list", URI, DOJO_LIBLLVM="/nonexistent", COLUMNS="1000")
    assert (done.status, done.out) == (1, "")
    assert done.err.strip().startswith("NativeLibraryError: cannot use libLLVM: /nonexistent: cannot open shared")
    assert "apt-get install libllvm19" in done.err
    assert "Traceback" not in done.err


def test_mistake__is_one_line_however_long(dojo: Dojo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    done = dojo("evaluate", "--agent", "randm")
    assert done.err.count("\n") == 1


@pytest.mark.parametrize("setting", ["learner.gama=0.9", "test_programs=bundled/tests"])
def test_train__a_mistake_in_the_settings_leaves_no_folder(tmp_path: Path, setting: str) -> None:
    small = [f"train_programs={URI}", "steps=2", "sequence_seconds=0.1", setting]
    settings = [item for setting in small for item in ("--set", setting)]
    done = run_dojo("train", "--preset", "debug", *settings, "--out", tmp_path / "run")
    assert done.status == 1
    assert "Traceback" not in done.err
    assert not (tmp_path / "run").exists()
