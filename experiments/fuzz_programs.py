"""Programs for fuzzing: bundled ones, random ones by csmith and llvm-stress, and a folder of those that were met."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from compiler_dojo.envs.errors import DojoError, ToolchainError
from compiler_dojo.envs.llvm.execution import build_executable, run_executable
from compiler_dojo.envs.llvm.session import CompilerSession
from compiler_dojo.envs.llvm.tools import find_llvm_tool
from compiler_dojo.envs.llvm.worker import Isolation
from compiler_dojo.envs.programs import Program, ProgramSet, RunSpecification
from compiler_dojo.envs.programs.sources.generators import CsmithSource, StressSource, find_csmith

# The -O0 build of a random C program must end within this time to be run at all; an optimised one gets more.
REFERENCE_SECONDS, RUN_SECONDS = 1.0, 5.0


class ProgramGenerator(Protocol):
    """Where programs come from."""

    @property
    def name(self) -> str:
        """What reports call it."""
        ...

    def draw(self, rng: np.random.Generator) -> Program | None:
        """A program, or None when this draw gave none that can be used."""
        ...


class SetGenerator:
    """Draws from a program set."""

    name = "set"

    def __init__(self, programs: ProgramSet) -> None:
        self._programs = programs

    def draw(self, rng: np.random.Generator) -> Program:  # noqa: D102
        return self._programs.sample(rng)


class CsmithGenerator:
    """C programs by csmith; those that do not end soon are not run."""

    name = "csmith"

    def __init__(self, isolation: Isolation) -> None:
        self._isolation = isolation

    def draw(self, rng: np.random.Generator) -> Program | None:  # noqa: D102
        try:
            program = CsmithSource(int(rng.integers(1 << 31))).load()
        except DojoError:
            return None
        return dataclasses.replace(program, run=self._run_specification(program))

    def _run_specification(self, program: Program) -> RunSpecification | None:
        limits = RunSpecification(seconds=REFERENCE_SECONDS)
        with (
            CompilerSession(program.module, program.uri, self._isolation) as session,
            build_executable(session) as executable,
        ):
            found = run_executable(executable, limits)
        return RunSpecification((), found.output, RUN_SECONDS) if found.status == 0 else None


class StressGenerator:
    """Functions of random instructions by llvm-stress, which cannot be run."""

    name = "llvm-stress"

    def draw(self, rng: np.random.Generator) -> Program | None:  # noqa: D102
        try:
            return StressSource(int(rng.integers(1 << 31)), int(rng.integers(20, 300))).load()
        except DojoError:
            return None


def installed_generators(isolation: Isolation) -> list[ProgramGenerator]:
    """The generators of random programs that are installed."""
    found: list[ProgramGenerator] = []
    with contextlib.suppress(ToolchainError):
        find_csmith()
        found.append(CsmithGenerator(isolation))
    with contextlib.suppress(ToolchainError):
        find_llvm_tool("llvm-stress")
        found.append(StressGenerator())
    return found


def root_of(uri: str) -> str:
    """The URI of the program that a reached state descends from."""
    return uri.split("#", 1)[0]


def reached_state(program: Program, module: bytes) -> Program:
    """A module that passes made of a program, as a program of its own."""
    reached = Program(f"{root_of(program.uri)}#", module)
    uri = f"{reached.uri}{reached.sha256[:12]}"
    return Program(uri, module, program.lowering, program.language, program.domain, program.run)


class ProgramStore:
    """Programs in a folder, one file each, named after their content."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._read = functools.lru_cache(maxsize=1024)(self._read_file)

    def put(self, program: Program) -> dict[str, Any]:
        """Store a program; returns what :meth:`get` needs to find it."""
        path = self._path(program.sha256)
        if not path.exists():
            unfinished = path.with_suffix(".unfinished")
            unfinished.write_bytes(program.module)
            unfinished.rename(path)
        run = program.run
        return {
            "uri": program.uri,
            "sha256": program.sha256,
            "run": None if run is None else [list(run.arguments), run.output, run.seconds],
        }

    def get(self, entry: dict[str, Any]) -> Program:
        """The stored program."""
        run = entry["run"]
        specification = None if run is None else RunSpecification(tuple(run[0]), run[1], run[2])
        return Program(entry["uri"], self._read(entry["sha256"]), run=specification)

    def _read_file(self, sha256: str) -> bytes:
        return self._path(sha256).read_bytes()

    def _path(self, sha256: str) -> Path:
        return self._folder / f"{sha256[:24]}.bc"
