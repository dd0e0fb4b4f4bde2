"""Bitcode of other LLVMs: who wrote it, reading what is older, and refusing what is newer or damaged."""

import random
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from compiler_dojo.envs.errors import InvalidProgramError, UnreadableProgramError
from compiler_dojo.envs.llvm.library import load_library
from compiler_dojo.envs.llvm.session import CompilerSession
from compiler_dojo.envs.programs.bitcode import producer, upgrade

# src/graphs/union_find.c of the bundled programs, compiled by clang 13 as lowering "oz" does
OLD = (Path(__file__).parent / "bitcode" / "union_find_llvm13.bc").read_bytes()
# the bundled union_find, read and written by LLVM 22
NEW = (Path(__file__).parent / "bitcode" / "union_find_llvm22.bc").read_bytes()


class Writer:
    """A bitstream, least significant bit first."""

    def __init__(self) -> None:
        self.bits: list[int] = []

    def fixed(self, value: int, width: int) -> None:
        self.bits += [value >> i & 1 for i in range(width)]

    def vbr(self, value: int, width: int) -> None:
        more = 1 << (width - 1)
        while value >= more:
            self.fixed(value & (more - 1) | more, width)
            value >>= width - 1
        self.fixed(value, width)

    def align(self) -> None:
        self.bits += [0] * (-len(self.bits) % 32)

    def bytes(self) -> bytes:
        self.align()
        groups = (self.bits[i : i + 8] for i in range(0, len(self.bits), 8))
        return bytes(sum(bit << i for i, bit in enumerate(group)) for group in groups)


def block(number: int, content: Writer) -> bytes:
    """A block whose records have abbreviation numbers of 5 bits."""
    content.fixed(0, 5)
    inside = content.bytes()
    header = Writer()
    header.fixed(1, 2)
    header.vbr(number, 8)
    header.vbr(5, 4)
    header.align()
    header.fixed(len(inside) // 4, 32)
    return header.bytes() + inside


def unabbreviated(text: bytes) -> Writer:
    content = Writer()
    content.fixed(3, 5)
    content.vbr(1, 6)
    content.vbr(len(text), 6)
    for letter in text:
        content.vbr(letter, 6)
    return content


def array(text: bytes, encoding: int, width: int) -> Writer:
    """An abbreviation of the code and an array, and a record in it."""
    content = Writer()
    content.fixed(2, 5)
    content.vbr(3, 5)
    content.fixed(1, 1)
    content.vbr(1, 8)
    content.fixed(3 << 1, 4)
    content.fixed(encoding << 1, 4)
    content.vbr(width, 5)
    content.fixed(4, 5)
    content.vbr(len(text), 6)
    for letter in text:
        (content.vbr if encoding == 2 else content.fixed)(letter, width)
    return content


def blob(text: bytes) -> Writer:
    content = Writer()
    content.fixed(2, 5)
    content.vbr(2, 5)
    content.fixed(1, 1)
    content.vbr(1, 8)
    content.fixed(5 << 1, 4)
    content.fixed(4, 5)
    content.vbr(len(text), 6)
    # blocks start 8 bytes after the magic, which is a whole number of words
    content.align()
    for letter in text:
        content.fixed(letter, 8)
    content.align()
    return content


APPLE = b"APPLE_1_1500.3.9.4_0"
RUST = b"LLVM20.1.1-rust-1.87.0-stable"


def wrapped(bitcode: bytes, offset: int = 20) -> bytes:
    header = struct.pack("<5I", 0x0B17C0DE, 0, offset, len(bitcode), 0x01000007)
    return header.ljust(offset, b"\0") + bitcode + b"\0" * 12


def test_producer__of_real_bitcode() -> None:
    assert producer(OLD) == "LLVM13.0.1"
    assert producer(NEW) == "LLVM22.1.8"
    version = ".".join(map(str, load_library().version))
    with CompilerSession(OLD) as session:
        assert producer(session.bitcode()) == f"LLVM{version}"


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(unabbreviated, id="unabbreviated"),
        pytest.param(lambda text: array(text, 1, 7), id="7 bits"),
        pytest.param(lambda text: array(text, 1, 8), id="8 bits"),
        pytest.param(lambda text: array(text, 2, 6), id="variable"),
        pytest.param(blob, id="blob"),
    ],
)
@pytest.mark.parametrize("text", [APPLE, RUST])
def test_producer__of_every_way_to_write_it(content, text) -> None:
    identification = block(13, content(text))
    assert producer(b"BC\xc0\xde" + identification) == text.decode()
    # behind another block
    assert producer(b"BC\xc0\xde" + block(17, unabbreviated(b"x" * 99)) + identification) == text.decode()


@pytest.mark.parametrize("offset", [20, 24, 64])
def test_producer__looks_behind_the_wrapper(offset) -> None:
    assert producer(wrapped(OLD, offset)) == "LLVM13.0.1"


@pytest.mark.skipif(shutil.which("rustc") is None, reason="rustc is not installed")
def test_producer__of_rust(write, tmp_path) -> None:
    source = write("a.rs", "pub fn f(x: u32) -> u32 { x + 1 }\n")
    command = ["rustc", "--crate-type=lib", "--emit=llvm-bc", "-C", "no-prepopulate-passes", source]
    subprocess.run([*command, "-o", tmp_path / "a.bc"], check=True, capture_output=True)
    version = subprocess.run(["rustc", "-vV"], check=True, capture_output=True, text=True).stdout
    found = producer((tmp_path / "a.bc").read_bytes())
    assert found
    assert found.startswith("LLVM" + version.partition("LLVM version: ")[2].strip())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"BC",
        b"BC\xc0\xde",
        b"BC\xc0\xde" + b"\0" * 100,
        b"BC\xc0\xde" + b"\xff" * 100,
        b"define void @f() { ret void }",
        wrapped(OLD)[:20],
        struct.pack("<5I", 0x0B17C0DE, 0, 2**32 - 1, 8, 0) + OLD,
        b"BC\xc0\xde" + block(17, unabbreviated(b"x")),  # as LLVM 3.7 wrote it: nothing identifies itself
        b"BC\xc0\xde" + block(13, array(b"x", 1, 0)),
        b"BC\xc0\xde" + block(13, array(b"x", 3, 1)),
    ],
)
def test_producer__of_something_else_is_none(data) -> None:
    assert producer(data) is None


def test_producer__survives_damage() -> None:
    texts = {producer(OLD[:size]) for size in range(200)}
    assert texts == {None, "LLVM13.0.1"}
    rng = random.Random(0)
    for _ in range(3000):
        damaged = bytearray(wrapped(OLD)[: rng.randrange(20, 120)])
        for _ in range(rng.randrange(1, 5)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        assert isinstance(producer(bytes(damaged)), str | None)


def test_upgrade__reads_what_an_old_llvm_wrote() -> None:
    module = upgrade(OLD, "old")
    assert producer(module) == "LLVM" + ".".join(map(str, load_library().version))
    with CompilerSession(module) as session, CompilerSession(OLD) as given:
        assert session.hash() == given.hash()
        # 133 with clang 19, which needs no bitcast for a lifetime marker
        assert session.instruction_count == 143
        session.run("default<Oz>")
    assert upgrade(wrapped(OLD)) == module
    assert upgrade(module) == module


def test_upgrade__takes_text() -> None:
    text = b"define i32 @f(i32* %p) {\n  %x = load i32, i32* %p\n  ret i32 %x\n}\n"  # as LLVM 14 wrote it
    with CompilerSession(upgrade(text)) as session:
        assert session.instruction_count == 2


def test_upgrade__names_the_remedy_for_newer_bitcode() -> None:
    if load_library().version[0] >= 22:
        pytest.skip("this LLVM reads bitcode of LLVM 22")
    message = (
        r"^new: bitcode that LLVM22\.1\.8 wrote, which LLVM \d+\.\d+\.\d+ cannot read; set DOJO_LIBLLVM to the path "
        r"of a libLLVM\.so of LLVM 22 or newer, or compile it with LLVM \d+\.\d+\.\d+$"
    )
    with pytest.raises(UnreadableProgramError, match=message):
        upgrade(NEW, "new")


def test_upgrade__says_what_is_wrong_with_the_rest() -> None:
    with pytest.raises(UnreadableProgramError, match=r"^half: bitcode that LLVM13.*; it is damaged: fetch"):
        upgrade(OLD[: len(OLD) // 2], "half")
    apple = b"BC\xc0\xde" + block(13, unabbreviated(APPLE))
    with pytest.raises(
        UnreadableProgramError, match=r"^a: bitcode that APPLE_1.*; set DOJO_LIBLLVM .* of a newer LLVM"
    ):
        upgrade(apple, "a")
    with pytest.raises(UnreadableProgramError, match=r"^text: invalid LLVM IR"):
        upgrade(b"int main() {}", "text")
    with pytest.raises(InvalidProgramError, match=r"^nothing: the module defines no function"):
        upgrade(b"declare void @f()", "nothing")
