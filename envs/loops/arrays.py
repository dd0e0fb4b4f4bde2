"""What a kernel needs to know of NumPy arrays: their addresses, and whether they are what it was compiled for."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_dojo.envs.errors import InvalidArrayError
from compiler_dojo.envs.llvm.once import once

Array = npt.NDArray[Any]

C_CONTIGUOUS, ALIGNED, WRITEABLE = 0x1, 0x100, 0x400
"""Bits of ``ndarray.flags.num`` (NumPy's C API, "Array flags")."""

_DATA_OFFSET = object.__basicsize__
"""Where an array object holds its address: behind the head of every object (NumPy's C API, PyArrayObject)."""


ALIGNMENT = 64
"""Bytes of a cache line: where vectors do not straddle two of them, loads take half as long."""


def aligned(values: Array) -> Array:
    """A copy that begins on a cache line."""
    memory = np.empty(values.nbytes + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    array: Array = memory[start : start + values.nbytes].view(values.dtype).reshape(values.shape)
    array[...] = values
    return array


@once
def find_address() -> Callable[[Array], int]:
    """The function that tells an array's address: one read of memory, or NumPy's own that takes ten times as long."""
    probe = np.zeros(3)
    return _read_address if _read_address(probe) == probe.ctypes.data else _ask_address


def _read_address(
    array: Array, read: Callable[[int], ctypes.c_size_t] = ctypes.c_size_t.from_address, offset: int = _DATA_OFFSET
) -> int:
    return read(id(array) + offset).value


def _ask_address(array: Array) -> int:
    return array.ctypes.data


def check_array(array: object, name: str, shape: tuple[int, ...], dtype: np.dtype[Any], written: bool = False) -> None:
    """Demand that an object is an array that a kernel can take.

    Args:
        array: what was passed.
        name: of the operand, for the message.
        shape: as the kernel has it.
        dtype: in this machine's byte order.
        written: whether the kernel writes it.

    Raises:
        InvalidArrayError: it is not; the message says how to get one.
    """
    wanted = f"{name} must be a {dtype.name} array of shape {shape}"
    if not isinstance(array, np.ndarray):
        raise InvalidArrayError(f"{wanted}, got {type(array).__name__}: pass np.asarray(..., np.{dtype.name})")
    if isinstance(array, np.ma.MaskedArray):
        raise InvalidArrayError(f"{wanted}, got a masked one: pass its filled(...) values")
    if array.shape != shape:
        remedy = "compile a kernel for these sizes" if array.ndim == len(shape) else "reshape it"
        raise InvalidArrayError(f"{wanted}, got shape {array.shape}: {remedy}")
    if array.dtype != dtype:
        swapped = array.dtype.newbyteorder("=") == dtype
        kind = "another byte order" if swapped else f"dtype {array.dtype}"
        remedy = f"pass it as .astype(np.{dtype.name})" if not written else f"pass np.empty({shape}, np.{dtype.name})"
        raise InvalidArrayError(f"{wanted}, got {kind}: {remedy}")
    flags = array.flags
    if not flags.c_contiguous:
        remedy = "pass np.ascontiguousarray(...)" if not written else "pass an array of its own, and copy from it"
        raise InvalidArrayError(
            f"{wanted}, contiguous in row-major order, got strides of {array.strides} bytes: {remedy}"
        )
    if not flags.aligned:
        raise InvalidArrayError(f"{wanted}, aligned to {dtype.itemsize} bytes, got one that is not: pass a copy()")
    if written and not flags.writeable:
        raise InvalidArrayError(f"{wanted} that can be written, got one that is read-only: pass a copy()")
