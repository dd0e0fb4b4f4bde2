"""Random programs by csmith and llvm-stress, named by their seeds: ``csmith://7``, ``llvm-stress://0..99``."""

from __future__ import annotations

import functools
import re
import shutil
import tempfile
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from compiler_dojo.envs.errors import ToolchainError, UnknownProgramError, did_you_mean
from compiler_dojo.envs.llvm.lowering import lower
from compiler_dojo.envs.llvm.tools import find_llvm_tool, run_tool, version_of
from compiler_dojo.envs.programs.program import Program, Provenance, RunSpecification
from compiler_dojo.envs.programs.program_set import ProgramSource

CSMITH, STRESS = "csmith", "llvm-stress"
CSMITH_INCLUDE = Path("/usr/include/csmith")

CSMITH_SIZES: Mapping[str, str] = {
    # a median of 1,300 instructions and 4,400 at most over seeds 1 to 20, in 0.1 s each with clang's part
    "small": "--max-funcs 4 --max-block-depth 3 --max-expr-complexity 6 --max-array-dim 2 --max-array-len-per-dim 6",
    # csmith's own settings: a median of 4,900 instructions and 23,000 at most, in 0.7 s each; some seeds take minutes
    "full": "",
}
"""Options of csmith by the URI's ``size``; without one it is ``small``."""

STRESS_SIZE = 100
"""Instructions that llvm-stress is asked for when the URI has no ``size``; it is its own default."""

GENERATOR_SECONDS, COMPILER_SECONDS = 10.0, 60.0
LAST_SEED = 2**32 - 1
LARGEST_RANGE = 1_000_000


@dataclass(frozen=True)
class CsmithSource:
    """A C program of csmith's, which has no undefined behaviour and prints a checksum, unless it runs for ever.

    The same seed and size give the same program with the same csmith; its version is in the program's provenance.

    Attributes:
        seed: from 0 to 2**32 - 1.
        size: one of :data:`CSMITH_SIZES`.
        lowering: how it becomes bitcode.
    """

    seed: int
    size: str = "small"
    lowering: str = "oz"

    @property
    def uri(self) -> str:
        """``csmith://SEED``, with ``?size=SIZE`` unless it is small."""
        return f"{CSMITH}://{self.seed}" + ("" if self.size == "small" else f"?size={self.size}")

    def load(self) -> Program:
        """Generate and compile the program.

        Raises:
            ToolchainError: csmith or clang is not installed.
            CompilationError: csmith takes longer than 10 s for this seed, or clang more than a minute.
        """
        return _load_csmith(self)


@dataclass(frozen=True)
class StressSource:
    """A function of random instructions by llvm-stress, which cannot be run; most of it is dead.

    Attributes:
        seed: from 0 to 2**32 - 1.
        size: instructions to ask for.
    """

    seed: int
    size: int = STRESS_SIZE

    @property
    def uri(self) -> str:
        """``llvm-stress://SEED``, with ``?size=SIZE`` unless it is 100."""
        return f"{STRESS}://{self.seed}" + ("" if self.size == STRESS_SIZE else f"?size={self.size}")

    def load(self) -> Program:
        """Generate the program.

        Raises:
            ToolchainError: llvm-stress is not installed.
            CompilationError: it takes longer than 10 s.
        """
        return _load_stress(self)


def select(uri: str, lowering: str) -> Sequence[ProgramSource]:
    """The programs that ``csmith://SEED``, ``llvm-stress://FIRST..LAST`` (both included) or one with a size means.

    Raises:
        UnknownProgramError: there is no such generator, size or seed, or too many are asked for.
    """
    scheme, _, rest = uri.partition("://")
    if scheme not in (CSMITH, STRESS):
        raise UnknownProgramError(f"no generator {scheme!r}: {did_you_mean(scheme, (CSMITH, STRESS))}")
    numbers, _, query = rest.partition("?")
    seeds = _seeds(uri, numbers)
    options = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
    size = options.pop("size", None)
    if options:
        raise UnknownProgramError(f"{uri}: no option {next(iter(options))!r}: the only one is size, as in ?size=...")
    if scheme == CSMITH:
        size = "small" if size is None else size
        if size not in CSMITH_SIZES:
            raise UnknownProgramError(f"{uri}: no size {size!r}: {did_you_mean(size, CSMITH_SIZES)}")
        return [CsmithSource(seed, size, lowering) for seed in seeds]
    if size is not None and not re.fullmatch(r"[1-9]\d{0,4}", size):
        raise UnknownProgramError(f"{uri}: a size of {STRESS} is a number from 1 to 99999, got {size!r}")
    return [StressSource(seed, STRESS_SIZE if size is None else int(size)) for seed in seeds]


def find_csmith() -> str:
    """Path of csmith, whose headers are in /usr/include/csmith.

    Raises:
        ToolchainError: it or its headers are not installed.
    """
    path = shutil.which("csmith")
    if path is None or not (CSMITH_INCLUDE / "csmith.h").is_file():
        absent = "csmith" if path is None else f"{CSMITH_INCLUDE}/csmith.h"
        raise ToolchainError(
            f"{CSMITH}:// programs need csmith, and {absent} is missing: `apt-get install csmith libcsmith-dev`"
        )
    return path


@functools.lru_cache(maxsize=1024)
def _load_csmith(source: CsmithSource) -> Program:
    csmith = find_csmith()
    with tempfile.TemporaryDirectory(prefix="dojo-") as folder:
        text = Path(folder) / "csmith.c"
        command = [csmith, "--seed", str(source.seed), *CSMITH_SIZES[source.size].split(), "--output", str(text)]
        # csmith leaves a platform.info in the folder it runs in
        run_tool(command, f"{source.uri}: csmith makes no program", GENERATOR_SECONDS, folder=text.parent)
        written_by = re.search(r"Generator: csmith ([\w.]+)", text.read_text())
        module = lower(text, source.lowering, ("-I", str(CSMITH_INCLUDE)), COMPILER_SECONDS)
    provenance = Provenance(CSMITH, written_by[1] if written_by else "")
    run = RunSpecification()
    return Program(source.uri, module, source.lowering, "c", "random", run, project=CSMITH, provenance=provenance)


@functools.lru_cache(maxsize=1024)
def _load_stress(source: StressSource) -> Program:
    stress = find_llvm_tool(STRESS)
    command = [stress, f"-seed={source.seed}", f"-size={source.size}", "-o", "-"]
    module = run_tool(command, f"{source.uri}: llvm-stress makes no program", GENERATOR_SECONDS)
    provenance = Provenance(STRESS, ".".join(map(str, version_of(stress, "LLVM version"))))
    return Program(source.uri, module, domain="random", project=STRESS, provenance=provenance)


def _seeds(uri: str, numbers: str) -> range:
    match = re.fullmatch(r"(\d{1,10})(?:\.\.(\d{1,10}))?", numbers)
    first = int(match[1]) if match else 0
    last = int(match[2] or first) if match else 0
    if match is None or not first <= last <= LAST_SEED:
        raise UnknownProgramError(
            f"{uri}: expected a seed or a range of them, such as {uri.partition(':')[0]}://7 or "
            f"{uri.partition(':')[0]}://0..99, from 0 to {LAST_SEED}"
        )
    if last - first >= LARGEST_RANGE:
        raise UnknownProgramError(
            f"{uri}: {last - first + 1} programs are too many: a range has {LARGEST_RANGE} at most"
        )
    return range(first, last + 1)
