"""The oracle: against sums written out, and nests against it, whatever their splits, order, packs and threads."""

import itertools

import numpy as np
import pytest

from compiler_dojo.envs.errors import IllegalScheduleError, InvalidArrayError
from compiler_dojo.envs.loops.nest import Loop, Nest, Pack, start_nest
from compiler_dojo.envs.loops.notation import parse
from compiler_dojo.envs.loops.random_workloads import random_workload
from compiler_dojo.envs.loops.reference import evaluate, exact_arrays, interpret, pack_places, random_arrays, tolerance
from compiler_dojo.envs.loops.workload import Operand, Workload


def written_out(workload: Workload, *arrays: np.ndarray) -> np.ndarray:
    """The workload's meaning, point by point."""
    names = [axis.name for axis in workload.axes]
    result = np.zeros(workload.shape(workload.output))
    point: dict[str, int] = {}

    def place(operand: Operand) -> tuple[int, ...]:
        return tuple(sum(coefficient * point[axis] for axis, coefficient in index) for index in operand.indices)

    for values in itertools.product(*(range(axis.size) for axis in workload.axes)):
        point = dict(zip(names, values, strict=True))
        product = 1.0
        for operand, array in zip(workload.inputs, arrays, strict=False):
            product *= float(array[place(operand)])
        result[place(workload.output)] += product
    for values in itertools.product(*(range(workload.sizes[axis]) for axis in workload.spatial_axes)):
        point = dict(zip(workload.spatial_axes, values, strict=True))
        if workload.bias:
            result[place(workload.output)] += arrays[-1][place(workload.bias)]
        if workload.relu:
            result[place(workload.output)] = max(result[place(workload.output)], 0.0)
    return result.astype(workload.dtype)


def test_evaluate__is_the_sum_written_out() -> None:
    rng = np.random.default_rng(0)
    for _ in range(60):
        workload = random_workload(rng, 2_000)
        _, *arrays = exact_arrays(workload, rng)
        result = evaluate(workload, *arrays)
        assert (result.dtype, result.shape) == (np.dtype(workload.dtype), workload.shape(workload.output))
        assert result.flags.c_contiguous
        np.testing.assert_array_equal(result, written_out(workload, *arrays), err_msg=str(workload))


def test_evaluate__is_einsum_where_no_index_is_a_sum() -> None:
    rng = np.random.default_rng(1)
    for expression in ("mk,kn->mn", "mk,kn->nm", "bmk,bkn->bmn", "ikl,kr,lr->ir", "mn->n", "mk,k->m"):
        workload = parse(expression, "float64", **{axis: 7 for axis in expression if axis.isalpha()})
        _, *arrays = random_arrays(workload, rng)
        np.testing.assert_allclose(evaluate(workload, *arrays), np.einsum(expression, *arrays), atol=1e-13)


def test_evaluate__convolves() -> None:
    workload = parse("(w+s),s->w", "float64", w=9, s=4)
    _, signal, weights = random_arrays(workload, np.random.default_rng(2))
    np.testing.assert_allclose(evaluate(workload, signal, weights), np.correlate(signal, weights), atol=1e-14)


def test_evaluate__takes_arrays_of_any_strides() -> None:
    workload = parse("mk,kn->mn", m=3, k=4, n=5)
    _, a, b = exact_arrays(workload, np.random.default_rng(3))
    np.testing.assert_array_equal(evaluate(workload, np.asfortranarray(a), np.repeat(b, 2, 1)[:, ::2]), a @ b)


@pytest.mark.parametrize(
    ("shapes", "dtype", "message"),
    [
        ([(3, 4)], "float32", r"1 arrays for mk,kn->mn m=3 k=4 n=5 float32: pass A, B"),
        ([(3, 4), (5, 4)], "float32", r"B of .* is float32 of shape \(5, 4\): pass float32 of shape \(4, 5\)"),
        ([(3, 4), (4, 5)], "float64", r"A of .* is float64 of shape \(3, 4\): pass float32"),
        ([(3, 5), (3, 4), (4, 5)], "float32", r"3 arrays for"),
    ],
)
def test_arrays__have_the_shapes_and_dtype_of_the_workload(
    shapes: list[tuple[int, ...]], dtype: str, message: str
) -> None:
    workload = parse("mk,kn->mn", m=3, k=4, n=5)
    arrays = [np.zeros(shape, dtype) for shape in shapes]
    with pytest.raises(InvalidArrayError, match=message):
        evaluate(workload, *arrays)
    with pytest.raises(InvalidArrayError, match=message):
        interpret(start_nest(workload), arrays)


def test_random_arrays__are_the_operands_in_the_order_of_a_kernel() -> None:
    workload = parse("mk,kn->mn|bias(n)", "float64", m=300, k=4, n=5)
    for make, least, most in ((random_arrays, -1, 1), (exact_arrays, -2, 2)):
        output, *others = make(workload, np.random.default_rng(4))
        assert np.isnan(output).all()
        assert [array.shape for array in (output, *others)] == [(300, 5), (300, 4), (4, 5), (5,)]
        assert {array.dtype for array in (output, *others)} == {np.dtype("float64")}
        assert least <= others[0].min() < 0.9 * least
        assert 0.9 * most < others[0].max() <= most


def test_tolerance__holds_for_float32_sums_in_any_order_and_shows_a_missing_term() -> None:
    rng = np.random.default_rng(5)
    for terms in (1, 2, 16, 128, 1000):
        workload = parse("mk,kn->mn", m=20, k=terms, n=20)
        _, a, b = random_arrays(workload, rng)
        wanted = evaluate(workload, a, b)
        in_order = np.zeros_like(wanted)
        for k in range(terms):
            in_order += a[:, k, None] * b[k]
        for result in (in_order, a @ b, np.einsum("mk,kn->mn", a, b)):
            assert np.abs(result - wanted).max() <= tolerance(workload)
        without_one = wanted - a[:, -1, None] * b[-1]
        assert np.abs(without_one - wanted).max() > 10 * tolerance(workload)


def test_interpret__gives_exactly_what_evaluate_gives(make_nest) -> None:
    rng = np.random.default_rng(6)
    for _ in range(100):
        workload = random_workload(rng, 3_000)
        nest = make_nest(workload, rng)
        _, *arrays = exact_arrays(workload, rng)
        np.testing.assert_array_equal(interpret(nest, arrays), evaluate(workload, *arrays), err_msg=str(nest))


def test_interpret__is_within_the_tolerance_for_any_numbers(make_nest) -> None:
    rng = np.random.default_rng(7)
    for _ in range(40):
        workload = random_workload(rng, 3_000)
        nest = make_nest(workload, rng)
        _, *arrays = random_arrays(workload, rng)
        error = np.abs(interpret(nest, arrays) - evaluate(workload, *arrays)).max()
        assert error <= tolerance(workload), f"{nest}\n{workload}"


def test_interpret__does_not_depend_on_the_order_of_loops() -> None:
    workload = parse("(2w+s)c,sck->wk|bias(k),relu", w=5, s=3, c=4, k=7)
    _, *arrays = exact_arrays(workload, np.random.default_rng(8))
    wanted = evaluate(workload, *arrays)
    for order in itertools.permutations(start_nest(workload).loops):
        for tile in (1, 3):
            np.testing.assert_array_equal(interpret(Nest(workload, order, tile=tile), arrays), wanted)


def test_interpret__runs_the_nest_of_the_documentation() -> None:
    workload = parse("mk,kn->mn", m=20, k=19, n=100)
    order = (Loop("n", 48), Loop("m", 8), Loop("k"), Loop("m"), Loop("n"))
    nest = Nest(workload, order, tile=2, unroll=2, packs=(Pack(1, 1),), threads=2)
    _, a, b = exact_arrays(workload, np.random.default_rng(9))
    np.testing.assert_array_equal(interpret(nest, (a, b)), a @ b)


def test_pack_places__is_the_order_of_reading() -> None:
    workload = parse("mk,kn->mn", m=4, k=2, n=6)
    panels = Nest(workload, (Loop("n", 4), Loop("m"), Loop("k"), Loop("n")), tile=2)
    rows_of_four_then_two = [[0, 1, 2, 3, 8, 9], [4, 5, 6, 7, 10, 11]]
    np.testing.assert_array_equal(pack_places(panels, 2, Pack(1, 0), (2, 6)), rows_of_four_then_two)
    np.testing.assert_array_equal(pack_places(panels, 2, Pack(1, 1), (2, 4)), [[0, 1, 2, 3], [4, 5, 6, 7]])
    columns = Nest(workload, (Loop("n"), Loop("m"), Loop("k")), tile=2)
    np.testing.assert_array_equal(
        pack_places(columns, 2, Pack(1, 0), (2, 6)), [[0, 2, 4, 6, 8, 10], [1, 3, 5, 7, 9, 11]]
    )


def test_interpret__refuses_illegal_nests() -> None:
    workload = parse("mk,kn->mn", m=2, k=3, n=4)
    _, *arrays = exact_arrays(workload, np.random.default_rng(10))
    with pytest.raises(IllegalScheduleError, match="no loop is over 'k'"):
        interpret(Nest(workload, (Loop("m"), Loop("n"))), arrays)
