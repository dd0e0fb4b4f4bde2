"""Named sets of workloads: their sizes, their splits, and that these never move."""

import hashlib
import math

import pytest

from compiler_dojo.envs.errors import InvalidWorkloadError
from compiler_dojo.envs.loops.workloads import (
    SETS,
    convolutions,
    large_products,
    load_workloads,
    looptune_products,
    parse,
)


@pytest.mark.parametrize(
    ("name", "train", "test"),
    [
        ("looptune", 1977, 220),
        ("large", 0, 3),
        ("convolutions", 62, 19),
        ("batched", 48, 12),
        ("mttkrp", 32, 8),
        ("matvec", 32, 8),
        ("fused", 48, 12),
    ],
)
def test_set__divides_into_train_and_test(name: str, train: int, test: int) -> None:
    of = SETS[name]
    assert (len(of("train")), len(of("test"))) == (train, test)
    assert not set(of("train")) & set(of("test"))
    assert set(of("train")) | set(of("test")) == set(of("all"))
    assert len(set(of("all"))) == len(of("all"))
    assert {workload.expression for workload in of("test")} == {workload.expression for workload in of("all")}


def test_looptune_products__are_those_of_the_paper() -> None:
    products = looptune_products()
    assert len(products) == 13**3
    assert {size for product in products for size in product.sizes.values()} == set(range(64, 257, 16))
    assert {product.expression for product in products} == {"mk,kn->mn"}
    assert looptune_products("test25") == looptune_products("test")[:25]
    assert looptune_products("train25") == looptune_products("train")[:25]


def test_splits__do_not_move() -> None:
    held_out = "\n".join(str(workload) for name in sorted(SETS) for workload in SETS[name]("test"))
    assert hashlib.sha256(held_out.encode()).hexdigest()[:16] == "594975539294eae0"


def test_sets__do_not_hold_what_takes_seconds_to_measure() -> None:
    small = [workload for name, of in SETS.items() if name != "large" for workload in of("all")]
    assert max(math.prod(workload.sizes.values()) for workload in small) <= 2**26


def test_load_workloads__takes_sets_splits_unions_and_texts() -> None:
    assert load_workloads("large") == large_products()
    assert load_workloads("large+convolutions:test") == large_products() + convolutions("test")
    assert load_workloads("large, large:test") == large_products()
    text = "mk,kn->mn|bias(n),relu m=6 k=5 n=4 float64"
    assert load_workloads(text) == (parse("mk,kn->mn|bias(n),relu", "float64", m=6, k=5, n=4),)
    assert load_workloads("(h+r),r->h h=6 r=3") == (parse("(h+r),r->h", h=6, r=3),)


def test_load_workloads__refuses_unknown_names() -> None:
    with pytest.raises(InvalidWorkloadError, match="no set of workloads is called 'looptun': did you mean 'looptune'"):
        load_workloads("large+looptun:test")
    with pytest.raises(InvalidWorkloadError, match="looptune has no split 'tset': did you mean 'test'"):
        load_workloads("looptune:tset")
    with pytest.raises(InvalidWorkloadError, match="no set of workloads is called ''"):
        load_workloads("")
