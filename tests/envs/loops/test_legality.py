"""Illegal nests: each kind is refused, with its reason."""

from typing import Any

import numpy as np
import pytest

from compiler_dojo.envs.errors import IllegalScheduleError
from compiler_dojo.envs.loops.legality import check_nest
from compiler_dojo.envs.loops.nest import Loop, Nest, Pack, start_nest
from compiler_dojo.envs.loops.notation import parse
from compiler_dojo.envs.loops.random_workloads import random_workload

MATMUL = parse("mk,kn->mn", m=16, k=8, n=24)
CONVOLUTION = parse("(w+s)c,sck->wk", w=8, s=3, c=4, k=5)


def loops(text: str) -> tuple[Loop, ...]:
    """``n16 m k n`` is a loop over n with step 16, then three with step 1."""
    return tuple(Loop(word[0], int(word[1:] or 1)) for word in text.split())


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ("m k4 n", "the innermost loop over 'k' has step 4: it needs step 1, add one inside"),
        ("m k4 k8 n k", "a loop over 'k' with step 8 is inside one with step 4: steps of an axis do not grow inwards"),
        ("m n", "no loop is over 'k' in mk,kn->mn m=16 k=8 n=24 float32: each axis needs one"),
        ("m k n p", "a loop is over 'p' in .*: known: k, m, n"),
        ("m k0 k n", "a loop over 'k' has step 0: at least 1"),
        ("m k-4 k n", "has step -4"),
    ],
)
def test_loops__cover_each_axis_with_steps_that_do_not_grow(order: str, message: str) -> None:
    with pytest.raises(IllegalScheduleError, match=message):
        check_nest(Nest(MATMUL, loops(order)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"write": loops("m")}, "no loop of the write is over 'n'"),
        ({"write": loops("m k n")}, "a loop of the write is over 'k'"),
        ({"tile": 4}, "the register tile is at depth 4: depths are 0 to 3"),
        ({"tile": -1}, "the register tile is at depth -1"),
        ({"unroll": -1}, "unroll is -1: at least 0"),
        ({"prefetch": -1}, "prefetch is -1: at least 0"),
        ({"threads": 0}, "threads is 0: at least 1"),
        ({"packs": (Pack(2, 0),)}, "a pack of input 2: inputs of .* are 0 to 1"),
        ({"packs": (Pack(-1, 0),)}, "a pack of input -1"),
        ({"packs": (Pack(1, 0), Pack(1, 1))}, "input B is packed twice"),
        ({"packs": (Pack(0, 4),)}, "input A is packed at depth 4: from 0 to 3"),
        (
            {"packs": (Pack(0, 2),), "tile": 1},
            "input A is packed at depth 2: from 0 to 1, where the register tile begins",
        ),
        ({"packs": (Pack(0, -1),)}, "input A is packed at depth -1"),
        (
            {"loops": loops("k m n"), "threads": 2},
            "2 threads divide the outermost loop, over 'k', which is summed over",
        ),
        ({"tile": 0, "threads": 2}, "2 threads divide the outermost loop, which is part of the register tile"),
    ],
)
def test_schedule__is_refused_where_it_means_nothing(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(IllegalScheduleError, match=message):
        check_nest(start_nest(MATMUL).with_(**changes))


def test_pack__is_refused_for_index_sums_only() -> None:
    nest = start_nest(CONVOLUTION)
    check_nest(nest.with_(packs=(Pack(1, 0),)))
    with pytest.raises(IllegalScheduleError, match=r"input A of .* has an index sum: it cannot be packed"):
        check_nest(nest.with_(packs=(Pack(0, 0),)))


def test_check_nest__accepts_legal_nests(make_nest) -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        workload = random_workload(rng)
        check_nest(start_nest(workload))
        check_nest(make_nest(workload, rng))


def test_loops__of_one_iteration_are_legal_as_splits_make_them() -> None:
    check_nest(Nest(MATMUL, loops("m k4 k4 n k")))
