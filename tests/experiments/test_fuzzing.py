"""Campaigns: planted faults are found and minimised, interrupted ones go on as if nothing had happened."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from experiments_support import Dojo, table_row

from compiler_dojo.envs.errors import InvalidConfigError
from compiler_dojo.envs.llvm.passes import PASSES, Pass, find_pass
from compiler_dojo.envs.llvm.reproducer import Reproducer
from compiler_dojo.envs.programs import Program
from compiler_dojo.experiments.fuzz_oracles import Difference
from compiler_dojo.experiments.fuzz_report import summary
from compiler_dojo.experiments.fuzzing import CRASHES, FINDINGS, STATE, Campaign, FuzzConfig, FuzzState

CRASH = Pass("trigger-crash-function", "function")
BREAKS_LOOPS = Pass("unify-loop-exits", "function")
HUFFMAN = "bundled://compression/canonical_huffman"
SMALL = "bundled://graphs/union_find"
FEW = (*PASSES[:3], find_pass("dse"), find_pass("sroa"), find_pass("gvn"))
QUICK = FuzzConfig(
    steps=120, seed=3, programs=SMALL, random_programs=False, shares={}, minimise_seconds=5.0, save_seconds=0.0
)


def changed(**changes: Any) -> FuzzConfig:
    return FuzzConfig(**{**QUICK.__dict__, **changes})


def finished(campaign: Campaign) -> FuzzState:
    return list(campaign.run())[-1]


def findings_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / FINDINGS).read_text().splitlines()]


def test_campaign__finds_a_planted_crash_minimises_it_and_goes_on(tmp_path: Path) -> None:
    state = finished(Campaign(QUICK, tmp_path, passes=[*FEW, CRASH]))
    findings = findings_of(tmp_path)
    assert state.steps >= QUICK.steps
    assert {(f["oracle"], f["pass"], f["kind"]) for f in findings} == {("crash", CRASH.name, "CompilerCrashedError")}
    assert findings[0]["step"] < state.steps - 20
    assert findings[0]["again"]
    assert findings[0]["minimal"] == [CRASH.pipeline]
    reproducer = Reproducer.load(tmp_path / findings[0]["reproducer"])
    assert (reproducer.failure, reproducer.pipelines) == ("CompilerCrashedError", [CRASH.pipeline])
    # the sessions' own reproducers do not pile up
    assert len(list((tmp_path / CRASHES).iterdir())) <= QUICK.minimised


def test_campaign__finds_a_planted_miscompilation(tmp_path: Path) -> None:
    config = changed(programs=HUFFMAN, shares={"output": 1.0}, output_time=1.0, steps=100)
    campaign = Campaign(config, tmp_path, passes=[*FEW, BREAKS_LOOPS])
    finished(campaign)
    findings = findings_of(tmp_path)
    assert {finding["pass"] for finding in findings} == {BREAKS_LOOPS.name}
    assert any(finding["oracle"] == "output" for finding in findings)
    rows = summary(campaign)["findings"]
    assert sum(row["found"] for row in rows) == len(findings)


def test_campaign__finds_nothing_where_nothing_is_wrong(tmp_path: Path) -> None:
    shares = dict.fromkeys(("recount", "restart", "replay", "cached", "in-process"), 1.0)
    state = finished(Campaign(changed(shares=shares), tmp_path, passes=FEW))
    assert findings_of(tmp_path) == []
    assert state.checks == dict.fromkeys(shares, state.pairs)


class NeedsTwo:
    """Finds fault with every list in which dse comes somewhere before gvn."""

    name = "needs-two"
    both = (find_pass("dse").pipeline, find_pass("gvn").pipeline)

    def arrange(self, pipelines: Sequence[str], rng: np.random.Generator) -> list[str]:
        return list(pipelines)

    def difference(self, program: Program, items: Sequence[str], expected: object = None) -> Difference | None:
        dse, gvn = self.both
        for step, item in enumerate(items, 1):
            if item == gvn and dse in items[: step - 1]:
                return Difference(step, "planted", "dse, then gvn")
        return None


def test_campaign__minimises_to_the_passes_that_are_needed(tmp_path: Path) -> None:
    campaign = Campaign(changed(shares={"needs-two": 1.0}), tmp_path, passes=FEW)
    campaign.oracles.append(NeedsTwo())
    finished(campaign)
    findings = findings_of(tmp_path)
    assert findings[0]["minimal"] == list(NeedsTwo.both)
    assert [("minimal" in finding) for finding in findings] == [n < QUICK.minimised for n in range(len(findings))]


def test_campaign__keeps_pairs_that_reach_something_new_only(tmp_path: Path) -> None:
    campaign = Campaign(QUICK, tmp_path, passes=FEW)
    state = finished(campaign)
    assert 0 < len(campaign.corpus) < state.pairs
    entries = campaign.corpus.journal.read()
    assert all(entry["buckets"] for entry in entries)
    seen = [tuple(bucket) for entry in entries for bucket in entry["buckets"]]
    assert len(seen) == len(set(seen)) == len(campaign.corpus.covered)


KILL_AFTER = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {folder!r})
from test_fuzzing import CRASH, FEW, QUICK
from compiler_dojo.experiments.fuzzing import Campaign
for state in Campaign(QUICK, Path(sys.argv[1]), passes=[*FEW, CRASH]).run():
    if state.pairs == 5:
        with (Path(sys.argv[1]) / "corpus.jsonl").open("a") as file:
            file.write('{{"torn')
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_campaign__killed_and_resumed_is_the_same_as_never_interrupted(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    finished(Campaign(QUICK, whole, passes=[*FEW, CRASH]))
    script = KILL_AFTER.format(folder=str(Path(__file__).parent))
    done = subprocess.run([sys.executable, "-c", script, parts], check=False, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    resumed = Campaign(QUICK, parts, resume=True, passes=[*FEW, CRASH])
    assert resumed.state.pairs == 5
    finished(resumed)
    assert (parts / "corpus.jsonl").read_bytes() == (whole / "corpus.jsonl").read_bytes()
    assert [f["items"] for f in findings_of(parts)] == [f["items"] for f in findings_of(whole)]


def test_resume__takes_more_steps_but_no_other_settings(tmp_path: Path) -> None:
    finished(Campaign(changed(steps=20), tmp_path, passes=FEW))
    assert finished(Campaign(changed(steps=40), tmp_path, resume=True, passes=FEW)).steps >= 40
    with pytest.raises(InvalidConfigError, match="has other settings: programs, seed"):
        Campaign(changed(seed=4, programs=HUFFMAN), tmp_path, resume=True)
    with pytest.raises(InvalidConfigError, match="holds a campaign: go on with it with --resume"):
        Campaign(QUICK, tmp_path)


@pytest.mark.parametrize("damage", [lambda path: None, lambda path: path.write_text("{")])
def test_resume__without_a_campaign_is_an_error(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    damage(tmp_path / STATE)
    with pytest.raises(InvalidConfigError, match="holds no campaign to resume"):
        Campaign(QUICK, tmp_path, resume=True)


def test_campaign__without_a_program_that_is_small_enough_ends(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfigError, match=r"draws from .*union_find in a row gave no program"):
        finished(Campaign(changed(instructions=10), tmp_path, passes=FEW))


def test_fuzz__table_and_json_have_the_same_numbers(dojo: Dojo, tmp_path: Path) -> None:
    arguments = ["fuzz", "--steps", 60, "--programs", SMALL, "--no-random-programs", "--out", tmp_path / "out"]
    table = dojo(*arguments)
    assert table.status == 0, table.err
    as_json = dojo(*arguments, "--resume", "--json")
    values = json.loads(as_json.out)
    cells = [str(values[key]) for key in ("steps", "pairs", "kept", "buckets")]
    assert table_row(table.out, cells[0])[:5] == [*cells, "0"]
    assert table_row(table.out, "verifier")[1:] == [str(values["pairs"]), "0"]
    again = dojo(*arguments)
    assert again.status == 1
    assert "--resume" in again.err


def test_campaign__does_not_touch_the_users_reproducers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOJO_CRASHES", str(tmp_path / "users"))
    finished(Campaign(changed(steps=40), tmp_path / "out", passes=[FEW[0], CRASH]))
    assert os.environ["DOJO_CRASHES"] == str(tmp_path / "users")
    assert not (tmp_path / "users").exists()
