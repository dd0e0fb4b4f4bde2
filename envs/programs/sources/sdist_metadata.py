"""What a source distribution tells of itself: its version, by its file's name, and its licence, by its PKG-INFO."""

from __future__ import annotations

import email.parser
import lzma
import re
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

from compiler_dojo.envs.errors import FetchError, UnsafeArchiveError

SUFFIXES = (".tar.gz", ".tgz", ".tar.xz", ".tar.bz2", ".zip")
"""Ends of source distributions' names, best first; since PEP 625 all are .tar.gz."""

LARGEST_METADATA, LARGEST_ARCHIVE = 4 << 20, 4 << 30

# classifiers that mean one licence; of the others, "BSD License" for instance, there are several
CLASSIFIERS = {
    "Boost Software License 1.0 (BSL-1.0)": "BSL-1.0",
    "CC0 1.0 Universal (CC0 1.0) Public Domain Dedication": "CC0-1.0",
    "GNU Affero General Public License v3": "AGPL-3.0-only",
    "GNU Affero General Public License v3 or later (AGPLv3+)": "AGPL-3.0-or-later",
    "GNU General Public License v2 (GPLv2)": "GPL-2.0-only",
    "GNU General Public License v2 or later (GPLv2+)": "GPL-2.0-or-later",
    "GNU General Public License v3 (GPLv3)": "GPL-3.0-only",
    "GNU General Public License v3 or later (GPLv3+)": "GPL-3.0-or-later",
    "GNU Lesser General Public License v2 (LGPLv2)": "LGPL-2.0-only",
    "GNU Lesser General Public License v2 or later (LGPLv2+)": "LGPL-2.0-or-later",
    "GNU Lesser General Public License v3 (LGPLv3)": "LGPL-3.0-only",
    "GNU Lesser General Public License v3 or later (LGPLv3+)": "LGPL-3.0-or-later",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "MIT No Attribution License (MIT-0)": "MIT-0",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
    "zlib/libpng License": "Zlib",
}
# what the free-text field License often says
NAMES = {
    "apache 2.0": "Apache-2.0", "apache license 2.0": "Apache-2.0", "apache license, version 2.0": "Apache-2.0",
    "mit license": "MIT", "the mit license": "MIT", "bsd 3-clause": "BSD-3-Clause", "3-clause bsd": "BSD-3-Clause",
    "bsd 2-clause": "BSD-2-Clause", "mpl 2.0": "MPL-2.0", "zlib license": "Zlib",
    **{name.lower(): name for name in (
        "0BSD", "Apache-2.0", "Artistic-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "PSF-2.0", *CLASSIFIERS.values()
    )},
}  # fmt: skip


class VersionKey(NamedTuple):
    """A version as PEP 440 orders it, as far as choosing the newest needs; local versions are not told apart."""

    epoch: int
    release: tuple[int, ...]
    is_final: bool
    phase: tuple[str, int]
    post: int


_VERSION = re.compile(
    r"v?(?:(\d+)!)?(\d+(?:\.\d+)*)"
    r"(?:[-_.]?(a|alpha|b|beta|c|rc|pre|preview)[-_.]?(\d*))?"
    r"(?:-(\d+)|[-_.]?(?:post|rev|r)[-_.]?(\d*))?"
    r"(?:[-_.]?dev[-_.]?(\d*))?(?:\+.*)?",
    re.IGNORECASE,
)
_PHASES = {"alpha": "a", "beta": "b", "c": "rc", "pre": "rc", "preview": "rc"}


def version_key(version: str) -> VersionKey:
    """Sorts versions; what is no version comes first."""
    match = _VERSION.fullmatch(version)
    if match is None:
        return VersionKey(-1, (), False, ("", 0), 0)
    epoch, release, phase, number, post, post_number, dev = match.groups()
    numbers = [int(part) for part in release.split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    order = _PHASES.get((phase or "").lower(), (phase or "").lower())
    if not phase:
        order = "" if dev is not None else "z"  # 1.0.dev1 < 1.0a1 < 1.0
    after = int(post or post_number or 0) + 1 if post is not None or post_number is not None else 0
    return VersionKey(int(epoch or 0), tuple(numbers), not phase and dev is None, (order, int(number or 0)), after)


def version_of(filename: str, name: str) -> str | None:
    """The version in a source distribution's file name; None when it is none of this (normalised) name."""
    suffix = next((suffix for suffix in SUFFIXES if filename.endswith(suffix)), None)
    separated = "[-_.]+".join(re.escape(part) for part in name.split("-"))
    match = re.fullmatch(rf"{separated}-(\w[\w.+!-]*)", filename[: -len(suffix)], re.IGNORECASE) if suffix else None
    return match[1] if match else None


def license_expression_of(path: Path) -> str:
    """SPDX expression of a source distribution's licence, where its PKG-INFO leaves no doubt, else "".

    Nothing is unpacked.

    Raises:
        FetchError: it is no archive.
        UnsafeArchiveError: it unpacks to too much.
    """
    try:
        text = _from_zip(path) if path.suffix == ".zip" else _from_tar(path)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError) as error:
        raise FetchError(f"{path} is no archive that can be read: {error}; delete it and fetch it again") from None
    headers = email.parser.BytesHeaderParser().parsebytes(text)
    given = str(headers.get("License-Expression", "")).strip()
    if given:
        return given
    classifiers = {str(line).strip() for line in headers.get_all("Classifier", [])} - {"License :: OSI Approved"}
    licenses = [line.rpartition(" :: ")[2] for line in classifiers if line.startswith("License ::")]
    if len(licenses) > 1:  # whether all of them hold or one of them is to be chosen is not told
        return ""
    named = NAMES.get(str(headers.get("License", "")).strip().lower(), "")
    return next((CLASSIFIERS[line] for line in licenses if line in CLASSIFIERS), named)


def _from_tar(path: Path) -> bytes:
    with tarfile.open(path) as archive:
        for member in archive:
            if member.offset_data + member.size > LARGEST_ARCHIVE:
                raise UnsafeArchiveError(f"{path} unpacks to more than {LARGEST_ARCHIVE >> 30} GiB")
            if member.isfile() and _is_metadata(member.name) and member.size <= LARGEST_METADATA:
                file = archive.extractfile(member)
                return file.read() if file is not None else b""
    return b""


def _from_zip(path: Path) -> bytes:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if _is_metadata(member.filename) and member.file_size <= LARGEST_METADATA:
                with archive.open(member) as file:
                    return file.read(LARGEST_METADATA)
    return b""


def _is_metadata(name: str) -> bool:
    parts = name.removeprefix("./").split("/")
    return len(parts) == 2 and parts[1] == "PKG-INFO"
