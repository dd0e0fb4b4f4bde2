"""Named sets of workloads, with held-out splits that never change."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Callable, Sequence
from functools import cache

from compiler_dojo.envs.errors import InvalidWorkloadError, did_you_mean
from compiler_dojo.envs.loops.notation import parse, parse_text
from compiler_dojo.envs.loops.random_workloads import random_workload
from compiler_dojo.envs.loops.workload import Workload

__all__ = [
    "SETS",
    "batched_products",
    "convolutions",
    "fused_products",
    "large_products",
    "load_workloads",
    "looptune_products",
    "mat_vecs",
    "mttkrps",
    "parse",
    "parse_text",
    "random_workload",
]

_MOST_SET_ITERATIONS = 2**26
"""Of workloads in the sets, so that the slowest nest is still measured within a second."""

_CHANNELS = (16, 32, 64, 128)


def looptune_products(split: str = "all") -> tuple[Workload, ...]:
    """LoopTune's matrix products (arXiv 2309.01825, section 5): m, k and n in 64, 80, ..., 256; 2,197 in all.

    Args:
        split: ``train`` (1,977), ``test`` (220), ``all``, or the 25 of each that results are reported on, ``train25``
            and ``test25``. Which product is in which is our own choice: the paper's is not published.
    """
    return _split("looptune", _looptune(), 220, split)


def large_products(split: str = "all") -> tuple[Workload, ...]:
    """Square products of 384, 512 and 1024: never trained on, so that ``train`` is empty and ``test`` is ``all``."""
    products = tuple(parse("mk,kn->mn", m=size, k=size, n=size) for size in (384, 512, 1024))
    return _split("large", products, len(products), split)


def convolutions(split: str = "all") -> tuple[Workload, ...]:
    """Convolutions, 62 to train and 19 held out (LoopTune's counts), of sizes usual in networks for images and sound.

    They have one or two dimensions and are plain, strided, dilated, point-wise or depth-wise.
    """
    return _split("convolutions", _convolutions(), 19, split)


def batched_products(split: str = "all") -> tuple[Workload, ...]:
    """Batched matrix products, the second operand as it is or transposed as in attention; 48 to train, 12 held out."""
    return _split("batched", _batched(), 12, split)


def mttkrps(split: str = "all") -> tuple[Workload, ...]:
    """Matricised tensor times Khatri-Rao products, with three inputs; 32 to train, 8 held out."""
    return _split("mttkrp", _mttkrps(), 8, split)


def mat_vecs(split: str = "all") -> tuple[Workload, ...]:
    """Matrix-vector products, with the matrix as it is or transposed; 32 to train, 8 held out."""
    return _split("matvec", _mat_vecs(), 8, split)


def fused_products(split: str = "all") -> tuple[Workload, ...]:
    """Matrix products with a bias, ReLU or both behind; 48 to train, 12 held out."""
    return _split("fused", _fused(), 12, split)


SETS: dict[str, Callable[[str], tuple[Workload, ...]]] = {
    "looptune": looptune_products,
    "large": large_products,
    "convolutions": convolutions,
    "batched": batched_products,
    "mttkrp": mttkrps,
    "matvec": mat_vecs,
    "fused": fused_products,
}
"""Every set by its name; each function takes a split: ``train``, ``test`` (held out) or ``all``."""


def load_workloads(names: str) -> tuple[Workload, ...]:
    """The workloads that a text names, each once.

    Args:
        names: sets with or without a split, joined by ``+`` or commas, such as ``looptune:train+fused``; or one
            workload with its sizes, such as ``mk,kn->mn m=64 k=64 n=64``, with ``float64`` behind if that is meant.

    Raises:
        InvalidWorkloadError: there is no such set or split, or the workload is not one.
    """
    if "->" in names:
        return (parse_text(names),)
    workloads: dict[Workload, None] = {}
    for part in names.replace("+", ",").split(","):
        name, _, split = part.strip().partition(":")
        if name not in SETS:
            raise InvalidWorkloadError(
                f"no set of workloads is called {name!r}: {did_you_mean(name, SETS)} "
                "A workload is written as 'mk,kn->mn m=64 k=64 n=64'."
            )
        workloads.update(dict.fromkeys(SETS[name](split or "all")))
    return tuple(workloads)


def _split(name: str, workloads: tuple[Workload, ...], held_out: int, split: str) -> tuple[Workload, ...]:
    splits = {"all": workloads, "test": workloads[:held_out], "train": workloads[held_out:]}
    splits |= {"test25": splits["test"][:25], "train25": splits["train"][:25]} if name == "looptune" else {}
    if split not in splits:
        raise InvalidWorkloadError(f"{name} has no split {split!r}: {did_you_mean(split, splits)}")
    return splits[split]


def _interleaved(*kinds: tuple[Workload, ...]) -> tuple[Workload, ...]:
    """The first of each kind, then the second of each: so every kind is among those held out."""
    return tuple(workload for round_ in itertools.zip_longest(*kinds) for workload in round_ if workload)


def _some(expression: str, count: int, **choices: Sequence[int]) -> tuple[Workload, ...]:
    """Some of the workloads of an expression whose axes take these sizes.

    In the order of a hash of their texts: a shuffle that no version of a random generator can change.

    Args:
        expression: as for :func:`parse`.
        count: how many are kept.
        choices: sizes by axis; axes of equal sizes share a name, as in ``hw=(7, 14)``.
    """
    found = []
    for sizes in itertools.product(*choices.values()):
        by_axis = {axis: size for axes, size in zip(choices, sizes, strict=True) for axis in axes}
        if math.prod(by_axis.values()) <= _MOST_SET_ITERATIONS:
            found.append(parse(expression, "float32", **by_axis))
    found.sort(key=lambda workload: hashlib.sha256(str(workload).encode()).digest())
    return tuple(found[:count])


@cache
def _looptune() -> tuple[Workload, ...]:
    sizes = range(64, 257, 16)
    return _some("mk,kn->mn", len(sizes) ** 3, m=sizes, k=sizes, n=sizes)


@cache
def _convolutions() -> tuple[Workload, ...]:
    line = {"w": (64, 100, 128, 200, 256), "s": (3, 5, 7, 9), "c": _CHANNELS, "k": _CHANNELS}
    plane = {"hw": (7, 14, 28, 56), "rs": (3, 5), "c": _CHANNELS, "k": _CHANNELS}
    deep = {"hw": (7, 14, 28, 56, 112), "rs": (3, 5, 7), "c": (32, 64, 96, 144, 192, 256, 512)}
    return _interleaved(
        _some("(w+s)c,sck->wk", 9, **line),
        _some("(2w+s)c,sck->wk", 9, **line),
        _some("(w+2s)c,sck->wk", 9, **line),
        _some("(h+r)(w+s)c,rsck->hwk", 18, **plane),
        _some("(2h+r)(2w+s)c,rsck->hwk", 9, **plane),
        _some("(2h)(2w)c,ck->hwk", 9, hw=(7, 14, 28), c=(64, 128, 256, 512), k=(64, 128, 256, 512)),
        _some("(h+r)(w+s)c,rsc->hwc", 12, **deep),
        _some("(2h+r)(2w+s)c,rsc->hwc", 6, **deep),
    )


@cache
def _batched() -> tuple[Workload, ...]:
    sizes = {"b": (2, 4, 8, 12, 16), "m": (32, 49, 64, 128, 196), "k": (32, 64, 96, 128), "n": (32, 64, 128, 196)}
    return _interleaved(_some("bmk,bkn->bmn", 30, **sizes), _some("bmk,bnk->bmn", 30, **sizes))


@cache
def _mttkrps() -> tuple[Workload, ...]:
    sizes = (16, 24, 32, 50, 64, 96, 128)
    return _some("ikl,kr,lr->ir", 40, i=sizes, k=sizes, l=sizes, r=(8, 16, 32, 64))


@cache
def _mat_vecs() -> tuple[Workload, ...]:
    sizes = (64, 100, 128, 256, 500, 512, 768, 1000, 1024, 2048)
    return _interleaved(_some("mk,k->m", 20, m=sizes, k=sizes), _some("km,k->m", 20, m=sizes, k=sizes))


@cache
def _fused() -> tuple[Workload, ...]:
    sizes = (32, 50, 64, 96, 100, 128, 192, 256)
    epilogues = ("bias(n)", "relu", "bias(n),relu")
    return _interleaved(*(_some(f"mk,kn->mn|{epilogue}", 20, m=sizes, k=sizes, n=sizes) for epilogue in epilogues))
