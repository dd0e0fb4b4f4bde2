"""Nests that were found by measuring, kept on disk by workload and CPU."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import warnings
from pathlib import Path
from typing import Any

from compiler_dojo.envs.errors import InvalidRecordError
from compiler_dojo.envs.llvm.library import load_library
from compiler_dojo.envs.llvm.once import once
from compiler_dojo.envs.loops.measure import cpu_model
from compiler_dojo.envs.loops.nest_files import nest_from_json, nest_to_json
from compiler_dojo.envs.loops.targets import Target
from compiler_dojo.envs.loops.team import Timing
from compiler_dojo.envs.loops.tuning import Tuning
from compiler_dojo.envs.loops.workload import Workload
from compiler_dojo.envs.programs.folders import cache_folder

_GENERATOR = ("codegen.py", "emitter.py", "heuristics.py", "memory.py", "packing.py", "tile.py", "tuning.py")


class KernelCache:
    """Tunings by what they depend on: workload, target, CPU, LLVM, threads, schedule, and the code generator's sources.

    Each is a file of JSON that is replaced as a whole, so that processes can share the folder. A file that is damaged
    counts as missing, with a warning, and is written anew.

    Args:
        folder: by default ``loops/kernels`` in the user's cache folder.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder if folder is not None else cache_folder("loops") / "kernels"

    def get(self, workload: Workload, target: Target, threads: int, schedule: str, seconds: float) -> Tuning | None:
        """The tuning that was put under these, if it had as many seconds at least; else None."""
        key = _key(workload, target, threads, schedule)
        path = self._path(key)
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            _warn(path, error)
            return None
        try:
            value = json.loads(text)
            if value["key"] != key:
                raise InvalidRecordError("it is of another kernel")
            if float(value["budget"]) < seconds:
                return None
            tuning = _tuning_from_json(value)
            if tuning.nest.workload != workload:
                raise InvalidRecordError("its nest is of another workload")
        except (LookupError, TypeError, ValueError, InvalidRecordError) as error:
            _warn(path, error)
            return None
        return tuning

    def put(
        self, workload: Workload, target: Target, threads: int, schedule: str, seconds: float, tuning: Tuning
    ) -> None:
        """Keep a tuning that had so many seconds; a folder that cannot be written is a warning."""
        key = _key(workload, target, threads, schedule)
        path = self._path(key)
        text = json.dumps({"key": key, "budget": seconds, **_tuning_to_json(tuning)}, indent=1) + "\n"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self.folder, prefix=".partial-")
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    file.write(text)
                os.replace(name, path)
            except BaseException:
                os.unlink(name)
                raise
        except OSError as error:
            warnings.warn(
                f"the tuned kernel is not kept: {error}; set DOJO_CACHE to a folder that can be written", stacklevel=2
            )

    def _path(self, key: dict[str, Any]) -> Path:
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        return self.folder / f"{digest[:32]}.json"


def _warn(path: Path, error: Exception) -> None:
    warnings.warn(f"{path} is damaged and will be written anew: {error}", stacklevel=4)


def _key(workload: Workload, target: Target, threads: int, schedule: str) -> dict[str, Any]:
    return {
        "workload": str(workload),
        "target": target.name,
        "cpu": cpu_model(),
        "llvm": ".".join(map(str, load_library().version)),
        "threads": threads,
        "schedule": schedule,
        "generator": generator_version(),
    }


@once
def generator_version() -> str:
    """Short hash of the sources that decide what a nest is compiled to and which nests are tried."""
    digest = hashlib.sha256()
    for name in _GENERATOR:
        digest.update(Path(__file__).with_name(name).read_bytes())
    return digest.hexdigest()[:16]


def _tuning_to_json(tuning: Tuning) -> dict[str, Any]:
    return {
        "nest": nest_to_json(tuning.nest),
        "timing": tuning.timing._asdict(),
        "start": tuning.start and tuning.start._asdict(),
        "measurements": tuning.measurements,
        "seconds": tuning.seconds,
    }


def _tuning_from_json(value: Any) -> Tuning:
    start = value["start"]
    return Tuning(
        nest_from_json(value["nest"]),
        _timing(value["timing"]),
        int(value["measurements"]),
        float(value["seconds"]),
        None if start is None else _timing(start),
    )


def _timing(value: Any) -> Timing:
    timing = Timing(**value)
    if not timing.best_seconds > 0:
        raise InvalidRecordError("a timing that is not positive")
    return timing
