"""CompilerGym beside us: measured now by a Python that has it, or the figures that were measured earlier."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from rich.table import Table

from compiler_dojo.envs.errors import CompilationError, ToolchainError
from compiler_dojo.envs.llvm.lowering import check_lowering, clang_version
from compiler_dojo.envs.programs import bundled

SCRIPT = Path(__file__).with_name("peer_script.py")
CLANG_VARIABLE = "DOJO_PEER_CLANG"

CLANG_MAJORS = (13, 12, 11, 10)
"""Versions whose C front end still writes IR that LLVM 10 can be given; 14 and later do not."""

SUFFIXES = (".c", ".cpp")

REMEDY = (
    "make one with `python3.8 -m venv peer && peer/bin/pip install 'pip<24.1' 'setuptools==65.5.0' 'wheel==0.38.4' && "
    "peer/bin/pip install 'compiler_gym==0.2.5' 'llvmlite==0.36.0' 'protobuf==3.20.3' 'numpy<2'` "
    "(with Python 3.10 'llvmlite==0.38.1') and give peer/bin/python"
)
"""compiler_gym wants gym 0.21, whose metadata newer setuptools and pip refuse and which does not know numpy 2. llvmlite
0.36 holds LLVM 10 and has no release for Python 3.10; 0.38 holds LLVM 11, whose bitcode the peer reads too."""

STAND_INS = {
    "clang": "exec cat >/dev/null",
    "llvm-size": r"printf '   text\t   data\t    bss\t    dec\t    hex\tfilename\n"
    r"      1\t      0\t      0\t      1\t      1\tnone\n'",
}
"""What `write_runtime` puts in place of LLVM 10's tools, as shell commands."""


class Timings(NamedTuple):
    """One program's medians in ms, ours or the peer's.

    Attributes:
        instructions: IR instructions at -O0.
        reset_ms: warm reset, with the program parsed.
        step_ms: one step with Autophase or the default observation and the -Oz reward, uniformly random passes.
        fork_ms: a fork in mid-episode that is ready to step.
        multistep_ms: 45 passes in one call.
        graph_ms: the program as a graph (the peer's ProGraML), or None if not measured.
        program: URI, or "" if unknown.
    """

    instructions: int
    reset_ms: float
    step_ms: float
    fork_ms: float
    multistep_ms: float
    graph_ms: float | None = None
    program: str = ""


PEER_TABLE = (
    Timings(80, 2.0, 0.45, 16, 3.7, 8.8),
    Timings(146, 2.1, 0.53, 17, 4.8, 13),
    Timings(242, 3.0, 0.67, 16, 7.0, 25),
    Timings(1246, 6.7, 1.0, 14, 21, 142),
    Timings(3481, 9.6, 1.4, 16, 56, 368),
    Timings(10904, 36, 5.7, 48, 184, 2346),
)
PEER_PROVENANCE = (
    "CompilerGym 0.2.5 (LLVM 10), measured earlier and elsewhere on other programs: a 2-core AMD EPYC (Zen 3), 250 "
    "uniformly random passes, reset every 25, client and service at real-time priority"
)


class Percentiles(NamedTuple):
    """10th percentile, median and 90th percentile in ms."""

    low: float
    median: float
    high: float


@dataclass(frozen=True)
class PeerMeasurement:
    """What CompilerGym needed for one program; see `Timings` for what was timed.

    Attributes:
        failed_steps: calls that ended the episode with an error; they are in no percentile.
        forks: forks that were compared with their parents 10 passes later.
        forks_unequal: those whose IR text (less comments) then differed.
    """

    program: str
    instructions: int
    instructions_oz: int
    reset: Percentiles
    step: Percentiles
    fork: Percentiles
    multistep: Percentiles
    graph: Percentiles
    failed_steps: int
    forks: int
    forks_unequal: int

    @property
    def timings(self) -> Timings:
        """The medians."""
        return Timings(
            instructions=self.instructions,
            reset_ms=self.reset.median,
            step_ms=self.step.median,
            fork_ms=self.fork.median,
            multistep_ms=self.multistep.median,
            graph_ms=self.graph.median,
            program=self.program,
        )


@dataclass(frozen=True)
class PeerFailure:
    """A program that CompilerGym could not measure, and what it said."""

    program: str
    error: str


def measure_peer(
    python: Path,
    programs: Sequence[str],
    repeats: int,
    *,
    lowering: str = "oz",
    steps: int = 45,
    seed: int = 0,
    seconds: float = 600.0,
) -> list[PeerMeasurement | PeerFailure]:
    """Time CompilerGym on bundled programs, each compiled from its source for LLVM 10 with the same lowering as ours.

    Every call starts an interpreter and a service, outside of what is timed; call it with one program at a time to
    interleave with something else. Its data folder is a temporary one, so that no installed runtime is used or changed.

    Args:
        python: interpreter of a Python 3.8 to 3.10 that has compiler_gym and llvmlite.
        programs: URIs such as ``bundled://crypto/xtea``.
        repeats: episodes per program.
        lowering: as in `compiler_dojo.envs.llvm.lowering.LOWERINGS`.
        steps: passes per episode.
        seed: of the passes; the peer's table of passes is its own.
        seconds: wall-clock limit of the whole call.

    Raises:
        ToolchainError: the interpreter, compiler_gym, its service or an old clang is missing, or it took too long.
        CompilationError: the old clang rejects a source.
        UnknownProgramError: there is no such bundled program.
    """
    entries = [
        {"program": source.uri, "module": lower_for_peer(source_file(source.key), lowering)}
        for program in programs
        for source in bundled.select(program, lowering)
    ]
    job = json.dumps({"repeats": repeats, "steps": steps, "seed": seed, "programs": entries})
    with tempfile.TemporaryDirectory(prefix="dojo-peer-") as folder:
        write_runtime(Path(folder))
        status, out, err = _run(python, job, Path(folder), seconds)
    answers = list(_parse(python, out, err))
    if status != 0 or len(answers) != len(entries):
        raise ToolchainError(
            f"{python} should have answered for {len(entries)} programs, but ended with status {status} after "
            f"{len(answers)}: {_last_lines(err)}; it must be a Python 3.8 to 3.10 with compiler_gym: {REMEDY}"
        )
    return answers


def find_peer_clang() -> str:
    """Path of a clang from 10 to 13.

    Raises:
        ToolchainError: there is none.
    """
    override = os.environ.get(CLANG_VARIABLE)
    for candidate in [override] if override else [f"clang-{major}" for major in CLANG_MAJORS]:
        path = shutil.which(candidate)
        if path is not None and clang_version(path)[0] in CLANG_MAJORS:
            return path
    found = f"{CLANG_VARIABLE}={override} is not one" if override else "none was found"
    raise ToolchainError(
        f"compiling programs for CompilerGym (LLVM 10) needs a clang from 10 to 13, and {found}: install it with "
        f"`apt-get install clang-13`, or set {CLANG_VARIABLE} to its path"
    )


def source_file(key: str) -> Path:
    """The source of the bundled program ``DOMAIN/NAME``."""
    stem = bundled.FOLDER / "src" / key
    return next(path for path in map(stem.with_suffix, SUFFIXES) if path.exists())


def lower_for_peer(source: Path, lowering: str = "oz") -> str:
    """Compile a C or C++ file to unoptimised textual IR that LLVM 10 understands.

    Raises:
        CompilationError: clang rejects the file; the message carries its diagnostics.
        ToolchainError: no suitable clang is installed.
    """
    clang = find_peer_clang()
    flags = [*check_lowering(lowering), "-g0", "-w", "-Qn", "-emit-llvm", "-S"]
    if clang_version(clang)[0] >= 12:
        # the attribute mustprogress is not known to LLVM 10
        flags.append("-fno-finite-loops")
    done = subprocess.run([clang, *flags, str(source), "-o", "-"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CompilationError(f"{source} does not compile for CompilerGym:\n{done.stderr.strip()}")
    return downgrade(done.stdout)


def downgrade(text: str) -> str:
    """Textual IR of LLVM 12 or 13 as LLVM 10 writes it: ``sret(%T)`` becomes ``sret``.

    LLVM 10 reads the typed attribute in bitcode without a word, and misreads what follows it.
    """
    return re.sub(r'\bsret\((?:"[^"]*"|[^()"])*\)', "sret", text)


def write_runtime(folder: Path) -> None:
    """A data folder that CompilerGym takes for its downloaded runtime.

    On a program's first reset the service measures its .text size with the clang and llvm-size of that runtime. No
    size is used here and no first reset timed, so both are stand-ins that answer at once: one byte, whatever comes.
    """
    runtime = folder / "site" / "llvm-v0"
    (runtime / "bin").mkdir(parents=True)
    (runtime / ".unpacked").touch()
    for name, command in STAND_INS.items():
        path = runtime / "bin" / name
        path.write_text(f"#!/bin/sh\n{command}\n")
        path.chmod(0o755)
    (folder / "cache").mkdir()


def _run(python: Path, job: str, folder: Path, seconds: float) -> tuple[int, str, str]:
    """Run the script: exit status, standard output and standard error."""
    environment = {
        **os.environ,
        "COMPILER_GYM_SITE_DATA": str(folder / "site"),
        "COMPILER_GYM_CACHE": str(folder / "cache"),
    }
    try:
        process = subprocess.Popen(
            # isolated: neither our packages nor the modules beside the script may be found
            [str(python), "-I", str(SCRIPT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            text=True,
            start_new_session=True,
        )
    except OSError as error:
        raise ToolchainError(
            f"--peer-python should be the interpreter of a Python 3.8 to 3.10 with compiler_gym, and {python} "
            f"cannot be run ({error.strerror}): {REMEDY}"
        ) from error
    with process:
        try:
            out, err = process.communicate(job, timeout=seconds)
        except subprocess.TimeoutExpired:
            raise ToolchainError(
                f"CompilerGym in {python} did not finish within {seconds:g} s: measure fewer programs or repeats"
            ) from None
        finally:
            # the service is of the same process group and outlives a client that was killed
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    return process.returncode, out, err


def _parse(python: Path, out: str, err: str) -> Iterator[PeerMeasurement | PeerFailure]:
    try:
        for line in out.splitlines():
            yield _result(python, json.loads(line))
    except (ValueError, TypeError, KeyError) as error:
        raise ToolchainError(
            f"{python} should have answered with one JSON object per program, and wrote {line[:200]!r} "
            f"({error!r}): {_last_lines(err)}; it must be a Python 3.8 to 3.10 with compiler_gym: {REMEDY}"
        ) from error


def _result(python: Path, answer: dict[str, Any]) -> PeerMeasurement | PeerFailure:
    if "fatal" in answer:
        raise _cannot_run(python, answer["fatal"], answer["detail"])
    if "error" in answer:
        return PeerFailure(**answer)
    values = {name: Percentiles(*values) for name, values in answer.pop("times").items()}
    return PeerMeasurement(**{**answer, **values})


def _cannot_run(python: Path, kind: str, detail: str) -> ToolchainError:
    messages = {
        "version": f"CompilerGym needs Python 3.8 to 3.10, and {python} is {detail}: {REMEDY}",
        "import": f"{python} cannot import compiler_gym and llvmlite ({detail}): {REMEDY}",
        "service": (
            f"CompilerGym's service does not start ({detail}): if a shared library is missing, install it "
            "(`apt-get install libtinfo5` for libtinfo.so.5)"
        ),
    }
    return ToolchainError(messages[kind])


def _last_lines(text: str) -> str:
    lines = text.strip().splitlines()[-5:]
    return "\n".join(lines) if lines else "it wrote nothing to standard error"


def peer_table(ours: Sequence[Timings], theirs: Sequence[PeerMeasurement | PeerFailure] | None) -> Table:
    """Our medians beside the peer's, in ms.

    Args:
        ours: one per program.
        theirs: what `measure_peer` gave for the same programs in the same order, or None to show `PEER_TABLE`, each
            of its rows beside our program of the nearest size.
    """
    if theirs is None:
        title = "beside CompilerGym as it was measured earlier, NOT now: medians in ms"
        table = Table(title=title, caption=f"peer: {PEER_PROVENANCE}")
        _add_columns(table)
        for earlier in PEER_TABLE:
            distances = [abs(math.log(own.instructions / earlier.instructions)) for own in ours]
            _add_row(table, ours[distances.index(min(distances))], earlier)
        return table
    table = Table(title="beside CompilerGym 0.2.5 (LLVM 10), the same programs measured in turn: medians in ms")
    _add_columns(table)
    for own, peer in zip(ours, theirs, strict=True):
        _add_row(table, own, peer.timings if isinstance(peer, PeerMeasurement) else None)
    table.caption = _caption(theirs)
    return table


def _add_columns(table: Table) -> None:
    table.add_column("program")
    for name in ("instructions", "reset", "step", "fork", "45 passes", "graph"):
        table.add_column(name, justify="right")
        table.add_column("peer", justify="right")


def _add_row(table: Table, own: Timings, peer: Timings | None) -> None:
    cells = [own.program.split("://")[-1], str(own.instructions), "failed" if peer is None else str(peer.instructions)]
    for place in range(1, 6):
        cells += [_cell(own[place]), "" if peer is None else _cell(peer[place])]
    table.add_row(*cells)


def _cell(milliseconds: Any) -> str:
    return "" if milliseconds is None else f"{milliseconds:.3g}" if milliseconds < 100 else f"{milliseconds:.0f}"


def _caption(theirs: Sequence[PeerMeasurement | PeerFailure]) -> str:
    measured = [peer for peer in theirs if isinstance(peer, PeerMeasurement)]
    unequal, forks = sum(peer.forks_unequal for peer in measured), sum(peer.forks for peer in measured)
    lines = [
        f"peer: {unequal} of {forks} forks differ from their parents after 10 equal passes; "
        f"{sum(peer.failed_steps for peer in measured)} calls failed"
    ]
    lines += [f"{peer.program} failed: {peer.error}" for peer in theirs if isinstance(peer, PeerFailure)]
    return "\n".join(lines)
