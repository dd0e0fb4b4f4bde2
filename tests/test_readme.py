"""The Python in the README runs as printed."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)


def test_readme__has_python() -> None:
    assert len(BLOCKS) >= 3


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_readme__python_runs(block: str, tmp_path: Path) -> None:
    folder = tmp_path / "path" / "to"
    folder.mkdir(parents=True)
    (folder / "program.c").write_text("int twice(int x) { return 2 * x; }\n")
    name = "envs" if "make_vec" in block else "env"
    code = block + f"\n{name}.reset(seed=0)\n{name}.step({name}.action_space.sample())\n"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
