"""What the tests of experiments share: running the command, and the types of their fixtures."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from compiler_dojo.experiments.records import EpisodeRecord


class Done(NamedTuple):
    """What a command did."""

    status: int
    out: str
    err: str


def run_dojo(*arguments: object, **environment: str) -> Done:
    """Run ``dojo`` in a process of its own."""
    command = [sys.executable, "-m", "compiler_dojo.experiments.cli", *map(str, arguments)]
    variables = {**os.environ, "COLUMNS": "200", **environment}
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    return Done(done.returncode, done.stdout, done.stderr)


def table_row(text: str, start: str) -> list[str]:
    """The cells of the first table line that begins with ``start``, whatever the table is drawn with."""
    line = next(line for line in text.splitlines() if line.lstrip(" │┃").startswith(start))
    return [cell.strip() for cell in re.split(r"[│┃]|\s{2,}", line) if cell.strip()]


class Run(NamedTuple):
    """A finished training run."""

    folder: Path
    done: Done


MakeRecord = Callable[..., EpisodeRecord]
Dojo = Callable[..., Done]
