"""Reproducers: folders with what is needed to see a compiler's crash or hang again."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from compiler_dojo.envs.errors import InvalidConfigError

FOLDER_VARIABLE = "DOJO_CRASHES"
PROGRAM, DESCRIPTION = "program.bc", "reproducer.json"


class Reproducer(NamedTuple):
    """A crash or hang, and how to get there.

    Attributes:
        program: LLVM bitcode or textual IR.
        pipelines: what was run on it, one after the other; the last one failed.
        failure: class of the error.
        message: its message.
        llvm: version of LLVM, such as ``19.1.7``.
        name: what the program is called.
        pass_seconds: the time limit that held.
    """

    program: bytes
    pipelines: Sequence[str]
    failure: str
    message: str
    llvm: str
    name: str
    pass_seconds: float

    def save(self, folder: Path | None = None) -> Path:
        """Write it into a folder named after its content, beside other crashes; returns that folder."""
        identity = hashlib.sha256(self.program + "\n".join(self.pipelines).encode()).hexdigest()[:16]
        target = (folder or crashes_folder()) / f"{self.failure}-{identity}"
        if target.exists():
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        description = {field: value for field, value in self._asdict().items() if field != "program"}
        unfinished = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=target.parent))
        try:
            (unfinished / PROGRAM).write_bytes(self.program)
            (unfinished / DESCRIPTION).write_text(json.dumps(description, indent=1) + "\n")
            unfinished.rename(target)
        except OSError:
            shutil.rmtree(unfinished, ignore_errors=True)
            if not target.exists():  # or else another process has written the same one
                raise
        return target

    @classmethod
    def load(cls, folder: Path) -> Reproducer:
        """Read one.

        Raises:
            InvalidConfigError: the folder holds none.
        """
        try:
            description = json.loads((folder / DESCRIPTION).read_text())
            return cls(program=(folder / PROGRAM).read_bytes(), **description)
        except (OSError, ValueError, TypeError) as error:
            raise InvalidConfigError(f"{folder} holds no reproducer: {error}") from error


def crashes_folder() -> Path:
    """Where reproducers are saved: $DOJO_CRASHES, or compiler-dojo/crashes in the user's folder for state."""
    chosen = os.environ.get(FOLDER_VARIABLE)
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "compiler-dojo" / "crashes"


@contextlib.contextmanager
def saved_in(folder: Path) -> Iterator[None]:
    """Have reproducers of this process saved in a folder for a while."""
    before = os.environ.get(FOLDER_VARIABLE)
    os.environ[FOLDER_VARIABLE] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ[FOLDER_VARIABLE]
        else:
            os.environ[FOLDER_VARIABLE] = before
