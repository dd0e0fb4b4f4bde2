"""Whole programs: the translation units of a package that define ``main``, linked with those they need."""

from __future__ import annotations

import functools
import itertools
import re
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from compiler_dojo.envs.errors import (
    CompilationError,
    DojoError,
    InvalidProgramError,
    NativeLibraryError,
    ToolchainError,
)
from compiler_dojo.envs.llvm.session import CompilerSession
from compiler_dojo.envs.llvm.tools import find_llvm_tool, run_tool
from compiler_dojo.envs.llvm.worker import Isolation
from compiler_dojo.envs.programs.program import Program

SMALLEST, LARGEST = 50, 50_000
LINK_SECONDS, SYMBOLS_SECONDS, PASS_SECONDS = 60.0, 60.0, 60.0
# of files in one call of llvm-nm, which takes 1 ms for each
CHUNK = 500


@dataclass(frozen=True)
class Symbols:
    """What a unit offers to others and wants from them.

    Attributes:
        strong: definitions that no other unit may have too.
        weak: definitions that others may have too: inline functions and templates of C++, tentative definitions of C.
        undefined: what another unit must define.
    """

    strong: frozenset[str] = frozenset()
    weak: frozenset[str] = frozenset()
    undefined: frozenset[str] = frozenset()


def link(units: Sequence[Program], name: str) -> bytes:
    """Bitcode of the units' modules linked into one by llvm-link.

    Args:
        units: at least one program.
        name: what to call the result in messages.

    Raises:
        CompilationError: the modules do not fit together, or linking takes more than a minute or 4 GiB.
        ToolchainError: there is no llvm-link of libLLVM's version.
    """
    with tempfile.TemporaryDirectory(prefix="dojo-") as folder:
        # without a folder in their names, which llvm-link would write into the module
        command = [find_llvm_tool("llvm-link"), *_write(units, folder), "-o", "-"]
        return run_tool(command, f"{name} does not link", LINK_SECONDS, folder=Path(folder))


def whole_programs(
    units: Iterable[Program],
    package: str,
    smallest: int = SMALLEST,
    largest: int = LARGEST,
    failures: MutableMapping[str, str] | None = None,
) -> Iterator[Program]:
    """The whole programs of a package, in the order of their URIs.

    Each unit that defines ``main`` is linked with the units that define what it and they leave undefined. Where
    several units define a symbol, the first of these is taken that fits with those already there: one that defines it
    strongly, then the nearest in folders to the unit that wants it, then by URI. Symbols that no unit of the package
    defines, those of libraries, stay undefined.

    In the result everything but ``main`` is internal, and what ``main`` cannot reach is gone, as a linker leaves it out
    with ``--gc-sections``: nothing outside can call into the program, so optimisation may go as far as link-time
    optimisation goes. Instructions, and what -Oz makes of them, are counted on this same module. What only
    inline assembly names stays visible.

    A unit ``debian://zlib/test/minigzip.c`` gives ``debian+linked://zlib/test/minigzip.c``, with the unit's project,
    domain and provenance. How to run it is not known.

    Args:
        units: of one package, all of one lowering.
        package: what to call the package in messages.
        smallest, largest: instructions that a program may have.
        failures: receives, by the URI of the unit with ``main``, why there is no program of it, and, by its own URI,
            why a unit could not be read.

    Raises:
        ToolchainError: llvm-link or llvm-nm of libLLVM's version is not installed.
        NativeLibraryError: libLLVM cannot be loaded.
    """
    given = sorted(units, key=lambda unit: unit.uri)
    problems: MutableMapping[str, str] = {} if failures is None else failures
    tables = _symbol_tables(given, package, problems)
    known = [unit for unit in given if unit.uri in tables]
    resolver = _Resolver(known, tables)
    for unit in known:
        if "main" not in tables[unit.uri].strong:
            continue
        try:
            closure = resolver.closure(unit)
            module, instructions = _internalized(closure, unit.uri, tables)
        except (ToolchainError, NativeLibraryError):
            raise
        except DojoError as error:
            problems[unit.uri] = str(error)
            continue
        if smallest <= instructions <= largest:
            yield _program(closure, module, package)
        else:
            problems[unit.uri] = f"{unit.uri} links to {instructions} instructions, not {smallest} to {largest}"


def read_symbols(units: Sequence[Program], package: str) -> list[Symbols]:
    """Symbols of each unit.

    Raises:
        CompilationError: a unit cannot be read.
        ToolchainError: there is no llvm-nm of libLLVM's version.
    """
    with tempfile.TemporaryDirectory(prefix="dojo-") as folder:
        names = _write(units, folder)
        command = [find_llvm_tool("llvm-nm"), "-A", "--format=posix", "--no-sort", *names]
        output = run_tool(command, f"{package}: symbols cannot be read", SYMBOLS_SECONDS, folder=Path(folder))
    found: dict[str, dict[str, set[str]]] = {name: defaultdict(set) for name in names}
    for line in output.decode(errors="surrogateescape").splitlines():
        name, _, rest = line.partition(": ")
        symbol, kind, _, _ = rest.rsplit(maxsplit=3)
        found[name][_KINDS.get(kind, kind)].add(symbol)
    return [
        Symbols(frozenset(kinds["strong"]), frozenset(kinds["weak"]), frozenset(kinds["undefined"]))
        for kinds in found.values()
    ]


# nm's letters for external symbols; what is weak and undefined (w, v) need not be found, other small letters are local
_KINDS = {
    "T": "strong", "D": "strong", "B": "strong", "R": "strong", "S": "strong", "A": "strong",
    "i": "strong", "W": "weak", "V": "weak", "C": "weak", "u": "weak", "U": "undefined",
}  # fmt: skip


def _symbol_tables(units: Sequence[Program], package: str, problems: MutableMapping[str, str]) -> dict[str, Symbols]:
    """Symbols by URI; units that cannot be read are left out."""
    tables: dict[str, Symbols] = {}
    waiting = [units[start : start + CHUNK] for start in range(0, len(units), CHUNK)]
    while waiting:
        chunk = waiting.pop()
        try:
            tables.update((unit.uri, found) for unit, found in zip(chunk, read_symbols(chunk, package), strict=True))
        except CompilationError as error:
            if len(chunk) == 1:
                problems[chunk[0].uri] = str(error)
            else:  # one of them is to blame: ask for each alone
                waiting.extend([unit] for unit in chunk)
    return tables


class _Resolver:
    """Finds the units that a program is linked of."""

    def __init__(self, units: Sequence[Program], tables: Mapping[str, Symbols]) -> None:
        self._tables = tables
        self._definers: defaultdict[str, list[Program]] = defaultdict(list)
        for unit in units:
            symbols = tables[unit.uri]
            if "main" not in symbols.strong:
                for symbol in symbols.strong | symbols.weak:
                    self._definers[symbol].append(unit)

    def closure(self, first: Program) -> list[Program]:
        """The unit and those it needs, in the order in which they were found missing.

        Raises:
            InvalidProgramError: those that define a symbol all define something else that is there already.
        """
        closure = [first]
        symbols = self._tables[first.uri]
        strong, defined = set(symbols.strong), symbols.strong | symbols.weak
        for unit in closure:  # grows on the way
            for symbol in sorted(self._tables[unit.uri].undefined):
                if symbol in defined or symbol not in self._definers:
                    continue
                found = self._choose(symbol, unit, strong)
                closure.append(found)
                strong |= self._tables[found.uri].strong
                defined |= self._tables[found.uri].strong | self._tables[found.uri].weak
        return closure

    def _choose(self, symbol: str, wanting: Program, strong: set[str]) -> Program:
        def rank(unit: Program) -> tuple[bool, int, str]:
            return symbol not in self._tables[unit.uri].strong, _distance(wanting.uri, unit.uri), unit.uri

        candidates = sorted(self._definers[symbol], key=rank)
        for unit in candidates:
            if strong.isdisjoint(self._tables[unit.uri].strong):
                return unit
        twice = min(strong & self._tables[candidates[0].uri].strong)
        raise InvalidProgramError(
            f"{wanting.uri} needs {symbol} of {candidates[0].uri}, which defines {twice} a second time"
        )


def _internalized(closure: Sequence[Program], name: str, tables: Mapping[str, Symbols]) -> tuple[bytes, int]:
    """The linked module as it is described at :func:`whole_programs`, and its number of instructions."""
    linked = link(closure, name)
    with CompilerSession(linked, name, Isolation(pass_seconds=PASS_SECONDS)) as session:
        in_assembly = _words_of_assembly(session.ir())
        defined = frozenset().union(*(tables[unit.uri].strong | tables[unit.uri].weak for unit in closure))
        visible = ["main", *sorted(in_assembly & defined - {"main"})]
        session.run(f"internalize<{';'.join(f'preserve-gv={symbol}' for symbol in visible)}>")
        session.run("globaldce,strip-dead-prototypes")
        return session.bitcode(), session.instruction_count


def _words_of_assembly(ir: str) -> frozenset[str]:
    """Everything in a module's inline assembly that may be a symbol."""
    texts = re.findall(r' asm (?:[a-z]+ )*"([^"]*)"', ir)
    return frozenset(word for text in texts for word in re.findall(r"[A-Za-z_.$][\w.$]*", text))


def _program(closure: Sequence[Program], module: bytes, package: str) -> Program:
    first = closure[0]
    scheme, _, rest = first.uri.partition("://")
    languages = {unit.language for unit in closure}
    return replace(
        first,
        uri=f"{scheme}+linked://{rest}",
        module=module,
        language="c++" if "c++" in languages else first.language,
        run=None,
        source=None,
        project=first.project or package,
    )


def _write(units: Sequence[Program], folder: str) -> list[str]:
    """Write the modules into a folder; their names in it."""
    names = [f"{index}.bc" for index in range(len(units))]
    for name, unit in zip(names, units, strict=True):
        (Path(folder) / name).write_bytes(unit.module)
    return names


@functools.lru_cache(maxsize=1 << 16)
def _distance(one: str, other: str) -> int:
    """Steps between the folders of two URIs."""
    here, there = (uri.rpartition("/")[0].split("/") for uri in (one, other))
    common = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(here, there, strict=False)))
    return len(here) + len(there) - 2 * common
