"""The doctor finds what is there, and says how to get what is not."""

from __future__ import annotations

import importlib.metadata
import json
import re
import shutil
from pathlib import Path

import pytest
from experiments_support import Dojo, run_dojo

from compiler_dojo.envs.llvm.library import load_library
from compiler_dojo.envs.llvm.sandbox import find_sandbox
from compiler_dojo.envs.programs import load_programs
from compiler_dojo.experiments import doctor
from compiler_dojo.experiments.doctor import Finding, examine


def test_examine__finds_what_this_installation_runs_with() -> None:
    findings = {finding.subject: finding for finding in examine()}
    library = load_library()
    version = ".".join(map(str, library.version))
    assert findings["libLLVM"].found == f"{version} at {library.path}"
    assert Path(findings["C core"].found or "").name == "libdojo.so"
    assert findings["bundled programs"].found == f"{len(load_programs('bundled'))} programs"
    assert findings["torch"].found == importlib.metadata.version("torch")
    assert re.fullmatch(rf"{library.version[0]}\.\d+\.\d+ at /.*", findings["clang"].found or "")
    assert {name for name, finding in findings.items() if finding.required} == {"C core", "libLLVM", "bundled programs"}


def test_examine__shows_the_sandbox_that_programs_run_in() -> None:
    findings = {finding.subject: finding for finding in examine()}
    found = findings["sandbox"].found
    assert (found is not None) == (find_sandbox().kind == "bubblewrap")
    assert found is None or found.startswith("bubblewrap: no network, read-only files")


def test_examine__an_absent_package_has_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(package: str) -> str:
        raise importlib.metadata.PackageNotFoundError(package)

    monkeypatch.setattr(importlib.metadata, "version", absent)
    findings = {finding.subject: finding for finding in examine()}
    assert findings["torch"] == Finding(
        "torch", None, "pip install 'compiler-dojo[sb3]'  (trained policies)", required=False
    )
    assert findings["ray"].remedy.startswith("pip install 'compiler-dojo[rllib]'")


def test_examine__finds_what_programs_are_got_with(monkeypatch: pytest.MonkeyPatch) -> None:
    findings = {finding.subject: finding for finding in examine()}
    assert findings["csmith"].found == shutil.which("csmith")
    assert findings["pyarrow"].found == importlib.metadata.version("pyarrow")
    assert findings["pyarrow"].remedy == "pip install 'compiler-dojo[programs]'  (stored sets of programs)"
    assert findings["datasets"].remedy.startswith("pip install 'compiler-dojo[compile]'")
    monkeypatch.setattr(doctor, "APT_HELPER", "/nonexistent")
    monkeypatch.setenv("PATH", "/nonexistent")
    absent = {finding.subject: finding for finding in examine()}
    for name, remedy in (
        ("apt", "comes with Debian and Ubuntu"),
        ("csmith", "apt-get install csmith libcsmith-dev"),
        ("llvm-link", "apt-get install llvm-"),
    ):
        assert absent[name].found is None
        assert absent[name].remedy.startswith(remedy)


def test_doctor__prints_a_table_and_succeeds_where_everything_required_is_there(dojo: Dojo) -> None:
    done = dojo("doctor")
    assert done.status == 0
    for finding in examine():
        assert finding.subject in done.out
        assert (finding.found or "missing") in done.out


def test_doctor__prints_the_same_as_json(dojo: Dojo) -> None:
    done = dojo("doctor", "--json")
    assert done.status == 0
    assert json.loads(done.out) == [finding._asdict() for finding in examine()]


def test_doctor__without_libllvm_fails_and_names_the_remedy() -> None:
    done = run_dojo("doctor", "--json", DOJO_LIBLLVM="/nonexistent")
    findings = {finding["subject"]: finding for finding in json.loads(done.out)}
    assert done.status == 1
    assert done.err == ""
    assert findings["libLLVM"]["found"] is None
    assert findings["libLLVM"]["remedy"].startswith("apt-get install libllvm19")
    assert findings["linker"]["found"] is not None
    done = run_dojo("doctor", DOJO_LIBLLVM="/nonexistent")
    assert done.status == 1
    assert re.search(r"libLLVM +│ missing +│ apt-get install libllvm19", done.out)


def test_doctor__without_tools_succeeds_and_names_the_commands_that_bring_them() -> None:
    done = run_dojo("doctor", "--json", PATH="/nonexistent")
    findings = {finding["subject"]: finding for finding in json.loads(done.out)}
    assert done.status == 0
    assert (findings["clang"]["found"], findings["linker"]["found"]) == (None, None)
    assert "apt-get install clang-19" in findings["clang"]["remedy"]
    assert "apt-get install g++" in findings["linker"]["remedy"]
    assert (findings["sandbox"]["found"], findings["sanitizers"]["found"]) == (None, None)
    assert "apt-get install bubblewrap  (programs run with resource limits" in findings["sandbox"]["remedy"]
    assert "bubblewrap: bwrap is not installed" in findings["sandbox"]["remedy"]
    assert "apt-get install libclang-rt-19-dev" in findings["sanitizers"]["remedy"]


def test_doctor__names_a_variable_that_leads_nowhere() -> None:
    done = run_dojo("doctor", DOJO_LIBLLVM="/nonexistent")
    assert "DOJO_LIBLLVM" in done.out
    assert "/nonexistent" in done.out


def test_doctor__does_not_call_clang_missing_for_want_of_libllvm() -> None:
    done = run_dojo("doctor", "--json", DOJO_LIBLLVM="/nonexistent")
    findings = {finding["subject"]: finding for finding in json.loads(done.out)}
    assert findings["clang"]["found"] is not None
