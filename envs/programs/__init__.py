"""Where problems come from: programs, sets of programs, and their sources."""

from compiler_dojo.envs.programs.loading import load_programs
from compiler_dojo.envs.programs.program import Program, Provenance, RunSpecification
from compiler_dojo.envs.programs.program_set import ProgramSet

__all__ = ["Program", "ProgramSet", "Provenance", "RunSpecification", "load_programs"]
