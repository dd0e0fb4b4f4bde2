"""Packages' own builds: what they give, and what they cannot do."""

import socket
import tarfile
from pathlib import Path

import pytest

from compiler_dojo.envs.errors import InvalidConfigError, ToolchainError
from compiler_dojo.envs.llvm.sandbox import CONFINES, Sandbox, find_sandbox
from compiler_dojo.envs.llvm.session import CompilerSession
from compiler_dojo.envs.programs.sources import own_build as module
from compiler_dojo.envs.programs.sources.own_build import own_build
from compiler_dojo.envs.programs.sources.packages import PackageJob, build_package
from compiler_dojo.envs.programs.storage import read_rows

pytestmark = pytest.mark.skipif(find_sandbox().kind == "limits", reason="no sandbox works here")

LOOP = "{ int s = 0; for (int i = 0; i < n; i++) s += i * i; return s; }\n"
CONFIGURE = """#!/bin/sh
echo 'int main(void) { return 0; }' >conftest.c
$CC $CFLAGS -c conftest.c -o conftest.o || exit 1
echo '#define SCALE 3' >config.h
sed "s/@TARGETS@/scaled.o kr.o/" Makefile.in >Makefile
"""
MAKEFILE = """
CC = gcc
all: lib/a.o lib/a.pic.o b.o @TARGETS@ program
lib/a.o: lib/a.c
\t$(CC) -O2 -g -c lib/a.c -o lib/a.o -MD -MF a.d
lib/a.pic.o: lib/a.c
\t$(CC) -O2 -fPIC -DPIC -c $(PWD)/lib/a.c -o lib/a.pic.o
b.o: sub/b.cc
\tcd sub && g++ -O3 -Wall -Werror '-DTEXT="two words"' -c ./b.cc -o ../b.o
broken.o: broken.c
\t$(CC) -c broken.c -o broken.o
program: one.c two.c
\t$(CC) one.c two.c -o program -lm
"""
FILES = {
    "lib/a.c": "#ifdef PIC\nint pic;\n#endif\nint a(int n) " + LOOP,
    "sub/b.cc": "template <class T> T twice(T x) { return x + x; }\nconst char *text() { return TEXT + twice(0); }\n",
    "scaled.c": '#include "config.h"\nint scaled(int n) { return n * SCALE; }\n',
    "kr.c": "kr(n) int n; { return unheard_of(n); }\n",
    "broken.c": "int f( { }\n",
    "one.c": "int two(void);\nint main(void) { return two(); }\n",
    "two.c": "int two(void) { return 0; }\n",
}


def put(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def makefile(script: str) -> dict[str, str]:
    lines = "\n".join(f"\t-{line}" for line in script.strip().splitlines())
    return {"Makefile": f"all:\n\t$(CC) -c a.c\n{lines}\n", "a.c": "int a;\nint f(void) { return a; }\n"}


def test_own_build__configures_and_collects_every_unit_once(tmp_path) -> None:
    root = put(tmp_path / "p", {**FILES, "configure": CONFIGURE, "Makefile.in": MAKEFILE})
    before = sorted(path.relative_to(root) for path in root.rglob("*"))
    built = own_build(root, jobs=2)
    assert built.status == "built", built.log
    assert list(built.modules) == ["kr.c", "lib/a.c", "one.c", "scaled.c", "sub/b.cc", "two.c"]
    assert built.failures == {}
    assert sorted(path.relative_to(root) for path in root.rglob("*")) == before
    with CompilerSession(built.modules["lib/a.c"]) as session:
        text = session.ir()
    assert "minsize" in text
    assert "alloca" in text  # nothing has optimised it
    assert "@pic" not in text
    with CompilerSession(built.modules["sub/b.cc"]) as session:
        assert "two words" in session.ir()
    assert own_build(root).modules == built.modules
    assert own_build(root, "compilergym").modules.keys() == built.modules.keys()


def test_own_build__keeps_what_compiles_of_a_build_that_fails(tmp_path) -> None:
    files = {**FILES, "Makefile": MAKEFILE.replace("@TARGETS@", "broken.o")}
    built = own_build(put(tmp_path / "p", files))
    assert built.status == "failed"
    assert list(built.modules) == ["lib/a.c", "one.c", "sub/b.cc", "two.c"]
    assert list(built.failures) == ["broken.c"]
    assert "error: expected parameter declarator" in built.failures["broken.c"]
    assert "Error 1" in built.log


def test_own_build__ends_in_time_with_what_there_is(tmp_path) -> None:
    built = own_build(put(tmp_path / "p", makefile("sleep 60 & sleep 60")), seconds=5.0)
    assert (built.status, list(built.modules)) == ("out of time", ["a.c"])


def test_own_build__without_a_build_system(tmp_path) -> None:
    built = own_build(put(tmp_path / "p", {"a.c": "int a;\n"}))
    assert (built.status, built.modules) == ("no build system", {})


def test_own_build__has_no_network_and_writes_to_its_copy_only(tmp_path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o777)
    outside.chmod(0o777)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        script = f"bash -c 'echo >/dev/tcp/127.0.0.1/{port}' && echo REACHED\necho x >{outside}/file\necho DONE"
        built = own_build(put(tmp_path / "p", makefile(script)))
    assert "DONE\n" in built.log
    assert "\nREACHED" not in built.log
    if find_sandbox().kind == "bubblewrap":
        assert list(outside.iterdir()) == []


@pytest.mark.parametrize(
    "script",
    [
        "rm -f $$DOJO_MODULES/*.bc; for u in $$DOJO_MODULES/*.unit; do ln -s /etc/passwd $${u%.unit}.bc; done",
        "rm -f $$DOJO_MODULES/*.bc; for u in $$DOJO_MODULES/*.unit; do mkfifo $${u%.unit}.bc; done",
        "rm -f $$DOJO_MODULES/*.bc; for u in $$DOJO_MODULES/*.unit; do echo no module >$${u%.unit}.bc; done",
        "rm -rf $$DOJO_MODULES ../log; ln -s /etc $$DOJO_MODULES; ln -s /etc/passwd ../log",
        "rm -rf $$DOJO_MODULES; mkfifo ../fifo; mv ../fifo ../modules",
        "printf '0 /etc/passwd' >$$DOJO_MODULES/x.unit; printf '0 %s/../../x' $$PWD >$$DOJO_MODULES/y.unit\n"
        "rm $$DOJO_MODULES/*.bc",
    ],
    ids=["link", "pipe", "text", "folders", "no folder", "outside"],
)
def test_own_build__is_not_taken_in_by_what_a_build_writes(tmp_path, script) -> None:
    built = own_build(put(tmp_path / "p", makefile(script)))
    assert built.modules == {}
    assert set(built.failures) <= {"a.c"}
    assert "root:" not in built.log + "".join(built.failures.values())


def test_own_build__wants_a_sandbox_and_make(tmp_path, monkeypatch) -> None:
    root = put(tmp_path / "p", makefile("true"))
    monkeypatch.setattr(module, "find_sandbox", lambda: Sandbox("limits", find_sandbox().user, "bwrap is missing"))
    with pytest.raises(ToolchainError, match=r"no sandbox .* works here \(bwrap is missing\): install bubblewrap with"):
        own_build(root)
    assert list(own_build(root, allow_unconfined=True).modules) == ["a.c"]
    with pytest.raises(InvalidConfigError, match="unknown lowering 'o9'"):
        own_build(root, "o9")
    monkeypatch.setattr(module.shutil, "which", lambda name: None)
    with pytest.raises(ToolchainError, match="needs make: install it with `apt-get install make`"):
        own_build(root)


@pytest.mark.parametrize("kind", list(CONFINES)[:2])
def test_own_build__is_the_same_in_every_sandbox(tmp_path, monkeypatch, kind) -> None:
    makefile = "all:\n\t$(CC) -c $(PWD)/a.c\n\tmkdir sub && cd sub && $(CC) -I$(PWD) -c $(PWD)/b.c\n"
    source = '#include "n.h"\nconst char *f(void) { return __FILE__ NAME; }\n'
    files = {"Makefile": makefile, "a.c": source, "b.c": source, "n.h": "#define NAME __FILE__\n"}
    here = own_build(put(tmp_path / "p", files))
    monkeypatch.setattr(module, "find_sandbox", lambda: Sandbox(kind, find_sandbox().user))
    there = own_build(tmp_path / "p")
    assert there.status == "built", there.log
    with CompilerSession(there.modules["a.c"]) as one, CompilerSession(here.modules["a.c"]) as other:
        assert one.hash() == other.hash()
        assert "a.c" in one.ir()
    assert here.modules == there.modules
    assert all(b"work/tree" not in module for module in there.modules.values())


@pytest.fixture
def job(tmp_path) -> PackageJob:
    put(tmp_path / "p", {**FILES, "Makefile": MAKEFILE.replace("@TARGETS@", "broken.o"), "COPYING": "free"})
    with tarfile.open(tmp_path / "p.tar", "w") as archive:
        archive.add(tmp_path / "p", "p-1")
    return PackageJob(
        "debian", "p", "1", "p", tmp_path / "p.tar", own_build=True, instructions=(1, 1000), levels=(), limit=8
    )


def test_build_package__measures_and_keeps_what_the_own_build_gives(tmp_path, job) -> None:
    (tmp_path / "root" / "usr").mkdir(parents=True)
    report = build_package(job, tmp_path / "root", tmp_path / "out")
    assert (report.found, report.tried, report.compiled, report.kept) == (7, 5, 4, 4)
    assert report.reasons == {"syntax": 1}
    assert report.details["its own build"].startswith("failed: make")
    rows = {row.program.uri: row for row in read_rows(str(tmp_path / "out" / f"{job.key}.parquet"))}
    assert sorted(rows) == [f"debian://p/{unit}" for unit in ("lib/a.c", "one.c", "sub/b.cc", "two.c")]
    assert rows["debian://p/sub/b.cc"].program.language == "c++"
    assert rows["debian://p/lib/a.c"].program.provenance.license_files == ("COPYING",)


def test_build_package__says_when_the_own_build_gives_nothing(tmp_path) -> None:
    (tmp_path / "root" / "usr").mkdir(parents=True)
    (tmp_path / "a.c").write_text("int a;\n")
    with tarfile.open(tmp_path / "p.tar", "w") as archive:
        archive.add(tmp_path / "a.c", "p-1/a.c")
    pinned = PackageJob("debian", "p", "1", "p", tmp_path / "p.tar", own_build=True, units={"a.c": "0" * 16})
    report = build_package(pinned, tmp_path / "root", tmp_path / "out")
    assert report.error == "p: its own build compiled nothing (no build system): "
    assert report.reasons == {"not reached by its own build": 1}
