"""Records made by hand, the command run in this process, and one real training run for all tests."""

from __future__ import annotations

import fcntl
import json
import os
import re
import sys
from typing import Any

import pytest
from experiments_support import Dojo, Done, MakeRecord, Run, run_dojo

from compiler_dojo.experiments import cli
from compiler_dojo.experiments.records import EpisodeRecord
from compiler_dojo.experiments.terminal import console


@pytest.fixture(scope="session")
def make_record() -> MakeRecord:
    """Builds a record in which the agent needs 100 instructions and 400 bytes where -Oz needs 80 and 400."""

    def make(**changes: Any) -> EpisodeRecord:
        values: dict[str, Any] = {
            "agent": "someone",
            "program": "bundled://graphs/union_find",
            "sha256": "0" * 64,
            "lowering": "oz",
            "start": "O0",
            "seed": 0,
            "passes": ("sroa", "dce"),
            "costs": {"instruction_count": 100.0, "text_size": 400.0},
            "baselines": {
                "instruction_count": {"O0": 133.0, "Oz": 80.0, "O3": 90.0},
                "text_size": {"O0": 700.0, "Oz": 400.0, "O3": 500.0},
            },
            "best_count": 99.0,
            "best_length": 1,
            "hash": "0" * 32,
            "start_passes": 0,
            "seconds": 0.25,
        }
        return EpisodeRecord(**{**values, **changes})

    return make


@pytest.fixture
def dojo(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Dojo:
    """Runs ``dojo`` in this process, as the installed command does, with room for wide tables."""
    # the command's own console has the width that the terminal had when the module was imported
    monkeypatch.setattr(console, "width", 200)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["dojo", *map(str, arguments)])
        capsys.readouterr()
        status = 0
        try:
            cli.main()
        except SystemExit as end:
            status = int(end.code or 0)
        out, err = capsys.readouterr()
        return Done(status, re.sub(r"\x1b\[[\d;]*m", "", out), re.sub(r"\x1b\[[\d;]*m", "", err))

    return run


@pytest.fixture(scope="session")
def debug_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """``dojo train --preset debug``, once for all test processes; not to be changed."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    folder, story = base / "debug-run", base / "debug-run.json"
    with (base / "debug-run.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not story.exists():
            done = run_dojo("train", "--preset", "debug", "--out", folder)
            story.write_text(json.dumps(done))
    return Run(folder, Done(*json.loads(story.read_text())))
