"""The CPUs that kernels are compiled for, and what of them decides how a kernel is best written."""

from __future__ import annotations

import platform
from ctypes import byref, c_void_p
from typing import NamedTuple

from compiler_dojo.envs.errors import InvalidConfigError, did_you_mean
from compiler_dojo.envs.llvm.library import load_library
from compiler_dojo.envs.llvm.once import once

# The vector part of the x86-64 psABI's micro-architecture levels (System V ABI, AMD64 supplement 1.0, section 3.1.1,
# table 3.1): LLVM's C interface does not tell what a CPU name stands for.
_LEVELS = {
    "x86-64": "+sse2",
    "x86-64-v2": "+sse2,+sse4.2",
    "x86-64-v3": "+sse2,+sse4.2,+avx,+avx2,+fma",
    "x86-64-v4": "+sse2,+sse4.2,+avx,+avx2,+fma,+avx512f,+avx512bw,+avx512cd,+avx512dq,+avx512vl",
}


class Target(NamedTuple):
    """A CPU to generate code for.

    Attributes:
        name: ``native``, ``generic``, or a level of the x86-64 psABI.
        cpu: LLVM's name of it.
        features: LLVM's features that are on and off, as ``+avx2,-sse4a``.
        triple: LLVM's target triple.
        vector_bytes: size of a vector register: 16, 32 or 64.
        vector_registers: how many there are.
        fma: whether it multiplies and adds in one instruction.
    """

    name: str
    cpu: str
    features: str
    triple: str
    vector_bytes: int
    vector_registers: int
    fma: bool

    def missing_features(self) -> list[str]:
        """Features that the target needs and this machine does not have."""
        here = set(find_target().features.split(","))
        return [feature[1:] for feature in self.features.split(",") if feature.startswith("+") and feature not in here]


@once
def find_target(name: str = "native") -> Target:
    """The target of a name.

    Args:
        name: ``native`` for this machine, ``generic`` for the least that its architecture has, or on x86-64
            ``x86-64`` to ``x86-64-v4``.

    Raises:
        InvalidConfigError: there is no such target here.
        NativeLibraryError: libLLVM is missing, or was built without a just-in-time compiler.
    """
    triple, cpu, features = _query_host()
    x86 = triple.startswith("x86_64")
    if name == "native":
        return _describe(name, cpu, features, triple)
    if name == "generic":
        return _describe(name, "x86-64" if x86 else "generic", _LEVELS["x86-64"] if x86 else "+neon", triple)
    if not x86 or name not in _LEVELS:
        known = ["native", "generic", *(_LEVELS if x86 else ())]
        raise InvalidConfigError(f"no target {name!r} for kernels on {platform.machine()}; {did_you_mean(name, known)}")
    return _describe(name, name, _LEVELS[name], triple)


def _query_host() -> tuple[str, str, str]:
    library = load_library()
    texts = (c_void_p(), c_void_p(), c_void_p())
    error = c_void_p()
    status = library.core.functions.dojo_jit_host(library.handle, *(byref(text) for text in texts), byref(error))
    library.core.check(status, error, library.path)
    triple, cpu, features = (library.core.take_string(text) for text in texts)
    return triple, cpu, features


def _describe(name: str, cpu: str, features: str, triple: str) -> Target:
    has = set(features.split(","))
    if not triple.startswith("x86_64"):
        return Target(name, cpu, features, triple, 16, 32, True)
    vector_bytes, vector_registers = (64, 32) if "+avx512f" in has else (32, 16) if "+avx" in has else (16, 16)
    return Target(name, cpu, features, triple, vector_bytes, vector_registers, "+fma" in has)
