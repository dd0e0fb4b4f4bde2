"""Random workloads of every kind, valid by construction: what code generators and transforms are tested with."""

from __future__ import annotations

import numpy as np

from compiler_dojo.envs.loops.nest import MOST_LOOPS
from compiler_dojo.envs.loops.notation import parse
from compiler_dojo.envs.loops.workload import ITEM_BYTES, Workload

_KINDS = (
    "mk,kn->mn",
    "km,nk->nm",
    "bmk,bkn->bmn",
    "mk,k->m",
    "(w+s)c,sck->wk",
    "(2w+3s)c,sck->kw",
    "(h+r)(w+s)c,rsck->hwk",
    "(2h+r)(2w+s)c,rsck->hwk",
    "(h+r)(w+s)c,rsc->hwc",
    "ikl,kr,lr->ir",
    "mn->m",
    "mn->n",
    "mn,mn->mn",
)
_SIZES = (1, 2, 3, 4, 5, 7, 8, 9, 12, 13, 15, 16, 17, 23, 24, 31, 32, 33, 37, 48, 61, 64, 65, 97, 100, 128, 131, 257)


def random_workload(rng: np.random.Generator, max_iterations: int = 2_000_000) -> Workload:
    """A workload of any kind that :func:`~compiler_dojo.envs.loops.notation.parse` knows.

    Half are of the usual kinds with random sizes; the others are made up from axes that are given to one to three
    inputs at random, with dimensions in any order and some of them added up with coefficients. Sizes are odd, prime
    and 1 as well as powers of two. At most ten loops, those of the write counted (LoopTune's limit).

    Args:
        rng: decides everything.
        max_iterations: points of the iteration space at most, at least 1.
    """
    expression = str(rng.choice(_KINDS)) if rng.random() < 0.5 else _random_contraction(rng)
    output = expression.split("->")[1]
    epilogue = []
    if output and rng.random() < 0.3:
        epilogue.append(f"bias({_shuffled(rng, output)[: int(rng.integers(1, len(output) + 1))]})")
    if rng.random() < 0.3:
        epilogue.append("relu")
    if epilogue:
        expression = f"{expression}|{','.join(epilogue)}"
    dtype = str(rng.choice(list(ITEM_BYTES), p=(0.75, 0.25)))
    axes = sorted({letter for letter in expression.partition("->")[0] if letter.isalpha()})
    return parse(expression, dtype, **_random_sizes(rng, axes, max_iterations))


def _random_contraction(rng: np.random.Generator) -> str:
    spatial = "mnpq"[: int(rng.choice(5, p=(0.05, 0.25, 0.35, 0.25, 0.1)))]
    most = MOST_LOOPS - 2 * len(spatial)
    reduction = "klr"[: min(most, int(rng.choice(4, p=(0.15, 0.4, 0.3, 0.15))))] or ("" if spatial else "k")
    letters = spatial + reduction
    count = int(rng.integers(1, 4))
    inputs: list[str] = [str(rng.choice(list(letters))) for _ in range(count)]
    for letter in letters:
        holders = np.flatnonzero(rng.random(count) < 0.5)
        for holder in holders if len(holders) else [int(rng.integers(count))]:
            inputs[holder] += letter if letter not in inputs[holder] else ""
    return f"{','.join(_random_operand(rng, axes) for axes in inputs)}->{_shuffled(rng, spatial)}"


def _random_operand(rng: np.random.Generator, axes: str) -> str:
    """The axes as dimensions in any order, neighbours sometimes added up."""
    dimensions: list[list[str]] = []
    for axis in _shuffled(rng, axes):
        term = f"{rng.integers(2, 4)}{axis}" if rng.random() < 0.1 else axis
        if dimensions and rng.random() < 0.2:
            dimensions[-1].append(term)
        else:
            dimensions.append([term])
    sums = ["+".join(terms) for terms in dimensions]
    return "".join(text if len(text) == 1 else f"({text})" for text in sums)


def _random_sizes(rng: np.random.Generator, axes: list[str], most: int) -> dict[str, int]:
    sizes = {}
    for axis in _shuffled(rng, "".join(axes)):
        sizes[axis] = int(rng.choice([size for size in _SIZES if size <= most]))
        most //= sizes[axis]
    return sizes


def _shuffled(rng: np.random.Generator, letters: str) -> str:
    return "".join(letters[position] for position in rng.permutation(len(letters)))
