"""The order of Debian's versions, against dpkg's."""

import itertools
import shutil
import subprocess

import pytest

from compiler_dojo.envs.programs.sources.versions import compare_versions

VERSIONS = (
    "1",
    "1.0-1",
    "1.0-1+b1",
    "1:0.1",
    "1.0~rc1-1",
    "1.0~~",
    "1.0+dfsg-1",
    "1.10",
    "1.9a",
    "1.0-0",
    "1.0",
    "2:1:3-4",
)


@pytest.mark.skipif(shutil.which("dpkg") is None, reason="there is no dpkg")
def test_versions__are_ordered_as_by_dpkg() -> None:
    for first, second in itertools.combinations(VERSIONS, 2):
        order = compare_versions(first, second)
        relation = "lt" if order < 0 else "gt" if order else "eq"
        assert subprocess.run(["dpkg", "--compare-versions", first, relation, second], check=False).returncode == 0
        assert compare_versions(second, first) == -order
