"""Where problems come from: programs, sets of programs, and their sources.

==================================  ====================================================================================
``program``, ``program_set``        a program and where it comes from; sets, read when they are first used
``loading``, ``selection``          from what a user names to a set, and to a part of it
``schemes``, ``sources``            which module knows which URIs; archives, generators, suites, the user's files
``bundled``                         the programs that come with the package
``bitcode``, ``linking``            bitcode of other LLVMs; whole programs from units
``measure``, ``splits``             sizes and hashes; splits that share no project, module or large function
``storage``, ``stored``             writing sets and reading them; ``columns`` and ``manifest`` are their format
``building``, ``corpora``           sets from packages, and the lists of the standard ones
``transfer``, ``folders``           folders of files to sets and back; where sets and downloads are kept
==================================  ====================================================================================
"""

from compiler_dojo.envs.programs.loading import load_programs
from compiler_dojo.envs.programs.program import Program, Provenance, RunSpecification
from compiler_dojo.envs.programs.program_set import ProgramSet

__all__ = ["Program", "ProgramSet", "Provenance", "RunSpecification", "load_programs"]
