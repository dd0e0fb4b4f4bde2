"""A package of Debian's, from the distribution's archive to programs."""

import shutil
from pathlib import Path

import pytest

from compiler_dojo.envs.errors import FetchError
from compiler_dojo.envs.programs import storage
from compiler_dojo.envs.programs.sources.archive import APT_FOLDER, Archive
from compiler_dojo.envs.programs.sources.headers import fetch_headers
from compiler_dojo.envs.programs.sources.packages import PackageJob, build_package

HEADERS = [("libc6-dev", ""), ("linux-libc-dev", "")]


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Archive:
    """The distribution's archive, with folders of apt's own."""
    if shutil.which("apt-get") is None or not APT_FOLDER.is_dir():
        pytest.skip("there is no apt")
    archive = Archive(tmp_path_factory.mktemp("apt"))
    try:
        archive.update()
    except FetchError as error:
        pytest.skip(f"the distribution's archive cannot be reached: {error}")
    return archive


@pytest.mark.network
def test_a_small_package__compiles_with_the_archives_headers(archive, tmp_path) -> None:
    package = archive.find("tinycdb")
    assert archive.fetch([package]) == {}
    headers = fetch_headers(HEADERS, archive)
    assert {"stdio.h", "linux/types.h", "sys/types.h"} <= headers.standard_names
    assert headers.search("stdio.h") == []
    packaging = None if package.packaging is None else archive.path(package.packaging)
    job = PackageJob(
        "debian", "tinycdb", package.version, "tinycdb", archive.path(package.sources), packaging=packaging
    )
    report = build_package(job, headers.root, tmp_path)
    assert report.error == ""
    assert report.tried == report.found >= 10
    assert report.compiled >= 0.9 * report.tried, report.details
    programs = [program for program, _ in storage.read_rows(tmp_path / f"{job.key}.parquet")]
    assert len(programs) == report.kept >= 5
    assert "debian://tinycdb/cdb_make.c" in {program.uri for program in programs}
    assert not [program.uri for program in programs if str(Path.home()).encode() in program.module]
