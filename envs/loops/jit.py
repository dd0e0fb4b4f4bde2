"""Compiling kernels, given as textual LLVM IR, to executable memory of this process."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Sequence
from ctypes import POINTER, byref, c_void_p
from typing import Any, NamedTuple

import numpy.typing as npt

from compiler_dojo.envs.errors import InvalidConfigError, SessionClosedError
from compiler_dojo.envs.llvm.library import Kernel, load_library
from compiler_dojo.envs.loops.targets import Target, find_target

__all__ = ["CompileSeconds", "CompiledKernel", "Jit", "Target", "find_target", "pointers"]

Array = npt.NDArray[Any]

KERNEL_TYPE = ctypes.CFUNCTYPE(None, POINTER(c_void_p), c_void_p, ctypes.c_int64, ctypes.c_int64)


class CompileSeconds(NamedTuple):
    """Where the time of a compilation went."""

    parse: float
    passes: float
    code: float
    link: float


class Jit:
    """A just-in-time compiler for one target, which threads may share: they compile at the same time.

    Args:
        target: what to generate code for.
        level: LLVM's level of code generation, 0 to 3. It costs compile time more than it gains in code whose loops
            are written as vectors already.
        pipeline: LLVM passes to run before, as the text of ``opt -passes=``; none by default.
        verify: check all IR with LLVM's verifier, which tests want and which costs time. Without it, IR that parses
            but is not valid is undefined behaviour.

    Raises:
        InvalidConfigError: this machine does not have the target's features.
        NativeLibraryError: libLLVM is missing, or was built without a just-in-time compiler.
    """

    def __init__(self, target: Target, level: int = 2, pipeline: str = "", verify: bool = False) -> None:
        if missing := target.missing_features():
            raise InvalidConfigError(
                f"kernels for {target.name} do not run on this machine, which lacks {', '.join(missing)}; "
                "take the target 'native'"
            )
        self.target = target
        self._pipeline = pipeline.encode()
        self._verify = verify
        library = load_library()
        self._core = library.core
        handle, error = c_void_p(), c_void_p()
        status = self._core.functions.dojo_jit_open(
            library.handle,
            target.triple.encode(),
            target.cpu.encode(),
            target.features.encode(),
            level,
            byref(handle),
            byref(error),
        )
        self._core.check(status, error, f"target {target.name}")
        self._handle = handle
        self._finalizer = weakref.finalize(self, self._core.functions.dojo_jit_close, handle)

    def compile(self, ir: str, symbol: str = "kernel") -> CompiledKernel:
        """Compile ``void symbol(ptr operands, ptr workspace, i64 begin, i64 end)``.

        Raises:
            InvalidProgramError: it does not parse, does not define the symbol, calls what the process does not have,
                or (with ``verify``) is not valid.
            PassFailedError: LLVM refused the pipeline.
            SessionClosedError: the compiler was closed.
        """
        self._check_open()
        text = ir.encode()
        kernel, error = POINTER(Kernel)(), c_void_p()
        status = self._core.functions.dojo_jit_compile(
            self._handle, text, len(text), symbol.encode(), self._pipeline, self._verify, byref(kernel), byref(error)
        )
        self._core.check(status, error, symbol)
        return CompiledKernel(self, ir, kernel)

    def assembly(self, ir: str) -> str:
        """The assembly text of what :meth:`compile` makes executable; the same errors."""
        self._check_open()
        text = ir.encode()
        assembly, error = c_void_p(), c_void_p()
        status = self._core.functions.dojo_jit_assembly(
            self._handle, text, len(text), self._pipeline, byref(assembly), byref(error)
        )
        self._core.check(status, error, "assembly")
        return self._core.take_string(assembly)

    def close(self) -> None:
        """Compile no more. Kernels stay valid until they are closed themselves."""
        self._finalizer()

    def _check_open(self) -> None:
        if not self._finalizer.alive:
            raise SessionClosedError("this Jit was closed: make another to compile more kernels")


class CompiledKernel:
    """A kernel in executable memory, which is freed when it is closed or no longer used.

    Attributes:
        ir: what it was compiled from.
        compile_seconds: how long the parts of its compilation took.
    """

    def __init__(self, jit: Jit, ir: str, kernel: Any) -> None:
        self.ir = ir
        self._jit = jit
        self._kernel = kernel
        content = kernel.contents
        self.compile_seconds = CompileSeconds(
            content.parse_seconds, content.pass_seconds, content.code_seconds, content.link_seconds
        )
        self._address = int(content.function)
        self._call = KERNEL_TYPE(self._address)
        self._finalizer = weakref.finalize(self, jit._core.functions.dojo_kernel_close, kernel)

    @property
    def target(self) -> Target:
        """What it was compiled for."""
        return self._jit.target

    @property
    def seconds(self) -> float:
        """How long its compilation took."""
        return sum(self.compile_seconds)

    @property
    def address(self) -> int:
        """Where its code is.

        Raises:
            SessionClosedError: it was closed.
        """
        self._check_open()
        return self._address

    @property
    def object(self) -> bytes:
        """The relocatable object that it was linked from, which defines its symbol.

        Raises:
            SessionClosedError: it was closed.
        """
        self._check_open()
        content = self._kernel.contents
        return ctypes.string_at(content.object, content.object_size)

    def assembly(self) -> str:
        """Its assembly text, generated anew.

        Raises:
            SessionClosedError: its compiler was closed.
        """
        return self._jit.assembly(self.ir)

    def __call__(self, operands: Sequence[Array], workspace: Array | None, begin: int, end: int) -> None:
        """Run iterations [begin, end) of the outermost loop on this thread.

        Nothing is checked: the arrays must have the shapes, data types and layout that the kernel was generated for.

        Raises:
            SessionClosedError: it was closed.
        """
        self._check_open()
        self._call(pointers(operands), None if workspace is None else workspace.ctypes.data, begin, end)

    def close(self) -> None:
        """Free the code, which no thread may be running."""
        self._finalizer()

    def _check_open(self) -> None:
        if not self._finalizer.alive:
            raise SessionClosedError("this kernel was closed: compile it again")


def pointers(operands: Sequence[Array]) -> ctypes.Array[c_void_p]:
    """The array of addresses that kernels take as their first argument."""
    return (c_void_p * len(operands))(*(operand.ctypes.data for operand in operands))
