"""What is known of the CPUs that kernels are compiled for."""

import platform

import pytest

from compiler_dojo.envs.errors import InvalidConfigError
from compiler_dojo.envs.loops import targets
from compiler_dojo.envs.loops.targets import find_target

on_x86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="names levels of x86-64")
VECTORS = {"x86-64": (16, 16, False), "x86-64-v2": (16, 16, False), "x86-64-v3": (32, 16, True)}


def test_native__is_this_machine_and_runs_here() -> None:
    native = find_target()
    assert native.name == "native"
    assert native.triple.startswith(platform.machine())
    assert native.missing_features() == []
    assert find_target() is native


@on_x86
def test_native__has_the_widest_vectors_that_the_system_lists() -> None:
    with open("/proc/cpuinfo") as file:
        flags = next(line for line in file if line.startswith("flags")).split()
    expected = (64, 32) if "avx512f" in flags else (32, 16) if "avx" in flags else (16, 16)
    native = find_target()
    assert (native.vector_bytes, native.vector_registers) == expected
    assert native.fma == ("fma" in flags)


@on_x86
@pytest.mark.parametrize(("name", "expected"), [*VECTORS.items(), ("x86-64-v4", (64, 32, True))])
def test_level__has_the_vectors_of_the_psabi(name: str, expected: tuple[int, int, bool]) -> None:
    target = find_target(name)
    assert (target.vector_bytes, target.vector_registers, target.fma) == expected
    assert target.cpu == target.name == name


def test_generic__is_the_least_of_the_architecture() -> None:
    generic = find_target("generic")
    assert (generic.vector_bytes, generic.missing_features()) == (16, [])


def test_arm__has_neon(monkeypatch) -> None:
    monkeypatch.setattr(targets, "_query_host", lambda: ("aarch64-unknown-linux-gnu", "neoverse-n1", "+neon,+fp-armv8"))
    find_again = find_target.__wrapped__  # without the cache
    for name in ("native", "generic"):
        target = find_again(name)
        assert (target.vector_bytes, target.vector_registers, target.fma) == (16, 32, True)
    with pytest.raises(InvalidConfigError, match="no target 'x86-64-v3'"):
        find_again("x86-64-v3")


def test_target__that_is_unknown_names_the_nearest() -> None:
    with pytest.raises(InvalidConfigError, match=r"no target 'nativ' for kernels on .*did you mean 'native'"):
        find_target("nativ")
