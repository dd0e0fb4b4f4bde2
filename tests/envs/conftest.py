"""What the tests of the environments share: a small program, environments on it, files, and fresh interpreters."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from compiler_dojo.envs import PassOrderingEnv
from compiler_dojo.envs.programs import Program, load_programs

SMALL = "bundled://graphs/union_find"  # 133 instructions


@pytest.fixture(scope="session")
def small_program() -> Program:
    return load_programs(SMALL)[0]


@pytest.fixture
def make_env() -> Iterator[Callable[..., PassOrderingEnv]]:
    """Environments on the small program unless ``programs`` is given, closed when the test ends."""
    made = []

    def make(**settings: Any) -> PassOrderingEnv:
        made.append(PassOrderingEnv(**{"programs": SMALL, **settings}))
        return made[-1]

    yield make
    for env in made:
        env.close()


@pytest.fixture
def write(tmp_path) -> Callable[[str, str | bytes], Path]:
    """Write a file of this name in the test's folder."""

    def write(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


@pytest.fixture
def run_python(tmp_path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a script in a fresh interpreter, with these environment variables."""

    def run(script: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", script],
            cwd=tmp_path,
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            check=False,
        )

    return run
