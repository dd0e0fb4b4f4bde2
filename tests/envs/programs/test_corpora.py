"""The committed lists: what they promise, and that they are read as they were written."""

import dataclasses
import itertools
import json
import re
import shutil
from pathlib import Path

import pytest

from compiler_dojo.envs.errors import FetchError, UnknownProgramError
from compiler_dojo.envs.programs import corpora
from compiler_dojo.envs.programs.building import build_standard
from compiler_dojo.envs.programs.corpora import Corpus, PinnedPackage, corpus_names, read_corpus, write_corpus
from compiler_dojo.envs.programs.sources.archive import APT_FOLDER, shared_archive
from compiler_dojo.envs.programs.sources.packages import HASH_DIGITS, project_of
from compiler_dojo.envs.programs.splits import Entry, check_splits
from compiler_dojo.envs.programs.storage import open_set, read_rows

NAMES = corpus_names()
SPLITS = ("corpus-train", "corpus-valid", "corpus-test")
PAIRS = [*itertools.combinations(SPLITS, 2), ("corpus-train", "whole-test"), ("corpus-valid", "whole-test")]
PARTS = [("corpus-mini", "corpus-train"), ("corpus-tiny", "corpus-train")]

LEAST = {
    "corpus-train": (20_000, 150),
    "corpus-test": (1_500, 40),
    "whole-test": (30, 2),
    "corpus-mini": (2_000, 30),
    "corpus-tiny": (10, 1),
}
"""Programs and projects that a corpus has at least."""


@pytest.mark.parametrize("name", NAMES)
def test_list__is_well_formed(name: str) -> None:
    corpus = read_corpus(name)
    assert corpus.name == name
    assert corpus.about.endswith(".")
    assert corpus.linked == name.startswith("whole")
    assert corpus.instructions == ((50, 50_000) if corpus.linked else (50, 10_000))
    names = [package.name for package in corpus.packages]
    assert names == sorted(set(names))
    for package in corpus.packages:
        assert package.units
        assert package.project == project_of(package.name)
        assert package.domain
        assert re.fullmatch("[0-9a-f]{64}", package.sha256)
        assert all(re.fullmatch(f"[0-9a-f]{{{HASH_DIGITS}}}", digits) for digits in package.units.values())
        assert not [unit for unit in package.units if unit.startswith("/") or ".." in unit.split("/")]


@pytest.mark.parametrize("name", NAMES)
def test_list__is_as_large_as_it_should_be(name: str) -> None:
    corpus = read_corpus(name)
    programs, projects = LEAST.get(name, (1, 1))
    assert corpus.size >= programs
    assert len({package.project for package in corpus.packages}) >= projects
    if name == "corpus-mini":
        assert corpus.size == programs


@pytest.mark.parametrize("name", NAMES)
def test_list__has_no_program_twice(name: str) -> None:
    digits = [digit for package in read_corpus(name).packages for digit in package.units.values()]
    assert len(digits) == len(set(digits))


@pytest.mark.parametrize(("one", "other"), [pair for pair in PAIRS if {*pair} <= {*NAMES}])
def test_splits__share_no_project_and_no_program(one: str, other: str) -> None:
    first, second = read_corpus(one).packages, read_corpus(other).packages
    assert not {package.project for package in first} & {package.project for package in second}
    assert not {package.name for package in first} & {package.name for package in second}
    own = {digits for package in first for digits in package.units.values()}
    assert not own & {digits for package in second for digits in package.units.values()}


@pytest.mark.parametrize(("part", "whole"), [pair for pair in PARTS if {*pair} <= {*NAMES}])
def test_small_corpora__are_parts_of_the_training_corpus(part: str, whole: str) -> None:
    packages = {package.name: package for package in read_corpus(whole).packages}
    for package in read_corpus(part).packages:
        larger = packages[package.name]
        assert package == dataclasses.replace(larger, units=package.units)
        assert package.units.items() <= larger.units.items()


def test_corpus__is_read_as_it_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packages = tuple(
        PinnedPackage(name, "1:2~rc1+ds-3", "0" * 64, name, "text", {"src/ü b.c": "a" * 16, "a.c": "b" * 16})
        for name in ("zlib", "a52dec")
    )
    corpus = Corpus("mine", "All.", packages, (1, 2), "compilergym", True, {"tried": {"packages": 3}})
    write_corpus(corpus, tmp_path)
    monkeypatch.setattr(corpora, "FOLDER", tmp_path)
    assert corpora.corpus_names() == ["mine"]
    assert read_corpus("mine") == dataclasses.replace(corpus, packages=packages[::-1])
    assert read_corpus("mine").size == 4
    text = (tmp_path / "mine.jsonl").read_text()
    write_corpus(read_corpus("mine"), tmp_path)
    assert (tmp_path / "mine.jsonl").read_text() == text
    assert len([json.loads(line) for line in text.splitlines()]) == 3
    with pytest.raises(UnknownProgramError, match="no standard corpus 'min': did you mean 'mine'"):
        read_corpus("min")
    with pytest.raises(UnknownProgramError, match="no standard corpus 'corpsu': did you mean 'corpus'"):
        read_corpus("corpsu")


@pytest.mark.network
def test_corpus_tiny__is_the_same_here(tmp_path: Path) -> None:
    if "corpus-tiny" not in NAMES:
        pytest.skip("there is no list of corpus-tiny")
    if shutil.which("apt-get") is None or not APT_FOLDER.is_dir():
        pytest.skip("there is no apt")
    try:
        shared_archive().packages()
        (result,) = build_standard(["corpus-tiny"], tmp_path, workers=2)
    except FetchError as error:
        pytest.skip(f"the distribution's archive cannot be reached: {error}")
    corpus = read_corpus("corpus-tiny")
    listed = {
        f"debian://{package.name}/{unit}": digits
        for package in corpus.packages
        for unit, digits in package.units.items()
    }
    assert result.incomplete == ()
    found = {program.uri: program.sha256[:HASH_DIGITS] for program in open_set(result.folder)}
    assert found == listed
    entries = [Entry.of(row.program, row.measurement, "train") for row in read_rows(result.folder)]
    assert all(re.fullmatch("[0-9a-f]{32}", entry.structural_hash) for entry in entries)
    assert any(entry.function_hashes for entry in entries)
    leak = check_splits({"train": entries, "test": entries[:1]})
    assert any(sentence.startswith("module") for sentence in leak)
