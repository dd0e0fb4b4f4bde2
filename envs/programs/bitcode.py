"""Bitcode of other LLVMs: who wrote it, and bringing it to the LLVM that is used here.

The bitstream's layout is that of https://llvm.org/docs/BitCodeFormat.html.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from compiler_dojo.envs.errors import UnreadableProgramError
from compiler_dojo.envs.llvm.library import LIBLLVM_VARIABLE
from compiler_dojo.envs.llvm.session import BITCODE_MAGIC, WRAPPER_MAGIC, CompilerSession
from compiler_dojo.envs.llvm.worker import Isolation, shared_worker

_IDENTIFICATION_BLOCK = 13
_STRING_CODE = 1
_END_BLOCK, _ENTER_SUBBLOCK, _DEFINE_ABBREVIATION, _UNABBREVIATED = range(4)
_LITERAL, _FIXED, _VBR, _ARRAY, _CHAR6, _BLOB = range(6)
_CHAR6_LETTERS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._"


def producer(bitcode: bytes) -> str | None:
    """What wrote a bitcode file, such as ``LLVM19.1.7``, ``APPLE_1_1500.3.9.4_0`` or ``LLVM20.1.1-rust-1.87.0-stable``.

    None when the bytes are not bitcode, are damaged before they say it, or are older than LLVM 3.8.
    """
    start = 0
    if bitcode[:4] == WRAPPER_MAGIC:
        start = int.from_bytes(bitcode[8:12], "little")
    if bitcode[start : start + 4] != BITCODE_MAGIC:
        return None
    try:
        return _find_producer(_Bits(bitcode, start + 4))
    except _DamagedError:
        return None


def upgrade(module: bytes, name: str = "program") -> bytes:
    """Bitcode or text of this or an older LLVM as bitcode of the LLVM that is used here.

    Raises:
        UnreadableProgramError: a newer LLVM wrote it, or it is damaged; the message says which LLVM wrote and which
            reads it.
        InvalidProgramError: it does not verify, or defines no function.
    """
    try:
        with CompilerSession(module, name) as session:
            return session.bitcode()
    except UnreadableProgramError as error:
        writer = producer(module)
        if writer is None:
            raise
        version = shared_worker(Isolation()).connection().version
        reader = "LLVM " + ".".join(map(str, version))
        release = re.match(r"LLVM(\d+)\.", writer)
        if release is not None and int(release[1]) <= version[0]:
            remedy = "it is damaged: fetch or compile it again"
        else:
            newer = f"LLVM {release[1]} or newer" if release is not None else "a newer LLVM"
            remedy = f"set {LIBLLVM_VARIABLE} to the path of a libLLVM.so of {newer}, or compile it with {reader}"
        raise UnreadableProgramError(
            f"{name}: bitcode that {writer} wrote, which {reader} cannot read; {remedy}"
        ) from error


class _DamagedError(Exception):
    """The bits make no sense, or end too early."""


class _Field(NamedTuple):
    """An operand of an abbreviation: how it is written, and its width or literal value."""

    encoding: int
    value: int = 0


class _Bits:
    """Reads a bitstream, least significant bit first."""

    def __init__(self, data: bytes, start: int) -> None:
        self._data = data
        self._position = start * 8
        # blocks and blobs end at whole words counted from the magic
        self._origin = (start - 4) * 8

    def fixed(self, width: int) -> int:
        first, end = self._position >> 3, (self._position + width + 7) >> 3
        if end > len(self._data):
            raise _DamagedError
        word = int.from_bytes(self._data[first:end], "little") >> (self._position & 7)
        self._position += width
        return word & ((1 << width) - 1)

    def vbr(self, width: int) -> int:
        if not 2 <= width <= 32:
            raise _DamagedError
        more = 1 << (width - 1)
        value = 0
        for shift in range(0, 64, width - 1):
            piece = self.fixed(width)
            value |= (piece & (more - 1)) << shift
            if not piece & more:
                return value
        raise _DamagedError

    def align(self) -> None:
        self._position += -(self._position - self._origin) % 32

    def skip(self, words: int) -> None:
        self._position += words * 32

    def scalar(self, field: _Field) -> int:
        if field.encoding == _LITERAL:
            return field.value
        if field.encoding == _FIXED:
            return self.fixed(field.value)
        if field.encoding == _VBR:
            return self.vbr(field.value)
        if field.encoding == _CHAR6:
            return _CHAR6_LETTERS[self.fixed(6)]
        raise _DamagedError

    def blob(self) -> list[int]:
        size = self.vbr(6)
        self.align()
        start = self._position >> 3
        if start + size > len(self._data):
            raise _DamagedError
        self._position += size * 8
        self.align()
        return list(self._data[start : start + size])

    def field(self) -> _Field:
        if self.fixed(1):
            return _Field(_LITERAL, self.vbr(8))
        encoding = self.fixed(3)
        if encoding not in (_FIXED, _VBR):
            return _Field(encoding)
        width = self.vbr(5)
        # an array of elements without bits could be of any length
        if not 1 <= width <= 64:
            raise _DamagedError
        return _Field(encoding, width)

    def abbreviation(self) -> list[_Field]:
        return [self.field() for _ in range(self.vbr(5))]

    def record(self, abbreviation: Sequence[_Field] | None) -> list[int]:
        """Code and operands of a record."""
        if abbreviation is None:
            code = self.vbr(6)
            return [code, *(self.vbr(6) for _ in range(self.vbr(6)))]
        values: list[int] = []
        fields = iter(abbreviation)
        for field in fields:
            if field.encoding == _ARRAY:
                element = next(fields, None)
                if element is None or element.encoding == _LITERAL:
                    raise _DamagedError
                values += [self.scalar(element) for _ in range(self.vbr(6))]
            elif field.encoding == _BLOB:
                values += self.blob()
            else:
                values.append(self.scalar(field))
        return values


def _find_producer(bits: _Bits) -> str:
    while True:
        if bits.fixed(2) != _ENTER_SUBBLOCK:
            raise _DamagedError
        block = bits.vbr(8)
        width = bits.vbr(4)
        bits.align()
        words = bits.fixed(32)
        if block == _IDENTIFICATION_BLOCK:
            return _read_identification(bits, width)
        bits.skip(words)


def _read_identification(bits: _Bits, width: int) -> str:
    abbreviations: list[list[_Field]] = []
    while True:
        kind = bits.fixed(width)
        if kind == _DEFINE_ABBREVIATION:
            abbreviations.append(bits.abbreviation())
            continue
        if kind in (_END_BLOCK, _ENTER_SUBBLOCK) or kind >= 4 + len(abbreviations):
            raise _DamagedError
        record = bits.record(None if kind == _UNABBREVIATED else abbreviations[kind - 4])
        if record[:1] == [_STRING_CODE]:
            return bytes(value & 0xFF for value in record[1:]).decode(errors="replace")
