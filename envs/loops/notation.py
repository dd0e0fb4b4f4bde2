"""Tensor contractions from text in Einstein notation, with sums of indices in parentheses for convolutions."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Mapping
from typing import NoReturn

from compiler_dojo.envs.errors import InvalidWorkloadError, did_you_mean
from compiler_dojo.envs.loops.workload import ITEM_BYTES, Axis, Index, Operand, Workload

MOST_ELEMENTS = 2**31
"""Elements that an operand may have at most."""

MOST_ITERATIONS = 2**40
"""Points that an iteration space may have at most."""

_INPUT_NAMES = ("A", "B", "D")
_DIMENSION = re.compile(r"([a-z])|\(((?:[0-9]{0,9}[a-z]\+)*[0-9]{0,9}[a-z])\)")
_TERM = re.compile(r"([0-9]*)([a-z])")
_BIAS = re.compile(r"bias\(([a-z]*)\)")


def parse(expression: str, dtype: str = "float32", **sizes: int) -> Workload:
    """The workload that a text means, such as ``parse("mk,kn->mn", m=64, k=64, n=64)``.

    Axes are lower-case letters, operands are separated by commas, and what the output lacks is summed over::

        mk,kn->mn                     matrix product           A[m,k] B[k,n] -> C[m,n]
        bmk,bkn->bmn                  batched                  mk,k->m   matrix-vector      mn->m   reduction
        (w+s)c,sck->wk                convolution              A[w+s,c] B[s,c,k] -> C[w,k]
        (2h+r)(2w+s)c,rsck->hwk       strided, with two dimensions
        (h+2r)(w+2s)c,rsck->hwk       dilated
        (h+r)(w+s)c,rsc->hwc          depth-wise
        ikl,kr,lr->ir                 MTTKRP, with three inputs A, B, D
        mk,kn->mn|bias(n),relu        then a bias is added, and negative results become zero

    The order of letters in an operand is its layout: the last one lies contiguous in memory. That holds for the output
    too, so ``mk,kn->nm`` computes the transposed product. The workload's axes, and so the loops of the start nest, are
    in the order in which the inputs mention them; the output's order has no part in that.

    Args:
        expression: blanks in it are ignored.
        dtype: of every operand and of the sum, ``float32`` or ``float64``.
        sizes: of each axis, at least 1.

    Returns:
        The workload; its ``expression`` is the text in one canonical form, so that equal workloads compare equal.

    Raises:
        InvalidWorkloadError: the text is not a contraction that is supported, or sizes or dtype do not fit it.
    """
    text = "".join(expression.split())
    if dtype not in ITEM_BYTES:
        raise InvalidWorkloadError(f"unknown dtype {dtype!r} of {text!r}: {did_you_mean(str(dtype), ITEM_BYTES)}")
    contraction, bar, epilogue = text.partition("|")
    inputs, output = _contraction(contraction)
    bias, relu = _epilogue(text, epilogue, output) if bar else (None, False)
    axes = tuple(dict.fromkeys(axis for operand in inputs for index in operand.indices for axis, _ in index))
    _check_output(text, output, axes)
    checked = _sizes(text, axes, sizes)
    workload = Workload(
        _canonical(inputs, output, bias, relu),
        tuple(Axis(axis, checked[axis]) for axis in axes),
        output,
        inputs,
        dtype,
        bias,
        relu,
    )
    _check_extent(workload)
    return workload


def parse_text(text: str) -> Workload:
    """The workload of a text with its sizes, as ``str(workload)`` gives it: ``mk,kn->mn m=64 k=64 n=64 float32``.

    Raises:
        InvalidWorkloadError: as :func:`parse`; or a word that is neither a size nor a dtype.
    """
    words = text.split()
    settings = [position for position, word in enumerate(words) if "=" in word]
    if not settings:
        raise InvalidWorkloadError(f"sizes are missing in {text!r}: write them behind, such as 'mn->m m=64 n=64'")
    sizes: dict[str, int] = {}
    dtype = "float32"
    for word in words[settings[0] :]:
        name, equals, value = word.partition("=")
        if not equals:
            dtype = word
        elif name in sizes:
            raise InvalidWorkloadError(f"axis {name!r} has two sizes in {text!r}: leave one")
        elif not re.fullmatch("[a-z]", name) or not re.fullmatch("[0-9]{1,15}", value):
            raise InvalidWorkloadError(f"cannot read {word!r} in {text!r}: sizes are written as m=64")
        else:
            sizes[name] = int(value)
    return parse("".join(words[: settings[0]]), dtype, **sizes)


def _contraction(text: str) -> tuple[tuple[Operand, ...], Operand]:
    if text.count("->") != 1:
        raise InvalidWorkloadError(f"expected one '->' in {text!r}: write inputs->output, such as 'mk,kn->mn'")
    left = text[: text.index("->")]
    parts = left.split(",")
    if len(parts) > len(_INPUT_NAMES):
        raise InvalidWorkloadError(f"{len(parts)} inputs in {text!r}: at most 3 can be multiplied at once")
    inputs = []
    start = 0
    for name, part in zip(_INPUT_NAMES, parts, strict=False):
        if not part:
            raise InvalidWorkloadError(f"input {name} of {text!r} has no axes, at character {start}: give it some")
        inputs.append(_operand(text, name, start, start + len(part)))
        start += len(part) + 1
    return tuple(inputs), _operand(text, "C", len(left) + 2, len(text))


def _operand(text: str, name: str, start: int, stop: int) -> Operand:
    indices: list[Index] = []
    position = start
    while position < stop:
        match = _DIMENSION.match(text, position, stop)
        if not match:
            _refuse_character(text, name, position)
        indices.append(_index(text, match[1] or match[2]))
        position = match.end()
    seen: set[str] = set()
    for index in indices:
        for axis, _ in index:
            if axis in seen:
                remedy = "name each output axis once" if name == "C" else "diagonals are not supported"
                raise InvalidWorkloadError(f"axis {axis!r} is twice in {text[start:stop]!r} of {text!r}: {remedy}")
            seen.add(axis)
    return Operand(name, tuple(indices))


def _refuse_character(text: str, name: str, position: int) -> NoReturn:
    found = text[position]
    operand = "the output" if name == "C" else f"input {name}"
    if found.isupper():
        remedy = f"axes are lower-case letters, write {found.lower()!r}"
    elif found == "(":
        remedy = "a sum is written as (h+r) or (2h+r), with coefficients below 10**9 and no other sign"
    else:
        remedy = "a dimension is a lower-case letter, or a sum such as (2h+r)"
    raise InvalidWorkloadError(f"cannot read {operand} of {text!r} at character {position}, {found!r}: {remedy}")


def _index(text: str, terms: str) -> Index:
    index = tuple((axis, int(digits or 1)) for digits, axis in _TERM.findall(terms))
    for axis, coefficient in index:
        if coefficient == 0:
            raise InvalidWorkloadError(f"the coefficient of {axis!r} is 0 in {text!r}: leave the axis out of the sum")
    return index


def _epilogue(text: str, epilogue: str, output: Operand) -> tuple[Operand | None, bool]:
    bias: Operand | None = None
    relu = False
    for part in epilogue.split(","):
        if relu:
            raise InvalidWorkloadError(f"relu is not the last in {text!r}: write |bias(...),relu")
        match = _BIAS.fullmatch(part)
        if match and bias:
            raise InvalidWorkloadError(f"two biases in {text!r}: add them up beforehand")
        if match:
            bias = _bias(text, match[1], output)
        elif part == "relu":
            relu = True
        else:
            raise InvalidWorkloadError(
                f"cannot read {part!r} behind '|' in {text!r}: {did_you_mean(part.split('(')[0], ('bias(n)', 'relu'))}"
            )
    return bias, relu


def _bias(text: str, axes: str, output: Operand) -> Operand:
    stray = sorted(set(axes) - output.axes)
    if stray or not axes or len(set(axes)) < len(axes):
        raise InvalidWorkloadError(
            f"bias({axes}) of {text!r}: name one or more axes of the output, each once, of {sorted(output.axes)}"
        )
    return Operand("bias", tuple(((axis, 1),) for axis in axes))


def _check_output(text: str, output: Operand, axes: tuple[str, ...]) -> None:
    for index in output.indices:
        if len(index) > 1 or index[0][1] != 1:
            raise InvalidWorkloadError(
                f"the output of {text!r} has the index {_index_text(index)}: its dimensions are single axes"
            )
        if index[0][0] not in axes:
            raise InvalidWorkloadError(
                f"output axis {index[0][0]!r} of {text!r} is in no input: {did_you_mean(index[0][0], axes)}"
            )


def _sizes(text: str, axes: tuple[str, ...], sizes: Mapping[str, int]) -> dict[str, int]:
    missing = [axis for axis in axes if axis not in sizes]
    if missing:
        raise InvalidWorkloadError(
            f"no size for {', '.join(missing)} of {text!r}: pass {', '.join(f'{axis}=...' for axis in missing)}"
        )
    checked = {}
    for axis, size in sizes.items():
        if axis not in axes:
            raise InvalidWorkloadError(f"a size for {axis!r}, which is no axis of {text!r}: {did_you_mean(axis, axes)}")
        try:
            checked[axis] = operator.index(size)
        except TypeError:
            checked[axis] = 0
        if checked[axis] < 1 or isinstance(size, bool):
            raise InvalidWorkloadError(f"the size of {axis!r} of {text!r} is {size!r}: pass a positive integer")
    return checked


def _check_extent(workload: Workload) -> None:
    for operand in workload.operands:
        elements = math.prod(workload.shape(operand))
        if elements > MOST_ELEMENTS:
            raise InvalidWorkloadError(
                f"operand {operand.name} of {workload} has {elements} elements: at most 2**31, use smaller sizes"
            )
    iterations = math.prod(workload.sizes.values())
    if iterations > MOST_ITERATIONS:
        raise InvalidWorkloadError(f"{workload} has {iterations} iterations: at most 2**40, use smaller sizes")


def _canonical(inputs: tuple[Operand, ...], output: Operand, bias: Operand | None, relu: bool) -> str:
    epilogue = ([f"bias({_operand_text(bias)})"] if bias else []) + (["relu"] if relu else [])
    contraction = f"{','.join(map(_operand_text, inputs))}->{_operand_text(output)}"
    return "|".join([contraction, *([",".join(epilogue)] if epilogue else [])])


def _operand_text(operand: Operand) -> str:
    return "".join(map(_index_text, operand.indices))


def _index_text(index: Index) -> str:
    if len(index) == 1 and index[0][1] == 1:
        return index[0][0]
    return f"({'+'.join(f'{coefficient if coefficient > 1 else str()}{axis}' for axis, coefficient in index)})"
