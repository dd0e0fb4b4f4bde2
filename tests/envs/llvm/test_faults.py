"""Crashes, hangs and kills end the episode that caused them, if one did, and nothing else; nothing is lost."""

import json
import os
import signal
from itertools import count

import numpy as np
import pytest

from compiler_dojo.envs import PassOrderingEnv
from compiler_dojo.envs.errors import CompilerCrashedError, CompilerTimeoutError, InvalidConfigError
from compiler_dojo.envs.llvm.passes import find_pass
from compiler_dojo.envs.llvm.reproducer import Reproducer, crashes_folder
from compiler_dojo.envs.llvm.session import CompilerSession
from compiler_dojo.envs.llvm.worker import Isolation, shared_worker
from compiler_dojo.envs.programs import load_programs

PROGRAMS = ["bundled://graphs/union_find", "bundled://containers/ring_buffer", "bundled://parsing/csv_line"]
FEW = ["sroa", "simplifycfg", "instcombine<no-verify-fixpoint>", "gvn", "licm", "sink", "dse"]
CRASH = "trigger-crash-module"
FATAL = "bundled://audio/equaliser_chain"  # InstCombine takes two iterations, and reports that as a fatal error
LONG = ",".join(["default<O3>"] * 3000)
FULL = bool(os.environ.get("DOJO_FULL_TESTS"))
LEVELS = 24  # each function calls the one before it twice: inlined, they are 2**24 instructions

_numbers = count()


def read(uri: str) -> bytes:
    return load_programs(uri)[0].module


def growing_program() -> bytes:
    lines = ["define i32 @f0(i32 %x) alwaysinline {\n  %y = mul i32 %x, %x\n  ret i32 %y\n}"]
    lines += [
        f"define i32 @f{n}(i32 %x) alwaysinline {{\n  %a = call i32 @f{n - 1}(i32 %x)\n"
        f"  %b = call i32 @f{n - 1}(i32 %a)\n  ret i32 %b\n}}"
        for n in range(1, LEVELS)
    ]
    return "\n".join(lines).encode()


def nested_program() -> bytes:
    depth = 1_000_000
    text = b"@g = global i64 " + b"sub (i64 1, i64 " * depth + b"ptrtoint (ptr @g to i64)" + b")" * depth
    return text + b"\ndefine void @f() {\n  ret void\n}\n"


def flipped_bitcode() -> bytes:
    program = bytearray(read(PROGRAMS[0]))
    program[2614] ^= 0xFF
    return bytes(program)


@pytest.fixture
def isolation() -> Isolation:
    """Limits that no other test has, and so a worker of this test's own."""
    return Isolation(pass_seconds=600.0 + next(_numbers), threads=2, memory_bytes=400 << 20)


@pytest.fixture(autouse=True)
def crashes(monkeypatch, tmp_path):
    folder = tmp_path / "crashes"
    monkeypatch.setenv("DOJO_CRASHES", str(folder))
    return folder


FAULTS = [
    pytest.param(PROGRAMS[0], CRASH, "abort", id="abort"),
    pytest.param(FATAL, "instcombine", "did not reach a fixpoint", id="fatal error"),
    pytest.param(growing_program, "always-inline", "abort|ended", id="out of memory"),
]


@pytest.mark.parametrize(("program", "pipeline", "message"), FAULTS)
def test_crash__fails_the_request_and_nothing_else(isolation, crashes, program, pipeline, message) -> None:
    module = program() if callable(program) else read(program)
    bystanders = [CompilerSession(read(uri), uri, isolation) for uri in PROGRAMS]
    expected = [CompilerSession(read(uri), uri) for uri in PROGRAMS]
    for session in (*bystanders, *expected):
        for item in FEW[:4]:
            session.run(item)
    bystanders[1].begin("licm")
    expected[1].run("licm")
    with CompilerSession(module, "victim", isolation) as victim:
        victim.run("verify")
        before = victim.hash()
        with pytest.raises(CompilerCrashedError, match=message) as caught:
            victim.run(pipeline)
        assert victim.hash() == before
        assert caught.value.pipeline == pipeline
        assert caught.value.reproducer.parent == crashes
        victim.run("globaldce")  # the session goes on from where it was
    bystanders[1].end()
    for session, plain in zip(bystanders, expected, strict=True):
        assert session.hash() == plain.hash()
        assert session.run("gvn").changed == plain.run("gvn").changed
        assert (session.hash(), session.ir()) == (plain.hash(), plain.ir())
        session.close()
        plain.close()


@pytest.mark.parametrize("program", [nested_program, flipped_bitcode], ids=["stack overflow", "flipped bitcode"])
def test_open__of_a_program_that_crashes_llvm(isolation, program) -> None:
    with CompilerSession(read(PROGRAMS[0]), isolation=isolation) as bystander:
        with pytest.raises(CompilerCrashedError, match=r"reading the program.*reproducer: ") as caught:
            CompilerSession(program(), "broken", isolation)
        assert Reproducer.load(caught.value.reproducer).program == program()
        assert bystander.run("sroa").changed


def test_hang__ends_at_the_limit_and_spares_the_others(crashes) -> None:
    isolation = Isolation(pass_seconds=0.4, threads=2)
    with (
        CompilerSession(read(PROGRAMS[0]), "slow", isolation) as slow,
        CompilerSession(read(PROGRAMS[1]), "quick", isolation) as quick,
        CompilerSession(read(PROGRAMS[1]), "plain") as plain,
    ):
        quick.run("sroa")
        slow.begin(LONG)
        quick.begin("gvn")
        with pytest.raises(CompilerTimeoutError, match=r"not done after 0\.4 s") as caught:
            slow.end()
        quick.end()
        for item in ("sroa", "gvn"):
            plain.run(item)
        assert quick.hash() == plain.hash()
        assert slow.run("sroa").changed
        assert Reproducer.load(caught.value.reproducer).pipelines == [LONG]
        assert shared_worker(isolation).starts == 2


def test_reproducer__holds_what_is_needed_to_see_it_again(isolation) -> None:
    with CompilerSession(read(PROGRAMS[0]), "victim", isolation) as session:
        for item in FEW:
            session.run(item)
        with pytest.raises(CompilerCrashedError) as caught:
            session.run(CRASH)
    found = Reproducer.load(caught.value.reproducer)
    assert found.program == read(PROGRAMS[0])
    assert found.pipelines == [*FEW, CRASH]
    assert (found.failure, found.name, found.pass_seconds) == ("CompilerCrashedError", "victim", isolation.pass_seconds)
    assert found.llvm.split(".")[0] in ("19", "20", "21", "22")
    assert found.save() == caught.value.reproducer
    (caught.value.reproducer / "reproducer.json").write_text(json.dumps({"pipelines": []}))
    with pytest.raises(InvalidConfigError, match="holds no reproducer"):
        Reproducer.load(caught.value.reproducer)


@pytest.mark.parametrize("fault", ["a file", "a full disk", "no home"])
def test_reproducer__that_cannot_be_saved_is_said(isolation, monkeypatch, tmp_path, fault) -> None:
    folder = tmp_path / "place"
    monkeypatch.setenv("DOJO_CRASHES", str(folder))
    if fault == "a file":
        folder.write_text("")
    elif fault == "a full disk":
        folder.mkdir()

        def fail(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("pathlib.Path.write_text", fail)
    else:
        for name in ("DOJO_CRASHES", "XDG_STATE_HOME"):
            monkeypatch.delenv(name, raising=False)

        def no_home() -> None:
            raise RuntimeError("Could not determine home directory.")

        monkeypatch.setattr("pathlib.Path.home", no_home)
    with CompilerSession(read(PROGRAMS[0]), "victim", isolation) as session:
        with pytest.raises(CompilerCrashedError, match="no reproducer was saved: ") as caught:
            session.run(CRASH)
        assert caught.value.reproducer is None
        assert session.run("sroa").changed
    if fault == "a full disk":
        assert list(folder.iterdir()) == []


def test_crashes_folder__is_in_the_folder_for_state(monkeypatch, tmp_path) -> None:
    monkeypatch.delenv("DOJO_CRASHES")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert crashes_folder() == tmp_path / "compiler-dojo" / "crashes"


def test_refused_pass__after_the_worker_was_killed_keeps_its_message(isolation) -> None:
    with CompilerSession(read(PROGRAMS[0]), "program", isolation) as session:
        session.run("sroa")
        before = session.hash()
        session.begin("no-such-pass")
        os.kill(shared_worker(isolation).connection().pid, signal.SIGKILL)
        with pytest.raises(Exception, match="program: pipeline 'no-such-pass': unknown pass name"):
            session.end()
        assert session.hash() == before


@pytest.mark.parametrize("chosen", ["process", "none"])
def test_env__a_refused_pass_ends_the_episode(make_env, chosen) -> None:
    env = make_env(passes=FEW, isolation=chosen)
    env._pipelines = (*env._pipelines[:-1], b"no-such-pass")
    env.reset(seed=0)
    env.step(0)
    _, reward, terminated, truncated, info = env.step(len(FEW) - 1)
    assert (reward, terminated, truncated) == (env.reward.error_value, True, False)
    assert info["error"]["class"] == "PassFailedError"
    assert (info["error"]["pass"], info["error"]["reproducer"]) == ("dse", "")


class Killer:
    """Kills the worker now and then; ``rate`` 0 is never."""

    def __init__(self, isolation: Isolation, rate: float, seed: int) -> None:
        self.worker = shared_worker(isolation)
        self.kills = 0
        self._rate = rate
        self._draw = np.random.default_rng(seed)

    def look(self) -> None:
        if self._draw.random() < self._rate:
            os.kill(self.worker.connection().pid, signal.SIGKILL)
            self.kills += 1


def record(env: PassOrderingEnv, observation, outcome, info) -> tuple:
    """Everything about a step but wall-clock times and where the reproducer lies."""
    error = info.pop("error", {})
    kept = {key: value for key, value in info.items() if key not in ("action_mask", "seconds")}
    parts = observation["features"].tobytes(), observation["instcount"].tobytes(), info["action_mask"].tobytes()
    return (
        parts,
        outcome,
        kept,
        error.get("class"),
        error.get("pass"),
        bool(error.get("reproducer")),
        env.session.hash(),
    )


def play(env: PassOrderingEnv, seed: int, killer: Killer, neighbours: list[PassOrderingEnv]) -> list[tuple]:
    """One episode, during which the neighbours' sessions are at work as well."""
    draw = np.random.default_rng(seed)
    observation, info = env.reset(seed=seed)
    records = [record(env, observation, (), info)]
    ended = False
    while not ended:
        killer.look()
        action = int(draw.choice(len(FEW) + 2, p=[0.98 / len(FEW)] * len(FEW) + [0.01, 0.01]))
        for neighbour in neighbours:
            if neighbour._running:
                neighbour.begin_step(int(draw.integers(len(FEW))))
        env.begin_step(action)
        killer.look()
        observation, *outcome, info = env.end_step()
        for neighbour in neighbours:
            if neighbour._in_step:
                neighbour_observation, *result, neighbour_info = neighbour.end_step()
                records.append(record(neighbour, neighbour_observation, result, neighbour_info))
        killer.look()
        records.append(record(env, observation, outcome, info))
        ended = outcome[1] or outcome[2]
    return records


def make_crashing_env(make_env, isolation: Isolation, cache: bool) -> PassOrderingEnv:
    passes = [*FEW, "adce", "bdce"]
    env = make_env(
        programs=PROGRAMS,
        passes=passes,
        observation=["features", "instcount"],
        budget=12,
        isolation=isolation,
        cache=cache,
    )
    assert find_pass("adce").pipeline.encode() == env._pipelines[len(FEW)]
    env._pipelines = (*env._pipelines[: len(FEW)], CRASH.encode(), b"no-such-pass")
    return env


@pytest.mark.parametrize("cache", [False, True], ids=["plain", "cached"])
def test_episodes__are_the_same_when_the_worker_is_killed_again_and_again(make_env, isolation, cache, capsys) -> None:
    episodes = 1000 if FULL else 30
    other = Isolation(pass_seconds=isolation.pass_seconds + 0.5, threads=2)
    runs = []
    for limits, rate in ((isolation, 0.0), (other, 0.02)):
        killer = Killer(limits, rate, seed=1)
        envs = [make_crashing_env(make_env, limits, cache) for _ in range(3)]
        records = []
        for episode in range(episodes):
            for number, neighbour in enumerate(envs[1:]):
                neighbour.reset(seed=episode * 7 + number)
            records.append(play(envs[0], episode, killer, envs[1:]))
        runs.append((records, killer))
    (expected, _), (disturbed, killer) = runs
    differences = sum(one != two for one, two in zip(expected, disturbed, strict=True))
    steps = sum(map(len, disturbed))
    crashes = sum(item[3] == "CompilerCrashedError" for episode in disturbed for item in episode)
    if FULL:
        with capsys.disabled():
            print(
                f"\n{episodes} episodes, {steps} records, {killer.kills} kills, {crashes} crashes,"
                f" {killer.worker.starts} starts, {differences} episodes differ"
            )
    assert differences == 0
    assert killer.kills > episodes // 10
    assert killer.worker.starts > killer.kills // 2
