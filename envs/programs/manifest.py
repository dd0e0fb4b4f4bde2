"""The manifest of a stored set: what files make it up, and which programs it holds."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from compiler_dojo.envs.errors import DatasetError

MANIFEST = "manifest.json"
FORMAT = "compiler-dojo programs"
FORMAT_VERSION = 1

AGAIN = "build, import or copy it again"


@dataclass(frozen=True)
class StoredFile:
    """A file of a set: its name in the folder, how many rows it holds, its size in bytes, its hash."""

    name: str
    rows: int
    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What ``manifest.json`` says of a set.

    Attributes:
        name: the set's name when it was written.
        version: identity of its content, see :func:`content_version`.
        count: how many programs it holds.
        llvm_version: the LLVM that it was measured with.
        index: the file with every shard's light columns.
        shards: the files with everything, in order.
        details: whatever its builder wrote down.
    """

    name: str
    version: str
    count: int
    llvm_version: str
    index: StoredFile
    shards: tuple[StoredFile, ...]
    details: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """The text of the file."""
        return json.dumps({"format": FORMAT, "format_version": FORMAT_VERSION, **dataclasses.asdict(self)}, indent=1)

    @classmethod
    def from_json(cls, text: bytes, where: str) -> Manifest:
        """Read what :meth:`to_json` wrote.

        Raises:
            DatasetError: it is damaged, of something else, or of a later version of the format.
        """
        try:
            fields = json.loads(text)
            found, version = fields.pop("format"), fields.pop("format_version")
        except (ValueError, KeyError, AttributeError):
            raise DatasetError(f"{where}: not the manifest of a set of programs, or cut short: {AGAIN}") from None
        if found != FORMAT:
            raise DatasetError(f"{where}: the format is {found!r}, and {FORMAT!r} was expected: {AGAIN}")
        if version != FORMAT_VERSION:
            raise DatasetError(
                f"{where}: version {version} of the format, and this release reads version {FORMAT_VERSION}: "
                f"upgrade CompilerDojo, or {AGAIN}"
            )
        try:
            fields["index"] = StoredFile(**fields["index"])
            fields["shards"] = tuple(StoredFile(**shard) for shard in fields["shards"])
            return cls(**fields)
        except (KeyError, TypeError) as error:
            raise DatasetError(f"{where}: the manifest lacks a field ({error}): {AGAIN}") from None


def is_manifest(text: bytes) -> bool:
    """Whether this is the manifest of a stored set, of whatever version."""
    try:
        return bool(json.loads(text)["format"] == FORMAT)
    except (ValueError, KeyError, TypeError):
        return False


def content_version(hashes: Iterable[str]) -> str:
    """12 hexadecimal digits that name a collection of programs, whatever their order and URIs."""
    return hashlib.sha256("\n".join(sorted(hashes)).encode()).hexdigest()[:12]
