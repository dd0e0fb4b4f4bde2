"""A compiler session: one program's module that is transformed pass by pass."""

from __future__ import annotations

import ctypes
from ctypes import byref, c_char_p, c_double, c_float, c_int64, c_size_t, c_void_p
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from compiler_dojo.envs.errors import PassFailedError, SessionClosedError
from compiler_dojo.envs.llvm.library import AUTOPHASE_SIZE, INSTCOUNT_SIZE, PARSE_ERROR, Library, State, load_library

IntArray = npt.NDArray[np.int64]

# Offsets of the arrays inside dojo_state.
_INSTCOUNT_OFFSET = State.instcount.offset
_AUTOPHASE_OFFSET = State.autophase.offset
_SHARES_OFFSET = State.autophase_shares.offset


class PassResult(NamedTuple):
    """What one call of :meth:`CompilerSession.run` did.

    Attributes:
        changed: the structural hash differs from before.
        seconds: time inside LLVM.
    """

    changed: bool
    seconds: float


class CompilerSession:
    """A module in an LLVM context of its own.

    A session may be used by one thread at a time; different sessions run in parallel (calls release the GIL).
    What a pass does depends on the module's text alone, so equal pass lists give equal modules whether the
    session was opened, forked, or replayed.

    Args:
        program: LLVM bitcode or textual IR.
        name: what to call the program in messages.

    Raises:
        InvalidProgramError: the program does not parse or verify, is empty, or defines no function.
        NativeLibraryError: libLLVM cannot be loaded.
    """

    def __init__(self, program: bytes, name: str = "program") -> None:
        library = load_library()
        handle, error = c_void_p(), c_void_p()
        status = library.core.dojo_session_open(library.handle, program, len(program), byref(handle), byref(error))
        library.check(status, error, f"{name}: {_reason(program)}" if status == PARSE_ERROR else name)
        self._adopt(library, handle, name)

    def _adopt(self, library: Library, handle: c_void_p, name: str) -> None:
        self.name = name
        self._library = library
        self._core = library.core
        self._handle: c_void_p | None = handle
        self._error = c_void_p()
        self._error_reference = byref(self._error)
        self._state: Any = self._core.dojo_session_state(handle).contents
        address = ctypes.addressof(self._state)
        # Views of the state that C rewrites in place; handed out as copies only.
        self._instcount: IntArray = _view(c_int64, address + _INSTCOUNT_OFFSET, INSTCOUNT_SIZE)
        self._autophase: IntArray = _view(c_int64, address + _AUTOPHASE_OFFSET, AUTOPHASE_SIZE)
        self._shares: npt.NDArray[np.float32] = _view(c_float, address + _SHARES_OFFSET, AUTOPHASE_SIZE)

    def run(self, pipeline: str | bytes) -> PassResult:
        """Run the passes of ``pipeline`` (the text of ``opt -passes=``).

        Raises:
            PassFailedError: LLVM refused the text; the module is as before.
        """
        handle = self._require_open()
        text = pipeline if isinstance(pipeline, bytes) else pipeline.encode()
        if b"\0" in text:
            raise PassFailedError(f"{self.name}: a pipeline holds no NUL, got {text!r}")
        status = self._core.dojo_session_run(handle, text, self._error_reference)
        if status:
            self._library.check(status, self._error, f"{self.name}: pipeline {text.decode(errors='replace')!r}")
        return PassResult(bool(self._state.changed), self._state.pass_seconds)

    def hash(self) -> str:
        """128-bit structural hash as 32 hexadecimal digits: equal modules have equal hashes in every process."""
        self._require_open()
        first, second = self._state.hash
        return f"{first:016x}{second:016x}"

    @property
    def instruction_count(self) -> int:
        """IR instructions of the module."""
        self._require_open()
        return int(self._instcount[0])

    def instcount(self) -> IntArray:
        """LLVM's InstCount, int64 of shape (70,): see :data:`compiler_dojo.envs.llvm.features.INSTCOUNT_NAMES`."""
        self._require_open()
        return self._instcount.copy()

    def autophase(self) -> IntArray:
        """Autophase, int64 of shape (56,): see :data:`compiler_dojo.envs.llvm.features.AUTOPHASE_NAMES`."""
        self._require_open()
        return self._autophase.copy()

    def autophase_shares(self) -> npt.NDArray[np.float32]:
        """Autophase counts divided by the instruction count, clipped to [0, 1], float32 of shape (56,)."""
        self._require_open()
        return self._shares.copy()

    def text_size(self) -> int:
        """Bytes of the .text sections of the object that LLVM emits for the module; takes 10 to 100 passes' time."""
        size = c_int64()
        self._call("dojo_session_text_size", byref(size))
        return size.value

    def object_code(self) -> bytes:
        """The relocatable object that LLVM emits for the module."""
        data, size = c_void_p(), c_size_t()
        self._call("dojo_session_object", byref(data), byref(size))
        code = ctypes.string_at(data.value or 0, size.value)
        self._core.dojo_string_free(data)
        return code

    def bitcode(self) -> bytes:
        """The module as LLVM bitcode."""
        data, size = c_void_p(), c_size_t()
        self._call("dojo_session_bitcode", byref(data), byref(size))
        return ctypes.string_at(data.value or 0, size.value)

    def ir(self) -> str:
        """The module as text."""
        text = c_void_p()
        self._call("dojo_session_ir", byref(text))
        return self._library.take_string(text)

    def verify(self) -> None:
        """Check the module's validity.

        Raises:
            InvalidProgramError: LLVM's verifier found a fault.
        """
        self._call("dojo_session_verify")

    def fork(self) -> CompilerSession:
        """An independent session at the same state; its module is parsed when it first runs a pass."""
        handle = c_void_p()
        self._call("dojo_session_fork", byref(handle))
        fork = CompilerSession.__new__(CompilerSession)
        fork._adopt(self._library, handle, self.name)
        return fork

    def materialize(self) -> None:
        """Do now the parsing that a fork otherwise puts off until it first runs a pass."""
        self._call("dojo_session_materialize")

    def benchmark_floor(self, pipelines: list[str]) -> tuple[list[float], list[float]]:
        """Seconds of each pipeline, and of the walk after it, when a bare C loop runs them on a fork."""
        count = len(pipelines)
        passes, walks = (c_double * count)(), (c_double * count)()
        texts = (c_char_p * count)(*[pipeline.encode() for pipeline in pipelines])
        self._call("dojo_benchmark_floor", texts, count, passes, walks)
        return list(passes), list(walks)

    def close(self) -> None:
        """Free the module. Closing twice is harmless."""
        if self._handle is not None:
            self._core.dojo_session_close(self._handle)
            self._handle = None

    def _call(self, function: str, *arguments: Any) -> None:
        handle = self._require_open()
        status = getattr(self._core, function)(handle, *arguments, self._error_reference)
        self._library.check(status, self._error, self.name)

    def _require_open(self) -> c_void_p:
        if self._handle is None:
            raise SessionClosedError(f"the session of {self.name} is closed; open a new one")
        return self._handle

    def __enter__(self) -> CompilerSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_handle", None) is not None:
            self.close()


def _view(kind: Any, address: int, size: int) -> npt.NDArray[Any]:
    return np.frombuffer((kind * size).from_address(address), kind)


def _reason(program: bytes) -> str:
    """A first clause that tells the user what kind of input this looked like."""
    if program[:4] in (b"BC\xc0\xde", b"\xde\xc0\x17\x0b"):
        return "invalid or truncated LLVM bitcode, or of a newer LLVM"
    if b"* " in program[:100_000] and b"define" in program and b"ptr" not in program[:100_000]:
        return (
            "invalid LLVM IR; if it was written by LLVM 14 or older (typed pointers such as i32*), "
            "convert it to bitcode with that LLVM's llvm-as: old bitcode is upgraded on load"
        )
    return "invalid LLVM IR"
