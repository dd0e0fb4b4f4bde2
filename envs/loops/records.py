"""Results that outlive a process: a file of JSON lines that is only ever appended to."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from compiler_dojo.envs.errors import InvalidRecordError


class RecordFile:
    """A map from texts to JSON values, kept in a file or only in memory. The last value of a key counts.

    Several processes may write one file; each sees what was there when it opened it and what it adds itself. A line
    that a killed process left unfinished is passed over, and the next one starts anew.

    Args:
        path: of the file, which need not exist; None for memory alone.

    Attributes:
        unfinished: how many lines of the file were passed over.

    Raises:
        InvalidRecordError: the file holds complete lines that are no records.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.unfinished = 0
        self._values: dict[str, Any] = {}
        if path is not None and path.exists():
            self._read(path)

    def _read(self, path: Path) -> None:
        for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
            if not line:
                continue
            try:
                record = json.loads(line)
            except ValueError:  # of bytes that are no UTF-8, too
                self.unfinished += 1
                continue
            if not (isinstance(record, dict) and isinstance(record.get("key"), str) and "value" in record):
                raise InvalidRecordError(f"{path}:{number} is no record with a key and a value: remove the file")
            self._values[record["key"]] = record["value"]

    def get(self, key: str) -> Any:
        """The value of a key, or None."""
        return self._values.get(key)

    def put(self, key: str, value: Any) -> None:
        """Keep a value, in memory and at the end of the file."""
        self._values[key] = value
        if self.path is None:
            return
        line = json.dumps({"key": key, "value": value}).encode() + b"\n"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        with contextlib.closing(os.fdopen(file, "rb+", buffering=0)) as stream:
            size = os.fstat(file).st_size
            if size and os.pread(file, 1, size - 1) != b"\n":
                line = b"\n" + line
            stream.write(line)  # one write: lines of several processes do not mix

    def __len__(self) -> int:
        return len(self._values)
