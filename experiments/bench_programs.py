"""How fast stored programs are opened, drawn at random and read in order."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from compiler_dojo.envs.programs.columns import Row
from compiler_dojo.envs.programs.measure import Measurement
from compiler_dojo.envs.programs.program import Program, Provenance
from compiler_dojo.envs.programs.program_set import ProgramSet
from compiler_dojo.envs.programs.storage import open_set, write_set


@dataclass(frozen=True)
class ReadingSpeed:
    """One measurement, in one process and thread; files are in the page cache, as they were just written, if they fit.

    Attributes:
        programs: how many the set holds.
        mean_bytes: mean size of a program's bitcode.
        stored_bytes: what the set takes on disk.
        write_seconds: writing the set.
        open_seconds: opening it and listing its URIs.
        shuffled_per_second: programs read one by one in shuffled order.
        in_order_per_second: programs read by iterating.
    """

    programs: int
    mean_bytes: float
    stored_bytes: int
    write_seconds: float
    open_seconds: float
    shuffled_per_second: float
    in_order_per_second: float

    def __str__(self) -> str:
        return (
            f"{self.programs} programs of {self.mean_bytes / 1000:.1f} kB, {self.stored_bytes / 1e6:.0f} MB stored: "
            f"written in {self.write_seconds:.1f} s, opened in {self.open_seconds:.3f} s, "
            f"{self.shuffled_per_second:,.0f} programs/s shuffled, {self.in_order_per_second:,.0f} programs/s in order"
        )


def measure_reading(folder: Path, programs: ProgramSet, count: int = 20_000, seed: int = 0) -> ReadingSpeed:
    """Store ``count`` programs made from those of a set, and read them all, shuffled and in order.

    Each gets a comment of its own behind its bitcode, so that no two are alike; they are not to be compiled.

    Args:
        folder: where to write; it must be empty.
        programs: what to repeat.
        count: how many to store.
        seed: of the order.
    """
    rng = np.random.default_rng(seed)
    start = time.perf_counter()
    write_set(folder, "bench", _rows(programs, count, rng))
    write_seconds = time.perf_counter() - start
    start = time.perf_counter()
    stored = open_set(folder)
    uris = stored.uris
    open_seconds = time.perf_counter() - start
    order = rng.permutation(len(uris))
    start = time.perf_counter()
    total_bytes = sum(len(stored[number].module) for number in order)
    shuffled_seconds = time.perf_counter() - start
    start = time.perf_counter()
    for program in stored:
        total_bytes -= len(program.module)
    in_order_seconds = time.perf_counter() - start
    assert total_bytes == 0
    sizes = [stored[int(number)].module for number in order[:1000]]
    return ReadingSpeed(
        programs=count,
        mean_bytes=float(np.mean([len(module) for module in sizes])),
        stored_bytes=sum(path.stat().st_size for path in folder.iterdir()),
        write_seconds=write_seconds,
        open_seconds=open_seconds,
        shuffled_per_second=count / shuffled_seconds,
        in_order_per_second=count / in_order_seconds,
    )


def _rows(programs: ProgramSet, count: int, rng: np.random.Generator) -> Iterator[Row]:
    bases = list(programs)
    for number in range(count):
        base = bases[int(rng.integers(len(bases)))]
        program = Program(
            f"bench://project{number % 150}/folder/unit{number}.c",
            base.module + rng.bytes(8),
            "oz",
            base.language,
            base.domain,
            project=f"project{number % 150}",
            provenance=Provenance("package", "1.0-1", f"package_{number % 150}.tar.xz", "MIT", "debian/copyright"),
        )
        hashes = tuple(sorted(rng.bytes(16) for _ in range(8)))
        yield Row(program, Measurement(1000, 400, 600, rng.bytes(16).hex(), hashes, "19.1.7"))
