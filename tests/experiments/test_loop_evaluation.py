"""Measured comparisons of agents that schedule loops: records, replays, means and tables."""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from experiments_support import Dojo
from loop_support import FAST, FULL, LOOPTUNE, OTHER, TARGET, WORKLOAD, save_policy
from rich.console import Console

from compiler_dojo.envs.errors import InvalidConfigError, InvalidRecordError
from compiler_dojo.experiments.loop_agents import policy_agent, script_agent, search_agent
from compiler_dojo.experiments.loop_evaluation import (
    LoopRecord,
    evaluate,
    read_loop_records,
    replay,
    rows_of,
    summary_table,
    workload_table,
    write_loop_records,
)


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[LoopRecord]:
    folder = save_policy(tmp_path_factory.mktemp("policy"), FULL, "tile_4x2", "swap_down", "stop")
    contenders = [policy_agent("mine", folder), script_agent(TARGET), search_agent("random", LOOPTUNE, None, 3)]
    return [record for group in evaluate(contenders, [WORKLOAD, OTHER], TARGET, FAST, 5) for record in group]


def make(**changes: Any) -> LoopRecord:
    values: dict[str, Any] = {
        "agent": "mine",
        "workload": str(WORKLOAD),
        "env": LOOPTUNE,
        "seed": 0,
        "actions": (),
        "nest": "",
        "start_gflops": 10.0,
        "gflops": 20.0,
        "start_median": 9.0,
        "median": 18.0,
        "peak": 80.0,
        "seconds": 0.5,
        "measurements": 20,
    }
    return LoopRecord(**{**values, **changes})


def test_evaluate__makes_a_record_per_agent_and_workload(records: list[LoopRecord]) -> None:
    names = ["mine", "script", "random, 3 measured"]
    assert [(record.agent, record.workload) for record in records] == [
        (name, str(workload)) for workload in (WORKLOAD, OTHER) for name in names
    ]
    for record in records:
        assert not record.error
        assert record.seed == 5
        assert 0 < record.median <= record.gflops
        assert 0 < record.start_median <= record.start_gflops
        assert record.seconds > 0
        assert record.ratio == record.gflops / record.start_gflops
    assert [record.measurements for record in records] == [0, 0, 3] * 2
    assert records[0].actions == ("tile_4x2", "swap_down", "stop")


def test_evaluate__measures_the_start_nest_once_per_workload(records: list[LoopRecord]) -> None:
    for group in (records[:3], records[3:]):
        assert len({record.start_gflops for record in group}) == 1


def test_replay__makes_the_recorded_nests_again(records: list[LoopRecord]) -> None:
    for record in records:
        assert str(replay(record)) == record.nest


def test_replay__notices_another_nest(records: list[LoopRecord]) -> None:
    with pytest.raises(InvalidRecordError, match=r"the actions of mine for mk,kn->mn m=32 .* make another nest"):
        replay(dataclasses.replace(records[0], actions=("tile_4x2",)))


def test_records__are_read_as_they_were_written(records: list[LoopRecord], tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    write_loop_records(path, records[:2])
    write_loop_records(path, records[2:])
    assert list(read_loop_records(path)) == records


@pytest.mark.parametrize("line", ["{", "[]", "{}", '{"agent": 3}'])
def test_records__that_are_none_are_named_by_their_line(records: list[LoopRecord], tmp_path: Path, line: str) -> None:
    path = tmp_path / "records.jsonl"
    write_loop_records(path, records[:1])
    with path.open("a") as file:
        file.write(line + "\n")
    with pytest.raises(InvalidRecordError, match=r"records\.jsonl:2 is not a record of loop nests"):
        list(read_loop_records(path))


def test_evaluate__refuses_equal_names_and_other_targets() -> None:
    with pytest.raises(InvalidConfigError, match="agents are told apart by their names, got start, script, script"):
        next(evaluate([script_agent(TARGET)] * 2, [WORKLOAD], TARGET, FAST))
    with pytest.raises(InvalidConfigError, match="script acts for generic and is compared on x86-64-v3"):
        next(evaluate([script_agent("generic")], [WORKLOAD], TARGET, FAST))


def test_rows__are_geomeans_over_workloads() -> None:
    other = make(workload=str(OTHER), gflops=80.0, seconds=0.1, measurements=10)
    (row,) = rows_of([make(), other])
    assert row.ratio is not None
    assert row.share is not None
    assert row.ratio.mean == pytest.approx(4.0)
    assert row.share.mean == pytest.approx(0.5)
    assert row.gflops == pytest.approx(40.0)
    assert (row.workloads, row.failures, row.measurements) == (2, 0, 15.0)
    assert row.seconds == pytest.approx(0.3)


def test_rows__count_failures_apart() -> None:
    failed = make(workload=str(OTHER), gflops=0.0, start_gflops=0.0, error="IllegalScheduleError: too many registers")
    (row,) = rows_of([make(), failed])
    assert row.ratio is not None
    assert (row.workloads, row.failures, row.ratio.mean) == (1, 1, pytest.approx(2.0))
    (row,) = rows_of([failed])
    assert (row.ratio, row.share, row.failures) == (None, None, 1)


def test_tables__show_agents_and_failures() -> None:
    failed = make(agent="other", gflops=0.0, start_gflops=0.0, error="IllegalScheduleError: no tile")
    console = Console(width=200, record=True, quiet=False, file=Path("/dev/null").open("w"))  # noqa: SIM115  # closed below
    console.print(workload_table([make(), failed]))
    console.print(summary_table(rows_of([make(), failed]), "two", [make(), failed]))
    console.file.close()
    text = console.export_text()
    assert "IllegalScheduleError: no tile" in text
    assert "2.00 [2.00, 2.00]" in text
    assert "start nest 10.0 GFLOP/s, peak 80.0 (x86-64-v3)" in text


def test_command__prints_json_and_leaves_records(dojo: Dojo, tmp_path: Path) -> None:
    folder = save_policy(tmp_path / "policy", FULL, "tile_4x2", "stop")
    out = tmp_path / "out"
    arguments = ["--agent", folder, "--agent", "random", "--measurements", 2, "--workloads", "mk,kn->mn m=16 k=16 n=16"]
    done = dojo("evaluate-loops", *arguments, "--target", TARGET, "--out", out, "--json")
    assert done.status == 0, done.err
    values = json.loads(done.out)
    assert [row["agent"] for row in values["rows"]] == ["policy", "random, 2 measured"]
    assert all(math.isfinite(row["ratio"]["mean"]) for row in values["rows"])
    assert values["target"] == TARGET
    found = list(read_loop_records(out / "records.jsonl"))
    assert [json.loads(json.dumps(dataclasses.asdict(record))) for record in found] == values["records"]
    assert json.loads((out / "manifest.json").read_text())["config"]["workloads"] == "mk,kn->mn m=16 k=16 n=16"
    again = dojo("evaluate-loops", *arguments, "--out", out)
    assert again.status == 1
    assert "exists: give another --out" in " ".join(again.err.split())


def test_command__prints_a_table(dojo: Dojo) -> None:
    done = dojo("evaluate-loops", "--agent", "script", "--workloads", "mk,kn->mn m=16 k=16 n=16")
    assert done.status == 0, done.err
    assert "share of peak" in done.out
    assert "script" in done.out


def test_policies__act_without_stable_baselines(tmp_path: Path) -> None:
    folder = save_policy(tmp_path, FULL, "tile_4x2", "stop")
    script = f"""
import sys
sys.modules["stable_baselines3"] = sys.modules["sb3_contrib"] = None
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from loop_support import WORKLOAD
from compiler_dojo.experiments.loop_agents import policy_agent
from compiler_dojo.experiments.loop_evaluation import choose
print(choose(policy_agent("mine", Path({str(folder)!r})), WORKLOAD, 0).actions)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("('tile_4x2', 'stop')\n", "")
