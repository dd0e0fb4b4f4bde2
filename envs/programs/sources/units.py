"""Compiling one translation unit of a source tree without the package's own build."""

from __future__ import annotations

import contextlib
import os
import posixpath
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from compiler_dojo.envs.errors import ToolchainError
from compiler_dojo.envs.llvm.lowering import LANGUAGES, check_lowering, find_clang
from compiler_dojo.envs.llvm.sandbox import without_network
from compiler_dojo.envs.programs.sources.configuration import STRINGS, make_headers, put_generic_header
from compiler_dojo.envs.programs.sources.tree import SourceTree, is_foreign

# what compilers took for granted when much of this code was written
LENIENT = (
    "-Wno-implicit-function-declaration", "-Wno-implicit-int", "-Wno-int-conversion",
    "-Wno-incompatible-pointer-types", "-Wno-incompatible-function-pointer-types", "-Wno-return-mismatch",
    "-Wno-register", "-Wno-dynamic-exception-spec", "-Wno-c++11-narrowing", "-Wno-reserved-user-defined-literal",
)  # fmt: skip

PRELUDE: dict[str, tuple[str, ...]] = {
    "c": (
        "stddef.h", "stdint.h", "stdbool.h", "stdarg.h", "stdio.h", "stdlib.h", "string.h", "strings.h", "ctype.h",
        "errno.h", "limits.h", "math.h", "time.h", "unistd.h", "fcntl.h", "signal.h", "inttypes.h", "assert.h",
        "sys/types.h", "sys/stat.h", "sys/time.h", "sys/param.h", "locale.h", "wchar.h", "libgen.h",
    ),
    "c++": (
        "cstddef", "cstdint", "cstdlib", "cstdio", "cstring", "climits", "cmath", "cassert", "unistd.h", "strings.h",
        "string", "algorithm", "memory", "iostream",
    ),
}  # fmt: skip
"""Headers that a second try includes first."""

PORTABILITY = {
    "O_BINARY": "0", "O_TEXT": "0", "O_SEARCH": "O_RDONLY", "O_EXEC": "O_RDONLY", "FLEXIBLE_ARRAY_MEMBER": "",
    "FLEXSIZEOF": "sizeof", "Version": '"1.0"', "_Noreturn": "", "RETSIGTYPE": "void", "INLINE": "inline",
    "PROMOTED_MODE_T": "mode_t", "PAGE_SIZE": "4096", "SOCKET": "int",
}  # fmt: skip
"""What portability libraries define on Linux."""

MISSING = re.compile(r"fatal error: '([^']+)' file not found")
UNDECLARED = re.compile(r"error: use of undeclared identifier '(\w+)'")
UNKNOWN_TYPE = re.compile(r"error: unknown type name '(\w+)'")
OLD_CPP = re.compile(
    r"ISO C\+\+(?:11|17|20) does not allow|no template named 'auto_ptr'|"
    r"no member named '(?:ptr_fun|mem_fun|bind2nd|unary_function|binary_function|auto_ptr|random_shuffle)'"
)
CONFIGURATION_NAME = re.compile(
    r"(?i)(^|/)[\w-]*(config|conf|version|features?|build_?info|platform|defs|autoconf|setup)[\w-]*\.h$"
)

TRIES = 4
TOO_MUCH = "too much bitcode"


@dataclass(frozen=True)
class CompileLimits:
    """What compiling one unit may use.

    Attributes:
        seconds: wall-clock time of one try, of which there are at most four.
        memory: bytes of address space.
        output: bytes of bitcode.
    """

    seconds: float = 20.0
    memory: int = 4 << 30
    output: int = 32 << 20


class UnitResult(NamedTuple):
    """What became of a unit.

    Attributes:
        module: bitcode, or None when it does not compile.
        reason: why not, in a few words such as ``missing header``; "" when it does.
        detail: the compiler's first error.
        tries: how often the compiler ran.
    """

    module: bytes | None
    reason: str
    detail: str
    tries: int


@dataclass
class _Attempt:
    """What the next try of a unit uses."""

    folders: list[str]
    late: list[str]
    system: list[str]
    defines: dict[str, str] = field(default_factory=dict)
    made_up: dict[str, str] = field(default_factory=dict)
    prelude: bool = False
    standard: str = ""


class UnitCompiler:
    """Compiles units of one tree.

    Args:
        tree: the tree; headers are made in it from its templates.
        lowering: ``oz`` or ``compilergym``.
        limits: of each run of the compiler.

    Raises:
        ToolchainError: there is no clang of libLLVM's version.
    """

    def __init__(self, tree: SourceTree, lowering: str = "oz", limits: CompileLimits | None = None) -> None:
        self._tree = tree
        self._limits = limits or CompileLimits()
        self._clang = find_clang()
        self._flags = [*check_lowering(lowering), "-g0", "-w", "-Qn", *LENIENT]
        self._prlimit = shutil.which("prlimit")
        if self._prlimit is None:
            raise ToolchainError("units are compiled under limits of memory by prlimit: apt-get install util-linux")
        make_headers(tree)
        self._configured = any(re.search(r"(^|/)config\.h$", path) for path in tree.files)

    def compile(self, unit: str) -> UnitResult:
        """Compile a unit, up to four times with what the compiler's complaints call for."""
        includes = self._tree.includes(unit)
        attempt = _Attempt(list(includes.folders), list(includes.late), list(includes.system))
        for name in includes.missing:
            if CONFIGURATION_NAME.search(name) and not is_foreign(name):
                self._make_up(attempt, name)
        detail, reason = "", "other"
        for tries in range(1, TRIES + 1):
            status, module, errors = self._run(unit, attempt)
            if status == 0:
                return UnitResult(module, "", "", tries)
            reason, detail = reason_of(status, errors)
            if status is None or not self._amend(attempt, unit, errors):
                break
        return UnitResult(None, reason, detail, tries)

    def _run(self, unit: str, attempt: _Attempt) -> tuple[int | None, bytes, str]:
        language = LANGUAGES[posixpath.splitext(unit)[1]]
        limits = self._limits
        command = [
            *without_network(), str(self._prlimit), f"--as={limits.memory}", f"--fsize={limits.output}", "--core=0",
            f"--cpu={int(limits.seconds) + 1}", self._clang, *self._flags, *self._tree.headers.flags(language),
            *self._arguments(attempt, language), "-emit-llvm", "-c", f"./{unit}", "-o", "-",
        ]  # fmt: skip
        # where the compiler leaves its reports of crashes
        with tempfile.TemporaryDirectory(prefix="dojo-unit-") as scratch:
            environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "SOURCE_DATE_EPOCH": "0", "TMPDIR": scratch}
            status, module, errors = _run_limited(command, self._tree.root, environment, limits.seconds)
        if status is None:
            return None, b"", f"more than {limits.seconds:g} s"
        if len(module) >= limits.output:
            return None, b"", f"{TOO_MUCH}: more than {limits.output >> 20} MB"
        return status, module, errors

    def _arguments(self, attempt: _Attempt, language: str) -> Iterator[str]:
        if attempt.standard:
            yield f"-std={attempt.standard}"
        elif language == "c":
            yield "-std=gnu17"
        yield "-D_GNU_SOURCE"
        if self._configured or any(name.endswith("config.h") for name in attempt.made_up):
            yield "-DHAVE_CONFIG_H"
        for name, value in attempt.defines.items():
            yield f"-D{name}={value}"
        for folder in (*attempt.folders, *attempt.made_up.values()):
            yield f"-I./{folder}"
        for folder in attempt.late:
            yield from (f"-iquote./{folder}", "-idirafter", f"./{folder}")
        for folder in attempt.system:
            yield from ("-idirafter", f"{self._tree.headers.root}/{folder}")
        if attempt.prelude:
            for header in PRELUDE[language]:
                yield from ("-include", header)

    def _amend(self, attempt: _Attempt, unit: str, errors: str) -> bool:
        """Change what the next try uses by what the last one complained of; False when nothing is left to change."""
        changed = False
        for name in MISSING.findall(errors):
            changed |= self._supply(attempt, unit, name)
        if OLD_CPP.search(errors) and not attempt.standard and LANGUAGES[posixpath.splitext(unit)[1]] == "c++":
            attempt.standard = "gnu++14"
            changed = True
        names = [*UNDECLARED.findall(errors), *UNKNOWN_TYPE.findall(errors)]
        for name in dict.fromkeys(names):
            if name in PORTABILITY and name not in attempt.defines:
                attempt.defines[name] = PORTABILITY[name]
                changed = True
            elif STRINGS.match(name) and name.isupper() and name not in attempt.defines:
                attempt.defines[name] = '"1.0"' if "VERSION" in name else '"dojo"'
                changed = True
        unknown = any(name not in attempt.defines for name in names) or "call to undeclared" in errors
        if unknown and not attempt.prelude:
            attempt.prelude = changed = True
        return changed

    def _supply(self, attempt: _Attempt, unit: str, name: str) -> bool:
        """Find or make a header that is missing."""
        candidates = self._tree.candidates(name)
        for path in candidates:
            folder = path[: -len(name)].rstrip("/") or "."
            if folder not in (*attempt.folders, *attempt.late):
                attempt.folders.append(folder)
                return True
        return CONFIGURATION_NAME.search(name) is not None and self._make_up(attempt, name)

    def _make_up(self, attempt: _Attempt, name: str) -> bool:
        """Give a unit a header of this name that its package would have made; False when it has one."""
        folder = None if name in attempt.made_up else put_generic_header(self._tree, name)
        if folder is None:
            return False
        attempt.made_up[name] = folder
        return True


def _run_limited(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], seconds: float
) -> tuple[int | None, bytes, str]:
    """Exit status, None out of time, and what a command writes; none of its processes outlive it."""
    # a limit on the size of files holds for a file in memory, and for a pipe it does not
    with open(os.memfd_create("output"), "w+b") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        status: int | None = None
        errors = b""
        with process:
            try:
                _, errors = process.communicate(timeout=seconds)
                status = process.returncode
            except subprocess.TimeoutExpired:
                pass
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
        output.seek(0)
        return status, output.read(), errors.decode(errors="replace")


def reason_of(status: int | None, errors: str) -> tuple[str, str]:
    """Why a unit did not compile, in a few words, and the compiler's first error."""
    lines = errors.splitlines()
    position = next((number for number, line in enumerate(lines) if "error:" in line), len(lines))
    first = lines[position] if position < len(lines) else errors.strip()[:200]
    quoted = "".join(lines[position + 1 : position + 2])  # the line of source that it is about
    detail = re.sub(r"^\S+?: ", "", first)[:200]
    missing = MISSING.search(errors)
    if errors.startswith(TOO_MUCH):
        return TOO_MUCH, detail
    if status is None:
        return "time-out", detail
    if missing:
        return "missing header", missing[1]
    if status < 0 or status > 128 or "PLEASE submit a bug report" in errors:
        return "compiler crash or out of memory", detail
    if UNKNOWN_TYPE.search(errors):
        return "unknown type", detail
    if UNDECLARED.search(errors):
        return "undeclared identifier", detail
    if re.match(r"\s*\d*\s*\|?\s*#\s*error\b", quoted):
        return "#error", detail
    if re.search(r"error: (expected|unknown|unterminated|invalid|missing|extraneous|a parameter list)", first):
        return "syntax", detail
    return "other", detail
