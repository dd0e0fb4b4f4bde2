import json

import numpy as np
import pytest

from compiler_dojo.envs.errors import InvalidRecordError
from compiler_dojo.envs.loops.nest import Loop, Nest, Pack, start_nest
from compiler_dojo.envs.loops.nest_files import nest_from_json, nest_to_json
from compiler_dojo.envs.loops.workloads import parse

PRODUCT = parse("mk,kn->mn|bias(n),relu", "float64", m=8, k=9, n=10)
LOOPS = (Loop("n", 4), Loop("m", 2), Loop("k"), Loop("m"), Loop("n"))
NEST = Nest(PRODUCT, LOOPS, tile=2, unroll=3, packs=(Pack(1, 1),), prefetch=1, threads=2)


@pytest.mark.parametrize("nest", [NEST, start_nest(PRODUCT), start_nest(parse("(2h+r)c,rc->h", h=4, r=3, c=5))])
def test_nest_from_json__gives_back_the_nest(nest) -> None:
    assert nest_from_json(json.loads(json.dumps(nest_to_json(nest)))) == nest


def test_nest_from_json__gives_back_any_nest(make_nest) -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        nest = make_nest(PRODUCT, rng)
        assert nest_from_json(json.loads(json.dumps(nest_to_json(nest)))) == nest


@pytest.mark.parametrize(
    "change",
    [
        {"workload": "mk,kn->mn m=8"},
        {"loops": [["m", 1]]},
        {"loops": [["m", "1"]]},
        {"loops": 7},
        {"tile": 1.5},
        {"threads": None},
        {"packs": [[5, 0]]},
        {"workload": 3},
    ],
)
def test_nest_from_json__refuses_what_is_no_legal_nest(change) -> None:
    with pytest.raises(InvalidRecordError, match=r"no loop nest as CompilerDojo writes them .*: tune again"):
        nest_from_json(nest_to_json(NEST) | change)


def test_nest_from_json__refuses_what_lacks_a_part() -> None:
    with pytest.raises(InvalidRecordError, match="KeyError"):
        nest_from_json({})
