"""PreparedProgram: starting points and baseline costs, computed once and never disturbed by their users."""

import collections
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest

from compiler_dojo.envs import prepared as module
from compiler_dojo.envs.errors import InvalidConfigError, InvalidProgramError, UnknownRewardError
from compiler_dojo.envs.llvm.session import CompilerSession
from compiler_dojo.envs.prepared import LEVELS, PreparedProgram, prepare
from compiler_dojo.envs.programs import Program, RunSpecification, load_programs


def test_levels__are_llvms_own_pipelines(small_program) -> None:
    prepared = PreparedProgram(small_program)
    for level, pipeline in LEVELS.items():
        with CompilerSession(small_program.module) as session, prepared.session(level) as other:
            if pipeline:
                session.run(pipeline)
            assert other.hash() == session.hash()
            assert prepared.cost("instruction_count", level) == session.instruction_count
            assert prepared.cost("text_size", level) == session.text_size()


def test_session__is_a_new_one_each_time(small_program) -> None:
    prepared = PreparedProgram(small_program)
    first, second = prepared.session(), prepared.session()
    assert first.run("function(sroa)").changed
    assert second.instruction_count == 133
    first.close()
    with prepared.session() as third:
        assert third.hash() == second.hash()
    second.close()


def test_cost__is_not_changed_by_code_generation_or_by_what_sessions_do(small_program) -> None:
    prepared = PreparedProgram(small_program)
    sizes = [prepared.session("Oz").text_size(), prepared.cost("text_size", "Oz")]
    with prepared.session("Oz") as session:
        session.run("function(reg2mem)")
    sizes.append(prepared.session("Oz").text_size())
    assert len(set(sizes)) == 1


def test_sessions__may_be_asked_for_from_many_threads() -> None:
    prepared = PreparedProgram(load_programs("bundled://crypto/xtea")[0])

    def work(k: int) -> tuple[str, str, float]:
        level = ("O0", "Oz", "O3")[k % 3]
        with prepared.session(level) as session:
            before = session.hash()
            session.run("function(sroa)")
            return before, session.hash(), prepared.cost("text_size", level)

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(work, range(48)))
    assert [len(set(results[level::3])) for level in range(3)] == [1, 1, 1]


def test_prepare__does_it_once_for_each_program(small_program) -> None:
    assert prepare(small_program) is prepare(small_program)
    assert prepare(pickle.loads(pickle.dumps(small_program))) is prepare(small_program)


@pytest.mark.parametrize(
    "other",
    [{"uri": "another"}, {"uri": "bundled://graphs/union_find", "run": RunSpecification(seconds=1.0)}],
    ids=["uri", "run"],
)
def test_prepare__keeps_apart_programs_that_differ_in_more_than_code(small_program, other) -> None:
    prepare(small_program)
    program = Program(module=small_program.module, **other)
    assert prepare(program).program == program


def test_prepare__forgets_what_was_used_longest_ago(small_program, monkeypatch) -> None:
    monkeypatch.setattr(module, "_cache", collections.OrderedDict())
    monkeypatch.setattr(module, "CACHED_PROGRAMS", 2)
    others = [Program(name, f"define void @{name}() {{\n  ret void\n}}\n".encode()) for name in ("a", "b")]
    kept, first = prepare(small_program), prepare(others[0])
    assert prepare(small_program) is kept
    prepare(others[1])
    assert prepare(small_program) is kept
    assert prepare(others[0]) is not first


@pytest.mark.parametrize(
    ("metric", "level", "error", "message"),
    [
        ("text_sizes", "O0", UnknownRewardError, "unknown metric 'text_sizes': did you mean 'text_size'"),
        ("instruction_count", "0z", InvalidConfigError, "unknown optimisation level '0z': did you mean 'Oz'"),
        ("instruction_count", "fast", InvalidConfigError, "level 'fast': known: O0, O1, O2, O3, Os, Oz"),
    ],
)
def test_cost__refuses_unknown_names(small_program, metric, level, error, message) -> None:
    with pytest.raises(error, match=message):
        PreparedProgram(small_program).cost(metric, level)


def test_prepare__names_the_program_that_is_broken() -> None:
    with pytest.raises(InvalidProgramError, match=r"^mine://broken: "):
        prepare(Program("mine://broken", b"this is no program"))
