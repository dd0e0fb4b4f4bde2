"""A Debian archive on this machine's disk, with what a test puts there, and a few headers to compile packages with."""

import hashlib
import io
import subprocess
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from compiler_dojo.envs.programs.sources.archive import Archive

BUNDLED = Path(__file__).parents[3] / "envs" / "programs" / "bundled" / "src"

HEADERS = {
    "usr/include/features.h": "#define __THROW\n",
    "usr/include/stdio.h": "#include <features.h>\nint printf(const char *, ...) __THROW;\nint puts(const char *);\n",
    "usr/include/stdlib.h": "#include <stddef.h>\nvoid *malloc(size_t);\nvoid free(void *);\nvoid abort(void);\n",
    "usr/include/string.h": "#include <stddef.h>\nvoid *memcpy(void *, const void *, size_t);\n"
    "size_t strlen(const char *);\nint memcmp(const void *, const void *, size_t);\n"
    "void *memset(void *, int, size_t);\n",
    "usr/include/assert.h": "void __assert_fail(const char *, const char *, int);\n"
    "#define assert(x) ((x) ? (void)0 : __assert_fail(#x, __FILE__, __LINE__))\n"
    "static inline const char *where(void) { return __FILE__; }\n",
    "usr/include/x86_64-linux-gnu/sys/types.h": "typedef int pid_t;\n",
    "usr/include/glow-2.0/glow/glow.h": "#include <glowconfig.h>\nint glow(int);\n"
    "static inline const char *glow_file(void) { return __FILE__; }\n",
    "usr/lib/x86_64-linux-gnu/glow-2.0/include/glowconfig.h": "#define GLOW 1\n",
}  # fmt: skip
"""A C library's headers, as far as the tests need them."""

PLAIN = {
    "src/plain.c": '#include <stdio.h>\n#include "plain.h"\n'
    + "".join(
        f"int step{n}(int x) {{ for (int i = 0; i < {n + 3}; i++) x = x * {n + 5} + i; return x; }}\n" for n in range(4)
    )
    + "int main(void) { return printf(FORMAT, step0(1)); }\n",
    "include/plain.h": '#define FORMAT "%d"\n',
    "LICENSE": "MIT",
}
"""A package of one program of 50 to 10,000 instructions."""


def tarball(
    files: Mapping[str, str | bytes],
    *members: tarfile.TarInfo,
    prefix: str = "",
    compression: str = "gz",
    mtime: int = 0,
) -> bytes:
    """A tarball of files and of members without content."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=f"w:{compression}") as archive:
        for member in members:
            archive.addfile(member)
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            info = tarfile.TarInfo(prefix + name)
            info.size, info.mtime = len(data), mtime
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def link(name: str, target: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, target
    return info


def write_headers(root: Path, files: Mapping[str, str] = HEADERS) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@dataclass
class LocalArchive:
    """An archive below a folder.

    Attributes:
        folder: its place; ``configuration`` in there is what apt's folder of settings is elsewhere.
    """

    folder: Path
    _sources: list[str] = field(default_factory=list)
    _binaries: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.pool = self.folder / "archive"
        self.configuration = self.folder / "configuration"
        self.pool.mkdir(parents=True)
        self.configuration.mkdir()
        (self.configuration / "sources.list").write_text(f"deb [trusted=yes] file://{self.pool} ./\n")
        self.write()

    def open(self) -> Archive:
        return Archive(self.folder / "apt", self.configuration)

    def add(
        self,
        name: str,
        version: str,
        sources: bytes | Mapping[str, str | bytes],
        copyright_text: str | None = None,
        maintainer: str = "Some One <some@example.org>",
        sha256: str | None = None,
        native: bool = False,
    ) -> str:
        """Add a source package; returns the name of its tarball."""
        upstream = version.split(":")[-1].rsplit("-", 1)[0]
        data = sources if isinstance(sources, bytes) else tarball(sources, prefix=f"{name}-{upstream}/")
        files = {f"{name}_{upstream}{'' if native else '.orig'}.tar.gz": data}
        if copyright_text is not None:
            packaging = tarball({"debian/copyright": copyright_text, "debian/rules": ""})
            files[f"{name}_{version.split(':')[-1]}.debian.tar.gz"] = packaging
        files[f"{name}_{version.split(':')[-1]}.dsc"] = b"description"
        lines = []
        for file, content in files.items():
            (self.pool / file).write_bytes(content)
            digest = sha256 if sha256 and content is data else hashlib.sha256(content).hexdigest()
            lines.append(f" {digest} {len(content)} {file}")
        digests = "\n".join(lines)
        self._sources.append(
            f"Package: {name}\nBinary: {name}\nVersion: {version}\nMaintainer: {maintainer}\nArchitecture: any\n"
            f"Format: 3.0 ({'native' if native else 'quilt'})\nSection: utils\nDirectory: .\n"
            f"Checksums-Sha256:\n{digests}\n"
        )
        self.write()
        return next(iter(files))

    def add_headers(self, name: str, version: str, files: Mapping[str, str] = HEADERS) -> Path:
        """Add a binary package; returns its file."""
        root = self.folder / "binary" / f"{name}-{version}"
        write_headers(root, files)
        control = (
            f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: Some One <some@example.org>\n"
            "Description: headers\n"
        )
        (root / "DEBIAN").mkdir()
        (root / "DEBIAN" / "control").write_text(control)
        file = self.pool / f"{name}_{version}_all.deb"
        subprocess.run(["dpkg-deb", "--root-owner-group", "--build", root, file], check=True, capture_output=True)
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        self._binaries.append(f"{control}Filename: ./{file.name}\nSize: {file.stat().st_size}\nSHA256: {digest}\n")
        self.write()
        return file

    def write(self) -> None:
        """Write the indices."""
        (self.pool / "Sources").write_text("\n".join(self._sources))
        (self.pool / "Packages").write_text("\n".join(self._binaries))
