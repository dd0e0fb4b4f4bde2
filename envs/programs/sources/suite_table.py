"""The suites that CompilerGym publishes: where their archives are, what these hash to, and what is in them.

Addresses, hashes, folders and the commands that made the programs are those of CompilerGym 0.2.5,
``compiler_gym/envs/llvm/datasets``; where it has archives for Linux and macOS, those for Linux.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from compiler_dojo.envs.programs.sources.fetching import RemoteFile
from compiler_dojo.envs.programs.sources.unpacking import DEFAULT_LIMITS, UnpackLimits

# CompilerGym compiles with clang 10, to which these were warnings
_C = (
    "-std=gnu11",
    "-ferror-limit=1",
    "-Wno-error=implicit-function-declaration",
    "-Wno-error=implicit-int",
    "-Wno-error=int-conversion",
    "-Wno-error=incompatible-function-pointer-types",
)


@dataclass(frozen=True)
class SuiteHeaders:
    """Header files that a suite's sources need: an archive of them, and one that every source includes."""

    archive: RemoteFile
    included: RemoteFile


@dataclass(frozen=True)
class Suite:
    """A published suite: programs by name, in one archive.

    Attributes:
        name: name in URIs, with its version.
        archive: tar archive of the programs.
        prefix: folder of the archive that the names are relative to.
        names: compressed text file with a name per line; or the names themselves, each with its file.
        suffix: what a program's file has after its name; ``.bc`` is bitcode, everything else is compiled.
        language: of the programs, ``llvm`` where it differs from program to program.
        licence: SPDX expression, empty where it differs or is not known.
        flags: for clang.
        rewrite: makes a translation unit of a file's content.
        headers: what the sources include.
        project_depth: how many parts of a program's name belong to the name of its project.
        limits: what the archive may unpack to.
    """

    name: str
    archive: RemoteFile
    prefix: str
    names: RemoteFile | tuple[tuple[str, str], ...]
    suffix: str = ".bc"
    language: str = "llvm"
    licence: str = ""
    flags: tuple[str, ...] = ()
    rewrite: Callable[[bytes], bytes] | None = None
    headers: SuiteHeaders | None = None
    project_depth: int = 0
    limits: UnpackLimits = DEFAULT_LIMITS

    def project(self, name: str) -> str:
        """The project that a program belongs to: the suite, without its version, or a part of it."""
        return "/".join([self.name.rsplit("-", 1)[0], *name.split("/")[: self.project_depth]])


def complete_poj104(content: bytes) -> bytes:
    """A translation unit of a solution in the POJ-104 suite: these lack headers, limits, and the type of main."""
    content = re.sub(rb"\bvoid\s+main\b", b"int main", content)
    content = re.sub(rb"^main\b", b"int main", content, flags=re.MULTILINE)
    names = b"".join(b"#define %s %d\n" % limit for limit in ((b"LEN", 128), (b"MAX_LENGTH", 1024), (b"MAX", 1024)))
    return b"#include <bits/stdc++.h>\nusing namespace std;\n" + names + content


def _file(name: str, sha256: str) -> RemoteFile:
    return RemoteFile(f"https://dl.fbaipublicfiles.com/compiler_gym/{name}", sha256)


def _bitcodes(name: str, sha256: str) -> RemoteFile:
    return _file(f"llvm_bitcodes-10.0.0-{name}", sha256)


def _github(name: str, sha256: str) -> RemoteFile:
    return RemoteFile(f"https://github.com/{name}", sha256)


_ANGHABENCH = Suite(
    name="anghabench-v1",
    archive=_github(
        "brenocfg/AnghaBench/archive/d8034ac8562b8c978376008f4b33df01b8887b19.tar.gz",
        "85d068e4ce44f2581e3355ee7a8f3ccb92568e9f5bd338bc3a918566f3aff42f",
    ),
    prefix="AnghaBench-d8034ac8562b8c978376008f4b33df01b8887b19",
    names=_bitcodes(
        "anghabench-v1-linux-manifest.bz2", "14df85f650199498cf769715e9f0d7841d09f9fa62a95b8ecc242bdaf227f33a"
    ),
    suffix=".c",
    language="c",
    flags=_C,
    project_depth=1,
    limits=UnpackLimits(size=32 << 30, members=4_000_000),
)

_POJ104 = Suite(
    name="poj104-v1",
    archive=_bitcodes("poj104-v1.tar.gz", "c0b8ef3ee9c9159c882dc9337cb46da0e612a28e24852a83f8a1cd68c838f390"),
    prefix="ProgramData",
    names=_bitcodes("poj104-v1-linux-manifest.bz2", "ee6253ee826e171816105e76fa78c0d3cbd319ef66e10da4bcf9cf8a78e12ab9"),
    suffix=".txt",
    language="c++",
    licence="BSD-3-Clause",
    # C++11 is the last that has gets()
    flags=("-std=c++11", "-ferror-limit=1"),
    rewrite=complete_poj104,
    project_depth=1,
)

_CHSTONE = Suite(
    name="chstone-v0",
    archive=_github(
        "ChrisCummins/patmos_HLS/archive/e62d878ceb91e5a18007ca2e0a9602ee44ff7d59.tar.gz",
        "f7acab9d3c3dc7b971e62c8454bc909d84bddb6d0a96378e41beb94231739acb",
    ),
    prefix="patmos_HLS-e62d878ceb91e5a18007ca2e0a9602ee44ff7d59/benchmarks/CHStone",
    names=(
        ("adpcm", "adpcm/adpcm.c"),
        ("aes", "aes/aes.c"),
        ("blowfish", "blowfish/bf.c"),
        ("dfadd", "dfadd/dfadd.c"),
        ("dfdiv", "dfdiv/dfdiv.c"),
        ("dfmul", "dfmul/dfmul.c"),
        ("dfsin", "dfsin/dfsin.c"),
        ("gsm", "gsm/gsm.c"),
        ("jpeg", "jpeg/main.c"),
        ("mips", "mips/mips.c"),
        ("motion", "motion/mpeg2.c"),
        ("sha", "sha/sha_driver.c"),
    ),
    suffix=".c",
    language="c",
    flags=_C,
)

_CLGEN = Suite(
    name="clgen-v0",
    archive=_github(
        "ChrisCummins/paper-synthesizing-benchmarks/raw/e45b6dffe9998f612624f05a6c4878ab4bcc84ec/data/clgen-1000.tar.bz2",
        "0bbd1b737f2537305e4db09b2971a5fa848b7c3a978bff6b570f45d1a488a72c",
    ),
    prefix="clgen-1000/kernels",
    names=_bitcodes("clgen-v0-manifest.bz2", "d2bbc1da5a24a8cb03b604d1d8e59227b33bdfcd964ebe741ca8339f1c8d65cc"),
    suffix=".cl",
    language="opencl",
    licence="GPL-3.0-only",
    # CompilerGym compiles for nvptx64; this is for the machine we are on, the only target of the compiler sessions.
    # clang declares OpenCL's functions by itself since version 13, besides those of the headers that come here.
    flags=("-cl-no-stdinc", "-ferror-limit=1"),
    headers=SuiteHeaders(
        _file("libclc-v0.tar.bz2", "f1c511f2ac12adf98dcc0fbfc4e09d0f755fa403c18f1fb1ffa5547e1fa1a499"),
        _github(
            "ChrisCummins/clgen/raw/463c0adcd8abcf2432b24df0aca594b77a69e9d3/deeplearning/clgen/data/include/opencl.h",
            "f95b9f4c8b1d09114e491846d0d41425d24930ac167e024f45dab8071d19f3f7",
        ),
    ),
)

_JOTAIBENCH = Suite(
    name="jotaibench-v0",
    archive=_github(
        "ChrisCummins/jotai-benchmarks/raw/ca26ccd27afecf38919c1e101c64e3cc17e39631/benchmarks/jotaibench.bz2",
        "b5a51af3d4e2f77a66001635ec64ed321e0ece19873c4a888040859af7556401",
    ),
    prefix="jotaibench/jotaibench-v0",
    names=_bitcodes("jotaibench-v0.bz2", "ac4ee456e52073964d472d3e3969058b2f3052f8a4b402719013a3c603eb4b62"),
    suffix=".c",
    language="c",
    licence="GPL-3.0-only",
    flags=_C,
)

_SUITES = (
    _ANGHABENCH,
    Suite(
        "blas-v0",
        _bitcodes("blas-v0.tar.bz2", "e724a8114709f8480adeb9873d48e426e8d9444b00cddce48e342b9f0f2b096d"),
        "blas-v0",
        _bitcodes("blas-v0-manifest.bz2", "6946437dcb0da5fad3ed8a7fd83eb4294964198391d5537b1310e22d7ceebff4"),
        licence="BSD-3-Clause",
    ),
    Suite(
        "cbench-v1",
        _bitcodes("cBench-v1-linux.tar.bz2", "601fff3944c866f6617e653b6eb5c1521382c935f56ca1f36a9f5cf1a49f3de5"),
        "cBench-v1",
        _bitcodes("cbench-v1-manifest.bz2", "eeffd7593aeb696a160fd22e6b0c382198a65d0918b8440253ea458cfe927741"),
        language="c",
        licence="BSD-3-Clause",
    ),
    _CHSTONE,
    _CLGEN,
    Suite(
        "github-v0",
        _bitcodes("github-v0.tar.bz2", "880269dd7a5c2508ea222a2e54c318c38c8090eb105c0a87c595e9dd31720764"),
        "github-v0",
        _bitcodes("github-v0-linux-manifest.bz2", "aede9ca78657b4694ada9a4592d93f0bbeb3b3bd0fff3b537209850228480d3b"),
        licence="CC-BY-4.0",
    ),
    _JOTAIBENCH,
    Suite(
        "linux-v0",
        _bitcodes("linux-v0.tar.bz2", "a1ae5c376af30ab042c9e54dc432f89ce75f9ebaee953bc19c08aff070f12566"),
        "linux-v0",
        _bitcodes("linux-v0-linux-manifest.bz2", "32ceb8576f683798010816ac605ee496f386ddbbe64be9e0796015d247a73f92"),
        language="c",
        licence="GPL-2.0-only",
    ),
    Suite(
        "mibench-v0",
        _bitcodes("mibench-v0.tar.bz2", "128c090c40b955b99fdf766da167a5f642018fb35c16a1d082f63be2e977eb13"),
        "mibench-v0",
        _bitcodes("mibench-v0-manifest.bz2", "8ed985d685b48f444a3312cd84ccc5debda4a839850e442a3cdc93910ba0dc5f"),
        language="c",
        licence="BSD-3-Clause",
    ),
    Suite(
        "mibench-v1",
        _bitcodes("mibench-v1.tar.bz2", "795b80d3198bc96e394823a4cb294d256845beffccce52fea0e3446395212bb5"),
        "mibench-v1",
        _bitcodes("mibench-v0-manifest.bz2", "8ed985d685b48f444a3312cd84ccc5debda4a839850e442a3cdc93910ba0dc5f"),
        language="c",
        licence="BSD-3-Clause",
    ),
    Suite(
        "npb-v0",
        _bitcodes("npb-v0.tar.bz2", "793ac2e7a4f4ed83709e8a270371e65b724da09eaa0095c52e7f4209f63bb1f2"),
        "npb-v0",
        _bitcodes("npb-v0-manifest.bz2", "89eccb7f1b0b9e1f82b9b900b9f686ff5b189a2a67a4f8969a15901cd315dba2"),
        licence="NASA-1.3",
    ),
    Suite(
        "opencv-v0",
        _bitcodes("opencv-v0.tar.bz2", "003df853bd58df93572862ca2f934c7b129db2a3573bcae69a2e59431037205c"),
        "opencv-v0",
        _bitcodes("opencv-v0-manifest.bz2", "8de96f722fab18f3a2a74db74b4038c7947fe8b3da867c9260206fdf5338cd81"),
        language="c++",
        licence="Apache-2.0",
    ),
    _POJ104,
    Suite(
        "tensorflow-v0",
        _bitcodes("tensorflow-v0.tar.bz2", "f77dd1988c772e8359e1303cc9aba0d73d5eb27e0c98415ac3348076ab94efd1"),
        "tensorflow-v0",
        _bitcodes("tensorflow-v0-manifest.bz2", "cffc45cd10250d483cb093dec913c8a7da64026686284cccf404623bd1da6da8"),
        language="c++",
        licence="Apache-2.0",
    ),
)

SUITES: dict[str, Suite] = {suite.name: suite for suite in _SUITES}
"""The suites by name."""
