"""Running passes in a worker without a session's recovery: a crash is the answer, and nothing is written about it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from compiler_dojo.envs.errors import CompilerFailedError, DojoError
from compiler_dojo.envs.llvm.library import State
from compiler_dojo.envs.llvm.module import Export, RemoteModule
from compiler_dojo.envs.llvm.worker import Worker

# What a session asks for besides passes, in the words that its reproducers end with.
REQUESTS: dict[str, Callable[[RemoteModule], object]] = {
    "reading the program": lambda module: None,
    "reading the module": lambda module: module.materialize(),
    "copying the module": lambda module: module.fork(),
    "drawing the graph": lambda module: module.export(Export.GRAPH),
    "emitting an object": lambda module: module.text_size(),
    "writing bitcode": lambda module: module.export(Export.BITCODE),
    "writing text": lambda module: module.export(Export.IR),
    "verifying": lambda module: module.verify(),
}


def error_at_end(worker: Worker, program: bytes, pipelines: Sequence[str]) -> DojoError | None:
    """The error that the last pipeline or request ends in; None when there is none, or an earlier one ends in one.

    Args:
        worker: one that nobody else uses.
        program: LLVM bitcode or textual IR.
        pipelines: texts of ``opt -passes=``; the last may be one of :data:`REQUESTS`.
    """
    connection, state = worker.connection(), State()
    *others, last = pipelines
    at_last = last == "reading the program"
    try:
        module = RemoteModule.open(connection, program, "program", state, worker.isolation.pass_seconds)
        for pipeline in others:
            module.run(pipeline.encode(), state)
        at_last = True
        if last in REQUESTS:
            REQUESTS[last](module)
        else:
            module.run(last.encode(), state)
        module.close()
    except DojoError as error:
        if isinstance(error, CompilerFailedError):
            connection.end()
        return error if at_last else None
    return None
