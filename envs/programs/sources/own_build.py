"""Modules from a package's own build, run in a sandbox with a compiler that writes every unit's bitcode on the side."""

from __future__ import annotations

import contextlib
import hashlib
import os
import posixpath
import shlex
import shutil
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from compiler_dojo.envs.errors import ToolchainError
from compiler_dojo.envs.llvm.lowering import check_lowering, find_clang
from compiler_dojo.envs.llvm.sandbox import Limits, find_sandbox, private_folder
from compiler_dojo.envs.llvm.session import is_bitcode
from compiler_dojo.envs.programs.sources.units import LENIENT, CompileLimits

Status = Literal["built", "failed", "out of time", "no build system"]

LOG_BYTES = 1 << 16
PROCESSES = 512
FILE_BYTES = 512 << 20
_NO_BUILD_SYSTEM = 77

C_NAMES = ("cc", "gcc", "clang")
CPP_NAMES = ("c++", "g++", "clang++")

BUILD = """\
#!/bin/sh
# Configures and builds ./tree; what the compilers in ./tools write goes to ./modules.
exec >log 2>&1
work=$PWD
PATH=$work/tools:$PATH CC=$work/tools/cc CXX=$work/tools/c++ DOJO_TREE=$work/tree HOME=$TMPDIR
export PATH CC CXX DOJO_TREE HOME
has() { command -v "$1" >/dev/null; }
configure() { chmod +x configure; CFLAGS=-O1 CXXFLAGS=-O1 ./configure; }
cd tree || exit 1
folder=.
if [ -f configure ]; then
  configure
elif [ -f CMakeLists.txt ] && has cmake; then
  folder=dojo-build
  cmake -S . -B $folder -G 'Unix Makefiles'
elif [ -f meson.build ] && has meson && has ninja; then
  folder=dojo-build
  meson setup $folder
elif { [ -f configure.ac ] || [ -f configure.in ]; } && has autoreconf; then
  autoreconf -fi && configure
fi
DOJO_MODULES=$work/modules
export DOJO_MODULES
if [ -f $folder/build.ninja ]; then
  ninja -C $folder -k 0 -j @JOBS@
elif [ -f $folder/GNUmakefile ] || [ -f $folder/makefile ] || [ -f $folder/Makefile ]; then
  make -C $folder -k -j @JOBS@ CC="$CC" CXX="$CXX"
else
  exit @NO_BUILD_SYSTEM@
fi
"""
# the flags that are left out optimise, debug, warn, instrument, link, name this processor, or write other files
COMPILER = """\
#!/bin/sh
# Compiles as asked; while DOJO_MODULES is set, compiles every source once more, to unoptimised bitcode.
compile() { @CLANG@ "$@" @LENIENT@; }
compile "$@"
status=$?
[ -n "$DOJO_MODULES" ] || exit $status
sources= pic=0 count=$#
while [ "$count" -gt 0 ]; do
  argument=$1
  shift
  count=$((count - 1))
  case $argument in
  -E | -S | -M | -MM | -fsyntax-only | - | @*) exit $status ;;
  *conftest* | *CMakeFiles/* | *meson-private/*) exit $status ;;
  -o | -MF | -MT | -MQ | -MJ | -l | -L | -z | -T | -u | -Xlinker)
    shift
    count=$((count - 1))
    ;;
  -I | -D | -U | -F | -include | -imacros | -isystem | -idirafter | -iquote | -isysroot | -Xclang | \\
    -Xpreprocessor | -mllvm | -target | --param | -x)
    set -- "$@" "$argument" "$1"
    shift
    count=$((count - 1))
    ;;
  -c | -O* | -g* | -M* | -o* | -W* | -l* | -L* | -flto* | -save-temps* | -shared | -static | -rdynamic) ;;
  -fsanitize* | -fprofile* | -ftest-coverage | --coverage | -march=native | -mtune=native) ;;
  *.o | *.lo | *.a | *.so | *.so.*) ;;
  *.c | *.cc | *.cpp | *.cxx | *.c++ | *.C) sources="$sources$argument
" ;;
  -fPIC | -fpic)
    pic=1
    set -- "$@" "$argument"
    ;;
  *) set -- "$@" "$argument" ;;
  esac
done
set -f
IFS='
'
# a module holds the name of its source as it is given: it must not tell where the tree lies
here=$(pwd -P) up=
case $here/ in "$DOJO_TREE"/*) below=${here#"$DOJO_TREE"} ;; *) exit $status ;; esac
while [ -n "$below" ]; do
  up=../$up
  below=${below%/*}
done
for source in $sources; do
  name=$DOJO_MODULES/$$
  while [ -e "$name.unit" ]; do name=$name+; done
  case $source in
  "$DOJO_TREE"/*) source=${up:-./}${source#"$DOJO_TREE"/} ;;
  /*) continue ;;
  esac
  printf '%s %s' "$pic" "$here/$source" >"$name.unit"
  compile "$@" @FLAGS@ -ffile-prefix-map="$DOJO_TREE"=. -emit-llvm -c "$source" -o "$name.bc" \\
    2>"$name.errors" </dev/null
done
exit $status
"""


class OwnBuild(NamedTuple):
    """What a package's own build gave.

    Attributes:
        modules: bitcode by the unit's path in the tree; of a unit compiled several times, with ``-fPIC`` and without
            for instance, one.
        failures: what clang says of units that it did not compile, by path.
        log: the last 64 KiB of what the build printed.
        status: how it ended; a build that failed or ran out of time has modules too, mostly.
    """

    modules: Mapping[str, bytes]
    failures: Mapping[str, str]
    log: str
    status: Status


def own_build(
    root: Path, lowering: str = "oz", seconds: float = 600.0, jobs: int = 1, allow_unconfined: bool = False
) -> OwnBuild:
    """Run a package's own build on a copy of its sources, and collect the unoptimised bitcode of what it compiles.

    The build is the first of ``./configure``, CMake, Meson, ``autoreconf`` and a plain makefile that the package has
    and whose tools are installed. It sees the system's headers and libraries: a package that needs more than are
    installed builds in part or not at all. Its scripts run without network, and can write to the copy only.

    Args:
        root: folder of the sources.
        lowering: flags of the bitcode, in place of the build's own for optimisation.
        seconds: wall-clock limit; what was compiled by then counts.
        jobs: compilers at the same time.
        allow_unconfined: run it, with limits only, where no sandbox works.

    Raises:
        ToolchainError: no sandbox works here, or make or clang is missing.
        InvalidConfigError: there is no such lowering.
    """
    flags = [*check_lowering(lowering), "-g0", "-w", "-Qn"]
    if shutil.which("make") is None:
        raise ToolchainError("a package's own build needs make: install it with `apt-get install make`")
    sandbox = find_sandbox()
    if sandbox.kind == "limits" and not allow_unconfined:
        raise ToolchainError(
            f"a package's own build runs its scripts, and no sandbox for them works here ({sandbox.refused}): install "
            "bubblewrap with `apt-get install bubblewrap`, or allow them to run unconfined with allow_unconfined=True"
        )
    with private_folder() as folder:
        work = folder.resolve() / "work"
        work.mkdir()
        shutil.copytree(root, work / "tree", symlinks=True)
        (work / "modules").mkdir()
        script = _write_tools(work, flags, jobs)
        limits = Limits(seconds, 4 << 30, FILE_BYTES, 1 << 30, PROCESSES)
        result = sandbox.run(script, limits=limits, workplace=work)
        place = sandbox.place_of(work)
        modules, failures = _collect(work / "modules", f"{place}/tree")
        log = _read(work / "log", LOG_BYTES, last=True).decode(errors="replace").replace(place, "")
    status: Status = "built" if result.status == 0 else "failed"
    if result.status is None:
        status = "out of time"
    elif result.status == _NO_BUILD_SYSTEM:
        status = "no build system"
    return OwnBuild(modules, failures, log, status)


def _write_tools(work: Path, flags: Sequence[str], jobs: int) -> Path:
    """Write the compilers and the script that builds; the script."""
    tools = work / "tools"
    tools.mkdir()
    for names, mode in ((C_NAMES, "gcc"), (CPP_NAMES, "g++")):
        text = COMPILER.replace("@CLANG@", f"{shlex.quote(find_clang())} --driver-mode={mode}")
        text = text.replace("@LENIENT@", shlex.join(["-Wno-error", *LENIENT])).replace("@FLAGS@", shlex.join(flags))
        _write_script(tools / names[0], text)
        for name in names[1:]:
            (tools / name).symlink_to(names[0])
    script = work / "build.sh"
    _write_script(script, BUILD.replace("@JOBS@", str(jobs)).replace("@NO_BUILD_SYSTEM@", str(_NO_BUILD_SYSTEM)))
    return script


def _write_script(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def _collect(folder: Path, tree: str) -> tuple[dict[str, bytes], dict[str, str]]:
    """Modules and failures by path below the tree."""
    found: dict[str, list[tuple[str, str, bytes]]] = {}
    failures: dict[str, str] = {}
    names = os.listdir(folder) if folder.is_dir() and not folder.is_symlink() else []
    for stem in sorted(name.removesuffix(".unit") for name in names if name.endswith(".unit")):
        pic, _, source = _read(folder / f"{stem}.unit", 1 << 12).decode(errors="replace").partition(" ")
        path = posixpath.relpath(source, tree) if source.startswith(f"{tree}/") else ""
        if not path or path.startswith("../"):
            continue
        module = _read(folder / f"{stem}.bc", CompileLimits().output)
        if is_bitcode(module):
            # what is chosen must not depend on which of two compilers that ran at the same time was first
            found.setdefault(path, []).append((pic, hashlib.sha256(module).hexdigest(), module))
        else:
            failures[path] = _read(folder / f"{stem}.errors", LOG_BYTES).decode(errors="replace")
    modules = {path: min(choices)[2] for path, choices in sorted(found.items())}
    return modules, {path: errors for path, errors in sorted(failures.items()) if path not in modules}


def _read(path: Path, limit: int, last: bool = False) -> bytes:
    """Up to so many bytes of a file that a build has written; b"" for links, pipes, and what else is no plain file."""
    with contextlib.suppress(OSError), open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
        status = os.fstat(file.fileno())
        if stat.S_ISREG(status.st_mode):
            if last:
                file.seek(max(0, status.st_size - limit))
            return file.read(limit)
    return b""
