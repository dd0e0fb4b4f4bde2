"""``dojo tune`` as users meet it."""

from __future__ import annotations

import ctypes
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from experiments_support import Dojo, run_dojo

from compiler_dojo.agents.mlp import MlpPolicy
from compiler_dojo.envs.errors import InvalidRecordError
from compiler_dojo.envs.loops.nest_files import nest_from_json
from compiler_dojo.envs.loops.reference import evaluate, exact_arrays
from compiler_dojo.envs.loops.targets import find_target
from compiler_dojo.envs.loops.workloads import parse
from compiler_dojo.experiments.agents import UnknownAgentError
from compiler_dojo.experiments.config import to_mapping
from compiler_dojo.experiments.loop_config import LoopEnvConfig
from compiler_dojo.experiments.loop_tuning import find_proposer, read_workload, tune_workload

PRODUCT = ("mk,kn->mn", "m=20", "k=30", "n=40")
QUICKLY = ("--seconds", "0.05", "--measurements", "4")


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOJO_CACHE", str(tmp_path_factory.mktemp("cache")))


def test_tune__shows_nest_speed_and_cost(dojo: Dojo) -> None:
    done = dojo("tune", *PRODUCT, *QUICKLY)
    assert (done.status, done.err.strip()) == (0, "")
    assert "0:20" in done.out
    assert "tile C[" in done.out
    for part in ("GFLOP/s, ", "% of the ", "on 1 thread; ", "candidates of heuristics measured in "):
        assert part in done.out
    assert "--force" not in done.out


def test_tune__takes_what_an_earlier_run_found(dojo: Dojo) -> None:
    first, second = (json.loads(dojo("tune", *PRODUCT, *QUICKLY, "--json").out) for _ in range(2))
    forced = json.loads(dojo("tune", *PRODUCT, *QUICKLY, "--json", "--force").out)
    assert [found["cached"] for found in (first, second, forced)] == [False, True, False]
    assert first["gflops"] == second["gflops"]
    assert "kept from an earlier run (--force tunes again)" in dojo("tune", *PRODUCT, *QUICKLY).out


def test_tune__json_has_everything(dojo: Dojo, tmp_path: Path) -> None:
    found = json.loads(dojo("tune", *PRODUCT, *QUICKLY, "-o", tmp_path, "--name", "mul", "--json").out)
    assert nest_from_json(found["nest"]).workload == parse("mk,kn->mn", m=20, k=30, n=40)
    assert found["share_of_peak"] == pytest.approx(found["gflops"] / found["peak_gflops"])
    assert 0 < found["share_of_peak"] <= 1
    assert 1 <= found["measurements"] <= 4
    assert found["files"] == [str(tmp_path / name) for name in ("libmul.so", "mul.h", "mul.py", "mul.nest.json")]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["libmul.so", "mul.h", "mul.nest.json", "mul.py"]


def test_tune__writes_a_library_that_works(dojo: Dojo, tmp_path: Path) -> None:
    done = dojo("tune", "mk,kn->mn|bias(n),relu", "m=6", "k=7", "n=33", "--dtype", "float64", *QUICKLY, "-o", tmp_path)
    assert done.status == 0
    workload = parse("mk,kn->mn|bias(n),relu", "float64", m=6, k=7, n=33)
    library = next(tmp_path.glob("lib*.so"))
    output, *others = exact_arrays(workload, np.random.default_rng(0))
    ctypes.CDLL(str(library))[library.stem.removeprefix("lib")](*(array.ctypes for array in (output, *others)))
    np.testing.assert_array_equal(output, evaluate(workload, *others))


@pytest.mark.parametrize("agent", ["start", "script"])
def test_tune__measures_what_the_agent_proposes(dojo: Dojo, agent: str) -> None:
    done = dojo("tune", *PRODUCT, "--agent", agent)
    assert done.status == 0
    assert f"candidates of {agent} measured" in done.out


def test_tune__keeps_agents_apart(dojo: Dojo) -> None:
    dojo("tune", *PRODUCT, *QUICKLY)
    assert "--force" not in dojo("tune", *PRODUCT, "--agent", "start").out


def test_tune__takes_two_threads_at_most(dojo: Dojo) -> None:
    found = json.loads(dojo("tune", *PRODUCT, *QUICKLY, "--threads", "2", "--json").out)
    assert found["threads"] == 2
    assert found["nest"]["threads"] in (1, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mk,kn->mn", "m=20", "k=30"], "no size for n"),
        (["mk,kn->mn"], "sizes are missing"),
        (["mk,kn", "m=20"], "expected one '->'"),
        ([*PRODUCT, "--dtype", "float16"], "unknown dtype 'float16'"),
        ([*PRODUCT, "float64", "--dtype", "float32"], "--dtype float32 and another dtype"),
        ([*PRODUCT, "--target", "x86-64-v9"], "no target 'x86-64-v9'"),
        (
            [*PRODUCT, "--agent", "heuristic"],
            "no agent 'heuristic': expected a run folder, a policy folder, or did you mean",
        ),
        ([*PRODUCT, "--name", "mul"], "--name mul names the files of a folder: give -o too"),
        ([*PRODUCT, "-o", "some", "--name", "2x"], "no C function can be called '2x'"),
        ([*PRODUCT, "-o", __file__], "is a file: give a folder to -o"),
    ],
)
def test_tune__says_what_is_wrong_in_one_line(dojo: Dojo, arguments: list[str], message: str) -> None:
    done = dojo("tune", *arguments)
    assert (done.status, done.out) == (1, "")
    assert message in done.err
    assert len(done.err.strip().splitlines()) == 1


@pytest.mark.parametrize("arguments", [[], [*PRODUCT, "--threads", "0"], [*PRODUCT, "--seconds", "0"], ["--sze"]])
def test_tune__usage_errors_have_their_status(dojo: Dojo, arguments: list[str]) -> None:
    assert dojo("tune", *arguments).status == 2


def test_tune__without_a_linker_tunes_nothing(dojo: Dojo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    done = dojo("tune", *PRODUCT, "-o", tmp_path / "out")
    assert done.status == 1
    assert "needs clang or gcc" in done.err
    assert not (tmp_path / "out").exists()


def test_tune__runs_as_a_command(tmp_path: Path) -> None:
    done = run_dojo("tune", *PRODUCT, *QUICKLY, "-o", tmp_path)
    assert (done.status, done.err.strip()) == (0, "")


def test_read_workload__takes_words_or_one_text() -> None:
    wanted = parse("mk,kn->mn", "float64", m=20, k=30, n=40)
    assert read_workload(PRODUCT, "float64") == read_workload([" ".join(PRODUCT), "float64"], None) == wanted


def test_find_proposer__takes_trained_policies(tmp_path: Path) -> None:
    config = LoopEnvConfig(actions="full")
    workload = parse("mk,kn->mn", m=20, k=30, n=40)
    env = config.make([workload])
    actions, size = len(env.action_names), int(np.prod(env.observation_space.shape or ()))
    layer = torch.zeros(actions, size), torch.zeros(actions)
    MlpPolicy([layer]).save(tmp_path / "agent", {"env": to_mapping(config)})
    proposer = find_proposer(str(tmp_path))
    assert proposer.name == tmp_path.name
    nests = list(proposer.schedule(workload, find_target(), 1))
    assert len({nest.key for nest in nests}) == len(nests) > 1
    assert {nest.workload for nest in nests} == {workload}
    MlpPolicy([(layer[0], layer[1] + 1)]).save(tmp_path / "agent", {"env": to_mapping(config)})
    assert find_proposer(str(tmp_path / "agent")).version != proposer.version
    assert tune_workload(workload, agent=str(tmp_path), measurements=3).agent == tmp_path.name


def test_find_proposer__refuses_policies_of_another_environment(tmp_path: Path) -> None:
    layer = torch.zeros(2, 3), torch.zeros(2)
    MlpPolicy([layer]).save(tmp_path, {"env": {"budget": 4, "lowering": "oz"}})
    with pytest.raises(InvalidRecordError, match="does not describe a policy for loops"):
        find_proposer(str(tmp_path))


def test_find_proposer__names_what_is_known() -> None:
    with pytest.raises(UnknownAgentError, match="no agent 'zzz': expected a run folder, a policy folder"):
        find_proposer("zzz")


def test_tune_workload__tells_of_progress() -> None:
    seen: list[tuple[int, float]] = []
    workload = parse("mk,kn->mn", m=20, k=30, n=40)
    found = tune_workload(workload, seconds=5, measurements=3, advance=lambda *step: seen.append(step))
    assert [count for count, _ in seen] == [1, 2]
    assert seen[1][1] >= seen[0][1]
    assert found.files == []
