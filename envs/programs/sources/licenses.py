"""The licence of each file of a package, from debian/copyright where it is machine-readable."""

from __future__ import annotations

import lzma
import re
import tarfile
import zlib
from pathlib import Path

from compiler_dojo.envs.programs.sources.paragraphs import fields_of
from compiler_dojo.envs.programs.sources.tree import SourceTree

COPYRIGHT = "debian/copyright"

# licences that have one name in both
SAME = frozenset(
    "MIT MIT-0 Apache-2.0 CC0-1.0 Unlicense WTFPL 0BSD NCSA OpenSSL Ruby Python-2.0 Vim BSL-1.0 OFL-1.1 EPL-1.0 "
    "EPL-2.0 CDDL-1.0 CDDL-1.1 Zlib ISC X11 BSD-1-Clause BSD-2-Clause BSD-3-Clause BSD-4-Clause PSF-2.0 curl libtiff "
    "Libpng IJG FTL TCL HPND NTP AFL-2.1 AFL-3.0 Artistic-2.0 Unicode-3.0 Unicode-DFS-2016".split()
)

# Debian's short names where they differ from SPDX's: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0
SPDX = {
    "Expat": "MIT", "Expat/MIT": "MIT", "public-domain": "LicenseRef-public-domain", "BSD": "BSD-3-Clause",
    "BSD-2-clause": "BSD-2-Clause", "BSD-3-clause": "BSD-3-Clause", "BSD-4-clause": "BSD-4-Clause", "zlib": "Zlib",
    "Apache-2": "Apache-2.0", "Artistic": "Artistic-1.0-Perl", "Artistic-2": "Artistic-2.0", "PSF-2": "PSF-2.0",
    "Boost": "BSL-1.0", "BSL-1": "BSL-1.0",
}  # fmt: skip


class Licenses:
    """Licences of a package's files.

    Args:
        tree: the package's sources.
        packaging: the tarball with Debian's part, or None where ``debian`` is in the tree.
        default: expression for files that nothing else is known of.
    """

    def __init__(self, tree: SourceTree, packaging: Path | None, default: str = "") -> None:
        # tables hold no names that are not UTF-8
        self.files = tuple(name.encode(errors="backslashreplace").decode() for name in tree.license_files())
        self._default = default
        self._stanzas = [
            ([_glob(word) for word in files.split()], license_)
            for files, license_ in _stanzas(_copyright(tree, packaging))
        ]

    def of(self, path: str) -> tuple[str, str]:
        """SPDX expression of a file ("" where it is not known), and how it was found.

        The last stanza that matches counts, as the format demands.
        """
        for globs, name in reversed(self._stanzas):
            if any(glob.fullmatch(path) for glob in globs):
                return spdx(name), COPYRIGHT
        if self._default:
            return self._default, "index"
        return "", "file names" if self.files else ""


def spdx(name: str) -> str:
    """SPDX expression of a licence in Debian's notation, such as ``GPL-2+ or Expat``; "" for no licence.

    A comma binds less than the words: ``A or B, and C`` is ``(A OR B) AND C``.
    """
    name = " ".join(name.split())
    groups: list[str] = []
    for part in re.split(r",\s*", name):
        found = re.fullmatch(r"(?:(and|or)\s+)?(.*)", part, re.IGNORECASE)
        if found is None or not found[2]:
            continue
        words = re.split(r"\s+(and/or|and|or)\s+", found[2], flags=re.IGNORECASE)
        words[0::2] = [_one(word) for word in words[0::2]]
        words[1::2] = ["OR" if word.lower() == "and/or" else word.upper() for word in words[1::2]]
        if groups:
            groups.append((found[1] or "and").upper())
        groups.append(" ".join(words))
    return " ".join(f"({group})" if len(groups) > 1 and " " in group else group for group in groups)


def _one(name: str) -> str:
    gnu = re.fullmatch(r"(A|L)?GPL-(\d)(?:\.(\d))?(\+|-only|-or-later)?(?: with .*)?", name)
    if gnu:
        return f"{gnu[1] or ''}GPL-{gnu[2]}.{gnu[3] or '0'}-{'or-later' if gnu[4] in ('+', '-or-later') else 'only'}"
    if name in SPDX:
        return SPDX[name]
    if name in SAME or re.fullmatch(r"(CC-BY(-NC|-ND|-SA)*|MPL)-\d\.\d", name):
        return name
    return "LicenseRef-" + (re.sub(r"[^A-Za-z0-9.-]+", "-", name).strip("-") or "unknown")


def _stanzas(text: str) -> list[tuple[str, str]]:
    """Patterns of files and the name of their licence, for each of the paragraphs that have both."""
    found: list[tuple[str, str]] = []
    for paragraph in re.split(r"\n[ \t]*\n", text.replace("\r\n", "\n")):
        fields = fields_of(paragraph)
        if "files" in fields and "license" in fields:
            found.append((fields["files"], fields["license"].split("\n", 1)[0].strip()))
    return found


def _glob(pattern: str) -> re.Pattern[str]:
    """A pattern of the format: ``*`` and ``?`` also match slashes."""
    pieces = re.findall(r"\\.|.", pattern.removeprefix("./"), re.DOTALL)
    wild = {"*": ".*", "?": "."}
    return re.compile("".join(wild.get(p) or re.escape(p[-1]) for p in pieces), re.DOTALL)


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
    except (tarfile.TarError, OSError, EOFError, zlib.error, lzma.LZMAError):
        pass  # the programs are as good without it
    return ""
