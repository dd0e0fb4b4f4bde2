"""The arrows between the packages point one way: every import in the sources is read and held against them."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("envs", "world_model", "agents", "experiments")

# What a package may import besides the standard library and itself. None: anything.
ALLOWED: dict[str, frozenset[str] | None] = {
    "envs": frozenset({"numpy", "gymnasium", "pyarrow", "fsspec", "datasets"}),
    "world_model": frozenset({"numpy", "torch"}),
    "agents": frozenset(
        {
            "numpy",
            "torch",
            "torch_geometric",
            "gymnasium",
            "safetensors",
            "stable_baselines3",
            "sb3_contrib",
            "compiler_dojo.world_model",
        }
    ),
    "experiments": None,
}


def imported_modules(source: str, package: str) -> Iterator[str]:
    """Absolute names of the modules that a file of ``compiler_dojo.<package>`` imports, wherever in the file it does.

    ``from a import b`` counts as ``a.b``: whether b is a module or a member, its package is a.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            # the packages are flat enough that two dots at most stay inside one
            base = node.module or "" if node.level == 0 else f"compiler_dojo.{package}.{node.module or ''}".rstrip(".")
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in ("import_module", "__import__"):
                yield str(node.args[0].value)


def is_allowed(module: str, package: str) -> bool:
    parts = module.split(".")
    if parts[0] in PACKAGES:
        return False
    if parts[0] in sys.stdlib_module_names:
        return True
    if parts[0] == "compiler_dojo" and (len(parts) == 1 or parts[1] == package):
        return True
    if package == "agents" and module.startswith("compiler_dojo.envs.") and any(p.endswith("protocols") for p in parts):
        return True
    allowed = ALLOWED[package]
    return allowed is None or parts[0] in allowed or ".".join(parts[:2]) in allowed


def violations(source: str, package: str) -> list[str]:
    return [module for module in imported_modules(source, package) if not is_allowed(module, package)]


def files_of(package: str) -> list[Path]:
    return [path for path in (ROOT / package).rglob("*.py") if "__pycache__" not in path.parts]


@pytest.mark.parametrize("package", PACKAGES)
def test_package__imports_only_what_its_arrows_allow(package) -> None:
    files = files_of(package)
    assert files
    found = {str(path.relative_to(ROOT)): violations(path.read_text(), package) for path in files}
    assert {path: modules for path, modules in found.items() if modules} == {}


@pytest.mark.parametrize("folder", ["tests", "src/compiler_dojo"])
def test_bare_names__are_imported_nowhere(folder) -> None:
    for path in (ROOT / folder).glob("*.py") if folder.startswith("src") else (ROOT / folder).rglob("*.py"):
        bare = [name for name in imported_modules(path.read_text(), "") if name.split(".")[0] in PACKAGES]
        assert bare == [], path


@pytest.mark.parametrize(
    ("package", "source"),
    [
        ("envs", "import torch"),
        ("envs", "import gymnasium, yaml"),
        ("envs", "from compiler_dojo.agents.ppo import PPOLearner"),
        ("envs", "from compiler_dojo import experiments"),
        ("envs", "def f():\n    from rich.table import Table"),
        ("envs", "import importlib\nimportlib.import_module('torch')"),
        ("envs", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch"),
        ("world_model", "import gymnasium"),
        ("world_model", "from compiler_dojo.envs import PassOrderingEnv"),
        ("world_model", "from compiler_dojo.agents import protocols"),
        ("agents", "from compiler_dojo.envs import PassOrderingEnv"),
        ("agents", "import compiler_dojo.envs.pass_ordering"),
        ("agents", "import compiler_dojo.experiments.cli"),
        ("agents", "import typer"),
        ("experiments", "import envs"),
        ("experiments", "from agents.ppo import PPOLearner"),
    ],
)
def test_gate__finds_a_forbidden_arrow(package, source) -> None:
    assert violations(source, package) != []


@pytest.mark.parametrize(
    ("package", "source"),
    [
        ("envs", "import numpy.typing as npt\nfrom gymnasium.utils import EzPickle\nimport ctypes"),
        ("envs", "from . import rewards\nfrom ..errors import DojoError\nfrom compiler_dojo.envs import errors"),
        ("world_model", "import torch.nn as nn\nimport numpy as np\nfrom compiler_dojo.world_model import rssm"),
        ("agents", "from compiler_dojo.world_model.model import WorldModel\nfrom stable_baselines3 import PPO"),
        ("agents", "from compiler_dojo.envs.protocols import Forkable"),
        ("experiments", "import typer, rich\nfrom compiler_dojo.agents import ppo\nfrom compiler_dojo import envs"),
    ],
)
def test_gate__lets_an_allowed_arrow_pass(package, source) -> None:
    assert violations(source, package) == []


@pytest.mark.parametrize("module", ["compiler_dojo", "compiler_dojo.envs"])
def test_import__does_no_work_and_needs_none_of_the_extras(module, tmp_path) -> None:
    script = f"""
import sys
import {module}
heavy = {{"torch", "stable_baselines3", "yaml", "rich", "typer", "matplotlib", "ray", "pyarrow", "fsspec", "datasets"}}
print(sorted(heavy & set(sys.modules)))
print([line for line in open("/proc/self/maps") if "libLLVM" in line or "libdojo" in line])
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.stdout.splitlines(), done.stderr) == (["[]", "[]"], "")
