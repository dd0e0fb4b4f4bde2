import numpy as np
import pytest

from compiler_dojo.envs.errors import InvalidArrayError
from compiler_dojo.envs.loops.arrays import check_array, find_address

FLOAT = np.dtype("float32")
SWAPPED = FLOAT.newbyteorder("S")


def unaligned() -> np.ndarray:
    return np.frombuffer(b"\0" * 25, np.float32, 6, offset=1).reshape(2, 3)


def read_only() -> np.ndarray:
    array = np.zeros((2, 3), np.float32)
    array.flags.writeable = False
    return array


@pytest.mark.parametrize("array", [np.zeros((2, 3)), np.zeros(()), np.zeros((4, 4))[1:, 2:]])
def test_find_address__gives_what_numpy_says(array) -> None:
    assert find_address()(array) == array.ctypes.data


@pytest.mark.parametrize("array", [np.zeros((2, 3), np.float32), np.zeros((4, 3), np.float32)[1:3], read_only()])
def test_check_array__takes_contiguous_arrays(array) -> None:
    check_array(array, "A", (2, 3), FLOAT)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        ([[1.0]], r"A must be a float32 array of shape \(2, 3\), got list: pass np.asarray\(..., np.float32\)"),
        (np.ma.zeros((2, 3), np.float32), "got a masked one: pass its filled"),
        (np.zeros((2, 4), np.float32), r"got shape \(2, 4\): compile a kernel for these sizes"),
        (np.zeros(6, np.float32), r"got shape \(6,\): reshape it"),
        (np.zeros((2, 3)), r"got dtype float64: pass it as .astype\(np.float32\)"),
        (np.zeros((2, 3), SWAPPED), "got another byte order: pass it as .astype"),
        (np.zeros((3, 2), np.float32).T, r"got strides of \(4, 8\) bytes: pass np.ascontiguousarray"),
        (np.zeros((2, 6), np.float32)[:, ::2], "got strides of"),
        (unaligned(), "aligned to 4 bytes, got one that is not"),
    ],
)
def test_check_array__refuses_others_with_the_remedy(array, message) -> None:
    with pytest.raises(InvalidArrayError, match=message):
        check_array(array, "A", (2, 3), FLOAT)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (read_only(), "out must be a float32 array .* read-only: pass a copy"),
        (np.zeros((2, 3)), r"pass np.empty\(\(2, 3\), np.float32\)"),
        (np.zeros((3, 2), np.float32).T, "pass an array of its own, and copy from it"),
    ],
)
def test_check_array__asks_more_of_what_is_written(array, message) -> None:
    with pytest.raises(InvalidArrayError, match=message):
        check_array(array, "out", (2, 3), FLOAT, written=True)
