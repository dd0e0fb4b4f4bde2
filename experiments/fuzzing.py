"""A fuzzing campaign: programs and pass lists are mutated jointly, and every pair is held against the oracles."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from compiler_dojo.envs.errors import CompilerFailedError, DojoError, InvalidConfigError
from compiler_dojo.envs.llvm.cache import TransitionCache
from compiler_dojo.envs.llvm.passes import PASSES, Pass
from compiler_dojo.envs.llvm.reproducer import Reproducer, saved_in
from compiler_dojo.envs.llvm.session import CompilerSession
from compiler_dojo.envs.llvm.worker import Isolation, shared_worker
from compiler_dojo.envs.programs import Program, load_programs
from compiler_dojo.experiments import fuzz_oracles as oracles
from compiler_dojo.experiments.ddmin import ddmin
from compiler_dojo.experiments.fuzz_corpus import Buckets, Corpus, Journal, Mutator, Pair, effect_buckets, state_buckets
from compiler_dojo.experiments.fuzz_programs import SetGenerator, installed_generators, reached_state, root_of
from compiler_dojo.experiments.fuzz_replay import InProcessReplayer
from compiler_dojo.experiments.trace import Observation, observe

MOST_IDLE_DRAWS = 200
STATE, CORPUS, FINDINGS, CRASHES = "state.json", "corpus.jsonl", "findings.jsonl", "reproducers"


@dataclass(frozen=True)
class FuzzConfig:
    """What a campaign does.

    Attributes:
        steps: passes to run, not counting those of oracles.
        seed: of all random choices.
        programs: the set of programs to start from.
        random_programs: also draw programs from csmith and llvm-stress, where they are installed.
        instructions: a list ends when its module has grown beyond this; larger programs are left out.
        pass_seconds: wall-clock limit of one pass.
        shares: of the pairs, how many each sampled oracle looks at.
        output_time: share of the campaign's time that building and running programs may take.
        minimised: findings of the same oracle, pass and kind that are minimised.
        minimise_seconds: for one of them.
        save_seconds: between two states on disk.
    """

    steps: int = 100_000
    seed: int = 0
    programs: str = "bundled"
    random_programs: bool = True
    instructions: int = 4000
    pass_seconds: float = 20.0
    shares: dict[str, float] = field(
        default_factory=lambda: {
            "recount": 0.5,
            "restart": 0.25,
            "replay": 0.1,
            "cached": 0.15,
            "in-process": 0.15,
            "output": 0.25,
        }
    )
    output_time: float = 0.15
    minimised: int = 2
    minimise_seconds: float = 45.0
    save_seconds: float = 5.0


@dataclass
class FuzzState:
    """How far a campaign is; what is on disk is enough to go on.

    Attributes:
        steps: passes run.
        pairs: pairs run.
        seconds: of wall-clock time.
        checks: pairs that each oracle looked at.
        found: how often each oracle, pass and kind was found.
        ran: how often each pass was run.
        sizes: bytes of the journals that belong to this state.
        random: the state of the random generator.
    """

    steps: int = 0
    pairs: int = 0
    seconds: float = 0.0
    checks: dict[str, int] = field(default_factory=dict)
    found: dict[str, int] = field(default_factory=dict)
    ran: dict[str, int] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    random: dict[str, Any] = field(default_factory=dict)


class Walk(NamedTuple):
    """A pair that was run.

    Attributes:
        trace: the module at the start and after each pass that did not fail.
        buckets: what it covered.
        reached: the module at the end, or None when it cannot be written.
        problem: the oracle and what it found on the way.
    """

    trace: list[Observation]
    buckets: Buckets
    reached: Program | None
    problem: tuple[str, oracles.Difference] | None


class Campaign:
    """A campaign in a folder.

    Args:
        config: what to do.
        out: its folder.
        resume: go on with the campaign in the folder, whose other settings than ``steps`` must be the same.
        passes: the action table to fuzz.

    Attributes:
        oracles: those that look at a share of the pairs, by their names in ``config.shares``.

    Raises:
        InvalidConfigError: the folder holds a campaign and ``resume`` is not given, or the other way round.
    """

    def __init__(self, config: FuzzConfig, out: Path, resume: bool = False, passes: Sequence[Pass] = PASSES) -> None:
        self.config, self.out = config, out
        self.state = _load_state(out / STATE, config) if resume else _new_state(out)
        self._isolation = Isolation(pass_seconds=config.pass_seconds, threads=1)
        self._names = {item.pipeline: item.name for item in passes}
        self._rng = np.random.default_rng(config.seed)
        if self.state.random:
            self._rng.bit_generator.state = self.state.random
        self.corpus = Corpus(out, self.state.sizes.get(CORPUS, 0))
        self.findings = Journal(out / FINDINGS, self.state.sizes.get(FINDINGS, 0))
        generators = installed_generators(self._isolation) if config.random_programs else []
        self.generators = [generator.name for generator in generators]
        self._mutator = Mutator(list(self._names), SetGenerator(load_programs(config.programs)), generators)
        self._replayer = InProcessReplayer(config.pass_seconds * 5)
        self._transitions = oracles.TransitionMemory(self._isolation)
        self._verifier = oracles.VerifierOracle(self._isolation)
        self._crash = oracles.CrashOracle(self._isolation)
        self.oracles: list[oracles.Oracle] = [
            oracles.RecountOracle(self._isolation),
            oracles.RestartOracle(self._isolation),
            oracles.ReplayOracle(self._isolation),
            oracles.CachedOracle(self._isolation, TransitionCache()),
            oracles.InProcessOracle(self._isolation, self._replayer),
            oracles.OutputOracle(self._isolation, config.output_time),
        ]
        self._saved = 0.0

    def run(self) -> Iterator[FuzzState]:
        """Go on until all steps are done; yields after each pair."""
        start = time.perf_counter() - self.state.seconds
        try:
            # what sessions save is replaced by the minimised finding
            with tempfile.TemporaryDirectory(prefix="dojo-") as scratch, saved_in(Path(scratch)):
                idle = 0
                while self.state.steps < self.config.steps:
                    before = self.state.steps
                    self._one_pair()
                    idle = idle + 1 if self.state.steps == before else 0
                    if idle == MOST_IDLE_DRAWS:
                        raise InvalidConfigError(
                            f"{idle} draws from {self.config.programs} in a row gave no program that can be read and "
                            f"has at most {self.config.instructions} instructions"
                        )
                    self.state.seconds = time.perf_counter() - start
                    if time.perf_counter() > self._saved + self.config.save_seconds:
                        self._save()
                    yield self.state
                self._save()
        finally:
            self._replayer.close()

    def _one_pair(self) -> None:
        pair = self._mutator.draw(self.corpus, self._rng)
        samples = self._rng.random(len(self.oracles))
        if pair is None or not pair.pipelines:
            return
        try:
            walk = self._walk(pair)
        except DojoError as error:  # the program itself cannot be read
            self._report("crash", pair.program, [], oracles.failure(error, 0), lambda items: False)
            return
        self.state.pairs += 1
        done = pair.pipelines[: len(walk.trace) - 1]
        new_error = False
        if walk.problem is not None:
            name, difference = walk.problem
            oracle: oracles.Oracle = self._crash if name == "crash" else self._verifier
            items = list(pair.pipelines[: difference.step])
            new_error = self._report(name, pair.program, items, difference, _shows(oracle, pair.program, difference))
        conflict = self._transitions.check(root_of(pair.program.uri), pair.program, done, walk.trace)
        if conflict is not None:
            difference, items, again = conflict
            new_error |= self._report("transition", pair.program, items, difference, again)
        if walk.problem is None and done:
            for sampled, sample in zip(self.oracles, samples, strict=True):
                if sample < self.config.shares.get(sampled.name, 0.0):
                    new_error |= self._examine(sampled, pair.program, done, walk.trace)
        if walk.reached is not None and done and (new_error or not walk.buckets <= self.corpus.covered):
            self.corpus.keep(Pair(pair.program, done), walk.reached, walk.buckets, "error" if new_error else "buckets")

    def _walk(self, pair: Pair) -> Walk:
        """Run a pair, verifying the module after each pass that changed it."""
        problem = None
        with CompilerSession(pair.program.module, pair.program.uri, self._isolation) as session:
            seen, before = [observe(session)], session.autophase()
            buckets = set(state_buckets(before))
            pipelines = pair.pipelines if session.instruction_count <= self.config.instructions else ()
            for step, pipeline in enumerate(pipelines, 1):
                name = self._names[pipeline]
                self.state.steps += 1
                self.state.ran[name] = self.state.ran.get(name, 0) + 1
                try:
                    changed = session.run(pipeline).changed
                except DojoError as error:
                    problem = "crash", oracles.failure(error, step)
                    break
                if changed:
                    try:
                        session.verify()
                    except DojoError as error:
                        problem = "verifier", oracles.failure(error, step)
                        break
                    after = session.autophase()
                    buckets |= effect_buckets(pipeline, before, after) | state_buckets(after)
                    before = after
                seen.append(observe(session))
                if session.instruction_count > self.config.instructions:
                    break
            reached = None
            if problem is None and len(seen) > 1:
                reached = reached_state(pair.program, session.bitcode())
        return Walk(seen, frozenset(buckets), reached, problem)

    def _examine(
        self, oracle: oracles.Oracle, program: Program, pipelines: Sequence[str], trace: Sequence[Observation]
    ) -> bool:
        """Ask a sampled oracle; whether it found a class of error that is new."""
        items = oracle.arrange(pipelines, self._rng)
        try:
            difference = oracle.difference(program, items, trace)
        except oracles.NothingToCheckError:
            return False
        except DojoError as error:
            difference = oracles.failure(error, len(pipelines))
        self.state.checks[oracle.name] = self.state.checks.get(oracle.name, 0) + 1
        if difference is None:
            return False
        if oracle.name == "output":  # what broke the program may have come before the state it starts from
            program, pipelines = self.corpus.with_history(Pair(program, tuple(pipelines)))
            items = list(pipelines)
        if difference.kind not in oracles.SEEN_AT_ONCE:
            difference = _at_first_prefix(oracle, program, items) or difference._replace(step=len(pipelines))
        shows = _shows(oracle, program, difference)
        return self._report(oracle.name, program, oracles.cut(items, difference.step), difference, shows)

    def _report(
        self,
        oracle: str,
        program: Program,
        items: list[str],
        difference: oracles.Difference,
        shows: Callable[[list[str]], bool],
    ) -> bool:
        """Write a finding down, minimised when it is among the first of its class; whether the class is new."""
        last = next((item for item in reversed(items) if item not in oracles.MARKERS), "")
        name = self._names.get(last, last)
        key = json.dumps([oracle, name, difference.kind])
        number = self.state.found[key] = self.state.found.get(key, 0) + 1
        finding = {
            "oracle": oracle,
            "pass": name,
            "kind": difference.kind,
            "message": difference.message[-2000:],
            "program": program.uri,
            "step": self.state.steps,
            "items": items,
        }
        if number <= self.config.minimised:
            finding["again"] = bool(items) and _quietly(shows, items)
            if finding["again"]:
                items = ddmin(items[:-1], lambda part: _quietly(shows, [*part, last]), self.config.minimise_seconds)
                finding["minimal"] = items = [*items, last]
            finding["reproducer"] = self._save_reproducer(oracle, program, items, difference)
        self.findings.append(finding)
        self._save()
        return number == 1

    def _save_reproducer(self, oracle: str, program: Program, items: list[str], difference: oracles.Difference) -> str:
        connection = shared_worker(self._isolation).connection()
        version = ".".join(map(str, connection.version))
        kind = difference.kind if oracle == "crash" else f"{oracle}-{difference.kind}"
        limit = self.config.pass_seconds
        reproducer = Reproducer(program.module, items, kind, difference.message[-2000:], version, program.uri, limit)
        return str(reproducer.save(self.out / CRASHES).relative_to(self.out))

    def _save(self) -> None:
        state = self.state
        state.sizes = {CORPUS: self.corpus.journal.size, FINDINGS: self.findings.size}
        state.random = dict(self._rng.bit_generator.state)
        unfinished = self.out / f"{STATE}.unfinished"
        unfinished.write_text(json.dumps({"config": asdict(self.config), "state": asdict(state)}) + "\n")
        unfinished.rename(self.out / STATE)
        self._saved = time.perf_counter()


def _shows(oracle: oracles.Oracle, program: Program, first: oracles.Difference) -> Callable[[list[str]], bool]:
    """Whether an oracle finds the same kind of fault in other items."""

    def shows(items: list[str]) -> bool:
        try:
            found = oracle.difference(program, items)
        except CompilerFailedError as error:
            found = oracles.failure(error, 0)
        return (
            found is not None
            and found.kind == first.kind
            and (found.step in (0, len(oracles.pipelines_of(items))) or first.kind == "length")
        )

    return shows


def _quietly(shows: Callable[[list[str]], bool], items: list[str]) -> bool:
    try:
        return shows(items)
    except DojoError:
        return False


def _at_first_prefix(oracle: oracles.Oracle, program: Program, items: Sequence[str]) -> oracles.Difference | None:
    """The fault after the fewest passes that an oracle sees one after."""
    for step in range(1, len(oracles.pipelines_of(items)) + 1):
        try:
            found = oracle.difference(program, oracles.cut(items, step))
        except DojoError as error:
            found = oracles.failure(error, step)
        if found is not None:
            return found
    return None


def _new_state(out: Path) -> FuzzState:
    if (out / STATE).exists():
        raise InvalidConfigError(f"{out} holds a campaign: go on with it with --resume, or give another --out")
    out.mkdir(parents=True, exist_ok=True)
    return FuzzState()


def _load_state(path: Path, config: FuzzConfig) -> FuzzState:
    try:
        saved = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InvalidConfigError(f"{path.parent} holds no campaign to resume: {error}") from error
    wanted = {**asdict(config), "steps": saved["config"]["steps"]}
    if saved["config"] != wanted:
        different = sorted(name for name in wanted if saved["config"].get(name) != wanted[name])
        raise InvalidConfigError(f"the campaign in {path.parent} has other settings: {', '.join(different)}")
    return FuzzState(**saved["state"])
