"""Where programs are kept: what was fetched, and the sets that were built."""

from __future__ import annotations

import os
from pathlib import Path

CACHE_VARIABLE = "DOJO_CACHE"
PROGRAMS_VARIABLE = "DOJO_PROGRAMS"


def cache_folder(kind: str) -> Path:
    """Folder for what can be fetched again: ``$DOJO_CACHE/KIND``, by default in the user's cache directory."""
    given = os.environ.get(CACHE_VARIABLE)
    root = Path(given) if given else _xdg("XDG_CACHE_HOME", ".cache") / "compiler-dojo"
    return root / kind


def data_folder() -> Path:
    """Folder of the built and imported sets: ``$DOJO_PROGRAMS``, by default in the user's data directory."""
    given = os.environ.get(PROGRAMS_VARIABLE)
    return Path(given) if given else _xdg("XDG_DATA_HOME", ".local/share") / "compiler-dojo" / "programs"


def _xdg(variable: str, default: str) -> Path:
    given = os.environ.get(variable)
    return Path(given) if given else Path.home() / default
