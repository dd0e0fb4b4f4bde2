"""Files of JSON lines: what is put is found again, also after a process was killed while it wrote."""

from pathlib import Path

import pytest

from compiler_dojo.envs.errors import InvalidRecordError
from compiler_dojo.envs.loops.records import RecordFile


def test_records__are_kept_in_memory_without_a_file() -> None:
    records = RecordFile()
    records.put("a", [1, 2.5])
    assert records.get("a") == [1, 2.5]
    assert records.get("b") is None
    assert len(records) == 1


def test_records__outlive_the_object_and_the_last_value_counts(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "records.jsonl"
    records = RecordFile(path)
    for value in (1, 2):
        records.put("a", value)
    records.put("b", None)
    again = RecordFile(path)
    assert (again.get("a"), len(again), again.unfinished) == (2, 2, 0)


@pytest.mark.parametrize("kept", range(1, 26))
def test_records__survive_a_line_that_was_cut_anywhere(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "records.jsonl"
    RecordFile(path).put("a", 1)
    complete = path.read_bytes()
    RecordFile(path).put("b\N{SNOWMAN}", 22)
    path.write_bytes(path.read_bytes()[: len(complete) + kept])
    cut = RecordFile(path)
    assert cut.unfinished == 1
    assert (cut.get("a"), len(cut)) == (1, 1)
    cut.put("c", 3)
    again = RecordFile(path)
    assert (again.get("a"), again.get("c"), len(again)) == (1, 3, 2)


def test_records__of_two_writers_come_together(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    one, two = RecordFile(path), RecordFile(path)
    for number in range(20):
        (one, two)[number % 2].put(str(number), number)
    assert len(RecordFile(path)) == 20


@pytest.mark.parametrize("line", ["[1]", '{"key": 1, "value": 2}', '{"key": "a"}', "3"])
def test_records__that_are_none_are_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text(f"\n{line}\n")
    with pytest.raises(InvalidRecordError, match=r"records.jsonl:2 is no record .* remove the file"):
        RecordFile(path)
