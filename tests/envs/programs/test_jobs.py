"""What cannot be fetched, ends its process, fills the disk or is interrupted loses nothing that was finished."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from building_tools import Compiler, function, hashes, reports
from debian_archive import PLAIN, LocalArchive
from small_disk import small_disk

from compiler_dojo.envs.errors import DatasetError, FetchError
from compiler_dojo.envs.programs.building import BuildResult, PackageChoice, build_packages
from compiler_dojo.envs.programs.sources.headers import Headers

pytestmark = pytest.mark.usefixtures("cache")


def test_fetching__fails_for_some_and_the_same_command_builds_only_these(
    headers: Headers, debian: LocalArchive, compiler: Compiler, cache: Path, tmp_path: Path
) -> None:
    debian.add("there", "1-1", PLAIN)
    away = debian.pool / debian.add("away", "1-1", {"away.c": function("away")})
    archive = debian.open()
    archive.packages()
    away.rename(tmp_path / "away")

    def build() -> BuildResult:
        choice = PackageChoice(packages=("there", "away"))
        return build_packages("mine", choice, None, 1, archive=archive, headers=headers)

    first = build()
    assert list(hashes(first)) == ["debian://there/src/plain.c"]
    assert re.search("of away 1-1 could not be fetched", first.incomplete[0])
    (tmp_path / "away").rename(away)
    second = build()
    assert (list(hashes(second)), second.incomplete) == (["debian://away/away.c", "debian://there/src/plain.c"], ())
    assert sorted(compiler.compiled) == ["./away.c", "./src/plain.c"]
    assert list((cache / "builds").iterdir()) == []
    away.unlink()
    shutil.rmtree(archive.downloads)
    with pytest.raises(FetchError, match=r"no package could be fetched: .*of away 1-1 could not be fetched"):
        build_packages("other", PackageChoice(packages=("away",)), archive=archive, headers=headers)


def test_package__that_ends_its_process_is_tried_again_and_then_left_out(
    headers: Headers, debian: LocalArchive, compiler: Compiler
) -> None:
    debian.add("bystander", "1-1", PLAIN)
    debian.add("deadly", "1-1", {"deadly.c": function("deadly")})
    debian.add("once", "1-1", {"deadly_once.c": function("once")})
    choice = PackageChoice(packages=("bystander", "deadly", "once"))
    result = build_packages("mine", choice, None, 2, archive=debian.open(), headers=headers)
    assert list(hashes(result)) == ["debian://bystander/src/plain.c", "debian://once/deadly_once.c"]
    assert result.incomplete == ("deadly could not be built: its process was ended 2 times: too little memory?",)
    assert sorted(compiler.compiled) == ["./deadly.c"] * 2 + ["./deadly_once.c"] * 2 + ["./src/plain.c"]
    with pytest.raises(DatasetError, match="other would be empty: deadly could not be built"):
        build_packages("other", PackageChoice(packages=("deadly",)), None, 1, archive=debian.open(), headers=headers)


def test_package__that_fails_in_an_unheard_of_way_is_left_out(
    headers: Headers, debian: LocalArchive, cache: Path
) -> None:
    debian.add("plain", "1-1", PLAIN)
    numbers: Any = ("50", "10000")
    choice = PackageChoice(packages=("plain",), instructions=numbers)
    with pytest.raises(DatasetError, match=r"mine would be empty: plain could not be built: TypeError: "):
        build_packages("mine", choice, None, 1, archive=debian.open(), headers=headers)
    assert (cache / "builds" / "mine").exists()


DRIVER = """
import sys
from pathlib import Path
from compiler_dojo.envs.programs.building import PackageChoice, build_packages
from compiler_dojo.envs.programs.sources.archive import Archive
from compiler_dojo.envs.programs.sources.headers import Headers
apt, configuration, headers, *packages = sys.argv[1:]
archive = Archive(Path(apt), Path(configuration))
choice = PackageChoice(packages=tuple(packages))
build_packages("mine", choice, None, 2, archive=archive, headers=Headers(Path(headers)))
"""


def wait_for(condition: Callable[[], Any], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def marked(mark: str) -> list[str]:
    """Command lines of the processes that have this in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # gone meanwhile
            if mark.encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_text().replace("\0", " "))
    return found


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT])
def test_build__that_is_interrupted_leaves_no_process_and_goes_on_where_it_was(
    headers: Headers, debian: LocalArchive, compiler: Compiler, cache: Path, tmp_path: Path, sent: signal.Signals
) -> None:
    debian.add("quick", "1-1", {"quick.c": function("quick")})
    debian.add("slow", "1-1", {"slow.c": function("slow")})
    debian.add("swift", "1-1", {"swift.c": function("swift", 7)})
    packages = ("quick", "slow", "swift")
    compiler.hold.touch()
    (tmp_path / "tmp").mkdir()
    mark = f"DOJO_TEST={tmp_path}"
    environment = {**os.environ, "DOJO_TEST": str(tmp_path), "TMPDIR": str(tmp_path / "tmp")}
    archive = debian.open()
    archive.packages()
    places = [str(archive.folder), str(debian.configuration), str(headers.root)]
    command = [sys.executable, "-c", DRIVER, *places, *packages]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        wait_for(lambda: process.poll() is not None or ("./slow.c" in compiler.compiled and len(reports(cache)) == 2))
        assert process.poll() is None
        assert len(marked(mark)) >= 2
        with pytest.raises(DatasetError, match="another process is writing"):
            build_packages("mine", PackageChoice(packages=packages), archive=archive, headers=headers)
        process.send_signal(sent)
        _, errors = process.communicate(timeout=60)
    assert ("KeyboardInterrupt" in errors) == (sent == signal.SIGINT)
    wait_for(lambda: not marked(mark), 20.0)
    assert list((tmp_path / "tmp").glob("dojo-*/*")) == []
    done = reports(cache)
    assert sorted(done) == ["quick", "swift"]
    assert not (tmp_path / "programs" / "mine").exists()
    compiler.hold.unlink()

    seen: dict[str, int] = {}

    def tell(count: int, total: int, text: str) -> None:
        seen.update(reports(cache))

    choice = PackageChoice(packages=packages)
    result = build_packages("mine", choice, None, 1, tell, archive=archive, headers=headers)
    assert list(hashes(result)) == ["debian://quick/quick.c", "debian://slow/slow.c", "debian://swift/swift.c"]
    assert sorted(compiler.compiled) == ["./quick.c", "./slow.c", "./slow.c", "./swift.c"]
    assert {name: seen[name] for name in done} == done
    assert list((cache / "builds").iterdir()) == []


@pytest.mark.parametrize("kind", ["cache", "programs"])
def test_full_disk__is_named_and_loses_nothing_finished(
    headers: Headers,
    debian: LocalArchive,
    compiler: Compiler,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    debian.add("one", "1-1", {"one.c": function("one")})
    archive = debian.open()

    def build() -> BuildResult:
        choice = PackageChoice(packages=("one",))
        return build_packages("mine", choice, None, 1, archive=archive, headers=headers)

    with small_disk(tmp_path / "disk", 256 << 10) as disk:
        monkeypatch.setenv("DOJO_CACHE" if kind == "cache" else "DOJO_PROGRAMS", str(disk / "below"))
        filler = disk / "filler"
        with contextlib.suppress(OSError):
            filler.write_bytes(bytes(1 << 20))
        with pytest.raises(DatasetError, match=r"No space left.*free space"):
            build()
        filler.unlink()
        assert list(hashes(build())) == ["debian://one/one.c"]
    assert compiler.compiled == (["./one.c"] if kind == "programs" else ["./one.c"] * 2)
