"""Finding and loading libLLVM, and what is said when it is missing, too old, or something else."""

import ctypes.util
import glob
import os
import re
import subprocess

import pytest

import compiler_dojo.envs.llvm as package
from compiler_dojo.envs.errors import InvalidProgramError, NativeLibraryError, PassFailedError
from compiler_dojo.envs.llvm import library
from compiler_dojo.envs.llvm.execution import find_linker
from compiler_dojo.envs.llvm.library import Library, find_libllvm, find_native_library, load_core, load_library

OLD_LLVM = sorted(path for version in (14, 15) for path in glob.glob(f"/usr/lib/*-linux-gnu/libLLVM-{version}.so.1"))
HINT = "apt-get install libllvm19.*DOJO_LIBLLVM.*dojo doctor"

load_again = load_library.__wrapped__  # without the cache


def test_load_library__is_a_supported_version_and_the_same_each_time() -> None:
    loaded = load_library()
    assert loaded.version[0] in library.SUPPORTED_LLVM
    assert os.path.isfile(loaded.path)
    assert load_library() is loaded


def test_find_libllvm__lists_each_file_once_oldest_supported_version_first(monkeypatch) -> None:
    monkeypatch.delenv("DOJO_LIBLLVM", raising=False)
    found = find_libllvm()
    assert len(found) == len(set(found)) > 0
    assert load_library().path in found


def test_find_libllvm__takes_the_variable_alone(monkeypatch) -> None:
    monkeypatch.setenv("DOJO_LIBLLVM", "/some/libLLVM.so")
    assert find_libllvm() == ["/some/libLLVM.so"]


def test_variable__at_a_file_that_is_missing(monkeypatch) -> None:
    monkeypatch.setenv("DOJO_LIBLLVM", "/nowhere/libLLVM.so")
    with pytest.raises(NativeLibraryError, match=f"cannot use libLLVM: /nowhere/libLLVM.so: cannot open.*{HINT}"):
        load_again()


def test_variable__at_a_file_that_is_no_library(monkeypatch, tmp_path) -> None:
    (tmp_path / "libLLVM.so").write_text("not an ELF file")
    monkeypatch.setenv("DOJO_LIBLLVM", str(tmp_path / "libLLVM.so"))
    with pytest.raises(NativeLibraryError, match=f"cannot use libLLVM: .*{HINT}"):
        load_again()


def test_library__that_is_not_llvm() -> None:
    libm = ctypes.util.find_library("m")
    assert libm
    with pytest.raises(NativeLibraryError, match=f"{libm} is not libLLVM of version 19 to 22.*{HINT}"):
        Library(libm)


@pytest.mark.skipif(not OLD_LLVM, reason="no libLLVM 14 or 15 is installed")
@pytest.mark.parametrize("path", OLD_LLVM)
def test_library__of_llvm_14_or_15(run_python, path) -> None:
    # in a process of its own: two libLLVMs in one would share global state
    done = run_python("from compiler_dojo.envs.llvm.library import load_library; load_library()", DOJO_LIBLLVM=path)
    # they do not tell their version yet: LLVMGetVersion came with LLVM 16
    assert re.search(
        f"NativeLibraryError: cannot use libLLVM: {path} is not libLLVM of version 19 to 22.*{HINT}", done.stderr
    )


@pytest.mark.parametrize(
    ("version", "message"),
    [
        (18, f"libLLVM.so is LLVM 18.1.8; versions 19 to 22 are supported; .*{HINT}"),
        (23, f"libLLVM.so is LLVM 23.1.8; versions 19 to 22 are supported; .*{HINT}"),
        (19, "libLLVM.so does not export LLVM[A-Z].*"),
    ],
)
def test_library__of_another_version_or_incomplete(write, version, message) -> None:
    source = write(
        "fake.c", f"void LLVMGetVersion(unsigned *a, unsigned *b, unsigned *c) {{ *a = {version}; *b = 1; *c = 8; }}"
    )
    path = source.with_name("libLLVM.so")
    subprocess.run([find_linker(), "-shared", "-fPIC", "-x", "c", source, "-o", path], check=True)
    with pytest.raises(NativeLibraryError, match=message):
        Library(str(path))


def test_library__absent_altogether(monkeypatch) -> None:
    monkeypatch.delenv("DOJO_LIBLLVM", raising=False)
    monkeypatch.setattr(library, "SUPPORTED_LLVM", ())
    with pytest.raises(NativeLibraryError, match=f"no libLLVM of version 19 to 22 was found; .*{HINT}"):
        load_again()


def test_library__on_another_system(monkeypatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    with pytest.raises(NativeLibraryError, match="CompilerDojo runs on Linux; this is darwin"):
        load_again()


def test_env__reports_a_missing_library_at_the_first_reset(run_python) -> None:
    done = run_python(
        "import gymnasium as gym, compiler_dojo\n"
        'env = gym.make("CompilerDojo/PassOrdering-v0")\n'
        "print('made')\n"
        "env.reset(seed=0)\n",
        DOJO_LIBLLVM="/nowhere/libLLVM.so",
    )
    assert done.stdout == "made\n"
    assert "NativeLibraryError: cannot use libLLVM: /nowhere/libLLVM.so" in done.stderr


def test_native_library__that_was_not_built(monkeypatch, tmp_path) -> None:
    assert find_native_library().name == "libdojo.so"
    monkeypatch.setattr(package, "__path__", [str(tmp_path)])
    with pytest.raises(NativeLibraryError, match=f"libdojo.so is not in {tmp_path}: install the package"):
        find_native_library()


@pytest.mark.parametrize(
    ("status", "error"),
    [(1, NativeLibraryError), (2, InvalidProgramError), (3, PassFailedError), (4, InvalidProgramError)],
)
def test_check__raises_the_class_of_the_status(status, error) -> None:
    with pytest.raises(error, match="where: no message"):
        load_core().check(status, ctypes.c_void_p(), "where")


def test_check__of_status_0_raises_nothing() -> None:
    load_core().check(0, ctypes.c_void_p(), "where")
