"""The guide to loops, docs/loops.md, held against the code."""

import re
from pathlib import Path

import numpy as np
import pytest

import compiler_dojo
from compiler_dojo.envs.loops.nest import Loop, Nest, Pack
from compiler_dojo.envs.loops.workloads import parse

GUIDE = (Path(__file__).resolve().parents[3] / "docs" / "loops.md").read_text()
EXPRESSIONS = [text.replace("\\|", "|") for text in re.findall(r"^\| `([^`]*->[^`]*)` \|", GUIDE, re.MULTILINE)]


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_notation__of_the_guide_is_read(expression) -> None:
    axes = set(re.findall("[a-z]", expression.partition("|")[0]))
    assert parse(expression, **dict.fromkeys(axes, 4)).expression == expression


def test_nest__of_the_guide_is_what_it_is_printed_as() -> None:
    workload = parse("mk,kn->mn", m=256, k=256, n=256)
    loops = (Loop("n", 48), Loop("m", 8), Loop("k"), Loop("m"), Loop("n"))
    assert f"```text\n{Nest(workload, loops, tile=2, packs=(Pack(1, 1),))}\n```" in GUIDE


def test_python__of_the_guide_runs(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DOJO_CACHE", str(tmp_path / "cache"))
    code = GUIDE.split("```python\n")[1].split("```")[0]
    names = {"compiler_dojo": compiler_dojo} | {name: np.ones((256, 256), np.float32) for name in "ABC"}
    exec(code, names)
    assert (names["C"] == 256).all()
    assert (tmp_path / "out" / "libproduct.so").exists()
