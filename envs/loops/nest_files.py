"""Nests as JSON, to keep what was found."""

from __future__ import annotations

import operator
from typing import Any

from compiler_dojo.envs.errors import InvalidRecordError
from compiler_dojo.envs.loops.legality import check_nest
from compiler_dojo.envs.loops.nest import Loop, Nest, Pack
from compiler_dojo.envs.loops.notation import parse_text


def nest_to_json(nest: Nest) -> dict[str, Any]:
    """The nest as plain data: texts, numbers and lists."""
    return {
        "workload": str(nest.workload),
        "loops": [[loop.axis, loop.step] for loop in nest.loops],
        "write": [[loop.axis, loop.step] for loop in nest.write],
        "tile": nest.tile,
        "unroll": nest.unroll,
        "packs": [[pack.operand, pack.depth] for pack in nest.packs],
        "prefetch": nest.prefetch,
        "threads": nest.threads,
    }


def nest_from_json(value: Any) -> Nest:
    """The nest of :func:`nest_to_json`.

    Raises:
        InvalidRecordError: it is none, or not a legal one.
    """
    try:
        index = operator.index
        nest = Nest(
            parse_text(value["workload"]),
            tuple(Loop(axis, index(step)) for axis, step in value["loops"]),
            tuple(Loop(axis, index(step)) for axis, step in value["write"]),
            None if value["tile"] is None else index(value["tile"]),
            index(value["unroll"]),
            tuple(Pack(index(operand), index(depth)) for operand, depth in value["packs"]),
            index(value["prefetch"]),
            index(value["threads"]),
        )
        check_nest(nest)
    except (
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
    ) as error:  # errors of workloads and nests are ValueErrors
        raise InvalidRecordError(f"no loop nest as CompilerDojo writes them ({error!r}): tune again") from error
    return nest
