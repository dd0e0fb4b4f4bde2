"""What is known of a program once LLVM has seen it: its size before and after -Oz and -O3, and its hashes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from compiler_dojo.envs.errors import InvalidConfigError, did_you_mean
from compiler_dojo.envs.llvm.functions import FunctionHash
from compiler_dojo.envs.llvm.session import CompilerSession
from compiler_dojo.envs.llvm.worker import Isolation
from compiler_dojo.envs.programs.program import Program

# Of functions below it the bundled programs, which were written independently, share constructors, getters and the
# like, some of them six times. From it on they share seven, twice each: an FNV hash, a big-endian load, popcount, ...
FUNCTION_INSTRUCTIONS = 20
"""Unoptimised functions of fewer instructions are not compared between programs: they are equal by chance."""

LEVELS = ("Oz", "O3")


class Measurement(NamedTuple):
    """Sizes in IR instructions and hashes of a program.

    Attributes:
        instructions_o0: as the program is given.
        instructions_oz: after ``default<Oz>``, or None when it was not asked for.
        instructions_o3: after ``default<O3>``, or None when it was not asked for.
        structural_hash: :meth:`CompilerSession.hash` of the program as it is given, 32 hexadecimal digits.
        function_hashes: of the defined functions of at least :data:`FUNCTION_INSTRUCTIONS` instructions, without those
            of the C++ standard library's headers, which unrelated programs share; 16 bytes each, sorted, without
            repetition.
        llvm_version: the LLVM that measured, such as ``19.1.7``.
    """

    instructions_o0: int
    instructions_oz: int | None
    instructions_o3: int | None
    structural_hash: str
    function_hashes: tuple[bytes, ...]
    llvm_version: str


def _is_compared(function: FunctionHash) -> bool:
    return function.instructions >= FUNCTION_INSTRUCTIONS and not function.standard


def measure(program: Program, levels: Iterable[str] = LEVELS, seconds: float = 30.0) -> Measurement:
    """Measure a program in a worker process.

    Args:
        program: the program, unoptimised.
        levels: which of ``Oz`` and ``O3`` to run, each on the program as it is given.
        seconds: wall-clock limit of reading the program and of each level.

    Raises:
        InvalidProgramError: the program does not parse or verify, is empty, or defines no function.
        CompilerCrashedError: LLVM crashes.
        CompilerTimeoutError: LLVM takes longer than the limit, twice.
        InvalidConfigError: no such level, or the limit is not positive.
    """
    levels = tuple(levels)
    for level in levels:
        if level not in LEVELS:
            raise InvalidConfigError(f"no optimisation level {level!r} to measure: {did_you_mean(level, LEVELS)}")
    with CompilerSession(program.module, program.uri, Isolation(pass_seconds=seconds)) as session:
        instructions, structural_hash = session.instruction_count, session.hash()
        functions = session.functions()
        optimised: dict[str, int] = {}
        for level in levels[:-1]:
            with session.fork() as fork:
                fork.run(f"default<{level}>")
                optimised[level] = fork.instruction_count
        # the last level takes the module itself, which is parsed already
        for level in levels[-1:]:
            session.run(f"default<{level}>")
            optimised[level] = session.instruction_count
        return Measurement(
            instructions_o0=instructions,
            instructions_oz=optimised.get("Oz"),
            instructions_o3=optimised.get("O3"),
            structural_hash=structural_hash,
            function_hashes=tuple(sorted({f.hash for f in functions if _is_compared(f)})),
            llvm_version=session.llvm_version,
        )
