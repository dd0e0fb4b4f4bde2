"""CompilerDojo: Gymnasium environments in which agents learn to compile, and the agents that learn in them.

Importing the package registers the environments, so that ``gymnasium.make("CompilerDojo/PassOrdering-v0")`` works.
"""

from compiler_dojo import envs as envs

__version__ = "0.1.0"
