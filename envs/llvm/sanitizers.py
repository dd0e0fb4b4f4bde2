"""Running programs under AddressSanitizer and UndefinedBehaviorSanitizer: what they find, no compiler need keep."""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
from pathlib import Path
from typing import Literal, NamedTuple

from compiler_dojo.envs.errors import DojoError, ToolchainError
from compiler_dojo.envs.llvm.lowering import find_clang
from compiler_dojo.envs.llvm.sandbox import Limits, RunResult, find_sandbox, private_folder
from compiler_dojo.envs.programs.program import Program, RunSpecification

FLAGS = ("-O0", "-g", "-w", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")

# no status of a program's own: with it and the report's words no program is mistaken for a faulty one
REPORT_STATUS = 213
OPTIONS = (
    f"exitcode={REPORT_STATUS}:"
    # a leak is no undefined behaviour, and LeakSanitizer needs ptrace, which containers forbid
    "detect_leaks=0:"
    # as much memory as other runs have; address space cannot be limited, because the shadow takes 16 TiB of it
    "hard_rss_limit_mb=2048:allocator_may_return_null=1:"
    "check_initialization_order=1:strict_string_checks=1:detect_stack_use_after_return=1"
)
REPORT = re.compile(r"^.*(?:runtime error: |ERROR: AddressSanitizer: ).*$", re.MULTILINE)
FRAME = re.compile(r"^ +#0 .*$", re.MULTILINE)

# a report of these is about what the sanitizer itself takes
OWN_FAULTS = ("AddressSanitizer: stack-overflow", "AddressSanitizer: out of memory")

# -O0 with both sanitizers takes 2 to 4 times as long as -O0
SLOWDOWN = 5.0

TRIAL = "int main(void) { return 0; }\n"


class Sanitizer(NamedTuple):
    """A compiler with the run-time libraries of both sanitizers.

    Attributes:
        c, cpp: the commands that compile and link C and C++.
        name: of the compiler, for reports.
    """

    c: tuple[str, ...]
    cpp: tuple[str, ...]
    name: str


class SanitizerReport(NamedTuple):
    """What running a program under the sanitizers found.

    Attributes:
        finding: ``undefined`` behaviour, ``clean``, or ``unchecked`` where there was no way to find out.
        detail: the report's first lines, or why it was not checked.
    """

    finding: Literal["clean", "undefined", "unchecked"]
    detail: str = ""


@functools.cache
def find_sanitizer() -> Sanitizer:
    """The first of clang and gcc that builds a program that runs under both sanitizers.

    clang comes first because gcc's front end folds some overflows away before the sanitizer sees them.

    Raises:
        ToolchainError: neither does.
    """
    candidates = []
    try:
        clang = find_clang()
        candidates.append(Sanitizer((clang,), (clang, "--driver-mode=g++"), Path(clang).name))
    except DojoError:
        pass
    if shutil.which("gcc") is not None:
        candidates.append(Sanitizer(("gcc",), ("g++",), "gcc"))
    with private_folder() as folder:
        source = folder / "trial.c"
        source.write_text(TRIAL)
        for sanitizer in candidates:
            if _check(sanitizer.c, source, RunSpecification(), RunResult(0, "", 0.0)).finding == "clean":
                return sanitizer
    raise ToolchainError(
        "finding undefined behaviour needs clang's or gcc's sanitizer libraries: install clang's with "
        "`apt-get install libclang-rt-19-dev`"
    )


def sanitize(program: Program, unoptimized: RunResult) -> SanitizerReport:
    """Compile the program's source at -O0 with both sanitizers and run it, as its run specification says.

    It is clean when there is no report and it behaves as the ``unoptimized`` build did.
    """
    if program.run is None:
        return SanitizerReport("unchecked", "there is no run specification")
    if program.source is None:
        return SanitizerReport("unchecked", "only IR is known, and sanitizers need the source")
    if not program.source.is_file():
        return SanitizerReport("unchecked", f"the source {program.source} is gone")
    try:
        sanitizer = find_sanitizer()
    except ToolchainError as error:
        return SanitizerReport("unchecked", str(error))
    command = sanitizer.cpp if program.language == "c++" else sanitizer.c
    return _check(command, program.source, program.run, unoptimized)


def _check(compiler: tuple[str, ...], source: Path, run: RunSpecification, unoptimized: RunResult) -> SanitizerReport:
    with private_folder() as folder:
        executable = folder / "program"
        command = [*compiler, *FLAGS, f"./{source.name}", "-o", str(executable), "-lm"]
        done = subprocess.run(command, cwd=source.resolve().parent, capture_output=True, check=False)
        if done.returncode != 0:
            message = done.stderr.decode(errors="replace").strip()
            return SanitizerReport("unchecked", f"it does not build with sanitizers:\n{message[:500]}")
        limits = Limits(seconds=SLOWDOWN * run.seconds, memory=None)
        environment = {"ASAN_OPTIONS": OPTIONS, "UBSAN_OPTIONS": f"{OPTIONS}:print_stacktrace=1"}
        result = find_sandbox().run(executable, run.arguments, limits, environment)
    if result.status is None:
        return SanitizerReport("unchecked", f"it does not end within {limits.seconds:g} s under sanitizers")
    report = _report(result.errors) if result.status == REPORT_STATUS else None
    if report is not None:
        own = any(fault in report for fault in OWN_FAULTS)
        return SanitizerReport("unchecked" if own else "undefined", report)
    if (result.status, result.output) != (unoptimized.status, unoptimized.output):
        said = f": {result.errors.strip()[:500]}" if result.errors else ""
        return SanitizerReport("unchecked", f"it behaves otherwise under sanitizers, without a report{said}")
    return SanitizerReport("clean")


def _report(errors: str) -> str | None:
    """What was found, and in which function and line, or None."""
    found = REPORT.search(errors)
    if found is None:
        return None
    frame = FRAME.search(errors, found.end())
    where = [] if frame is None else [re.sub(r"^#0 0x[0-9a-f]+ ", "", frame[0].strip())]
    return "\n".join([re.sub(r"^==\d+==", "", found[0].strip()), *where])
