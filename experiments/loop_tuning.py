"""``dojo tune``: a contraction in, a tuned kernel out, as a library if it is wanted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compiler_dojo.envs.errors import InvalidConfigError, did_you_mean
from compiler_dojo.envs.loops.c_library import check_name, default_name, find_linker
from compiler_dojo.envs.loops.heuristics import candidates
from compiler_dojo.envs.loops.kernel_cache import KernelCache
from compiler_dojo.envs.loops.kernels import Kernel, tuned
from compiler_dojo.envs.loops.measure import measured_peak
from compiler_dojo.envs.loops.nest import Nest
from compiler_dojo.envs.loops.nest_files import nest_to_json
from compiler_dojo.envs.loops.notation import parse_text
from compiler_dojo.envs.loops.runner import Runner
from compiler_dojo.envs.loops.targets import Target
from compiler_dojo.envs.loops.tuning import Schedule
from compiler_dojo.envs.loops.workload import ITEM_BYTES, Workload
from compiler_dojo.experiments.loop_own import SCHEDULES

HEURISTICS = "heuristics"


@dataclass(frozen=True)
class Tuned:
    """What ``dojo tune`` found.

    Attributes:
        kernel: compiled, with its tuning.
        agent: that proposed the candidates.
        threads: that it might use.
        peak: GFLOP/s that multiply-adds alone reach on as many.
        files: that were written.
    """

    kernel: Kernel
    agent: str
    threads: int
    peak: float
    files: Sequence[Path]

    @property
    def share(self) -> float:
        """Share of the peak."""
        return self.kernel.gflops / self.peak

    def as_mapping(self) -> dict[str, Any]:
        """Everything as plain data."""
        tuning = self.kernel.tuning
        assert tuning is not None, "tune_workload tunes"
        return {
            "workload": str(self.kernel.workload),
            "agent": self.agent,
            "nest": nest_to_json(self.kernel.nest),
            "text": list(self.kernel.nest.lines()),
            "gflops": self.kernel.gflops,
            "peak_gflops": self.peak,
            "share_of_peak": self.share,
            "threads": self.threads,
            "measurements": tuning.measurements,
            "seconds": tuning.seconds,
            "cached": tuning.cached,
            "files": [str(path) for path in self.files],
        }

    def lines(self) -> list[str]:
        """The same for people."""
        tuning = self.kernel.tuning
        assert tuning is not None, "tune_workload tunes"
        how = f"{tuning.measurements} candidates of {self.agent} measured in {tuning.seconds:.2f} s"
        return [
            *self.kernel.nest.lines(),
            "",
            f"{self.kernel.gflops:.1f} GFLOP/s, {self.share:.0%} of the {self.peak:.1f} that this machine reaches on "
            f"{self.threads} thread{'s' if self.threads > 1 else ''}; {how}"
            + (", kept from an earlier run (--force tunes again)" if tuning.cached else ""),
            *(str(path) for path in self.files),
        ]


def read_workload(words: Sequence[str], dtype: str | None) -> Workload:
    """The workload of a command line: an expression, then sizes as ``m=64``.

    Raises:
        InvalidWorkloadError: it is none.
        InvalidConfigError: two dtypes.
    """
    text = " ".join(words)
    if dtype is not None and any(word in ITEM_BYTES and word != dtype for word in text.split()):
        raise InvalidConfigError(f"--dtype {dtype} and another dtype in {text!r}: give one")
    return parse_text(f"{text} {dtype}" if dtype and "=" in text else text)


def find_schedule(agent: str) -> Schedule:
    """What proposes candidates, by name.

    Raises:
        InvalidConfigError: there is no such agent.
    """
    if agent == HEURISTICS:
        return candidates
    if agent not in SCHEDULES:
        known = did_you_mean(agent, [HEURISTICS, *SCHEDULES])
        raise InvalidConfigError(f"no agent for loops is called {agent!r}; {known}")
    choose = SCHEDULES[agent]

    def propose(workload: Workload, target: Target, threads: int) -> list[Nest]:
        return [choose(workload).with_(threads=threads)]

    return propose


def tune_workload(
    workload: Workload,
    target: str = "native",
    threads: int = 1,
    seconds: float = 0.5,
    measurements: int = 20,
    agent: str = HEURISTICS,
    out: Path | None = None,
    name: str | None = None,
    force: bool = False,
    advance: Callable[[int, float], None] = lambda count, gflops: None,
) -> Tuned:
    """Tune a workload, or take what an earlier run found, and write the kernel's files.

    Args:
        workload: what is computed.
        target: CPU to generate code for.
        threads: that compute together at most.
        seconds: for tuning.
        measurements: candidates that are measured at most.
        agent: proposes them.
        out: folder for the files, or None for none.
        name: of the C function and the files; by default one from the workload.
        force: tune even if an earlier run did.
        advance: called after each candidate, with their number and the best GFLOP/s so far.

    Raises:
        InvalidConfigError: an agent, target, name or number that makes no sense.
        IllegalScheduleError: no code can be generated for any candidate.
        ToolchainError: files are to be written and there is no linker.
    """
    schedule = find_schedule(agent)
    if name is not None and out is None:
        raise InvalidConfigError(f"--name {name} names the files of a folder: give -o too")
    if out is not None:
        check_name(name or default_name(workload))
        find_linker()
        if out.exists() and not out.is_dir():
            raise InvalidConfigError(f"{out} is a file: give a folder to -o")
    runner = Runner(target)
    best = 0.0

    def report(count: int, nest: Nest, gflops: float) -> None:
        nonlocal best
        best = max(best, gflops)
        advance(count, best)

    tuning = tuned(
        workload, runner, threads, seconds, measurements, schedule, agent, KernelCache(), force, advance=report
    )
    kernel = Kernel(tuning.nest, runner, tuning)
    peak = measured_peak(runner.target, workload.dtype, threads)
    if peak < tuning.gflops:  # it was measured while something else was running
        peak = measured_peak(runner.target, workload.dtype, threads, again=True)
    return Tuned(kernel, agent, threads, peak, kernel.save(out, name) if out is not None else [])
