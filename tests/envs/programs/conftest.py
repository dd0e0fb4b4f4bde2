"""Rows to store, a stored set of them, an archive of packages, and a compiler."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from building_tools import Compiler
from debian_archive import LocalArchive, write_headers

from compiler_dojo.envs.llvm.lowering import find_clang
from compiler_dojo.envs.programs import Program, Provenance, RunSpecification
from compiler_dojo.envs.programs.columns import Row
from compiler_dojo.envs.programs.measure import Measurement, measure
from compiler_dojo.envs.programs.sources.headers import Headers
from compiler_dojo.envs.programs.storage import write_set

LL = "define i32 @f{0}(i32 %x) {{\nentry:\n{1}  ret i32 %x\n}}\n"


def make_row(number: int) -> Row:
    """A row whose every field has a value of its own; every third program is C++."""
    adds = "".join(f"  %y{i} = add i32 %x, {i}\n" for i in range(number))
    program = Program(
        f"debian://project{number % 5}/src/unit{number}.c",
        LL.format(number, adds).encode(),
        "oz",
        "c" if number % 3 else "c++",
        "crypto",
        RunSpecification(("-x", "1"), "out\n", 2.5) if number % 2 else None,
        project=f"project{number % 5}",
        provenance=Provenance(
            "package", f"1.{number}-1", "package_1.tar.xz#sha256=00", "MIT", "debian/copyright", ("COPYING", "AUTHORS")
        ),
    )
    hashes = tuple(bytes([number, i] * 8) for i in range(number % 4))
    return Row(program, Measurement(number + 1, 1, None, f"{number:032x}", hashes, "19.1.7"))


@pytest.fixture(scope="session")
def rows() -> list[Row]:
    return [make_row(number) for number in range(30)]


@pytest.fixture
def stored(tmp_path, rows) -> Path:
    """A set of 30 programs in three shards."""
    write_set(str(tmp_path / "set"), "thirty", rows, {"built": "here"}, rows_per_shard=12)
    return tmp_path / "set"


@pytest.fixture
def data_folder(tmp_path, monkeypatch) -> Path:
    """An empty folder of named sets."""
    monkeypatch.setenv("DOJO_PROGRAMS", str(tmp_path / "programs"))
    return tmp_path / "programs"


@pytest.fixture
def measured_row(small_program) -> Row:
    return Row(small_program, measure(small_program))


@pytest.fixture
def debian(tmp_path) -> LocalArchive:
    """An empty archive of Debian's kind."""
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            pytest.skip(f"there is no {tool}")
    return LocalArchive(tmp_path / "debian")


@pytest.fixture(scope="session")
def headers(tmp_path_factory) -> Headers:
    """A few headers of a C library."""
    return Headers(write_headers(tmp_path_factory.mktemp("headers")))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache and a folder of sets of its own."""
    monkeypatch.setenv("DOJO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DOJO_PROGRAMS", str(tmp_path / "programs"))
    return tmp_path / "cache"


@pytest.fixture
def compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Compiler]:
    """The compiler of the processes that build."""
    compiler = Compiler(tmp_path / "compiler")
    compiler.folder.mkdir()
    script = compiler.folder / "clang"
    script.write_text(f"""#!/bin/sh
for word; do
  case $word in ./*.c | ./*.cc) echo "$word" >>{compiler.folder}/log ;; esac
done
case "$*" in
*./deadly.c*) kill -9 $PPID ;;
*./deadly_once.c*) mkdir {compiler.folder}/once 2>/dev/null && kill -9 $PPID ;;
*./slow.c*) while [ -e {compiler.hold} ]; do sleep 0.1; done ;;
esac
exec {find_clang()} "$@"
""")
    script.chmod(0o755)
    monkeypatch.setenv("DOJO_CLANG", str(script))
    yield compiler
    compiler.hold.unlink(missing_ok=True)
