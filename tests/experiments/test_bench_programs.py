"""The benchmark of stored programs reads all that it stores; how fast that is depends on the machine."""

from __future__ import annotations

import json
from pathlib import Path

from experiments_support import Dojo


def test_bench_programs__says_how_fast_a_set_is_read_and_leaves_nothing(dojo: Dojo, tmp_path: Path) -> None:
    done = dojo("bench", "programs", "--count", 40, "--folder", tmp_path, "--json")
    assert done.status == 0
    speed = json.loads(done.out)
    assert speed["programs"] == 40
    assert speed["stored_bytes"] > 1000
    assert all(value > 0.0 for value in speed.values())
    assert list(tmp_path.iterdir()) == []
    text = dojo("bench", "programs", "--count", 4).out
    assert text.startswith("4 programs of ")
    assert "programs/s shuffled" in text
