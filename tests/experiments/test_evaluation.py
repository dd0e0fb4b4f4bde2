"""Episodes that replay, means by hand, and tables with the numbers in them."""

from __future__ import annotations

import dataclasses
import io
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from experiments_support import MakeRecord, table_row
from rich.console import Console
from rich.table import Table

from compiler_dojo.agents.baselines import RandomPolicy, SequencePolicy
from compiler_dojo.envs.errors import InvalidProgramError
from compiler_dojo.envs.llvm.passes import OZ_PASS_COUNT, find_pass
from compiler_dojo.envs.llvm.session import CompilerSession
from compiler_dojo.envs.pass_ordering import PassOrderingEnv
from compiler_dojo.envs.prepared import PreparedProgram, prepare
from compiler_dojo.envs.programs import ProgramSet, load_programs
from compiler_dojo.envs.programs.program_set import GivenSource
from compiler_dojo.envs.rewards import CostReduction
from compiler_dojo.experiments.agents import random_agent, sequence_agent
from compiler_dojo.experiments.config import EnvConfig
from compiler_dojo.experiments.evaluation import (
    Row,
    by_agent,
    evaluate,
    program_table,
    ratios_by_program,
    rows_as_mappings,
    rows_of,
    run_episode,
    summarize,
    summary_table,
)
from compiler_dojo.experiments.records import EpisodeRecord
from compiler_dojo.experiments.statistics import Interval, bootstrap_geomean

URI = "bundled://graphs/union_find"
FAILED = "PassFailedError: LLVM said no"


def rendered(table: Table) -> str:
    console = Console(file=io.StringIO(), width=200, color_system=None)
    console.print(table)
    return console.file.getvalue()  # type: ignore[attr-defined]  # the StringIO above


@pytest.mark.parametrize("start", ["O0", "Oz"])
def test_run_episode__gives_a_record_that_replays(start: Any) -> None:
    env = PassOrderingEnv(URI, start=start, budget=12)
    record = run_episode(env, RandomPolicy(len(env.action_names), 3), "random", URI, seed=3, deterministic=False)
    env.close()
    prepared = prepare(load_programs(URI)[0])
    with prepared.session(start) as session:
        counts = [session.instruction_count]
        for name in record.passes:
            session.run(find_pass(name).pipeline)
            counts.append(session.instruction_count)
        assert record.hash == session.hash()
        assert record.costs == {"instruction_count": counts[-1], "text_size": session.text_size()}
    assert len(record.passes) == 12
    assert (record.best_count, record.best_length) == (min(counts), counts.index(min(counts)))
    assert record.baselines == {
        metric: {level: prepared.cost(metric, level) for level in ("O0", "Oz", "O3")}
        for metric in ("instruction_count", "text_size")
    }
    assert (record.agent, record.program, record.start, record.seed) == ("random", URI, start, 3)
    assert (record.sha256, record.lowering) == (prepared.program.sha256, "oz")
    assert record.start_passes == (OZ_PASS_COUNT if start == "Oz" else 0)
    assert record.seconds > 0.0
    assert record.error is None


def test_run_episode__stop_is_no_pass() -> None:
    env = PassOrderingEnv(URI, stop=True)
    sroa, stop = env.action_names.index("sroa"), env.action_names.index("stop")
    record = run_episode(env, SequencePolicy([sroa], stop), "one", URI, seed=0, deterministic=True)
    assert record.passes == ("sroa",)
    assert record.best_length == 1
    record = run_episode(env, SequencePolicy([], stop), "none", URI, seed=0, deterministic=True)
    assert record.passes == ()
    assert record.costs == {metric: costs["O0"] for metric, costs in record.baselines.items()}
    assert record.best_length == 0
    env.close()


def test_run_episode__the_best_is_what_was_seen_on_the_way_and_not_the_result() -> None:
    env = PassOrderingEnv(URI, budget=2)
    actions = [env.action_names.index(name) for name in ("sroa", "reg2mem")]
    record = run_episode(env, SequencePolicy(actions, 0), "there and back", URI, seed=0, deterministic=True)
    env.close()
    assert record.passes == ("sroa", "reg2mem")
    assert record.best_length == 1
    assert record.best_count < record.costs["instruction_count"]


@dataclass(frozen=True)
class Refusing(CostReduction):
    """A cost that cannot be measured once the program has become smaller."""

    def cost(self, session: CompilerSession, prepared: PreparedProgram) -> float:
        if session.instruction_count < prepared.cost("instruction_count", "O0"):
            raise InvalidProgramError("cannot be measured")
        return super().cost(session, prepared)


def test_run_episode__an_error_ends_it_and_is_recorded() -> None:
    env = PassOrderingEnv(URI, reward=Refusing())
    actions = [env.action_names.index(name) for name in ("strip-dead-prototypes", "sroa", "dce")]
    record = run_episode(env, SequencePolicy(actions, 0), "unlucky", URI, seed=0, deterministic=True)
    env.close()
    assert record.error == "InvalidProgramError: cannot be measured"
    assert record.passes == ("strip-dead-prototypes", "sroa")


class Watching:
    """Notes the shapes it observes."""

    def __init__(self, then: int) -> None:
        self.shapes: list[Any] = []
        self._then = then

    def initial_state(self, n: int) -> Any:
        return None

    def act(self, observation: Any, state: Any, *, deterministic: bool, mask: Any = None) -> Any:
        self.shapes.append({name: value.shape for name, value in observation.items()})
        return np.array([self._then]), None


def test_run_episode__gives_a_mapping_of_observations_as_a_batch_of_one() -> None:
    env = PassOrderingEnv(URI, observation=["autophase", "instcount"], stop=True)
    policy = Watching(env.action_names.index("stop"))
    run_episode(env, policy, "watching", URI, seed=0, deterministic=True)
    env.close()
    assert policy.shapes == [{"autophase": (1, 56), "instcount": (1, 70)}]


class Insisting:
    """Takes the first action that the mask allows, and notes the masks."""

    def __init__(self) -> None:
        self.masks: list[np.ndarray] = []

    def initial_state(self, n: int) -> Any:
        return None

    def act(self, observation: Any, state: Any, *, deterministic: bool, mask: Any = None) -> Any:
        self.masks.append(mask)
        return mask.argmax(axis=1), None


def test_run_episode__tells_the_policy_which_passes_did_nothing() -> None:
    env = PassOrderingEnv(URI, budget=4, passes=["strip-dead-prototypes", "dce", "sroa"])
    policy = Insisting()
    record = run_episode(env, policy, "insisting", URI, seed=0, deterministic=True)
    env.close()
    # the first two change nothing here, and all may do something again once a pass has changed the module
    assert record.passes == ("strip-dead-prototypes", "dce", "sroa", "strip-dead-prototypes")
    expected = [[True, True, True], [False, True, True], [False, False, True], [True, True, True]]
    assert [mask.tolist() for mask in policy.masks] == [[row] for row in expected]


def test_run_episode__takes_observations_that_are_text() -> None:
    env = PassOrderingEnv(URI, observation="ir", budget=1)
    record = run_episode(env, RandomPolicy(len(env.action_names), 0), "reader", URI, seed=0, deterministic=True)
    env.close()
    assert len(record.passes) == 1


def without_seconds(record: EpisodeRecord) -> EpisodeRecord:
    return dataclasses.replace(record, seconds=0.0)


def test_evaluate__gives_a_record_per_program_and_episode_and_repeats_exactly() -> None:
    programs = load_programs("bundled/graphs").uris[-2:]
    chosen = ProgramSet("two", [GivenSource(load_programs("bundled/graphs").get(uri)) for uri in programs])
    contender = random_agent(EnvConfig(budget=6), episodes=2)
    records = list(evaluate(contender, chosen, seed=5))
    assert [(r.program, r.seed) for r in records] == [(uri, seed) for seed in (5, 6) for uri in programs]
    assert {r.agent for r in records} == {"random policy (mean of 2)"}
    assert len({r.passes for r in records}) == 4
    assert [without_seconds(r) for r in records] == [without_seconds(r) for r in evaluate(contender, chosen, seed=5)]


def test_evaluate__oz_is_as_good_as_oz() -> None:
    (record,) = evaluate(sequence_agent("-Oz", [], EnvConfig(start="Oz")), URI, seed=0)
    assert record.ratio("instruction_count") == record.ratio("text_size") == 1.0
    assert record.passes == ()


def test_evaluate__two_programs_of_equal_bytes_keep_their_names() -> None:
    first = load_programs("bundled://crypto/xtea")[0]
    second = dataclasses.replace(first, uri="given://copy")
    records = evaluate(
        sequence_agent("-Oz", [], EnvConfig(start="Oz")),
        ProgramSet("twins", [GivenSource(first), GivenSource(second)]),
        seed=0,
    )
    assert [record.program for record in records] == ["bundled://crypto/xtea", "given://copy"]


def with_ratio(make_record: MakeRecord, ratio: float, **changes: Any) -> EpisodeRecord:
    """A record whose -Oz is ``ratio`` times its instruction count, and twice that for bytes."""
    return make_record(
        costs={"instruction_count": 100.0, "text_size": 100.0},
        baselines={
            "instruction_count": {"O0": 900.0, "Oz": 100.0 * ratio, "O3": 70.0},
            "text_size": {"O0": 900.0, "Oz": 200.0 * ratio, "O3": 70.0},
        },
        **changes,
    )


def test_ratios_by_program__average_episodes_in_logarithms(make_record: MakeRecord) -> None:
    records = [with_ratio(make_record, ratio, program="a") for ratio in (2.0, 8.0)]
    records.append(with_ratio(make_record, 3.0, program="b"))
    assert ratios_by_program(records, "instruction_count") == pytest.approx({"a": 4.0, "b": 3.0})
    assert ratios_by_program(records, "text_size") == pytest.approx({"a": 8.0, "b": 6.0})


def test_ratios_by_program__leave_failed_episodes_out(make_record: MakeRecord) -> None:
    records = [
        with_ratio(make_record, 2.0, program="a"),
        with_ratio(make_record, 50.0, program="a", error=FAILED),
        with_ratio(make_record, 50.0, program="b", error=FAILED),
    ]
    assert ratios_by_program(records, "instruction_count") == pytest.approx({"a": 2.0})


def test_summarize__equals_what_is_known_by_hand(make_record: MakeRecord) -> None:
    records = [
        with_ratio(make_record, 0.5, program="a", seconds=1.0),
        with_ratio(make_record, 1.0, program="b", seconds=2.0),
        with_ratio(make_record, 4.0, program="c", seconds=3.0),
        with_ratio(make_record, 99.0, program="d", seconds=6.0, error=FAILED),
    ]
    row = summarize("someone", records)
    assert row.name == "someone"
    assert row.programs == 3
    assert row.instructions.mean == pytest.approx(2.0 ** (1 / 3))
    assert row.instructions == bootstrap_geomean([0.5, 1.0, 4.0])
    assert row.text.mean == pytest.approx(2.0 * 2.0 ** (1 / 3))
    assert row.not_worse == pytest.approx(2 / 3)
    assert row.failures == 1
    assert row.seconds == 3.0


def test_summarize__an_agent_that_always_fails_is_a_row_with_its_failures(make_record: MakeRecord) -> None:
    row = summarize("unlucky", [make_record(error=FAILED)])
    assert (row.programs, row.failures) == (0, 1)


def test_by_agent__keeps_the_order_of_appearance(make_record: MakeRecord) -> None:
    records = [make_record(agent=name, seed=seed) for seed, name in enumerate("bab")]
    assert {name: [r.seed for r in group] for name, group in by_agent(records).items()} == {"b": [0, 2], "a": [1]}
    assert list(by_agent(records)) == ["b", "a"]


def test_rows_of__are_the_agents_and_then_oz(make_record: MakeRecord) -> None:
    records = [
        with_ratio(make_record, 2.0, agent="good", program="a"),
        with_ratio(make_record, 0.5, agent="bad", program="a"),
        with_ratio(make_record, 0.5, agent="bad", program="b"),
    ]
    rows = rows_of(records)
    assert [(row.name, row.programs, row.instructions.mean) for row in rows] == [
        ("good", 1, pytest.approx(2.0)),
        ("bad", 2, pytest.approx(0.5)),
        ("-Oz", 2, 1.0),
    ]
    assert rows[-1] == Row("-Oz", 2, Interval(1.0, 1.0, 1.0), Interval(1.0, 1.0, 1.0), 1.0, 0, 0.0)


def test_rows_as_mappings__are_plain_values(make_record: MakeRecord) -> None:
    (first, _) = rows_as_mappings(rows_of([with_ratio(make_record, 2.0)]))
    assert json.loads(json.dumps(first)) == first
    assert first["name"] == "someone"
    assert first["instructions"] == {"mean": pytest.approx(2.0), "low": pytest.approx(2.0), "high": pytest.approx(2.0)}
    assert set(first["text"]) == {"mean", "low", "high"}


def test_program_table__has_the_numbers_of_each_program(make_record: MakeRecord) -> None:
    records = [
        make_record(program="bundled://b/two"),
        make_record(program="bundled://a/one", costs={"instruction_count": 40.0, "text_size": 500.0}),
    ]
    text = rendered(program_table(records))
    assert table_row(text, "b/two") == ["b/two", "133", "80", "90", "100", "0.800", "1.000"]
    assert table_row(text, "a/one") == ["a/one", "133", "80", "90", "40", "2.000", "0.800"]
    assert text.index("a/one") < text.index("b/two")


def test_program_table__says_who_acted_from_where(make_record: MakeRecord) -> None:
    text = rendered(program_table([make_record()]))
    assert "someone: from O0, lowering oz" in text
    text = rendered(program_table([make_record(start="Oz", start_passes=98, lowering="compilergym")]))
    assert "someone: after -Oz (98 passes of its own), lowering compilergym" in " ".join(text.split())


def test_program_table__shows_an_error_as_it_is(make_record: MakeRecord) -> None:
    text = rendered(program_table([make_record(), make_record(program="bundled://z/bad", error="Wrong: [/x] [red]")]))
    assert table_row(text, "z/bad") == ["z/bad", "Wrong: [/x] [red]"]


def test_summary_table__has_a_line_per_row(make_record: MakeRecord) -> None:
    rows = [
        Row("ppo", 15, Interval(1.0123, 0.9876, 1.05), Interval(0.9, 0.8, 1.0), 0.6, 2, 0.1234),
        *rows_of([with_ratio(make_record, 2.0)])[1:],
    ]
    text = rendered(summary_table(rows, "held out"))
    assert "held out: 15 programs" in text
    assert table_row(text, "ppo") == ["ppo", "1.012 [0.988, 1.050]", "0.900 [0.800, 1.000]", "60%", "2"]
    assert table_row(text, "-Oz") == ["-Oz", "1.000 [1.000, 1.000]", "1.000 [1.000, 1.000]", "100%", "0"]
    assert "-Oz / agent [95% bootstrap interval]; above 1 is smaller than -Oz" in " ".join(text.split())


@pytest.mark.parametrize("name", ["run[a]", "run[/a]"])
def test_tables__show_names_with_brackets_as_they_are(make_record: MakeRecord, name: str) -> None:
    record = make_record(agent=name, program=f"file:///home/me/{name}.c")
    assert f"{name}: from O0" in rendered(program_table([record]))
    assert table_row(rendered(program_table([record])), "/home")[0] == f"/home/me/{name}.c"
    text = rendered(summary_table(rows_of([record]), f"src/{name}*.c"))
    assert f"src/{name}*.c" in text
    assert table_row(text, name)[0] == name
