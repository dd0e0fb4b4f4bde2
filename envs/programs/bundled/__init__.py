"""The programs that come with the package: their sources, and their bitcode under both lowerings."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compiler_dojo.envs.errors import UnknownProgramError, did_you_mean
from compiler_dojo.envs.programs.program import Program, Provenance, RunSpecification

FOLDER = Path(__file__).parent
MANIFEST = FOLDER / "manifest.json"

HELD_OUT_DOMAINS = frozenset({"audio", "interpreters", "search", "storage"})
"""Domains of the test split; no program of theirs is ever seen in training."""


@functools.cache
def manifest() -> Mapping[str, Mapping[str, Any]]:
    """What is known of each program (language, output, hashes, counts), by ``DOMAIN/NAME``."""
    programs: dict[str, dict[str, Any]] = json.loads(MANIFEST.read_text())["programs"]
    return programs


@dataclass(frozen=True)
class BundledSource:
    """A bundled program by ``DOMAIN/NAME``."""

    key: str
    lowering: str

    @property
    def uri(self) -> str:
        """``bundled://DOMAIN/NAME``."""
        return f"bundled://{self.key}"

    def load(self) -> Program:
        """Read the program's bitcode."""
        return _load(self)


@functools.cache
def _load(source: BundledSource) -> Program:
    entry = manifest()[source.key]
    return Program(
        uri=source.uri,
        module=(FOLDER / "bitcode" / source.lowering / f"{source.key}.bc").read_bytes(),
        lowering=source.lowering,
        language=entry["language"],
        domain=source.key.split("/")[0],
        run=RunSpecification(output=entry["output"]),
        source=FOLDER / entry["source"],
        provenance=Provenance(license_expression="MIT", license_source="suite"),
    )


def split_of(domain: str) -> str:
    """``train`` or ``test``."""
    return "test" if domain in HELD_OUT_DOMAINS else "train"


def select(name: str, lowering: str) -> list[BundledSource]:
    """The programs that ``bundled``, ``bundled/train``, ``bundled/test``, ``bundled/DOMAIN`` or a URI means.

    Raises:
        UnknownProgramError: there is no such domain or program.
    """
    part = name.removeprefix("bundled://").removeprefix("bundled").strip("/")
    keys = sorted(manifest())
    domains = {key.split("/")[0] for key in keys}
    if part in ("train", "test"):
        keys = [key for key in keys if split_of(key.split("/")[0]) == part]
    elif part in domains:
        keys = [key for key in keys if key.split("/")[0] == part]
    elif part in keys:
        keys = [part]
    elif part:
        raise UnknownProgramError(
            f"no bundled program or set {part!r}: {did_you_mean(part, [*keys, *domains, 'train', 'test'])}"
        )
    return [BundledSource(key, lowering) for key in keys]
