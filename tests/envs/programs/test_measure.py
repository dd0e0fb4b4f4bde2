"""Measuring programs: what a session says, hashes that find duplicates, and failures that are the session's own."""

import shutil

import pytest

from compiler_dojo.envs.errors import CompilerTimeoutError, InvalidConfigError, UnreadableProgramError
from compiler_dojo.envs.llvm.lowering import lower
from compiler_dojo.envs.llvm.session import CompilerSession
from compiler_dojo.envs.programs import Program, load_programs
from compiler_dojo.envs.programs.bundled import manifest
from compiler_dojo.envs.programs.measure import FUNCTION_INSTRUCTIONS, Measurement, measure

SAMPLE = ["graphs/union_find", "numerical/fft_polymul", "containers/ring_buffer"]


def size_at(program: Program, pipeline: str) -> int:
    with CompilerSession(program.module) as session:
        session.run(pipeline)
        return session.instruction_count


@pytest.mark.parametrize("key", SAMPLE)
def test_measure__says_what_sessions_say(key) -> None:
    program = load_programs(f"bundled://{key}")[0]
    measurement = measure(program)
    assert measurement.instructions_o0 == manifest()[key]["oz"]["instructions"]
    assert measurement.structural_hash == manifest()[key]["oz"]["hash"]
    assert measurement.instructions_oz == size_at(program, "default<Oz>")
    assert measurement.instructions_o3 == size_at(program, "default<O3>")
    with CompilerSession(program.module) as session:
        assert measurement.llvm_version == session.llvm_version
        large = {f.hash for f in session.functions() if f.instructions >= FUNCTION_INSTRUCTIONS}
    assert measurement.function_hashes == tuple(sorted(large))
    assert large


def test_measure__runs_each_level_on_the_program_as_it_is_given(small_program) -> None:
    both = measure(small_program)
    assert measure(small_program, ("O3", "Oz")) == both
    assert measure(small_program, ["Oz"]) == both._replace(instructions_o3=None)
    assert measure(small_program, ["O3"]) == both._replace(instructions_oz=None)
    assert measure(small_program, ()) == both._replace(instructions_oz=None, instructions_o3=None)


def test_measure__leaves_small_functions_out() -> None:
    def function(name: str, instructions: int) -> str:
        additions = "".join(f"  %x{i} = add i32 %x{i - 1}, {i}\n" for i in range(1, instructions))
        return f"define i32 @{name}(i32 %x0) {{\n{additions}  ret i32 %x{instructions - 1}\n}}\n"

    def hashes(*sizes: int) -> tuple[bytes, ...]:
        text = "".join(function(f"f{i}", size) for i, size in enumerate(sizes))
        return measure(Program("mine", text.encode()), ()).function_hashes

    limit = FUNCTION_INSTRUCTIONS
    assert hashes(limit - 1) == ()
    assert len(hashes(limit)) == 1
    assert len(hashes(limit, limit - 1, limit + 1)) == 2
    assert hashes(limit, limit) == hashes(limit)


@pytest.mark.skipif(shutil.which("clang-19") is None, reason="clang-19 is not installed")
def test_measure__finds_a_copied_function_in_another_program(write) -> None:
    body = "(const char *s) { int h = 7; while (*s) { h = h * 31 + *s++; if (h > 99999) h -= 12345; } return h; }\n"
    texts = [
        "int hash" + body + "int main(void) { return hash(0); }\n",
        "#include <stdio.h>\nstatic int digest" + body + 'int main(int n, char **v) { printf("%d", digest(*v)); }\n',
        "int hash" + body.replace("31", "33") + "int main(void) { return hash(0); }\n",
    ]
    programs = [Program(f"mine://{i}", lower(write(f"{i}.c", text))) for i, text in enumerate(texts)]
    one, copy, other = (measure(program) for program in programs)
    assert set(one.function_hashes) & set(copy.function_hashes)
    assert not set(one.function_hashes) & set(other.function_hashes)
    assert len({m.structural_hash for m in (one, copy, other)}) == 3


def test_measure__fails_as_sessions_do(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("DOJO_CRASHES", str(tmp_path))
    # each function calls the one before it twice: inlined, they are 2**40 instructions
    lines = ["define i32 @f0(i32 %x) alwaysinline {\n  %y = mul i32 %x, %x\n  ret i32 %y\n}"]
    lines += [
        f"define i32 @f{n}(i32 %x) alwaysinline {{\n  %a = call i32 @f{n - 1}(i32 %x)\n"
        f"  %b = call i32 @f{n - 1}(i32 %a)\n  ret i32 %b\n}}"
        for n in range(1, 40)
    ]
    with pytest.raises(CompilerTimeoutError, match=r"mine: .*default<Oz>"):
        measure(Program("mine", "\n".join(lines).encode()), seconds=0.5)
    with pytest.raises(UnreadableProgramError, match="mine: invalid LLVM IR"):
        measure(Program("mine", b"not IR"))


def test_measure__refuses_levels_and_limits_that_make_no_sense(small_program) -> None:
    with pytest.raises(InvalidConfigError, match="no optimisation level 'oz' to measure: did you mean 'Oz'"):
        measure(small_program, ["oz"])
    with pytest.raises(InvalidConfigError, match="limits are positive"):
        measure(small_program, seconds=0)


def test_measurement__is_plain_data(small_program) -> None:
    measurement = measure(small_program, ())
    assert Measurement(*measurement) == measurement
    assert len(measurement.structural_hash) == 32
    assert all(isinstance(value, bytes) and len(value) == 16 for value in measurement.function_hashes)
