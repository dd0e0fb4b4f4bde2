"""Records on disk: what is written is read, and what is not a record is named."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import yaml
from experiments_support import MakeRecord

from compiler_dojo.envs.errors import InvalidRecordError
from compiler_dojo.envs.llvm.library import load_library
from compiler_dojo.envs.llvm.passes import TABLE_VERSION
from compiler_dojo.experiments.records import make_manifest, read_records, write_records


def test_records__are_read_as_they_were_written(tmp_path: Path, make_record: MakeRecord) -> None:
    records = [make_record(), make_record(passes=(), error="PassFailedError: no", seconds=0.1 + 0.2)]
    write_records(tmp_path / "r.jsonl", records)
    assert list(read_records(tmp_path / "r.jsonl")) == records


def test_write_records__appends_one_json_object_a_line(tmp_path: Path, make_record: MakeRecord) -> None:
    path = tmp_path / "r.jsonl"
    for seed in range(3):
        write_records(path, [make_record(seed=seed)])
    lines = path.read_text().splitlines()
    assert [json.loads(line)["seed"] for line in lines] == [0, 1, 2]
    assert set(json.loads(lines[0])) == {field.name for field in dataclasses.fields(make_record())}


def test_read_records__of_an_empty_file_are_none(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").touch()
    assert list(read_records(tmp_path / "r.jsonl")) == []


def test_read_records__a_missing_file_is_named(tmp_path: Path) -> None:
    message = r"no records at .*absent\.jsonl: give a run folder or a records\.jsonl file"
    with pytest.raises(InvalidRecordError, match=message):
        list(read_records(tmp_path / "absent.jsonl"))


def write_lines(path: Path, record: object, line: str) -> None:
    good = json.dumps(dataclasses.asdict(record))  # type: ignore[call-overload]  # a record
    path.write_text(f"{good}\n{good}\n{line}\n{good}\n")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"agent": ', r"r\.jsonl:3 is not JSON: Expecting value"),
        ("nonsense", r"r\.jsonl:3 is not JSON: Expecting value"),
        ("[]", r"r\.jsonl:3 is not an episode record"),
        ("null", r"r\.jsonl:3 is not an episode record"),
        ('{"agent": "someone"}', r"r\.jsonl:3 is not an episode record"),
    ],
)
def test_read_records__a_bad_line_is_named_by_its_number(
    tmp_path: Path, make_record: MakeRecord, line: str, message: str
) -> None:
    write_lines(tmp_path / "r.jsonl", make_record(), line)
    with pytest.raises(InvalidRecordError, match=message):
        list(read_records(tmp_path / "r.jsonl"))


def test_read_records__refuses_unknown_and_absent_fields(tmp_path: Path, make_record: MakeRecord) -> None:
    values = dataclasses.asdict(make_record())
    unknown = {**values, "reward": 1.0}
    absent = {name: value for name, value in values.items() if name != "error"}
    for wrong in (unknown, absent):
        write_lines(tmp_path / "r.jsonl", make_record(), json.dumps(wrong))
        with pytest.raises(InvalidRecordError, match=r"r\.jsonl:3 is not an episode record"):
            list(read_records(tmp_path / "r.jsonl"))


@pytest.mark.parametrize(
    "change", [{"passes": None}, {"passes": "dce"}, {"passes": [1]}, {"costs": None}, {"program": 3}, {"seconds": "1"}]
)
def test_read_records__refuses_values_of_another_type(
    tmp_path: Path, make_record: MakeRecord, change: dict[str, object]
) -> None:
    write_lines(tmp_path / "r.jsonl", make_record(), json.dumps({**dataclasses.asdict(make_record()), **change}))
    with pytest.raises(InvalidRecordError, match=r"r\.jsonl:3"):
        list(read_records(tmp_path / "r.jsonl"))


def test_ratio__is_the_baseline_over_the_cost(make_record: MakeRecord) -> None:
    record = make_record()
    assert record.ratio() == 80.0 / 100.0
    assert record.ratio("text_size") == 1.0
    assert record.ratio("text_size", "O0") == 700.0 / 400.0


def test_manifest__tells_the_circumstances_in_plain_values() -> None:
    manifest = make_manifest({"seed": 3})
    assert manifest["config"] == {"seed": 3}
    assert manifest["llvm"] == ".".join(map(str, load_library().version))
    assert manifest["libllvm"] == load_library().path
    assert manifest["pass_table"] == TABLE_VERSION
    assert manifest["cores"] >= 1
    assert {"gymnasium", "numpy"} <= set(manifest["packages"])
    assert {"command", "date", "commit", "python", "cpu"} <= set(manifest)
    assert json.loads(json.dumps(manifest)) == manifest
    assert yaml.safe_load(yaml.safe_dump(manifest)) == manifest
