"""The corpus of a fuzzing campaign: pairs of a program and passes that reached something new, and how they mutate."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from compiler_dojo.envs.programs import Program
from compiler_dojo.experiments.fuzz_programs import ProgramGenerator, ProgramStore

LONGEST_LIST = 24
# How a pair's program is chosen: the parent's own, another pair's reached state, a bundled one, a new random one.
KEEP_PROGRAM, REACHED_STATE, FROM_SET = 0.55, 0.2, 0.15
FROM_SCRATCH = 0.15

Buckets = frozenset[tuple[str, int, int]]


class Pair(NamedTuple):
    """A program and the passes to run on it, as texts of ``opt -passes=``."""

    program: Program
    pipelines: tuple[str, ...]


class Journal:
    """A file of JSON lines that is only ever appended to, cut back to a known size when a campaign resumes."""

    def __init__(self, path: Path, size: int = 0) -> None:
        self._path = path
        path.touch()
        os.truncate(path, size)
        self.size = size

    def append(self, value: dict[str, Any]) -> None:
        """Add a line."""
        with self._path.open("ab") as file:
            self.size += file.write(json.dumps(value).encode() + b"\n")

    def read(self) -> list[dict[str, Any]]:
        """All lines."""
        return [json.loads(line) for line in self._path.read_bytes().splitlines()]


class Corpus:
    """Pairs on disk, and the coverage that made them worth keeping.

    Args:
        folder: where programs and the journal of pairs are.
        size: bytes of the journal that count; what follows was written after the last state was saved.
    """

    def __init__(self, folder: Path, size: int = 0) -> None:
        self._store = ProgramStore(folder / "programs")
        self.journal = Journal(folder / "corpus.jsonl", size)
        self.covered: set[tuple[str, int, int]] = set()
        self._entries: list[dict[str, Any]] = []
        self._origins: dict[str, dict[str, Any]] = {}
        for entry in self.journal.read():
            self._remember(entry)

    def __len__(self) -> int:
        return len(self._entries)

    def pair(self, index: int) -> Pair:
        """A kept pair."""
        entry = self._entries[index]
        return Pair(self._store.get(entry["program"]), tuple(entry["pipelines"]))

    def reached(self, index: int) -> Program:
        """What a kept pair's passes made of its program."""
        return self._store.get(self._entries[index]["reached"])

    def with_history(self, pair: Pair) -> Pair:
        """The same passes on the root program: what made the pair's program comes first."""
        program, pipelines = pair
        while program.uri in self._origins:
            entry = self._origins[program.uri]
            program, pipelines = self._store.get(entry["program"]), (*entry["pipelines"], *pipelines)
        return Pair(program, pipelines)

    def keep(self, pair: Pair, reached: Program, buckets: Buckets, why: str) -> None:
        """Keep a pair for what it covers."""
        entry = {
            "program": self._store.put(pair.program),
            "pipelines": list(pair.pipelines),
            "reached": self._store.put(reached),
            "buckets": sorted(buckets - self.covered),
            "why": why,
        }
        self.journal.append(entry)
        self._remember(entry)

    def _remember(self, entry: dict[str, Any]) -> None:
        self.covered.update((name, feature, size) for name, feature, size in entry.pop("buckets"))
        self._entries.append(entry)
        if entry["reached"]["uri"] != entry["program"]["uri"]:
            self._origins.setdefault(entry["reached"]["uri"], entry)


def state_buckets(autophase: npt.NDArray[np.int64]) -> Buckets:
    """Which power of two each Autophase count lies in."""
    return frozenset(("", feature, int(count).bit_length()) for feature, count in enumerate(autophase))


def effect_buckets(pipeline: str, before: npt.NDArray[np.int64], after: npt.NDArray[np.int64]) -> Buckets:
    """What a pass did to each count that it changed: sign and power of two of the difference."""
    change = after - before
    return frozenset(
        (pipeline, int(feature), int(abs(change[feature])).bit_length() * (1 if change[feature] > 0 else -1))
        for feature in np.flatnonzero(change)
    )


class Mutator:
    """Makes new pairs from kept ones, program and passes jointly (the idea of Tzer, arXiv:2202.09947).

    Args:
        pipelines: the passes to draw from.
        programs: where programs come from at first.
        generators: further programs, drawn now and then.
    """

    def __init__(
        self, pipelines: Sequence[str], programs: ProgramGenerator, generators: Sequence[ProgramGenerator]
    ) -> None:
        self._pipelines = list(pipelines)
        self._programs = programs
        self._generators = list(generators)

    def draw(self, corpus: Corpus, rng: np.random.Generator) -> Pair | None:
        """A new pair, or None when a generator gave no program."""
        if len(corpus) == 0 or rng.random() < FROM_SCRATCH:
            program = self._new_program(rng)
            length = int(rng.integers(5, LONGEST_LIST))
            return None if program is None else Pair(program, tuple(self._random(rng) for _ in range(length)))
        parent = corpus.pair(int(rng.integers(len(corpus))))
        choice = rng.random()
        if choice < KEEP_PROGRAM:
            program = parent.program
        elif choice < KEEP_PROGRAM + REACHED_STATE:
            program = corpus.reached(int(rng.integers(len(corpus))))
        elif choice < KEEP_PROGRAM + REACHED_STATE + FROM_SET:
            program = self._programs.draw(rng)
        else:
            program = self._new_program(rng)
        if program is None:
            return None
        pipelines = list(parent.pipelines)
        for _ in range(int(rng.integers(1, 5))):
            pipelines = self._mutate(pipelines, corpus, rng)
        return Pair(program, tuple(pipelines[:LONGEST_LIST]))

    def _new_program(self, rng: np.random.Generator) -> Program | None:
        if not self._generators or rng.random() < 0.5:
            return self._programs.draw(rng)
        return self._generators[int(rng.integers(len(self._generators)))].draw(rng)

    def _random(self, rng: np.random.Generator) -> str:
        return self._pipelines[int(rng.integers(len(self._pipelines)))]

    def _mutate(self, pipelines: list[str], corpus: Corpus, rng: np.random.Generator) -> list[str]:
        """Insert, replace, delete, swap, duplicate a stretch, or splice in a stretch of another list."""
        place, other = (int(index) for index in rng.integers(len(pipelines) + 1, size=2))
        low, high = min(place, other), max(place, other)
        choice = int(rng.integers(6))
        if choice == 0 or len(pipelines) < 2:
            return [*pipelines[:place], self._random(rng), *pipelines[place:]]
        if choice == 1:
            return [*pipelines[:place], self._random(rng), *pipelines[place + 1 :]]
        if choice == 2:
            return [*pipelines[:place], *pipelines[place + 1 :]]
        if choice == 3:
            changed = pipelines.copy()
            a, b = place % len(changed), other % len(changed)
            changed[a], changed[b] = changed[b], changed[a]
            return changed
        if choice == 4:
            return [*pipelines[:high], *pipelines[low:high][:6], *pipelines[high:]]
        donor = corpus.pair(int(rng.integers(len(corpus)))).pipelines
        start = int(rng.integers(len(donor)))
        return [*pipelines[:low], *donor[start : start + 8], *pipelines[high:]]
