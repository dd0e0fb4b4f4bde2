"""The picture of a run is drawn from whatever the run left."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from experiments_support import MakeRecord

from compiler_dojo.experiments.records import write_records
from compiler_dojo.experiments.report import draw_run

FAILED = "PassFailedError: LLVM said no"
CURVE = "time/total_timesteps,rollout/ep_rew_mean\n64,\n128,0.25\n256,0.5\n"


def png_size(path: Path) -> tuple[int, int]:
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", data[16:24])
    return width, height


def write_run(folder: Path, make_record: MakeRecord) -> None:
    write_records(
        folder / "records.jsonl",
        [
            make_record(agent=agent, program=f"bundled://some/{program}", costs={**costs, "text_size": 400.0})
            for agent, costs in (
                ("ppo", {"instruction_count": 75.0}),
                ("random policy (mean of 10)", {"instruction_count": 300.0}),
                ("best single sequence", {"instruction_count": 85.0}),
            )
            for program in ("first", "second", "third")
        ],
    )


@pytest.mark.parametrize("with_curve", [True, False])
def test_draw_run__draws_with_and_without_a_learning_curve(
    tmp_path: Path, make_record: MakeRecord, with_curve: bool
) -> None:
    write_run(tmp_path, make_record)
    if with_curve:
        (tmp_path / "logs").mkdir()
        (tmp_path / "logs" / "progress.csv").write_text(CURVE)
    path = draw_run(tmp_path)
    assert path == tmp_path / "report.png"
    assert png_size(path) == (1870, 715)
    assert path.stat().st_size > 20_000


def test_draw_run__the_curve_is_in_the_picture(tmp_path: Path, make_record: MakeRecord) -> None:
    write_run(tmp_path, make_record)
    without = draw_run(tmp_path).read_bytes()
    assert draw_run(tmp_path).read_bytes() == without
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "progress.csv").write_text(CURVE)
    assert draw_run(tmp_path).read_bytes() != without


def test_draw_run__leaves_failed_episodes_out(tmp_path: Path, make_record: MakeRecord) -> None:
    write_run(tmp_path, make_record)
    write_records(tmp_path / "records.jsonl", [make_record(agent="ppo", program="bundled://some/fourth", error=FAILED)])
    assert png_size(draw_run(tmp_path)) == (1870, 715)


def test_draw_run__draws_a_single_program(tmp_path: Path, make_record: MakeRecord) -> None:
    baselines = {"instruction_count": {"O0": 900.0, "Oz": 388.0, "O3": 300.0}, "text_size": {"Oz": 400.0}}
    record = make_record(agent="ppo", baselines=baselines, costs={"instruction_count": 131.0, "text_size": 400.0})
    write_records(tmp_path / "records.jsonl", [record])
    draw_run(tmp_path)


def test_draw_run__skips_a_row_that_was_cut_short(tmp_path: Path, make_record: MakeRecord) -> None:
    write_run(tmp_path, make_record)
    (tmp_path / "logs").mkdir()
    curve = tmp_path / "logs" / "progress.csv"
    curve.write_text("rollout/ep_rew_mean,time/total_timesteps\n0.5,100\n0.6,200\n")
    whole = draw_run(tmp_path).read_bytes()
    curve.write_text("rollout/ep_rew_mean,time/total_timesteps\n0.5,100\n0.6,200\n0.7")
    assert draw_run(tmp_path).read_bytes() == whole
