"""Times CompilerGym; a script of its own, run by a Python 3.8 to 3.10 that has compiler_gym and llvmlite but not us.

Standard input holds one JSON job: ``repeats``, ``steps``, ``seed``, and ``programs``, each a ``program`` (its name) and
a ``module`` (textual IR that LLVM 10 understands). Standard output gets one JSON line per program: times as [10th
percentile, median, 90th percentile] in ms, or an ``error``. A line with ``fatal`` instead says why nothing can run.
Nothing in this file may need a Python newer than 3.8.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import re
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable

    Times = dict[str, list[float]]

OLDEST, NEWEST = (3, 8), (3, 10)
NEWEST_ASSEMBLER = 11


class CannotRun(Exception):  # noqa: N818  # it is the answer, not a mistake
    """CompilerGym cannot run here; the kind is ``version``, ``import`` or ``service``."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind


def main() -> None:
    """Read the job, write the answers."""
    answers = os.fdopen(os.dup(1), "w")
    # whatever a library prints must not come between the answers
    os.dup2(2, 1)
    try:
        measure_all(json.load(sys.stdin), answers)
    except CannotRun as error:
        write(answers, {"fatal": error.kind, "detail": str(error)})


def measure_all(job: dict[str, Any], answers: TextIO) -> None:
    """Time every program of the job in one environment, starting it with the first module."""
    check_version()
    assembler, compiler_gym, datasets = import_all()
    env = None
    for entry in job["programs"]:
        try:
            bitcode = assemble(assembler, entry["module"])
            benchmark = datasets.Benchmark.from_file_contents("benchmark://user-v0/" + entry["program"], bitcode)
            if env is None:
                env = start(compiler_gym, benchmark)
            rng = random.Random(job["seed"])
            answer = measure(env, benchmark, job["repeats"], job["steps"], rng)
        except CannotRun:
            raise
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        write(answers, {"program": entry["program"], **answer})
    if env is not None:
        env.close()


def write(answers: TextIO, answer: dict[str, Any]) -> None:
    """One line of JSON."""
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


def check_version() -> None:
    """Refuse the Pythons that compiler_gym has no release for."""
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        raise CannotRun("version", f"{sys.version_info[0]}.{sys.version_info[1]}")


def import_all() -> tuple[Any, Any, Any]:
    """llvmlite.binding, compiler_gym and compiler_gym.datasets."""
    try:
        modules = [
            importlib.import_module(name) for name in ("llvmlite.binding", "compiler_gym", "compiler_gym.datasets")
        ]
    except Exception as error:  # old packages beside new ones fail with more than ImportError
        raise CannotRun("import", f"{type(error).__name__}: {error}") from error
    major = modules[0].llvm_version_info[0]
    if major > NEWEST_ASSEMBLER:
        raise CannotRun("import", f"llvmlite of LLVM {major} writes bitcode that LLVM 10 misreads")
    return modules[0], modules[1], modules[2]


def assemble(assembler: Any, text: str) -> bytes:
    """Bitcode that LLVM 10 reads, of textual IR."""
    module = assembler.parse_assembly(text)
    module.verify()
    bitcode: bytes = module.as_bitcode()
    return bitcode


def start(compiler_gym: Any, benchmark: Any) -> Any:
    """An environment with a running service; given a program at once, it does not download its default one.

    The service is first asked for its help: a missing library then shows in plain words, not after retries.
    """
    service = importlib.import_module("compiler_gym.envs.llvm").LLVM_SERVICE_BINARY
    asked = subprocess.run([str(service), "--help"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    words = asked.stderr.decode(errors="replace").strip()
    if asked.returncode not in (0, 1):
        raise CannotRun("service", words or f"exit status {asked.returncode}")
    try:
        return compiler_gym.make(
            "llvm-v0", benchmark=benchmark, observation_space="Autophase", reward_space="IrInstructionCountOz"
        )
    except Exception as error:
        raise CannotRun("service", f"{type(error).__name__}: {error}") from error


def measure(env: Any, benchmark: Any, repeats: int, steps: int, rng: random.Random) -> dict[str, Any]:
    """Time one program: warm resets, steps, forks in mid-episode, all passes in one call, and the program graph."""
    times: Times = {}
    # the first reset of a program sends it to the service and computes its baselines
    env.reset(benchmark=benchmark)
    env.reset()
    counts = [int(env.observation[name]) for name in ("IrInstructionCount", "IrInstructionCountOz")]
    failed_steps = forks = forks_unequal = 0
    for _ in range(repeats):
        actions = [rng.randrange(env.action_space.n) for _ in range(steps)]
        timed(times, "reset", env.reset)
        timed(times, "graph", lambda: env.observation["Programl"])
        failed_steps += measure_steps(env, actions, times)
        env.reset()
        done, seconds = clocked(lambda: env.multistep(actions))  # noqa: B023  # called at once
        failed_steps += bool(done[2])
        if not done[2]:
            times.setdefault("multistep", []).append(seconds)
        equal = measure_fork(env, actions, times)
        if equal is not None:
            forks, forks_unequal = forks + 1, forks_unequal + (not equal)
    return {
        "instructions": counts[0],
        "instructions_oz": counts[1],
        "failed_steps": failed_steps,
        "forks": forks,
        "forks_unequal": forks_unequal,
        "times": {name: percentiles(values) for name, values in times.items()},
    }


def measure_steps(env: Any, actions: list[int], times: Times) -> int:
    """Time one episode's steps; returns how many failed, after each of which the episode starts again."""
    failed = 0
    for action in actions:
        done, seconds = clocked(lambda: env.step(action))  # noqa: B023  # called at once
        if done[2]:
            failed += 1
            env.reset()
        else:
            times.setdefault("step", []).append(seconds)
    return failed


def measure_fork(env: Any, actions: list[int], times: Times) -> bool | None:
    """Time a fork after 10 passes; whether it and its parent print the same IR 10 passes later, None if one fails."""
    env.reset()
    if env.multistep(actions[:10])[2]:
        return None
    fork, seconds = clocked(env.fork)
    times.setdefault("fork", []).append(seconds)
    try:
        if env.multistep(actions[10:20])[2] or fork.multistep(actions[10:20])[2]:
            return None
        return uncommented(env.observation["Ir"]) == uncommented(fork.observation["Ir"])
    finally:
        fork.close()


def uncommented(text: str) -> str:
    """IR without the comments at the ends of lines, which list predecessors in the order of their use lists."""
    return re.sub(r"\s*; preds = .*", "", text)


def clocked(call: Callable[[], Any]) -> tuple[Any, float]:
    """What a call returns, and its seconds."""
    begin = time.perf_counter()
    value = call()
    return value, time.perf_counter() - begin


def timed(times: Times, name: str, call: Callable[[], Any]) -> None:
    """Record one call's time."""
    times.setdefault(name, []).append(clocked(call)[1])


def percentiles(seconds: list[float]) -> list[float]:
    """10th, 50th and 90th percentile in ms, linearly interpolated."""
    ordered = sorted(seconds)
    found = []
    for share in (0.1, 0.5, 0.9):
        place = share * (len(ordered) - 1)
        low = int(place)
        high = min(low + 1, len(ordered) - 1)
        found.append(1e3 * (ordered[low] + (place - low) * (ordered[high] - ordered[low])))
    return found


if __name__ == "__main__":
    main()
