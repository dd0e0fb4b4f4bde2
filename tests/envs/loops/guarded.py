"""Arrays that lie against pages which nobody may touch, and kernels run on them in a child process.

A kernel that reads or writes past its arrays dies of a signal, and the test that ran it fails.
"""

import ctypes
import faulthandler
import mmap
import os
import signal
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from compiler_dojo.envs.loops.jit import CompiledKernel

Array = npt.NDArray[Any]
Side = Literal["front", "back"]

PAGE = mmap.PAGESIZE
ALIGNMENT = 64


class OutOfBoundsError(AssertionError):
    """A kernel touched memory outside of its arrays."""


def guarded(array: Array, side: Side) -> Array:
    """A copy that begins right behind a forbidden page (``front``) or ends right before one (``back``).

    There is one on the other side, too. Children that are forked share the memory with their parent.
    """
    pages = -(-max(array.nbytes, 1) // PAGE)
    memory = mmap.mmap(-1, (pages + 2) * PAGE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for page in (0, pages + 1):
        _forbid(address + page * PAGE)
    start = PAGE if side == "front" else PAGE * (pages + 1) - array.nbytes
    copy: Array = np.frombuffer(memory, array.dtype, array.size, start).reshape(array.shape)
    copy[...] = array
    return copy


def _forbid(address: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(PAGE), 0):
        raise OSError(ctypes.get_errno(), "mprotect")


def run_apart(function: Callable[[], None]) -> None:
    """Call the function in a forked child.

    Raises:
        OutOfBoundsError: the child died of a signal.
        AssertionError: the function raised.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of threads that the child will not have
        child = os.fork()
    if child == 0:
        status = 1
        faulthandler.disable()
        try:
            function()
            status = 0
        finally:
            os._exit(status)
    _, ended = os.waitpid(child, 0)
    if os.WIFSIGNALED(ended):
        raise OutOfBoundsError(f"the kernel died of {signal.Signals(os.WTERMSIG(ended)).name}")
    assert os.WEXITSTATUS(ended) == 0, "the kernel could not be run"


def run_guarded(
    kernel: CompiledKernel, operands: Sequence[Array], workspace_bytes: int, begin: int, end: int
) -> tuple[Array, ...]:
    """Run a kernel in a child, once with forbidden pages right before its arrays and once right behind them.

    The workspace begins at a multiple of 64 bytes, so that up to 63 bytes behind it go unnoticed.

    Returns:
        The operands as the kernel left them, which is the same both times.

    Raises:
        OutOfBoundsError: it touched memory outside of its arrays.
    """
    results = []
    for side in ("front", "back"):
        arrays = tuple(guarded(operand, side) for operand in operands)
        size = -(-workspace_bytes // ALIGNMENT) * ALIGNMENT
        workspace = guarded(np.zeros(size, np.uint8), side)
        run_apart(lambda arrays=arrays, workspace=workspace: kernel(arrays, workspace, begin, end))  # type: ignore[misc]
        results.append(tuple(array.copy() for array in arrays))
    for front, back in zip(*results, strict=True):
        np.testing.assert_array_equal(front, back)
    return results[0]
