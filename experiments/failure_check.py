"""Whether a program and its passes still fail in the way that a reproducer says."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from compiler_dojo.envs.errors import DojoError
from compiler_dojo.envs.llvm.execution import build_executable, run_executable
from compiler_dojo.envs.llvm.reproducer import Reproducer
from compiler_dojo.envs.llvm.session import CompilerSession
from compiler_dojo.envs.llvm.worker import Isolation, Worker
from compiler_dojo.envs.programs import Program, RunSpecification
from compiler_dojo.experiments import fuzz_oracles as oracles
from compiler_dojo.experiments.bare_run import error_at_end
from compiler_dojo.experiments.fuzz_replay import InProcessReplayer

OUTPUT_SECONDS = 10.0


class FailureCheck:
    """Asked with ever smaller programs and lists; crashes cost a worker process and leave nothing behind.

    Args:
        reproducer: the failure to look for.
    """

    def __init__(self, reproducer: Reproducer) -> None:
        self._failure = reproducer.failure
        self._worker = Worker(Isolation(pass_seconds=reproducer.pass_seconds, threads=1))
        oracle, _, self._kind = reproducer.failure.partition("-")
        if oracle == "in":  # the one name with a hyphen
            oracle, self._kind = "in-process", self._kind.removeprefix("process-")
        self._program = Program(reproducer.name, reproducer.program)
        self._replayer: InProcessReplayer | None = None
        self._oracle = self._find_oracle(oracle)
        self.needs_meaning = oracle == "output"
        if self.needs_meaning:
            self._program = Program(reproducer.name, reproducer.program, run=self._run_specification())

    def __call__(self, program: bytes, pipelines: Sequence[str]) -> bool:
        """Whether this program fails in the same way."""
        try:
            if self._oracle is None:
                return type(error_at_end(self._worker, program, pipelines)).__name__ == self._failure
            candidate = Program(self._program.uri, program, run=self._program.run)
            found = self._oracle(candidate, list(pipelines))
        except DojoError:
            return False
        return found == self._kind

    def baked(self, pipelines: Sequence[str]) -> bytes:
        """The program as the pipelines leave it."""
        with CompilerSession(self._program.module, self._program.uri, self._worker.isolation) as session:
            for pipeline in pipelines:
                session.run(pipeline)
            return session.bitcode()

    def instruction_count(self, program: bytes) -> int:
        """IR instructions of a program; 0 when it cannot even be read."""
        try:
            with CompilerSession(program, self._program.uri, self._worker.isolation) as session:
                return session.instruction_count
        except DojoError:
            return 0

    def close(self) -> None:
        """End what was started for checking."""
        if self._replayer is not None:
            self._replayer.close()
        self._worker.connection().end()

    def _find_oracle(self, name: str) -> Callable[[Program, list[str]], str | None] | None:
        isolation = self._worker.isolation
        if name == "transition":
            return lambda program, items: (
                "hash" if oracles.histories_disagree(program, program, items, isolation) else None
            )
        known: dict[str, Callable[[], oracles.Oracle]] = {
            "verifier": lambda: oracles.VerifierOracle(isolation),
            "recount": lambda: oracles.RecountOracle(isolation),
            "restart": lambda: oracles.RestartOracle(isolation),
            "replay": lambda: oracles.ReplayOracle(isolation),
            "cached": lambda: oracles.CachedOracle(isolation),
            "output": lambda: oracles.OutputOracle(isolation),
            "in-process": self._in_process,
        }
        if name not in known:
            return None
        oracle = known[name]()

        def kind(program: Program, items: list[str]) -> str | None:
            difference = oracle.difference(program, items)
            return None if difference is None else difference.kind

        return kind

    def _in_process(self) -> oracles.Oracle:
        self._replayer = InProcessReplayer(self._worker.isolation.pass_seconds * 5)
        return oracles.InProcessOracle(self._worker.isolation, self._replayer)

    def _run_specification(self) -> RunSpecification:
        """The program itself, without the passes, says what it should print."""
        limits = RunSpecification(seconds=OUTPUT_SECONDS)
        program, isolation = self._program, self._worker.isolation
        with CompilerSession(program.module, program.uri, isolation) as session, build_executable(session) as path:
            found = run_executable(path, limits)
        return RunSpecification((), found.output, OUTPUT_SECONDS)
