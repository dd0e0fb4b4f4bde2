"""Where reproducers are saved, and that they come back as they were."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from compiler_dojo.envs.errors import InvalidConfigError
from compiler_dojo.envs.llvm.reproducer import FOLDER_VARIABLE, Reproducer, crashes_folder, saved_in

REPRODUCER = Reproducer(b"BC", ["dce", "gvn"], "CompilerCrashedError", "a message", "19.1.7", "p", 2.5)


def test_reproducer__comes_back_as_it_was_and_is_saved_once(tmp_path: Path) -> None:
    folder = REPRODUCER.save(tmp_path)
    assert Reproducer.load(folder) == REPRODUCER
    assert REPRODUCER.save(tmp_path) == folder
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize("before", [None, "/before"])
def test_saved_in__holds_inside_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str | None) -> None:
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    if before is not None:
        monkeypatch.setenv(FOLDER_VARIABLE, before)
    with saved_in(tmp_path):
        assert crashes_folder() == tmp_path
        assert REPRODUCER.save().parent == tmp_path
    assert os.environ.get(FOLDER_VARIABLE) == before


def test_load__of_a_folder_without_one_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfigError, match="holds no reproducer"):
        Reproducer.load(tmp_path)
