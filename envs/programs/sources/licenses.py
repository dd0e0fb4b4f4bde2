"""The licence of each file of a package, from debian/copyright where it is machine-readable."""

from __future__ import annotations

import re
import tarfile
from pathlib import Path

from compiler_dojo.envs.programs.sources.tree import SourceTree

COPYRIGHT = "debian/copyright"
_STANZA = re.compile(r"^Files:(?P<files>.*(?:\n[ \t].*)*)(?:\n(?!Files:)\S.*|\n[ \t].*)*?\nLicense:[ \t]*(?P<license>.*)$", re.MULTILINE)

# Debian's short names where they differ from SPDX's: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0
SPDX = {
    "Expat": "MIT", "Expat/MIT": "MIT", "X11": "X11", "public-domain": "LicenseRef-public-domain", "BSD": "BSD-3-Clause",
    "BSD-2-clause": "BSD-2-Clause", "BSD-3-clause": "BSD-3-Clause", "BSD-4-clause": "BSD-4-Clause", "zlib": "Zlib",
    "Zlib": "Zlib", "ISC": "ISC", "Apache-2": "Apache-2.0", "Apache-2.0": "Apache-2.0", "Artistic": "Artistic-1.0-Perl",
    "Artistic-2": "Artistic-2.0", "PSF-2": "PSF-2.0", "Boost": "BSL-1.0", "BSL-1": "BSL-1.0", "MPL-1.1": "MPL-1.1",
}  # fmt: skip


class Licenses:
    """Licences of a package's files.

    Args:
        tree: the package's sources.
        packaging: the tarball with Debian's part, or None where ``debian`` is in the tree.
        default: expression for files that nothing else is known of.
    """

    def __init__(self, tree: SourceTree, packaging: Path | None, default: str = "") -> None:
        self.files = tree.license_files()
        self._default = default
        text = _copyright(tree, packaging)
        self._stanzas = [
            ([_glob(word) for word in match["files"].split()], match["license"].strip())
            for match in _STANZA.finditer(text)
        ]
        self._source = COPYRIGHT if self._stanzas else ("index" if default else "file names" if self.files else "")

    def of(self, path: str) -> tuple[str, str]:
        """SPDX expression of a file ("" where it is not known), and how it was found.

        The last stanza that matches counts, as the format demands.
        """
        for globs, name in reversed(self._stanzas):
            if any(glob.fullmatch(path) for glob in globs):
                return spdx(name), self._source
        return self._default, self._source


def spdx(name: str) -> str:
    """SPDX expression of a licence in Debian's notation, such as ``GPL-2+ or Expat``."""
    parts = re.split(r"\s+(and|or|AND|OR)\s+|,\s*", name)
    words = [part.upper() if part in ("and", "or") else _one(part) for part in parts if part]
    return " ".join(words) if all(words) else ""


def _one(name: str) -> str:
    name = name.strip()
    if name in ("AND", "OR") or name in SPDX:
        return SPDX.get(name, name)
    gnu = re.fullmatch(r"(A|L)?GPL-(\d)(?:\.(\d))?(\+?)(?: with .*)?", name)
    if gnu:
        return f"{gnu[1] or ''}GPL-{gnu[2]}.{gnu[3] or '0'}-{'or-later' if gnu[4] else 'only'}"
    return name if re.fullmatch(r"(MIT|Apache-2\.0|CC0-1\.0|CC-BY(-SA)?-[\d.]+|MPL-[\d.]+|Unlicense|WTFPL|0BSD|NCSA|OpenSSL|Ruby|Python-2\.0|Vim)", name) else "LicenseRef-" + re.sub(r"[^A-Za-z0-9.-]+", "-", name) if name else ""


def _glob(pattern: str) -> re.Pattern[str]:
    """A pattern of the format: ``*`` and ``?`` also match slashes."""
    return re.compile(re.escape(pattern.removeprefix("./")).replace(r"\*", ".*").replace(r"\?", "."))


def _copyright(tree: SourceTree, packaging: Path | None) -> str:
    if tree.contains(COPYRIGHT):
        return (tree.root / COPYRIGHT).read_text(errors="replace")
    if packaging is None or not packaging.exists():
        return ""
    try:
        with tarfile.open(packaging) as members:
            for member in members:
                if member.name.removeprefix("./") == COPYRIGHT and member.isfile():
                    file = members.extractfile(member)
                    return file.read(1 << 20).decode(errors="replace") if file is not None else ""
    except (tarfile.TarError, OSError, EOFError):
        pass
    return ""
