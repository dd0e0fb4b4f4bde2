"""CompilerDojo: Gymnasium environments in which agents learn to compile, and the agents that learn in them.

Importing the package registers the environments, so that ``gymnasium.make("CompilerDojo/PassOrdering-v0")`` works.
"""

import importlib

from compiler_dojo import envs as envs

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """Load ``compiler_dojo.loops`` when it is first asked for."""
    if name == "loops":
        return importlib.import_module("compiler_dojo.loops")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
