"""Workloads from text: what each notation means, and what is refused with which remedy."""

import re
from typing import Any

import pytest

from compiler_dojo.envs.errors import InvalidWorkloadError
from compiler_dojo.envs.loops.notation import parse, parse_text
from compiler_dojo.envs.loops.workload import Axis, Operand

MATMUL = "mk,kn->mn"


def plain(name: str, axes: str) -> Operand:
    return Operand(name, tuple(((axis, 1),) for axis in axes))


def test_matrix_product__is_its_operands_and_axes_in_order_of_mention() -> None:
    workload = parse(MATMUL, m=4, k=5, n=6)
    assert workload.axes == (Axis("m", 4), Axis("k", 5), Axis("n", 6))
    assert workload.inputs == (plain("A", "mk"), plain("B", "kn"))
    assert workload.output == plain("C", "mn")
    assert (workload.reduction_axes, workload.spatial_axes) == (("k",), ("m", "n"))
    assert (workload.dtype, workload.bias, workload.relu) == ("float32", None, False)


def test_output__says_the_layout_and_not_the_order_of_loops() -> None:
    product = parse(MATMUL, m=4, k=5, n=6)
    transposed = parse("mk,kn->nm", m=4, k=5, n=6)
    assert transposed.axes == product.axes
    assert transposed.shape(transposed.output) == (6, 4)
    assert [transposed.stride(transposed.output, axis) for axis in "mkn"] == [1, 0, 4]


@pytest.mark.parametrize(
    ("expression", "sizes", "shapes", "reduction"),
    [
        ("(w+s)c,sck->wk", {"w": 10, "s": 3, "c": 4, "k": 5}, [(10, 5), (12, 4), (3, 4, 5)], "sc"),
        (
            "(2h+r)(2w+s)c,rsck->hwk",
            {"h": 7, "w": 7, "r": 3, "s": 3, "c": 4, "k": 5},
            [(7, 7, 5), (15, 15, 4), (3, 3, 4, 5)],
            "rsc",
        ),
        (
            "(h+r)(w+s)c,rsc->hwc",
            {"h": 6, "w": 5, "r": 3, "s": 2, "c": 4},
            [(6, 5, 4), (8, 6, 4), (3, 2, 4)],
            "rs",
        ),
        ("(2h)(2w)c,ck->hwk", {"h": 3, "w": 4, "c": 2, "k": 2}, [(3, 4, 2), (5, 7, 2), (2, 2)], "c"),
        ("(w+12s)c,sc->wc", {"w": 4, "s": 3, "c": 2}, [(4, 2), (28, 2), (3, 2)], "s"),
        ("ikl,kr,lr->ir", {"i": 2, "k": 3, "l": 4, "r": 5}, [(2, 5), (2, 3, 4), (3, 5), (4, 5)], "kl"),
        ("mn->m", {"m": 4, "n": 6}, [(4,), (4, 6)], "n"),
        ("k,k->", {"k": 6}, [(), (6,), (6,)], "k"),
        ("bmk,bkn->bmn", {"b": 2, "m": 3, "k": 4, "n": 5}, [(2, 3, 5), (2, 3, 4), (2, 4, 5)], "k"),
        ("mk,k->m", {"m": 3, "k": 4}, [(3,), (3, 4), (4,)], "k"),
    ],
)
def test_parse__knows_every_kind(
    expression: str, sizes: dict[str, int], shapes: list[tuple[int, ...]], reduction: str
) -> None:
    workload = parse(expression, "float64", **sizes)
    assert workload.expression == expression
    assert [workload.shape(operand) for operand in workload.operands] == shapes
    assert "".join(workload.reduction_axes) == reduction
    assert parse_text(str(workload)) == workload


@pytest.mark.parametrize(
    ("epilogue", "bias", "relu"),
    [
        ("bias(n)", plain("bias", "n"), False),
        ("bias(nm),relu", plain("bias", "nm"), True),
        ("relu", None, True),
    ],
)
def test_epilogue__adds_a_bias_and_relu(epilogue: str, bias: Operand | None, relu: bool) -> None:
    workload = parse(f"{MATMUL}|{epilogue}", m=4, k=5, n=6)
    assert (workload.bias, workload.relu) == (bias, relu)
    assert workload.expression == f"{MATMUL}|{epilogue}"
    assert parse_text(str(workload)) == workload


def test_parse__gives_equal_workloads_for_equal_meanings() -> None:
    sizes = {"h": 4, "r": 3, "k": 2}
    assert parse(" (1h + 02r) , (r)k -> hk | relu ", **sizes) == parse("(h+2r),rk->hk|relu", **sizes)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("mk,kn", "expected one '->' in 'mk,kn': write inputs->output"),
        ("mk->kn->mn", "expected one '->'"),
        ("", "expected one '->'"),
        ("mk,k!->m", "cannot read input B of 'mk,k!->m' at character 4, '!': a dimension is a lower-case letter"),
        ("mK,kn->mn", "input A .* at character 1, 'K': axes are lower-case letters, write 'k'"),
        ("(h-r)k,kr->h", r"input A .* at character 0, '\(': a sum is written as \(h\+r\)"),
        ("(h+r,k->h", r"input A .* at character 0, '\('"),
        ("mk,kn->m²", "the output .* at character 8, '²'"),
        ("...k,kn->n", r"at character 0, '\.'"),
        ("m3k,kn->mn", "at character 1, '3'"),
        ("(9999999999h+r),r->h", "coefficients below 10"),
        (",kn->n", "input A of ',kn->n' has no axes, at character 0"),
        ("mk,->m", "input B of 'mk,->m' has no axes, at character 3"),
        ("->m", "input A of '->m' has no axes"),
        ("a,b,c,d->abcd", "4 inputs in 'a,b,c,d->abcd': at most 3"),
        ("mm,mn->n", "axis 'm' is twice in 'mm' of 'mm,mn->n': diagonals are not supported"),
        ("(h+h),r->h", r"axis 'h' is twice in '\(h\+h\)'"),
        ("mk,kn->mm", "axis 'm' is twice in 'mm' of 'mk,kn->mm': name each output axis once"),
        ("(0h+r),r->h", "the coefficient of 'h' is 0"),
        ("mk,kn->mp", "output axis 'p' of 'mk,kn->mp' is in no input: known: k, m, n"),
        ("mk,kn->(m+n)", r"the output of .* has the index \(m\+n\): its dimensions are single axes"),
        ("mk,kn->m(2n)", r"the output of .* has the index \(2n\)"),
        ("mk,kn->mn|", r"cannot read '' behind '\|'"),
        ("mk,kn->mn|rleu", r"cannot read 'rleu' behind '\|' in 'mk,kn->mn\|rleu': did you mean 'relu'\?"),
        ("mk,kn->mn|bias", r"cannot read 'bias' .*: did you mean 'bias\(n\)'"),
        ("mk,kn->mn|relu,bias(n)", r"relu is not the last in .*: write \|bias\(...\),relu"),
        ("mk,kn->mn|bias(n),bias(m)", "two biases in .*: add them up"),
        ("mk,kn->mn|bias(k)", r"bias\(k\) of .*: name one or more axes of the output, each once, of \['m', 'n'\]"),
        ("mk,kn->mn|bias()", r"bias\(\) of "),
        ("mk,kn->mn|bias(nn)", r"bias\(nn\) of "),
    ],
)
def test_parse__says_where_a_text_is_wrong_and_what_to_do(expression: str, message: str) -> None:
    with pytest.raises(InvalidWorkloadError, match=message):
        parse(expression, m=4, k=5, n=6)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"m": 4}, r"no size for k, n of 'mk,kn->mn': pass k=\.\.\., n=\.\.\."),
        ({"m": 4, "k": 5, "n": 6, "p": 7}, "a size for 'p', which is no axis of 'mk,kn->mn': known: k, m, n"),
        ({"m": 0, "k": 5, "n": 6}, "the size of 'm' of 'mk,kn->mn' is 0: pass a positive integer"),
        ({"m": -3, "k": 5, "n": 6}, "is -3: pass a positive integer"),
        ({"m": 4.0, "k": 5, "n": 6}, "is 4.0: pass a positive integer"),
        ({"m": True, "k": 5, "n": 6}, "is True: pass a positive integer"),
        ({"m": "4", "k": 5, "n": 6}, "is '4': pass a positive integer"),
        ({"m": 2**16, "k": 2**16, "n": 1}, r"operand A of .* has 4294967296 elements: at most 2\*\*31"),
        ({"m": 2**15, "k": 2**15, "n": 2**15}, r"has 35184372088832 iterations: at most 2\*\*40"),
    ],
)
def test_sizes__are_one_positive_integer_for_each_axis(sizes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidWorkloadError, match=message):
        parse(MATMUL, **sizes)


def test_dtype__is_one_of_two() -> None:
    with pytest.raises(InvalidWorkloadError, match="unknown dtype 'float23' of 'mn->m': did you mean 'float32'"):
        parse("mn->m", "float23", m=1, n=1)
    with pytest.raises(InvalidWorkloadError, match=r"unknown dtype 'i8' .*: known: float32, float64"):
        parse("mn->m", "i8", m=1, n=1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mk,kn->mn", "sizes are missing in 'mk,kn->mn'"),
        ("mn->m m=4 m=5 n=6", "axis 'm' has two sizes"),
        ("mn->m m=4 n=x", "cannot read 'n=x' .*: sizes are written as m=64"),
        ("mn->m m=4 rows=6", "cannot read 'rows=6'"),
        ("mn->m m=4 n=6 float46", "unknown dtype 'float46'"),
        ("mn->m m=4 n=99999999999999999999", "cannot read 'n=9"),
    ],
)
def test_parse_text__says_what_a_word_should_be(text: str, message: str) -> None:
    with pytest.raises(InvalidWorkloadError, match=message):
        parse_text(text)


def test_parse_text__takes_blanks_in_the_expression_and_a_dtype() -> None:
    workload = parse_text("mk, kn -> mn  m=4 k=5 n=6 float64")
    assert workload == parse(MATMUL, "float64", m=4, k=5, n=6)
    assert not re.search(r"\s", workload.expression)
