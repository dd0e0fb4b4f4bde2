"""Tensor contractions compiled for their sizes and tuned for this machine::

    kernel = compiler_dojo.loops.compile("mk,kn->mn", m=256, k=256, n=256)
    C = kernel(A, B)

The notation is that of :func:`parse`; :class:`Kernel` tells what was found and writes it as a C library.
"""

from compiler_dojo.envs.loops.kernels import Kernel
from compiler_dojo.envs.loops.kernels import compile_kernel as compile
from compiler_dojo.envs.loops.nest import Loop, Nest, Pack
from compiler_dojo.envs.loops.tuning import Tuning
from compiler_dojo.envs.loops.workloads import parse

__all__ = ["Kernel", "Loop", "Nest", "Pack", "Tuning", "compile", "parse"]
