"""Bad input: each kind has its own class, and a message that says what was expected, what came, and what to do."""

import inspect

import pytest

from compiler_dojo.envs import errors
from compiler_dojo.envs.errors import (
    CompilationError,
    DojoError,
    EpisodeStateError,
    InvalidActionError,
    InvalidConfigError,
    InvalidProgramError,
    SessionClosedError,
    UnknownObservationError,
    UnknownPassError,
    UnknownProgramError,
    UnknownRewardError,
    did_you_mean,
)
from compiler_dojo.envs.llvm.passes import PASSES
from compiler_dojo.envs.programs import Program


def test_errors__are_one_tree_and_say_what_they_mean() -> None:
    classes = [
        value for value in vars(errors).values() if inspect.isclass(value) and value.__module__ == errors.__name__
    ]
    assert len(classes) > 10
    for cls in classes:
        assert issubclass(cls, DojoError)
        assert cls.__doc__


@pytest.mark.parametrize(
    ("cls", "builtin"),
    [
        (UnknownPassError, LookupError),
        (UnknownProgramError, LookupError),
        (UnknownObservationError, LookupError),
        (UnknownRewardError, LookupError),
        (InvalidActionError, ValueError),
        (InvalidConfigError, ValueError),
        (CompilationError, InvalidProgramError),
    ],
)
def test_errors__are_also_what_python_would_raise(cls, builtin) -> None:
    assert issubclass(cls, builtin)


@pytest.mark.parametrize(
    ("name", "known", "expected"),
    [
        ("sroo", ["sroa", "gvn"], "did you mean 'sroa'?"),
        ("xyz", ["b", "a"], "known: a, b"),
        ("xyz", [f"name{i:02}" for i in range(21)], "known: " + ", ".join(f"name{i:02}" for i in range(20)) + ", ..."),
    ],
)
def test_did_you_mean__gives_the_nearest_name_or_all(name, known, expected) -> None:
    assert did_you_mean(name, known) == expected


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"passes": ["mem2rge"]}, UnknownPassError, "unknown pass 'mem2rge': did you mean 'mem2reg'"),
        ({"passes": ["internalize"]}, UnknownPassError, "'internalize' is not in the action table: drops public"),
        ({"passes": "sizes"}, UnknownPassError, "unknown pass set 'sizes': did you mean 'size'"),
        ({"passes": []}, InvalidConfigError, "pass"),
        ({"programs": "bundled/grahps"}, UnknownProgramError, "'grahps': did you mean 'graphs'"),
        ({"programs": "bundled://graphs/unionfind"}, UnknownProgramError, "did you mean 'graphs/union_find'"),
        (
            {"programs": "no/such/*.c"},
            UnknownProgramError,
            r"no program matches 'no/such/\*.c': expected a file or glob",
        ),
        ({"programs": []}, UnknownProgramError, "'given' is empty"),
        ({"observation": "feature"}, UnknownObservationError, "did you mean 'features'"),
        ({"reward": "instructions"}, UnknownRewardError, "did you mean 'instruction_count'"),
        ({"lowering": "compiler_gym"}, InvalidConfigError, "'compiler_gym': did you mean 'compilergym'"),
        ({"start": "oz"}, InvalidConfigError, "start must be 'O0' or 'Oz', got 'oz'"),
        ({"budget": 0}, InvalidConfigError, "budget must be a number of passes, at least 1, got 0"),
        ({"render_mode": "human"}, InvalidConfigError, "render_mode must be None or 'ansi', got 'human'"),
    ],
    ids=str,
)
def test_env__refuses_settings_that_make_no_sense(make_env, settings, error, message) -> None:
    with pytest.raises(error, match=message):
        make_env(**settings)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"programs": "x"}, InvalidConfigError, "unknown reset option 'programs': did you mean 'program'"),
        ({"program": "union_fond"}, UnknownProgramError, "did you mean 'bundled://graphs/union_find'"),
        ({"prefix": ["mem2rge"]}, InvalidActionError, "no action 'mem2rge': did you mean 'mem2reg'"),
        ({"prefix": [0, 10**6]}, InvalidActionError, f"actions are 0 to {len(PASSES)}, got 1000000"),
        ({"prefix": [0] * 45}, InvalidConfigError, "the prefix has 45 passes and the budget is 45"),
        ({"prefix": ["sroa", "stop"]}, DojoError, "stop"),
    ],
    ids=str,
)
def test_reset__refuses_options_that_make_no_sense_and_keeps_the_episode(make_env, options, error, message) -> None:
    env = make_env(stop=True)
    env.reset(seed=0)
    env.step(0)
    with pytest.raises(error, match=message):
        env.reset(options=options)
    assert env.step(0)[4]["passes_left"] == 43


@pytest.mark.parametrize("action", [-1, len(PASSES), 10**6])
def test_step__refuses_an_action_out_of_range_and_goes_on(make_env, action) -> None:
    env = make_env()
    env.reset(seed=0)
    with pytest.raises(InvalidActionError, match=f"actions are 0 to {len(PASSES) - 1}, got {action}"):
        env.step(action)
    with pytest.raises(InvalidActionError, match=f"got {action}"):
        env.multistep([0, action])
    assert env.actions == []
    assert env.step(0)[4]["passes_left"] == 44


def uses(env):
    """Everything that needs an episode."""
    return {
        "step": lambda: env.step(0),
        "multistep": lambda: env.multistep([0]),
        "fork": env.fork,
        "action_masks": env.action_masks,
        "render": env.render,
        "ir_diff": env.ir_diff,
        "pipeline": lambda: env.pipeline,
        "session": lambda: env.session,
        "prepared": lambda: env.prepared,
    }


def test_env__needs_a_reset_first(make_env) -> None:
    for use in uses(make_env(render_mode="ansi")).values():
        with pytest.raises(EpisodeStateError, match=r"no episode yet; call reset\(\) first"):
            use()


@pytest.mark.parametrize("end", ["budget", "stop"])
def test_step__after_the_end_is_refused(make_env, end) -> None:
    env = make_env(budget=1, stop=True)
    env.reset(seed=0)
    env.step(0 if end == "budget" else len(PASSES))
    for use in (lambda: env.step(0), lambda: env.multistep([]), lambda: env.fork().step(0)):
        with pytest.raises(EpisodeStateError, match=r"the episode has ended; call reset\(\) first"):
            use()
    env.reset()
    env.step(0)


def test_env__closed_is_closed(make_env) -> None:
    env = make_env(render_mode="ansi")
    env.reset(seed=0)
    env.close()
    for use in (*uses(env).values(), env.reset):
        with pytest.raises(SessionClosedError, match="the environment is closed; make a new one"):
            use()


def test_reset__that_fails_leaves_no_episode_to_step(make_env, small_program) -> None:
    env = make_env(programs=Program("mine", small_program.module), reward="runtime")
    with pytest.raises(InvalidProgramError, match="has no run specification"):
        env.reset(seed=0)
    with pytest.raises(EpisodeStateError, match=r"call reset\(\) first"):
        env.step(0)


OLD_TEXT = {
    "untyped load": b"define i32 @f(i32* %p) {\n  %v = load i32* %p\n  ret i32 %v\n}\n",
    "untyped byval": b"%s = type { i32 }\ndefine void @f(%s* byval align 8 %p) {\n  ret void\n}\n",
}


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (b"", "the program is empty"),
        (b"; a comment\n", "the module defines no function"),
        (b"declare i32 @f()\n", "the module defines no function"),
        (b"@x = global i32 1\n", "the module defines no function"),
        (b"define i32 @f() {\n  ret i32 %nowhere\n}\n", "invalid LLVM IR: .*use of undefined value '%nowhere'"),
        (b"int main(void) { return 0; }\n", "invalid LLVM IR: .*expected top-level entity"),
        (b"\x7fELF\x02\x01\x01\x00", "invalid LLVM IR"),
        (
            b"define i32 @f(i32 %x) {\n  %a = add i32 %b, 1\n  %b = add i32 %a, 1\n  ret i32 %b\n}\n",
            "the module does not verify: Instruction does not dominate all uses",
        ),
        (b'target triple = "mips-linux"\ndefine void @f() {\n  ret void\n}\n', "no target for 'mips-linux'"),
        *((text, r"LLVM 14 or older.*convert it to bitcode with that LLVM's llvm-as") for text in OLD_TEXT.values()),
    ],
    ids=[
        "empty", "comment", "declaration", "global", "undefined", "C", "ELF", "unverified", "target", *OLD_TEXT
    ],
)  # fmt: skip
def test_program__that_is_none_is_refused_by_name(make_env, module, message) -> None:
    env = make_env(programs=Program("mine://program", module))
    with pytest.raises(InvalidProgramError, match=f"(?s)^mine://program: .*{message}"):
        env.reset(seed=0)


@pytest.mark.parametrize("keep", [4, 8, 20, 100, 0.5, -4, -1])
def test_program__of_truncated_bitcode_is_refused(make_env, small_program, keep) -> None:
    end = int(len(small_program.module) * keep) if isinstance(keep, float) else keep
    env = make_env(programs=Program("mine://cut", small_program.module[:end]))
    with pytest.raises(InvalidProgramError, match=r"^mine://cut: invalid or truncated LLVM bitcode"):
        env.reset(seed=0)


def test_program__of_sound_bitcode_without_a_definition_is_not_called_truncated(write, make_env) -> None:
    env = make_env(programs=write("declares.c", "int f(int);\nextern int x;\n"))
    with pytest.raises(InvalidProgramError, match="defines no function") as caught:
        env.reset(seed=0)
    assert "truncated" not in str(caught.value)


def test_program__that_does_not_compile_shows_what_clang_says(write, make_env) -> None:
    env = make_env(programs=write("wrong.c", "int f(void) {\n  return undeclared;\n}\n"))
    with pytest.raises(CompilationError, match=r"(?s)wrong\.c does not compile:\n.*undeclared identifier 'undeclared'"):
        env.reset(seed=0)


def test_program__of_an_unknown_kind_is_refused(write, make_env) -> None:
    path = write("program.zig", "fn main() {}")
    with pytest.raises(UnknownProgramError, match=r"program\.zig: files of the kinds \.c, .*'\.zig' is not"):
        make_env(programs=path).reset(seed=0)
