"""Finding and loading the C core and, through it, libLLVM."""

from __future__ import annotations

import ctypes
import glob
import os
import struct
import sys
from ctypes import (
    POINTER,
    byref,
    c_bool,
    c_char_p,
    c_double,
    c_float,
    c_int,
    c_int64,
    c_size_t,
    c_uint,
    c_uint32,
    c_uint64,
    c_void_p,
)
from pathlib import Path
from typing import Any

from compiler_dojo.envs.errors import (
    CompilerCrashedError,
    CompilerLostError,
    CompilerTimeoutError,
    DojoError,
    InvalidProgramError,
    NativeLibraryError,
    PassFailedError,
    UnreadableProgramError,
)
from compiler_dojo.envs.llvm.once import once

LIBLLVM_VARIABLE = "DOJO_LIBLLVM"
SUPPORTED_LLVM = (19, 20, 21, 22)
INSTCOUNT_SIZE = 70
AUTOPHASE_SIZE = 56

INSTALL_HINT = (
    "install it with `apt-get install libllvm19` (Debian 12 and later, Ubuntu 24.04 and later), "
    f"or set {LIBLLVM_VARIABLE} to the path of a libLLVM.so of version 19 to 22; `dojo doctor` shows what is found"
)


class State(ctypes.Structure):
    """Mirror of ``dojo_state`` in native/include/dojo.h."""

    _fields_ = (
        ("hash", c_uint64 * 2),
        ("pass_seconds", c_double),
        ("changed", c_int64),
        ("instcount", c_int64 * INSTCOUNT_SIZE),
        ("autophase", c_int64 * AUTOPHASE_SIZE),
        ("autophase_shares", c_float * AUTOPHASE_SIZE),
    )


class GraphHeader(ctypes.Structure):
    """Mirror of ``dojo_graph`` in native/include/dojo.h."""

    _fields_ = (("bytes", c_int64), ("nodes", c_int64), ("edges", c_int64), ("functions", c_int64))


class Kernel(ctypes.Structure):
    """Mirror of ``dojo_kernel`` in native/include/dojo.h."""

    _fields_ = (
        ("function", c_void_p),
        ("object", c_void_p),
        ("object_size", c_size_t),
        ("parse_seconds", c_double),
        ("pass_seconds", c_double),
        ("code_seconds", c_double),
        ("link_seconds", c_double),
    )


class Work(ctypes.Structure):
    """Mirror of ``dojo_work`` in native/include/dojo.h."""

    _fields_ = (
        ("function", c_void_p),
        ("operands", c_void_p),
        ("workspace", c_void_p),
        ("workspace_bytes", c_size_t),
        ("begin", c_int64),
        ("end", c_int64),
    )


class TimingProtocol(ctypes.Structure):
    """Mirror of ``dojo_protocol`` in native/include/dojo.h."""

    _fields_ = (("warmup", c_int64), ("min_seconds", c_double), ("repeats", c_int64), ("pinned", c_int64))


FUNCTION_RECORD = struct.Struct("=QQqq")
"""Mirror of ``dojo_function`` in native/include/dojo.h: two words of hash, instructions."""

_ERRORS: dict[int, type[DojoError]] = {
    1: NativeLibraryError,
    2: InvalidProgramError,
    3: PassFailedError,
    4: InvalidProgramError,
    5: UnreadableProgramError,
    6: CompilerCrashedError,
    7: CompilerTimeoutError,
    8: CompilerLostError,
}

# C strings that the caller frees come back as c_void_p: ctypes would copy a c_char_p and lose the pointer.
_PROTOTYPES: dict[str, tuple[Any, list[Any]]] = {
    "dojo_string_free": (None, [c_void_p]),
    "dojo_library_open": (c_int, [c_char_p, POINTER(c_void_p), POINTER(c_void_p)]),
    "dojo_library_version": (None, [c_void_p, c_uint * 3]),
    "dojo_library_close": (None, [c_void_p]),
    "dojo_session_open": (c_int, [c_void_p, c_char_p, c_size_t, POINTER(c_void_p), POINTER(c_void_p)]),
    "dojo_session_close": (None, [c_void_p]),
    "dojo_session_fork": (c_int, [c_void_p, POINTER(c_void_p), POINTER(c_void_p)]),
    "dojo_session_materialize": (c_int, [c_void_p, POINTER(c_void_p)]),
    "dojo_session_run": (c_int, [c_void_p, c_char_p, POINTER(c_void_p)]),
    "dojo_session_state": (POINTER(State), [c_void_p]),
    "dojo_session_graph": (c_int, [c_void_p, POINTER(c_void_p), POINTER(c_void_p)]),
    "dojo_session_functions": (c_int, [c_void_p, POINTER(c_void_p), POINTER(c_size_t), POINTER(c_void_p)]),
    "dojo_session_verify": (c_int, [c_void_p, POINTER(c_void_p)]),
    "dojo_session_ir": (c_int, [c_void_p, POINTER(c_void_p), POINTER(c_void_p)]),
    "dojo_session_bitcode": (c_int, [c_void_p, POINTER(c_void_p), POINTER(c_size_t), POINTER(c_void_p)]),
    "dojo_session_object": (c_int, [c_void_p, POINTER(c_void_p), POINTER(c_size_t), POINTER(c_void_p)]),
    "dojo_session_text_size": (c_int, [c_void_p, POINTER(c_int64), POINTER(c_void_p)]),
    "dojo_benchmark_floor": (
        c_int,
        [c_void_p, POINTER(c_char_p), c_size_t, POINTER(c_double), POINTER(c_double), POINTER(c_void_p)],
    ),
    "dojo_worker_memory_size": (c_size_t, []),
    "dojo_worker_prepare": (c_int, [c_int, POINTER(c_void_p), POINTER(c_void_p)]),
    "dojo_worker_start": (c_int, [c_void_p, c_int, c_double, POINTER(c_void_p)]),
    "dojo_worker_is_alive": (c_bool, [c_void_p]),
    "dojo_worker_version": (None, [c_void_p, c_uint * 3]),
    "dojo_worker_close": (None, [c_void_p]),
    "dojo_worker_wait": (None, [c_void_p, POINTER(c_uint32), c_size_t, c_double, c_char_p]),
    "dojo_remote_open": (
        c_int,
        [c_void_p, c_char_p, c_size_t, c_double, POINTER(c_uint64), POINTER(State), POINTER(c_void_p)],
    ),
    "dojo_remote_close": (None, [c_void_p, c_uint64]),
    "dojo_remote_fork": (c_int, [c_void_p, c_uint64, c_double, POINTER(c_uint64), POINTER(c_void_p)]),
    "dojo_remote_materialize": (c_int, [c_void_p, c_uint64, c_double, POINTER(c_void_p)]),
    "dojo_remote_run": (c_int, [c_void_p, c_uint64, c_char_p, c_double, POINTER(State), POINTER(c_void_p)]),
    "dojo_remote_begin_run": (c_int, [c_void_p, c_uint64, c_char_p, POINTER(c_uint32), POINTER(c_void_p)]),
    "dojo_remote_end_run": (c_int, [c_void_p, POINTER(c_uint32), c_double, POINTER(State), POINTER(c_void_p)]),
    "dojo_remote_verify": (c_int, [c_void_p, c_uint64, c_double, POINTER(c_void_p)]),
    "dojo_remote_text_size": (c_int, [c_void_p, c_uint64, c_double, POINTER(c_int64), POINTER(c_void_p)]),
    "dojo_remote_export": (
        c_int,
        [c_void_p, c_uint64, c_int, c_double, POINTER(c_void_p), POINTER(c_size_t), POINTER(c_void_p)],
    ),
    "dojo_jit_host": (
        c_int,
        [c_void_p, POINTER(c_void_p), POINTER(c_void_p), POINTER(c_void_p), POINTER(c_void_p)],
    ),
    "dojo_jit_open": (
        c_int,
        [c_void_p, c_char_p, c_char_p, c_char_p, c_int, POINTER(c_void_p), POINTER(c_void_p)],
    ),
    "dojo_jit_close": (None, [c_void_p]),
    "dojo_jit_compile": (
        c_int,
        [c_void_p, c_char_p, c_size_t, c_char_p, c_char_p, c_bool, POINTER(POINTER(Kernel)), POINTER(c_void_p)],
    ),
    "dojo_jit_assembly": (
        c_int,
        [c_void_p, c_char_p, c_size_t, c_char_p, POINTER(c_void_p), POINTER(c_void_p)],
    ),
    "dojo_kernel_close": (None, [POINTER(Kernel)]),
    "dojo_team_open": (c_void_p, [c_int64]),
    "dojo_team_close": (None, [c_void_p]),
    "dojo_team_run": (None, [c_void_p, POINTER(Work)]),
    "dojo_team_time": (
        c_bool,
        [c_void_p, POINTER(Work), POINTER(TimingProtocol), POINTER(c_double), POINTER(c_int64)],
    ),
}


def find_native_library(name: str = "libdojo.so") -> Path:
    """The C core, or the program ``dojo-worker``, built when the package was installed.

    Raises:
        NativeLibraryError: it is not beside the package.
    """
    import compiler_dojo.envs.llvm as package

    for folder in package.__path__:
        path = Path(folder) / name
        if path.is_file():
            return path
    raise NativeLibraryError(
        f"the C core {name} is not in {', '.join(package.__path__)}: "
        "install the package (`make setup`, or `pip install .`) to build it"
    )


class Core:
    """The C core's functions (prefix ``dojo_``) with their prototypes set; loading it loads no LLVM."""

    def __init__(self) -> None:
        self.functions = ctypes.CDLL(str(find_native_library()))
        for name, (result, arguments) in _PROTOTYPES.items():
            function = getattr(self.functions, name)
            function.restype = result
            function.argtypes = arguments

    def take_string(self, pointer: c_void_p) -> str:
        """Copy and free a C string that the core handed over."""
        if not pointer:
            return "no message"
        text = ctypes.string_at(pointer.value or 0).decode(errors="replace")
        self.functions.dojo_string_free(pointer)
        return text

    def take_bytes(self, pointer: c_void_p, size: int) -> bytes:
        """Copy and free bytes that the core handed over."""
        data = ctypes.string_at(pointer.value or 0, size)
        self.functions.dojo_string_free(pointer)
        return data

    def check(self, status: int, error: c_void_p, context: str) -> None:
        """Raise the error class of a status other than 0."""
        if status:
            raise _ERRORS[status](f"{context}: {self.take_string(error)}")


@once
def load_core() -> Core:
    """The process's C core, loaded at first use.

    Raises:
        NativeLibraryError: it is not beside the package.
    """
    return Core()


def find_libllvm() -> list[str]:
    """Candidate paths of libLLVM, best first: DOJO_LIBLLVM alone when set, else version 19, then newer ones."""
    override = os.environ.get(LIBLLVM_VARIABLE)
    if override:
        return [override]
    found: list[str] = []
    for version in SUPPORTED_LLVM:
        names = (f"libLLVM.so.{version}.*", f"libLLVM-{version}.so*")
        folders = (
            "/usr/lib/*-linux-gnu",
            f"/usr/lib/llvm-{version}/lib",
            "/usr/lib64",
            "/usr/lib",
            "/usr/local/lib",
        )
        # links to the same file are listed once
        matches = (os.path.realpath(match) for f in folders for n in names for match in sorted(glob.glob(f"{f}/{n}")))
        found.extend(dict.fromkeys(matches))
    return found


class Library:
    """A libLLVM loaded into this process.

    Attributes:
        core: the C core.
        path: the libLLVM in use.
        version: its version, such as (19, 1, 7).
        handle: the ``dojo_library`` handle.
    """

    def __init__(self, path: str) -> None:
        self.core = load_core()
        self.path = path
        self.handle = c_void_p()
        error = c_void_p()
        status = self.core.functions.dojo_library_open(path.encode(), byref(self.handle), byref(error))
        if status:
            raise NativeLibraryError(f"cannot use libLLVM: {self.core.take_string(error)}; {INSTALL_HINT}")
        version = (c_uint * 3)()
        self.core.functions.dojo_library_version(self.handle, version)
        self.version: tuple[int, int, int] = (version[0], version[1], version[2])


def choose_libllvm() -> str:
    """The libLLVM to use.

    Raises:
        NativeLibraryError: none of a supported version is found, or this is not Linux.
    """
    if sys.platform != "linux":
        raise NativeLibraryError(f"CompilerDojo runs on Linux; this is {sys.platform}")
    candidates = find_libllvm()
    if not candidates:
        raise NativeLibraryError(f"no libLLVM of version 19 to 22 was found; {INSTALL_HINT}")
    return candidates[0]


@once
def load_library() -> Library:
    """The process's own libLLVM, loaded at first use.

    Raises:
        NativeLibraryError: no supported libLLVM is found, or the one that DOJO_LIBLLVM names is unusable.
    """
    return Library(choose_libllvm())
