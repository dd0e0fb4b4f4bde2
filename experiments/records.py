"""What an evaluation leaves behind: one record per episode, and a manifest of the circumstances."""

from __future__ import annotations

import dataclasses
import datetime
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compiler_dojo.envs.errors import InvalidConfigError, InvalidRecordError
from compiler_dojo.envs.llvm.library import load_library
from compiler_dojo.envs.llvm.passes import TABLE_VERSION
from compiler_dojo.experiments.config import from_mapping

RECORDS, MANIFEST = "records.jsonl", "manifest.json"


@dataclass(frozen=True)
class EpisodeRecord:
    """An episode that can be replayed.

    Attributes:
        agent: who acted.
        program: URI.
        sha256: hash of the program's unoptimised module.
        lowering: how the module was made from source.
        start: optimisation level the episode started from.
        seed: of the episode.
        passes: names of the passes run, in order.
        costs: instruction count and text size (bytes of .text) at the end, by metric.
        baselines: the same at O0, Oz and O3, by metric and level.
        best_count: smallest instruction count on the way.
        best_length: passes run when it was first reached.
        hash: structural hash of the final module.
        start_passes: passes of LLVM's own pipeline behind ``start``, not part of ``passes``.
        seconds: wall-clock time of the episode.
        error: what ended it, or None.
    """

    agent: str
    program: str
    sha256: str
    lowering: str
    start: str
    seed: int
    passes: tuple[str, ...]
    costs: Mapping[str, float]
    baselines: Mapping[str, Mapping[str, float]]
    best_count: float
    best_length: int
    hash: str
    start_passes: int
    seconds: float
    error: str | None = None

    def ratio(self, metric: str = "instruction_count", level: str = "Oz") -> float:
        """The baseline's cost divided by the episode's: above 1 the agent is better."""
        return self.baselines[metric][level] / self.costs[metric]


def write_records(path: Path, records: Iterable[EpisodeRecord]) -> None:
    """Append records, one JSON object a line."""
    with path.open("a") as file:
        for record in records:
            file.write(json.dumps(dataclasses.asdict(record)) + "\n")


def drop_torn_line(path: Path) -> None:
    """Remove the beginning of a line that an interrupted write left at the end."""
    if path.exists():
        content = path.read_bytes()
        if not content.endswith(b"\n"):
            path.write_bytes(content[: content.rfind(b"\n") + 1])


def read_records(path: Path) -> Iterator[EpisodeRecord]:
    """Read what :func:`write_records` wrote.

    Raises:
        InvalidRecordError: no such file, or a line that is not a record; the message names the line.
    """
    names = {field.name for field in dataclasses.fields(EpisodeRecord)}
    if not path.is_file():
        raise InvalidRecordError(f"no records at {path}: give a run folder or a {RECORDS} file")
    with path.open(errors="replace") as file:
        for number, line in enumerate(file, 1):
            try:
                values = json.loads(line)
            except json.JSONDecodeError as error:
                raise InvalidRecordError(f"{path}:{number} is not JSON: {error}") from error
            if not isinstance(values, dict) or set(values) != names:
                raise InvalidRecordError(f"{path}:{number} is not an episode record")
            try:
                yield from_mapping(EpisodeRecord, values)
            except InvalidConfigError as error:
                raise InvalidRecordError(f"{path}:{number} is not an episode record: {error}") from error


def make_manifest(config: Mapping[str, Any]) -> dict[str, Any]:
    """The circumstances of a run: command, commit, versions, machine, configuration."""
    library = load_library()
    packages = ("compiler-dojo", "gymnasium", "numpy", "stable-baselines3", "torch")
    return {
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "commit": _commit(),
        "llvm": ".".join(map(str, library.version)),
        "libllvm": library.path,
        "pass_table": TABLE_VERSION,
        "python": platform.python_version(),
        "packages": {name: version for name in packages if (version := _version(name))},
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "config": dict(config),
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The commit of the source tree this runs from, with ``+`` when it has uncommitted changes."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(Path(__file__).resolve().parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")
