"""Transformations against golden texts (``DOJO_UPDATE_GOLDEN=1`` rewrites them), their docstrings, and refusals."""

import inspect
import os
from collections.abc import Callable
from itertools import zip_longest
from pathlib import Path

import pytest
from making_nests import contraction, convolution, nest, product, short

from compiler_dojo.envs.errors import IllegalScheduleError
from compiler_dojo.envs.loops import transforms
from compiler_dojo.envs.loops.nest import Nest, Pack, start_nest

GOLDEN = Path(__file__).with_name("transforms.txt")
START = start_nest(product(96, 128, 256))
TILED = transforms.register_tile(START, {"m": 8, "n": 32})
SWAPPED = transforms.interchange(TILED, 0)
PACKED = transforms.pack(SWAPPED, 1, 1)

EXAMPLES: dict[str, tuple[Nest, Callable[[Nest], Nest]]] = {
    "split(nest, 2, 16)": (START, lambda it: transforms.split(it, 2, 16)),
    "split(nest, 0, 14): the write nest shares the loop, 96 = 6 * 14 + 12": (
        START,
        lambda it: transforms.split(it, 0, 14),
    ),
    "split(nest, 0, 3) outside a pack and a tile": (PACKED, lambda it: transforms.split(it, 0, 3)),
    "split(nest, 2, 32) inside them": (PACKED, lambda it: transforms.split(it, 2, 32)),
    "interchange(nest, 1)": (START, lambda it: transforms.interchange(it, 1)),
    "interchange(nest, 0) of a loop that the write nest shares with one that it lacks": (
        START,
        lambda it: transforms.interchange(it, 0),
    ),
    "interchange(nest, 0) of two loops that the write nest shares": (
        transforms.interchange(START, 1),
        lambda it: transforms.interchange(it, 0),
    ),
    "interchange(nest, 0) around a pack": (PACKED, lambda it: transforms.interchange(it, 0)),
    "vectorise(nest, 0)": (START, lambda it: transforms.vectorise(it, 0)),
    "vectorise(nest, 1) into a tile": (PACKED, lambda it: transforms.vectorise(it, 1)),
    "hoist(nest, 2)": (START, lambda it: transforms.hoist(it, 2)),
    "hoist(nest, 2) over a pack": (transforms.split(PACKED, 2, 32), lambda it: transforms.hoist(it, 2)),
    "set_tile(nest, 2)": (
        nest(START.workload, "m8 n32 k m n"),
        lambda it: transforms.set_tile(it, 2),
    ),
    'register_tile(nest, {"m": 8, "n": 32})': (START, lambda it: transforms.register_tile(it, {"m": 8, "n": 32})),
    "register_tile: another one, of a packed and blocked nest": (
        transforms.hoist(transforms.split(PACKED, 2, 32), 2),
        lambda it: transforms.register_tile(it, {"m": 14, "n": 16}),
    ),
    "register_tile: all of an axis, one element of another": (
        PACKED,
        lambda it: transforms.register_tile(it, {"n": 1000}),
    ),
    "register_tile of a batched product with vectors along m": (
        start_nest(contraction("bkn,bmk->bmn", b=8, m=64, k=32, n=48)),
        lambda it: transforms.register_tile(it, {"m": 32, "n": 6}),
    ),
    "register_tile of a convolution": (
        start_nest(convolution(w=56, r=3, o=64, c=16)),
        lambda it: transforms.register_tile(it, {"w": 32, "o": 4}),
    ),
    "unroll(nest, 4)": (TILED, lambda it: transforms.unroll(it, 4)),
    "pack(nest, 1, 1)": (SWAPPED, lambda it: transforms.pack(it, 1, 1)),
    "pack(nest, 1, 0): instead of the other": (PACKED, lambda it: transforms.pack(it, 1, 0)),
    "pack(nest, 0, 1)": (PACKED, lambda it: transforms.pack(it, 0, 1)),
    "parallel(nest, 2)": (START, lambda it: transforms.parallel(it, 2)),
}


def columns(before: str, after: str) -> str:
    left = before.splitlines()
    width = 19 if max(map(len, left)) < 19 else 23
    rows = zip_longest(left, after.splitlines(), fillvalue="")
    return "\n".join(f"{one:<{width}}{other}".rstrip() for one, other in rows)


def texts() -> str:
    parts = []
    for title, (before, change) in EXAMPLES.items():
        after = change(before)
        parts.append(f"{title}\n{columns(str(before), str(after))}\n{short(before)}  ->  {short(after)}\n")
    return "\n".join(parts)


def test_transforms__give_the_golden_nests() -> None:
    if os.environ.get("DOJO_UPDATE_GOLDEN"):
        GOLDEN.write_text(texts())
    assert texts() == GOLDEN.read_text()


@pytest.mark.parametrize("name", ["split", "interchange", "vectorise", "hoist", "set_tile", "register_tile", "unroll"])
def test_docstring__shows_what_the_function_does(name) -> None:
    title = next(title for title in EXAMPLES if title.startswith(f"{name}(nest"))
    before, change = EXAMPLES[title]
    shown = inspect.getdoc(getattr(transforms, name)) or ""
    block = "\n".join(f"    {line}".rstrip() for line in columns(str(before), str(change(before))).splitlines())
    assert f"``{title}``" in shown
    assert block in shown


def test_split__that_leaves_one_iteration_is_allowed_as_looptune_does() -> None:
    assert short(transforms.split(nest(START.workload, "m n16 k n"), 3, 16)) == "m n16 k n16 n | "


def test_write_nest__is_followed_only_below_the_outer_loop() -> None:
    apart = nest(product(64, 64, 64), "k m n", "m n")
    assert short(transforms.interchange(apart, 1)) == "k n m | m n"
    assert short(transforms.split(apart, 1, 4)) == "k m4 m n | m n"


def test_write_nest__of_another_part_of_the_axis_is_not_mistaken_for_the_same() -> None:
    # the write nest's n16 lies in no n64: it is another loop than the compute nest's
    apart = nest(product(64, 64, 256), "m n64 k n16 n", "m n16 n")
    assert short(transforms.interchange(apart, 0)) == "n64 m k n16 n | m n16 n"


def test_extents__of_tile_and_packs_outlive_splits_outside_and_inside() -> None:
    for position in range(3):
        found = transforms.split(PACKED, position, 3)
        assert found.tile_extents(found.tile or 0) == PACKED.tile_extents(2)
        assert found.tile_extents(found.packs[0].depth) == PACKED.tile_extents(1)


def test_can_pack__refuses_sums_and_diagonals() -> None:
    data, weights = convolution(w=56, r=3, o=64, c=16).inputs
    assert not transforms.can_pack(data)
    assert transforms.can_pack(weights)
    assert not transforms.can_pack(contraction("ii,ij->j", i=4, j=8).inputs[0])


FULL = nest(product(256, 256, 256), "m64 m16 m4 m n64 n16 n4 k n", "m64 m")
ILLEGAL: dict[str, tuple[Callable[[], Nest], str]] = {
    "split too often": (lambda: transforms.split(START, 0, 97), "can be split by 2 to that many, not by 97"),
    "split by one": (lambda: transforms.split(START, 0, 1), "has 96 full iterations"),
    "no such loop": (lambda: transforms.split(START, 3, 2), "loops 0 to 2, there is no loop 3"),
    "no loop left": (lambda: transforms.split(FULL, 8, 2), "would have 11 loops; it has at most 10"),
    "same axis": (lambda: transforms.interchange(FULL, 0), "the parts of an axis keep their order"),
    "no next loop": (lambda: transforms.interchange(START, 2), "the innermost one: there is none to exchange"),
    "innermost already": (lambda: transforms.vectorise(START, 2), "vectors lie along n already"),
    "outermost already": (lambda: transforms.hoist(START, 0), "the outermost one already"),
    "over its axis": (lambda: transforms.hoist(FULL, 1), "another loop over m lies outside"),
    "tile of nothing": (lambda: transforms.set_tile(START, 3), "begins at depth 0 to 2 of this nest, not at 3"),
    "pack inside": (lambda: transforms.set_tile(PACKED, 0), "B is packed at depth 1, inside a tile from depth 0"),
    "tile of a sum": (lambda: transforms.register_tile(START, {"k": 4}), "'k' is none"),
    "empty tile": (lambda: transforms.register_tile(START, {"m": 0}), "at least 1, got 0"),
    "tile without loops": (
        lambda: transforms.register_tile(start_nest(contraction("i,i->i", i=64)), {}),
        "has no loops",
    ),
    "negative unroll": (lambda: transforms.unroll(START, -1), "or more, got -1"),
    "unroll of nothing": (
        lambda: transforms.unroll(start_nest(contraction("i,i->i", i=64)), 2),
        "would have 0 steps: too few to unroll 2",
    ),
    "short after a split": (
        lambda: transforms.split(transforms.unroll(TILED, 8), 2, 4),
        "would have 4 steps: too few to unroll 8",
    ),
    "no such input": (lambda: transforms.pack(TILED, 2, 0), "has inputs 0 to 1, got 2"),
    "sum": (
        lambda: transforms.pack(transforms.register_tile(start_nest(convolution(56, 3, 64, 16)), {"w": 16}), 0, 0),
        "A is indexed by a sum",
    ),
    "no tile": (lambda: transforms.pack(START, 0, 0), "choose a register tile first"),
    "in the tile": (lambda: transforms.pack(TILED, 0, 3), "at depths 0 to 2, outside the tile, not at 3"),
    "twice": (lambda: transforms.pack(PACKED, 1, 1), "B is packed at depth 1 already"),
    "behind": (lambda: transforms.prefetch(START, -1), "0 or more iterations ahead"),
    "no thread": (lambda: transforms.parallel(START, 0), "one thread or more, got 0"),
    "threads that sum": (lambda: transforms.parallel(transforms.interchange(START, 0), 2), "write the same elements"),
    "a sum under threads": (lambda: transforms.interchange(transforms.parallel(START, 2), 0), "make an output axis"),
    "threads in a tile": (
        lambda: transforms.register_tile(transforms.parallel(START, 2), {"m": 96, "n": 256}),
        "none is left for threads to divide",
    ),
    "many threads": (lambda: transforms.parallel(TILED, 13), "12 iterations: too few for 13 threads"),
}


@pytest.mark.parametrize("case", ILLEGAL)
def test_transform__refuses_with_the_reason(case) -> None:
    change, reason = ILLEGAL[case]
    with pytest.raises(IllegalScheduleError, match=reason):
        change()


def test_prefetch__and_threads_can_be_taken_back() -> None:
    changed = transforms.parallel(transforms.prefetch(TILED, 1), 2)
    assert (changed.prefetch, changed.threads) == (1, 2)
    assert transforms.parallel(transforms.prefetch(changed, 0), 1) == TILED


def test_packs__are_ordered_by_depth() -> None:
    assert transforms.pack(PACKED, 0, 0).packs == (Pack(0, 0), Pack(1, 1))
