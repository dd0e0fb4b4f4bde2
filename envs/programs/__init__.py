"""Where problems come from: programs, sets of programs, and their sources."""

from compiler_dojo.envs.programs.program import Program, RunSpecification
from compiler_dojo.envs.programs.program_set import ProgramSet, load_programs

__all__ = ["Program", "ProgramSet", "RunSpecification", "load_programs"]
