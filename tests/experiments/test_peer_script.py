"""What the peer's script does with an environment, shown on one that fails on purpose."""

from __future__ import annotations

import io
import json
import random
import sys
from typing import Any

import pytest

from compiler_dojo.experiments import peer_script
from compiler_dojo.experiments.peer_script import CannotRun, assemble, check_version, import_all, measure, measure_all

BAD = 3


class Space:
    n = 4


class FakeEnv:
    """Counts passes as its IR; the pass BAD ends the episode; a fork forgets one pass if asked to."""

    action_space = Space()

    def __init__(self, forgets: bool = False, passes: int = 0) -> None:
        self.forgets, self.passes, self.closed = forgets, passes, False

    def reset(self, benchmark: Any = None) -> None:
        self.passes = 0

    def multistep(self, actions: list[int]) -> tuple[None, float, bool, dict[str, Any]]:
        self.passes += len(actions)
        return None, 0.0, BAD in actions, {}

    def step(self, action: int) -> tuple[None, float, bool, dict[str, Any]]:
        return self.multistep([action])

    def fork(self) -> FakeEnv:
        return FakeEnv(self.forgets, self.passes - self.forgets)

    def close(self) -> None:
        self.closed = True

    @property
    def observation(self) -> dict[str, Any]:
        ir = f"%1 = {self.passes} ; preds = {id(self)}"
        return {"IrInstructionCount": 9, "IrInstructionCountOz": 5, "Ir": ir, "Programl": None}


class Rng(random.Random):
    """Draws BAD once in a while, or never."""

    def __init__(self, period: int = 0) -> None:
        super().__init__(0)
        self.period, self.drawn = period, 0

    def randrange(self, *_: Any) -> int:  # type: ignore[override]
        self.drawn += 1
        return BAD if self.period and self.drawn % self.period == 0 else 0


@pytest.mark.parametrize(("forgets", "unequal"), [(False, 0), (True, 2)])
def test_measure__times_all_calls_and_compares_forks(forgets: bool, unequal: int) -> None:
    answer = measure(FakeEnv(forgets), None, repeats=2, steps=45, rng=Rng())
    assert set(answer.pop("times")) == {"reset", "graph", "step", "multistep", "fork"}
    assert answer == {
        "instructions": 9, "instructions_oz": 5, "failed_steps": 0, "forks": 2, "forks_unequal": unequal,
    }  # fmt: skip


def test_measure__counts_failures_and_leaves_them_out_of_the_times() -> None:
    answer = measure(FakeEnv(), None, repeats=2, steps=45, rng=Rng(period=9))
    # five single steps and one call of all passes per repeat
    assert answer["failed_steps"] == 12
    assert answer["forks"] == 0
    assert set(answer["times"]) == {"reset", "graph", "step"}


def test_percentiles__are_interpolated_and_in_ms() -> None:
    assert peer_script.percentiles([i / 1000 for i in range(101)]) == pytest.approx([10.0, 50.0, 90.0])
    assert peer_script.percentiles([0.002, 0.001]) == pytest.approx([1.1, 1.5, 1.9])


@pytest.mark.parametrize(("version", "allowed"), [((3, 7), 0), ((3, 8), 1), ((3, 10), 1), ((3, 11), 0)])
def test_check_version__takes_3_8_to_3_10(monkeypatch: pytest.MonkeyPatch, version: Any, allowed: int) -> None:
    monkeypatch.setattr(sys, "version_info", (*version, 1))
    if allowed:
        check_version()
    else:
        with pytest.raises(CannotRun, match=rf"^3\.{version[1]}$"):
            check_version()


class FakeModules:
    """llvmlite.binding, compiler_gym, its datasets and its LLVM environments in one."""

    LLVM_SERVICE_BINARY = "/bin/true"
    llvm_version_info = (10, 0, 1)

    def __init__(self) -> None:
        self.env = FakeEnv()
        self.Benchmark = self

    def parse_assembly(self, text: str) -> FakeModules:
        if text == "bad":
            raise RuntimeError("no IR")
        return self

    def verify(self) -> None: ...

    def as_bitcode(self) -> bytes:
        return b"BC"

    def from_file_contents(self, uri: str, data: bytes) -> str:
        return uri

    def make(self, name: str, **_: Any) -> FakeEnv:
        return self.env


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> FakeModules:
    modules = FakeModules()
    monkeypatch.setattr(peer_script.importlib, "import_module", lambda name: modules)
    monkeypatch.setattr(sys, "version_info", (3, 8, 18))
    return modules


def answers_of(*texts: str) -> list[dict[str, Any]]:
    out = io.StringIO()
    programs = [{"program": text, "module": text} for text in texts]
    measure_all({"repeats": 1, "steps": 20, "seed": 0, "programs": programs}, out)
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_measure_all__goes_on_after_a_program_that_fails(modules: FakeModules) -> None:
    bad, good = answers_of("bad", "good")
    assert bad == {"program": "bad", "error": "RuntimeError: no IR"}
    assert (good["program"], good["instructions"]) == ("good", 9)
    assert modules.env.closed


def test_assemble__returns_bitcode() -> None:
    assert assemble(FakeModules(), "good") == b"BC"


def test_import_all__refuses_a_newer_assembler(modules: FakeModules) -> None:
    modules.llvm_version_info = (14, 0, 0)
    with pytest.raises(CannotRun, match="LLVM 14") as caught:
        import_all()
    assert caught.value.kind == "import"


def test_start__reports_a_service_that_cannot_be_loaded(modules: FakeModules, tmp_path: Any) -> None:
    service = tmp_path / "service"
    service.write_text("#!/bin/sh\necho libtinfo.so.5: cannot open >&2\nexit 127\n")
    service.chmod(0o755)
    modules.LLVM_SERVICE_BINARY = str(service)
    with pytest.raises(CannotRun, match=r"libtinfo\.so\.5") as caught:
        answers_of("good")
    assert caught.value.kind == "service"


def test_start__reports_a_service_that_does_not_answer(modules: FakeModules, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str, **_: Any) -> FakeEnv:
        raise TimeoutError("30 s")

    monkeypatch.setattr(modules, "make", refuse)
    with pytest.raises(CannotRun, match="TimeoutError: 30 s"):
        answers_of("good")
