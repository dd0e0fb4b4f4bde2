"""The guard pages themselves: a kernel that stays inside its arrays lives, one that leaves them is noticed."""

import os

import numpy as np
import pytest
from guarded import OutOfBoundsError, guarded, run_apart, run_guarded
from writing_kernels import add_kernel

from compiler_dojo.envs.loops.jit import Jit
from compiler_dojo.envs.loops.targets import find_target

SUMMANDS = [np.zeros(1000, np.float32), np.arange(1000, dtype=np.float32), np.ones(1000, np.float32)]


def test_run_guarded__of_a_kernel_within_bounds_returns_what_it_wrote() -> None:
    kernel = Jit(find_target()).compile(add_kernel())
    result, first, second = run_guarded(kernel, SUMMANDS, 100, 0, 1000)
    np.testing.assert_array_equal(result, first + second)
    np.testing.assert_array_equal(SUMMANDS[0], 0)


@pytest.mark.parametrize("shift", [-1, 1])
def test_run_guarded__notices_one_element_outside_on_either_side(shift: int) -> None:
    kernel = Jit(find_target()).compile(add_kernel(shift=shift))
    with pytest.raises(OutOfBoundsError, match="died of SIGSEGV"):
        run_guarded(kernel, SUMMANDS, 0, 0, 1000)


def test_run_guarded__notices_a_write_behind_the_workspace() -> None:
    ir = """
define void @kernel(ptr %operands, ptr %workspace, i64 %begin, i64 %end) {
  %p = getelementptr i8, ptr %workspace, i64 128
  store i8 1, ptr %p
  ret void
}"""
    kernel = Jit(find_target()).compile(ir)
    run_guarded(kernel, SUMMANDS, 129, 0, 1)
    with pytest.raises(OutOfBoundsError, match="died of SIGSEGV"):
        run_guarded(kernel, SUMMANDS, 128, 0, 1)


def test_run_apart__tells_a_child_that_raised() -> None:
    with pytest.raises(AssertionError, match="could not be run"):
        run_apart(lambda: os._exit(3))


def test_guarded__keeps_values_shape_and_dtype_on_both_sides() -> None:
    array = np.arange(6.0).reshape(2, 3)
    for side, offset in (("front", 0), ("back", -array.nbytes % 4096)):
        copy = guarded(array, side)  # type: ignore[arg-type]
        assert copy.dtype == array.dtype
        assert copy.ctypes.data % 4096 == offset
        np.testing.assert_array_equal(copy, array)
