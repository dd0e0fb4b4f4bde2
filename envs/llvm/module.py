"""A module in the hands of LLVM: in this process, or in a worker process. Both are asked in the same way."""

from __future__ import annotations

import contextlib
import ctypes
from ctypes import byref, c_char_p, c_double, c_int64, c_size_t, c_uint32, c_uint64, c_void_p
from enum import IntEnum
from typing import Any, Protocol

from compiler_dojo.envs.errors import DojoError
from compiler_dojo.envs.llvm.library import FUNCTION_RECORD, GraphHeader, State, load_core, load_library
from compiler_dojo.envs.llvm.worker import Connection

_NO_RUN = 2**32 - 1  # DOJO_NO_RUN in native/include/dojo.h


class Export(IntEnum):
    """What a module can be written as: mirrors ``dojo_export`` in native/include/dojo.h."""

    BITCODE = 0
    IR = 1
    OBJECT = 2
    GRAPH = 3
    FUNCTIONS = 4


class Module(Protocol):
    """What a session asks of LLVM. Errors are those of :meth:`compiler_dojo.envs.llvm.library.Core.check`."""

    @property
    def ended(self) -> bool:
        """Whether the module is lost."""
        ...

    def begin(self, pipelines: bytes, state: State) -> None:
        """Start to run pipelines, one per line."""
        ...

    def end(self, state: State) -> None:
        """Wait for what :meth:`begin` started; the state becomes that after the last pass."""
        ...

    def run(self, pipelines: bytes, state: State) -> None:
        """Begin and end."""
        ...

    def export(self, what: Export) -> bytes:
        """The module written as bitcode, text, object code, a graph, or hashes of its functions."""
        ...

    def text_size(self) -> int:
        """Bytes of the .text sections of its object."""
        ...

    def verify(self) -> None:
        """Check it with LLVM's verifier."""
        ...

    def materialize(self) -> None:
        """Parse it now, if it is a fork."""
        ...

    def fork(self) -> Module:
        """A copy."""
        ...

    def close(self) -> None:
        """Free it."""
        ...


class LocalModule:
    """A module in this process."""

    ended = False

    def __init__(self, handle: c_void_p, name: str) -> None:
        self._core = load_core()
        self._functions = self._core.functions
        self._handle: c_void_p | None = handle
        self._name = name
        self._error = c_void_p()
        self._error_reference = byref(self._error)
        self._state: Any = self._functions.dojo_session_state(handle)
        self._begun = b""

    @classmethod
    def open(cls, program: bytes, name: str, state: State) -> LocalModule:
        """Parse and verify a program."""
        library = load_library()
        handle, error = c_void_p(), c_void_p()
        functions = library.core.functions
        status = functions.dojo_session_open(library.handle, program, len(program), byref(handle), byref(error))
        library.core.check(status, error, name)
        module = cls(handle, name)
        module._copy_state(state)
        return module

    def begin(self, pipelines: bytes, state: State) -> None:
        self._begun = pipelines

    def end(self, state: State) -> None:
        self.run(self._begun, state)

    def run(self, pipelines: bytes, state: State) -> None:
        run = self._functions.dojo_session_run
        seconds = 0.0
        for pipeline in pipelines.split(b"\n"):
            status = run(self._handle, pipeline, self._error_reference)
            if status:
                self._core.check(status, self._error, self._name)
            seconds += self._state.contents.pass_seconds
        self._copy_state(state)
        state.pass_seconds = seconds

    def export(self, what: Export) -> bytes:
        data, size = c_void_p(), c_size_t()
        if what is Export.BITCODE:
            self._call("dojo_session_bitcode", byref(data), byref(size))
            return ctypes.string_at(data.value or 0, size.value)
        if what is Export.GRAPH:
            self._call("dojo_session_graph", byref(data))
            return ctypes.string_at(data.value or 0, GraphHeader.from_address(data.value or 0).bytes)
        if what is Export.IR:
            self._call("dojo_session_ir", byref(data))
            return self._core.take_bytes(data, -1)
        if what is Export.FUNCTIONS:
            self._call("dojo_session_functions", byref(data), byref(size))
            return self._core.take_bytes(data, size.value * FUNCTION_RECORD.size)
        self._call("dojo_session_object", byref(data), byref(size))
        return self._core.take_bytes(data, size.value)

    def text_size(self) -> int:
        size = c_int64()
        self._call("dojo_session_text_size", byref(size))
        return size.value

    def verify(self) -> None:
        self._call("dojo_session_verify")

    def materialize(self) -> None:
        self._call("dojo_session_materialize")

    def fork(self) -> LocalModule:
        handle = c_void_p()
        self._call("dojo_session_fork", byref(handle))
        return LocalModule(handle, self._name)

    def benchmark_floor(self, pipelines: list[str]) -> tuple[list[float], list[float]]:
        """Seconds of each pipeline, and of the walk after it, when a bare C loop runs them on a copy."""
        count = len(pipelines)
        passes, walks = (c_double * count)(), (c_double * count)()
        texts = (c_char_p * count)(*[pipeline.encode() for pipeline in pipelines])
        self._call("dojo_benchmark_floor", texts, count, passes, walks)
        return list(passes), list(walks)

    def close(self) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            self._functions.dojo_session_close(handle)

    def _call(self, function: str, *arguments: Any) -> None:
        error = c_void_p()  # several threads may fork a module at once
        status = getattr(self._functions, function)(self._handle, *arguments, byref(error))
        if status:
            self._core.check(status, error, self._name)

    def _copy_state(self, state: State) -> None:
        ctypes.memmove(byref(state), self._state, ctypes.sizeof(State))

    def __del__(self) -> None:
        self.close()


class RemoteModule:
    """A module in a worker process."""

    def __init__(self, connection: Connection, number: int, name: str, limit: float) -> None:
        self._connection = connection
        self._worker = connection.handle
        self._core = load_core()
        self._functions = self._core.functions
        self._number = c_uint64(number)
        self._name = name
        self._limit = c_double(limit)
        self._run = c_uint32(_NO_RUN)
        self._begun = b""
        self._run_reference = byref(self._run)
        self._error = c_void_p()
        self._error_reference = byref(self._error)

    @classmethod
    def open(cls, connection: Connection, program: bytes, name: str, state: State, limit: float) -> RemoteModule:
        """Parse and verify a program."""
        number, error = c_uint64(), c_void_p()
        core = load_core()
        status = core.functions.dojo_remote_open(
            connection.handle, program, len(program), limit, byref(number), byref(state), byref(error)
        )
        core.check(status, error, name)
        return cls(connection, number.value, name, limit)

    @property
    def ended(self) -> bool:
        """Whether the worker process has ended."""
        return self._connection.ended

    @property
    def connection(self) -> Connection:
        """The worker process it is in."""
        return self._connection

    @property
    def limit(self) -> float:
        """Wall-clock limit of a pass in seconds."""
        return self._limit.value

    @property
    def run_number(self) -> int | None:
        """What the C core calls the run that :meth:`begin` started; None when too many are under way to start one."""
        return self._run.value if self._run.value != _NO_RUN else None

    def begin(self, pipelines: bytes, state: State) -> None:
        self._begun = pipelines
        begin = self._functions.dojo_remote_begin_run
        status = begin(self._worker, self._number, pipelines, self._run_reference, self._error_reference)
        if status:
            self._core.check(status, self._error, self._name)

    def end(self, state: State) -> None:
        if self._run.value == _NO_RUN:
            return self.run(self._begun, state)
        end = self._functions.dojo_remote_end_run
        status = end(self._worker, self._run_reference, self._limit, byref(state), self._error_reference)
        if status:
            self._core.check(status, self._error, self._name)

    def run(self, pipelines: bytes, state: State) -> None:
        run = self._functions.dojo_remote_run
        status = run(self._worker, self._number, pipelines, self._limit, byref(state), self._error_reference)
        if status:
            self._core.check(status, self._error, self._name)

    def export(self, what: Export) -> bytes:
        data, size = c_void_p(), c_size_t()
        self._call("dojo_remote_export", int(what), self._limit, byref(data), byref(size))
        return self._core.take_bytes(data, size.value)

    def text_size(self) -> int:
        size = c_int64()
        self._call("dojo_remote_text_size", self._limit, byref(size))
        return size.value

    def verify(self) -> None:
        self._call("dojo_remote_verify", self._limit)

    def materialize(self) -> None:
        self._call("dojo_remote_materialize", self._limit)

    def fork(self) -> RemoteModule:
        number = c_uint64()
        self._call("dojo_remote_fork", self._limit, byref(number))
        return RemoteModule(self._connection, number.value, self._name, self._limit.value)

    def close(self) -> None:
        # asked first: at the interpreter's end, when all connections have ended, this module's names may be gone
        if self._connection.ended or not self._number:
            return
        number, self._number = self._number, c_uint64()
        if self._run.value != _NO_RUN:
            with contextlib.suppress(DojoError):
                self.end(State())
        self._functions.dojo_remote_close(self._worker, number)

    def _call(self, function: str, *arguments: Any) -> None:
        error = c_void_p()  # several threads may fork a module at once
        status = getattr(self._functions, function)(self._worker, self._number, *arguments, byref(error))
        if status:
            self._core.check(status, error, self._name)

    def __del__(self) -> None:
        self.close()
