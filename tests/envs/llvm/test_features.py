"""InstCount and Autophase against counts made by hand, from the text of the IR, and by LLVM itself."""

import functools
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from compiler_dojo.envs.llvm.features import AUTOPHASE_NAMES, INSTCOUNT_NAMES
from compiler_dojo.envs.llvm.session import CompilerSession
from compiler_dojo.envs.programs import bundled

IR = Path(__file__).parent / "ir"
BITCODE = sorted((bundled.FOLDER / "bitcode" / "oz").glob("*/*.bc"))
OPT = shutil.which("opt-19")

# Counted by hand; the comments in the files show how. Within a file no two features have the same value.
EDGES = {
    "blocks_1_pred": 27,
    "blocks_1_pred_1_succ": 7,
    "blocks_1_pred_2_succ": 5,
    "blocks_1_succ": 12,
    "blocks_2_pred": 6,
    "blocks_2_pred_1_succ": 2,
    "blocks_2_pred_2_succ": 3,
    "blocks_2_succ": 13,
    "blocks_over_2_pred": 4,
    "branches": 24,
    "br": 24,
    "unconditional_branches": 11,
    "edges": 53,
    "critical_edges": 18,
    "blocks": 47,
}
PHIS = {
    "blocks_phi_values_over_5": 3,
    "blocks_phi_values_1_to_5": 5,
    "blocks_1_to_3_phis": 6,
    "blocks_over_3_phis": 2,
    "blocks_begin_with_phi": 8,
    "blocks_no_phi": 17,
    "phi": 16,
    "phi_values": 34,
}
CONSTANTS = {"const_int32": 14, "const_int64": 12, "const_zero": 11, "const_one": 13, "binary_with_constant": 8}
MEMORY_AND_CALLS = {
    "calls_returning_int": 5,
    "call": 15,
    "alloca": 2,
    "getelementptr": 4,
    "load": 7,
    "store": 3,
    "memory_instructions": 32,
    "functions": 12,
    "instructions": 39,
}
ARITHMETIC = {
    "bitcast": 1, "sext": 2, "ret": 3, "zext": 4, "trunc": 5, "select": 6, "icmp": 7, "ashr": 8,
    "lshr": 9, "shl": 10, "mul": 11, "sub": 12, "xor": 13, "or": 14, "and": 15, "add": 16,
}  # fmt: skip
UNARY = {"unary": 19}
# Blocks of 1, 2, 14, 15, 500 and 501 instructions: three are under 15, two of 15 to 500, one is of neither class.
BLOCK_SIZES = {"blocks_under_15_instructions": 3, "blocks_15_to_500_instructions": 2}

HAND_COUNTS = {
    name: (file, count)
    for file, counts in {
        "edges": EDGES,
        "phis": PHIS,
        "constants": CONSTANTS,
        "memory_and_calls": MEMORY_AND_CALLS,
        "arithmetic": ARITHMETIC,
        "unary": UNARY,
        "block_sizes": BLOCK_SIZES,
    }.items()
    for name, count in counts.items()
}


def block_sizes() -> str:
    """A function for each size of block."""
    functions = []
    for size in (1, 2, 14, 15, 500, 501):
        body = "".join(f"  %a{i} = add i32 %x, 1\n" for i in range(size - 1))
        functions.append(f"define void @size{size}(i32 %x) {{\n{body}  ret void\n}}\n")
    return "\n".join(functions)


def read_ir(file: str) -> str:
    return block_sizes() if file == "block_sizes" else (IR / f"{file}.ll").read_text()


def named(names, values) -> dict[str, int]:
    return dict(zip(names, values.tolist(), strict=True))


@functools.cache
def autophase_of(ir: str) -> dict[str, int]:
    with CompilerSession(ir.encode()) as session:
        return named(AUTOPHASE_NAMES, session.autophase())


@pytest.mark.parametrize("name", AUTOPHASE_NAMES)
def test_autophase__matches_hand_count(name):
    file, count = HAND_COUNTS[name]
    assert autophase_of(read_ir(file))[name] == count


def test_autophase__hand_counts_are_distinct():
    assert set(HAND_COUNTS) == set(AUTOPHASE_NAMES)
    for counts in (PHIS, CONSTANTS, MEMORY_AND_CALLS, ARITHMETIC, BLOCK_SIZES):
        assert len(set(counts.values())) == len(counts)
    # br and branches are the same number by definition
    assert len(set(EDGES.values())) == len(EDGES) - 1
    assert 0 not in [count for _, count in HAND_COUNTS.values()]


@pytest.mark.parametrize(
    ("instruction", "feature", "count"),
    [
        pytest.param("%y = icmp eq i1 %c, true", "const_one", 1, id="true is one"),
        pytest.param("%y = icmp eq i1 %c, false", "const_zero", 1, id="false is zero"),
        pytest.param("%y = icmp eq i32 %x, -1", "const_one", 0, id="minus one is not one"),
        pytest.param("%y = icmp eq ptr %p, null", "const_zero", 0, id="null is no integer"),
        pytest.param("%y = icmp eq <2 x i32> %v, zeroinitializer", "const_zero", 0, id="vectors are no integers"),
        pytest.param("%y = getelementptr i8, ptr %p, i64 0", "const_int64", 1, id="index"),
        pytest.param("call void %p(i32 0)", "const_int32", 1, id="argument"),
        pytest.param("%y = call i32 %p()", "calls_returning_int", 0, id="call through a pointer"),
        pytest.param("%y = alloca i8", "const_int32", 1, id="count of an alloca"),
        pytest.param("%y = add i32 1, 1", "binary_with_constant", 1, id="operator with two constants"),
        pytest.param("%y = icmp eq i32 %x, 1", "binary_with_constant", 0, id="comparison is no operator"),
        pytest.param("%y = fneg float 1.0", "binary_with_constant", 0, id="fneg is no operator of two"),
        pytest.param("%y = icmp eq i128 %w, 0", "const_zero", 1, id="zero wider than 64 bits"),
        pytest.param("%y = icmp eq i128 %w, 1", "const_one", 1, id="one wider than 64 bits"),
        pytest.param("%y = icmp eq i128 %w, 18446744073709551616", "const_zero", 0, id="low half zero"),
    ],
)
def test_autophase__follows_the_rule(instruction, feature, count):
    ir = f"define void @f(i1 %c, i32 %x, i128 %w, ptr %p, <2 x i32> %v) {{\n  {instruction}\n  ret void\n}}\n"
    assert autophase_of(ir)[feature] == count


def test_autophase__shares_its_totals_with_instcount():
    with CompilerSession(BITCODE[0].read_bytes()) as session:
        instcount = named(INSTCOUNT_NAMES, session.instcount())
        autophase = named(AUTOPHASE_NAMES, session.autophase())
    shared = (set(INSTCOUNT_NAMES) & set(AUTOPHASE_NAMES)) - {"functions"}
    assert {name: instcount[name] for name in shared} == {name: autophase[name] for name in shared}


TERMINATORS = (
    "ret", "br", "switch", "indirectbr", "invoke", "resume", "unreachable", "cleanupret", "catchret", "catchswitch",
    "callbr",
)  # fmt: skip
# IR has no way to write these two; they are kept in Instruction.def for passes' own use.
NOT_IN_IR = ("userop1", "userop2")
# How a line may begin that continues an instruction: clauses, cases of a switch, and closing brackets.
CONTINUATION = re.compile(r"to |catch |cleanup$|filter |i\d+ |\]")
INSTRUCTION = re.compile(r"(?:%[\w.]+ = )?(?:(?:tail|musttail|notail) )?(\w+)")


def count_text(ir: str) -> dict[str, int]:
    """InstCount of a module's text: every indented line inside a function begins or continues an instruction."""
    opcodes = Counter()
    functions = re.findall(r"^define .*?^}", ir, re.MULTILINE | re.DOTALL)
    for line in "\n".join(functions).splitlines():
        text = line.strip()
        if not line.startswith("  ") or CONTINUATION.match(text) or text.startswith(";"):
            continue
        opcode = INSTRUCTION.match(text)[1]
        assert opcode in INSTCOUNT_NAMES, line
        opcodes[opcode] += 1
    # every block has one terminator
    totals = {
        "instructions": opcodes.total(),
        "blocks": sum(opcodes[name] for name in TERMINATORS),
        "functions": len(functions),
    }
    return {name: totals.get(name, opcodes[name]) for name in INSTCOUNT_NAMES}


def instcount_of(ir: str) -> dict[str, int]:
    with CompilerSession(ir.encode()) as session:
        return named(INSTCOUNT_NAMES, session.instcount())


def split_opcodes() -> tuple[str, dict[str, str]]:
    """What is outside of the functions of opcodes.ll, and the functions by name."""
    ir = (IR / "opcodes.ll").read_text()
    pattern = re.compile(r"^define [^@]*@(\w+)\(.*?^}\n", re.MULTILINE | re.DOTALL)
    return pattern.sub("", ir), {match[1]: match[0] for match in pattern.finditer(ir)}


@pytest.mark.parametrize("opcode", [name for name in INSTCOUNT_NAMES[3:] if name not in NOT_IN_IR])
def test_instcount__counts_opcode(opcode):
    outside, functions = split_opcodes()
    ir = outside + functions[opcode]
    expected = count_text(ir)
    assert expected[opcode] > 0
    assert instcount_of(ir) == expected


def test_instcount__sums_over_functions():
    outside, functions = split_opcodes()
    assert set(functions) == set(INSTCOUNT_NAMES[3:]) - set(NOT_IN_IR)
    ir = outside + "".join(functions.values())
    total = instcount_of(ir)
    assert total == count_text(ir)
    assert total["functions"] == len(functions) == 65
    assert total["instructions"] == sum(total[name] for name in INSTCOUNT_NAMES[3:])


@pytest.mark.parametrize("file", ["edges", "phis", "constants", "memory_and_calls", "arithmetic", "unary"])
def test_instcount__matches_text(file):
    assert instcount_of(read_ir(file)) == count_text(read_ir(file))


@pytest.mark.parametrize("pipeline", ["no-op-module", "default<Oz>", "default<O3>"])
def test_instcount__matches_text_of_programs(pipeline):
    for path in BITCODE[::8]:
        with CompilerSession(path.read_bytes()) as session:
            session.run(pipeline)
            assert named(INSTCOUNT_NAMES, session.instcount()) == count_text(session.ir()), path


@pytest.mark.skipif(OPT is None, reason="opt-19 is not installed")
def test_instruction_count__matches_llvm():
    assert BITCODE
    for path in BITCODE:
        command = [OPT, "-passes=print<func-properties>", "-disable-output", str(path)]
        properties = subprocess.run(command, capture_output=True, text=True, check=True).stderr
        counts = [int(count) for count in re.findall(r"^TotalInstructionCount: (\d+)$", properties, re.MULTILINE)]
        with CompilerSession(path.read_bytes()) as session:
            assert session.instruction_count == sum(counts), path
            assert session.instcount()[INSTCOUNT_NAMES.index("functions")] == len(counts), path
