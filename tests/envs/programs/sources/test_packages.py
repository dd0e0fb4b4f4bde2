"""From archives to measured programs: whole or not at all, again the same, and what goes wrong counted."""

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from debian_archive import BUNDLED, PLAIN, tarball
from small_disk import small_disk

from compiler_dojo.envs.errors import DatasetError
from compiler_dojo.envs.programs import storage
from compiler_dojo.envs.programs.sources.headers import Headers
from compiler_dojo.envs.programs.sources.packages import (
    PackageJob,
    PackageReport,
    build_package,
    list_units,
    load_unit,
    project_of,
    summed,
)

SHA256 = (BUNDLED / "crypto" / "sha256_hmac.c").read_text()


@pytest.fixture
def job(tmp_path) -> Callable[..., PackageJob]:
    """A job on a package of these files."""

    def make(files: Mapping[str, str | bytes] | bytes = PLAIN, name: str = "plain", **settings: Any) -> PackageJob:
        archive = tmp_path / f"{name}.tar.gz"
        archive.write_bytes(files if isinstance(files, bytes) else tarball(files, prefix=f"{name}-1/"))
        return PackageJob("debian", name, "1-1", project_of(name), archive, **settings)

    return make


def function(name: str, loops: int = 8) -> str:
    body = "".join(f"for (int i = 0; i < {n + 3}; i++) x = x * {n + 5} + i;\n" for n in range(loops))
    return f"int {name}(int x) {{ {body} return x; }}\n"


def test_package__becomes_measured_programs(job, headers, tmp_path) -> None:
    copyright_text = "Format: x\n\nFiles: *\nLicense: Expat\n\nFiles: src/*\nLicense: GPL-2+\n"
    files = {
        **PLAIN, "debian/copyright": copyright_text, "crypto/sha.c": SHA256,
        "tiny.c": "int x;\n", "bad.c": "#error no\n",
        "same.c": PLAIN["src/plain.c"],
        "cpp/a.cc": "namespace { " + function("f") + "}\nint g(int x) { return f(x); }\n",
        "lost.c": "#include <no_such.h>\n",
    }  # fmt: skip
    work = job(files, package_source="plain.tar.gz#sha256=00", domain="text")
    report = build_package(work, headers.root, tmp_path / "out")
    assert report.error == ""
    assert (report.found, report.tried) == (7, 7)
    assert report.reasons == {"#error": 1, "missing header": 1}
    assert report.left_out == {"no functions": 1, "same module in the package": 1}
    # which of two equal units is kept depends on the random order
    assert {*report.units} - {"same.c", "src/plain.c"} == {"cpp/a.cc", "crypto/sha.c"}
    assert len(report.units) == report.kept == 3
    rows = list(storage.read_rows(tmp_path / "out" / f"{work.key}.parquet"))
    assert [row.program.uri for row in rows] == [f"debian://plain/{unit}" for unit in report.units]
    for program, measurement in rows:
        assert measurement.instructions_oz is not None
        assert 50 <= measurement.instructions_o0 <= 10_000
        assert program.provenance.license_expression == ("GPL-2.0-or-later" if "/src/" in program.uri else "MIT")
        assert program.provenance.package_source == "plain.tar.gz#sha256=00"
        assert (program.project, program.domain, program.lowering) == ("plain", "text", "oz")
        assert report.units[program.uri.removeprefix("debian://plain/")].startswith(program.sha256[:16])


def test_package__is_not_built_twice_and_gives_the_same_bytes(job, headers, tmp_path, monkeypatch) -> None:
    work = job()
    first = build_package(work, headers.root, tmp_path / "one")
    part = tmp_path / "one" / f"{work.key}.parquet"
    stamp = part.stat().st_mtime_ns
    assert build_package(work, headers.root, tmp_path / "one") == first
    assert part.stat().st_mtime_ns == stamp
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "elsewhere"))
    second = build_package(work, headers.root, tmp_path / "two")
    assert second.units == first.units
    assert (tmp_path / "two" / part.name).read_bytes() == part.read_bytes()
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == [f"{work.key}.json", part.name]


@pytest.mark.parametrize("damage", ["report", "part", "older report"])
def test_package__whose_files_are_damaged_is_built_again(job, headers, tmp_path, damage) -> None:
    work = job()
    report = build_package(work, headers.root, tmp_path / "out")
    file, part = tmp_path / "out" / f"{work.key}.json", tmp_path / "out" / f"{work.key}.parquet"
    if damage == "part":
        part.unlink()
    else:
        file.write_text('{"name": "plain", ' if damage == "report" else '{"no_such_field": 1}')
    assert build_package(work, headers.root, tmp_path / "out").units == report.units
    assert part.exists()
    assert PackageReport.read(file).units == report.units


def test_key__differs_with_every_setting(job) -> None:
    work = job()
    others = {
        "scheme": "pypi", "version": "2", "project": "other", "archive": Path("other"), "package_source": "x",
        "packaging": Path("x"), "license_expression": "MIT", "domain": "x",
        "units": {"a.c": "00"}, "limit": 3, "seed": 1,
        "languages": ("c",), "lowering": "compilergym", "instructions": (1, 2), "levels": (),
        "name": "other", "linked": True, "own_build": True,
    }  # fmt: skip
    assert others.keys() == {field.name for field in dataclasses.fields(PackageJob)}
    keys = {dataclasses.replace(work, **{name: value}).key for name, value in others.items()}
    assert len({work.key, *keys}) == len(others) + 1
    assert dataclasses.replace(work).key == work.key


def test_archive__that_is_damaged_is_data_and_tried_again(job, headers, tmp_path) -> None:
    whole = tarball(PLAIN, prefix="plain-1/")
    work = job(whole[: len(whole) // 2])
    report = build_package(work, headers.root, tmp_path / "out")
    assert "truncated or damaged" in report.error
    work.archive.unlink()
    assert "No such file" in build_package(work, headers.root, tmp_path / "out").error
    work.archive.write_bytes(whole)
    report = build_package(work, headers.root, tmp_path / "out")
    assert (report.error, report.kept) == ("", 1)


def test_package_without_units__leaves_an_empty_part(job, headers, tmp_path) -> None:
    work = job({"README": "nothing"})
    report = build_package(work, headers.root, tmp_path / "out")
    assert (report.found, report.kept, report.error) == (0, 0, "")
    assert list(storage.read_rows(tmp_path / "out" / f"{work.key}.parquet")) == []


def test_listed_units__are_built_alone_and_held_against_their_hashes(job, headers, tmp_path) -> None:
    files = {"a.c": function("a"), "b.c": function("b"), "c.c": function("c", 9)}
    report = build_package(job(files), headers.root, tmp_path / "out")
    digits = {unit: text.split()[0] for unit, text in report.units.items()}
    assert sorted(digits) == ["a.c", "b.c", "c.c"]
    listed = job(files, units={"c.c": digits["c.c"], "a.c": "0" * 16, "gone.c": "0" * 16})
    found = build_package(listed, headers.root, tmp_path / "out")
    assert (list(found.units), found.unlike, found.tried, found.compiled) == (["c.c"], ["a.c"], 3, 2)


def test_one_unit__is_the_program_that_the_package_has(job, headers, tmp_path) -> None:
    work = job(license_expression="MIT")
    build_package(work, headers.root, tmp_path / "out")
    ((expected, _),) = storage.read_rows(tmp_path / "out" / f"{work.key}.parquet")
    program = load_unit(work, "src/plain.c", headers)
    assert program == expected
    assert not isinstance(program, str)
    assert program.provenance == expected.provenance
    assert list_units(work, headers) == ["src/plain.c"]
    assert load_unit(work, "src/none.c", headers) == "other: error: no such file or directory: './src/none.c'"


def test_sample__is_drawn_by_seed_with_fewer_of_cpp(job, headers, tmp_path) -> None:
    files = {f"{n}.{suffix}": "#error x\n" for n in range(20) for suffix in ("c", "cc")}
    tried = []
    for seed in (0, 0, 1):
        report = build_package(job(files, limit=8, seed=seed), headers.root, tmp_path / f"out-{len(tried)}")
        assert (report.found, report.tried) == (40, 9)
        tried.append(sorted(report.details))
    assert tried[0] == tried[1] != tried[2]
    only = build_package(job(files, languages=("c",), limit=1), headers.root, tmp_path / "only")
    assert (only.found, len(only.details)) == (20, 2 - 1)


def test_names__that_are_no_utf8_are_left_out(job, headers, tmp_path) -> None:
    bad = b"\xe9t\xe9".decode(errors="surrogateescape")
    report = build_package(
        job({"a.c": function("a"), f"{bad}.c": function("b"), f"COPYING.{bad}": "x"}), headers.root, tmp_path / "out"
    )
    assert report.reasons == {"name is not UTF-8": 1}
    assert list(report.units) == ["a.c"]


def test_figures__are_summed_over_packages() -> None:
    reports = {
        "a": PackageReport("a", "1", found=4, tried=3, compiled=2, kept=2, reasons={"syntax": 1}, seconds=1.0),
        "b": PackageReport("b", "1", found=1, tried=1, reasons={"syntax": 1}, unlike=["x"], error="no"),
    }
    figures = summed(reports)
    assert figures["packages_without_programs"] == 1
    assert (figures["found"], figures["tried"], figures["compiled"], figures["yield"]) == (5, 4, 2, 0.5)
    assert figures["reasons"] == {"syntax": 2}
    assert summed({})["yield"] == 0.0


@pytest.mark.parametrize(
    ("package", "project"), [("lua5.4", "lua"), ("gcc-12", "gcc"), ("zlib", "zlib"), ("x264", "x264"), ("m4", "m4")]
)
def test_project__is_the_name_without_its_version(package, project) -> None:
    assert project_of(package) == project


SCRIPT = """
import dataclasses, json, sys
from pathlib import Path
from compiler_dojo.envs.programs.sources.packages import PackageJob, build_package
archive, headers, folder = map(Path, sys.argv[1:])
build_package(PackageJob("debian", "plain", "1-1", "plain", archive), headers, folder)
"""


def test_kill__loses_the_package_alone_and_the_next_run_builds_it(job, headers, tmp_path) -> None:
    files: dict[str, str | bytes] = {f"{n:02}.c": function(f"f{n}", 4 + n) for n in range(25)}
    work = job(files)
    folder = tmp_path / "out"
    command = [sys.executable, "-c", SCRIPT, str(work.archive), str(headers.root), str(folder)]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, env=environment) as process:
        deadline = time.monotonic() + 60.0
        while not list(folder.glob(".partial-*")):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert not (folder / f"{work.key}.json").exists()
    assert not (folder / f"{work.key}.parquet").exists()
    assert subprocess.run(command, env=environment, check=False).returncode == 0
    fresh = build_package(work, headers.root, tmp_path / "fresh")
    assert PackageReport.read(folder / f"{work.key}.json").units == fresh.units
    name = f"{work.key}.parquet"
    assert (folder / name).read_bytes() == (tmp_path / "fresh" / name).read_bytes()


def test_full_disk__is_named_and_loses_nothing_finished(job, headers, tmp_path) -> None:
    with small_disk(tmp_path / "disk", 128 << 10) as disk:
        first, second = job(), job({"a.c": function("a")}, "second")
        report = build_package(first, headers.root, disk)
        kept = {path.name: path.read_bytes() for path in disk.iterdir()}
        filler = disk / "filler"
        with contextlib.suppress(OSError):
            filler.write_bytes(bytes(1 << 20))
        with pytest.raises(DatasetError, match=r"second could not be built: .*No space left.*free space in"):
            build_package(second, headers.root, disk)
        filler.unlink()
        assert {path.name: path.read_bytes() for path in disk.iterdir()} == kept
        assert build_package(first, headers.root, disk) == report
        assert build_package(second, headers.root, disk).kept == 1


def test_full_temporary_folder__is_named_and_not_remembered(job, headers, tmp_path, monkeypatch) -> None:
    work = job({**PLAIN, "data.txt": os.urandom(1 << 19)})
    with small_disk(tmp_path / "disk", 128 << 10) as disk:
        monkeypatch.setattr(tempfile, "tempdir", str(disk))
        assert "No space left" in build_package(work, headers.root, tmp_path / "out").error
        assert list(disk.iterdir()) == []
        monkeypatch.undo()
    assert build_package(work, headers.root, tmp_path / "out").kept == 1


def test_folder__that_cannot_be_written_is_named(job, headers, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DatasetError, match=r"plain could not be built: .*start again: finished packages are kept"):
        build_package(job(), headers.root, tmp_path / "file" / "below")


def test_archive_to_programs__of_a_local_archive(debian, tmp_path) -> None:
    debian.add("plain", "1:1-1", PLAIN, copyright_text="Files: *\nLicense: ISC\n")
    debian.add_headers("libc6-dev", "1")
    from compiler_dojo.envs.programs.sources.headers import fetch_headers

    archive = debian.open()
    package = archive.find("plain", "1:1-1")
    assert archive.fetch([package]) == {}
    assert package.packaging is not None
    headers: Headers = fetch_headers([("libc6-dev", "1")], archive)
    work = PackageJob(
        "debian",
        "plain",
        package.version,
        "plain",
        archive.path(package.sources),
        packaging=archive.path(package.packaging),
    )
    report = build_package(work, headers.root, tmp_path / "out")
    ((program, _),) = storage.read_rows(tmp_path / "out" / f"{work.key}.parquet")
    assert json.loads((tmp_path / "out" / f"{work.key}.json").read_text())["kept"] == report.kept == 1
    assert (program.provenance.license_expression, program.provenance.license_source) == ("ISC", "debian/copyright")
