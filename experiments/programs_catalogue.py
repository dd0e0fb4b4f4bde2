"""Which sets of programs there are: bundled, on this machine, not built yet; and what URIs mean."""

from __future__ import annotations

from typing import NamedTuple

from compiler_dojo.envs.errors import DatasetError
from compiler_dojo.envs.programs.folders import data_folder
from compiler_dojo.envs.programs.loading import load_programs, named_sets
from compiler_dojo.envs.programs.manifest import MANIFEST, Manifest

BUNDLED = ("bundled", "bundled/train", "bundled/test")


class SetEntry(NamedTuple):
    """A set.

    Attributes:
        name: what commands take.
        programs: how many it holds, or, of a corpus that is not built, will hold; None when its manifest is damaged.
        version: 12 digits that name its content; "" of the bundled ones and of one that is not built.
        llvm_version: the LLVM that measured it.
        size: bytes on disk; None when it is not stored.
        folder: where it is; "" when it is not stored.
        command: what builds it; "" when it is there.
        error: what is wrong with it, or "".
    """

    name: str
    programs: int | None
    version: str = ""
    llvm_version: str = ""
    size: int | None = None
    folder: str = ""
    command: str = ""
    error: str = ""


class Scheme(NamedTuple):
    """A kind of URI.

    Attributes:
        example: a URI or several.
        meaning: which programs these are.
        needs: what has to be installed, or "".
    """

    example: str
    meaning: str
    needs: str = ""


SCHEMES: dict[str, Scheme] = {
    "bundled": Scheme("bundled://crypto/xtea", "programs that come with the package"),
    "file": Scheme("src/*.c, file:///home/me/a.ll", "files, folders and globs of yours: C, C++, Fortran, Rust, IR"),
    "debian": Scheme("debian://zlib/inflate.c", "a unit of a source package, or all units", "apt, clang"),
    "debian+linked": Scheme("debian+linked://bzip2/bzip2.c", "a whole program, linked from units", "apt, clang"),
    "pypi": Scheme("pypi://zstd", "C and C++ of Python packages' source distributions", "pip, clang"),
    "csmith": Scheme("csmith://0..99?size=full", "random C programs by seed, which print checksums", "csmith, clang"),
    "llvm-stress": Scheme("llvm-stress://7?size=300", "random IR by seed", "llvm-19"),
    "compilergym": Scheme("compilergym://cbench-v1/qsort", "CompilerGym's published suites"),
    "compile": Scheme("compile://rust/123", "ComPile, from its hub", "extra compile"),
}
"""What each scheme of :data:`compiler_dojo.envs.programs.schemes.SCHEMES` means."""


def sets() -> list[SetEntry]:
    """The bundled sets, those in the data folder, and the standard corpora that are not there yet."""
    from compiler_dojo.envs.programs.corpora import corpus_names, read_corpus

    stored = named_sets()
    return [
        *(SetEntry(name, len(load_programs(name))) for name in BUNDLED),
        *map(_stored, stored),
        *(
            SetEntry(name, read_corpus(name).size, command=f"dojo programs build {name}")
            for name in corpus_names()
            if name not in stored
        ),
    ]


def _stored(name: str) -> SetEntry:
    folder = data_folder() / name
    try:
        manifest = Manifest.from_json((folder / MANIFEST).read_bytes(), str(folder / MANIFEST))
    except DatasetError as error:
        return SetEntry(name, None, folder=str(folder), error=str(error))
    size = manifest.index.size + sum(shard.size for shard in manifest.shards)
    return SetEntry(name, manifest.count, manifest.version, manifest.llvm_version, size, str(folder))
