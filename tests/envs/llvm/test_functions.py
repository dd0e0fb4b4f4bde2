"""Hashes of functions: what they depend on, what they do not, and that they are the same wherever they are taken."""

import json
import shutil

import pytest

from compiler_dojo.envs.llvm.lowering import lower
from compiler_dojo.envs.llvm.session import CompilerSession
from compiler_dojo.envs.programs import bundled

PROGRAMS = sorted((bundled.FOLDER / "bitcode" / "oz").glob("*/*.bc"))[::12]

needs_clang = pytest.mark.skipif(shutil.which("clang-19") is None, reason="clang-19 is not installed")

# the function that is looked at is the largest of its file
C = """
#include <stdio.h>
struct point { int x; struct point *next; };
static const int weights[3] = {1, 2, 3};
static int calls;
static int scale(int x) { return x * 3; }
int walk(struct point *p, const char *name) {
    int sum = 0;
    for (; p; p = p->next)
        sum += scale(p->x) * weights[sum & 1] + calls++;
    if (sum > 10)
        sum -= walk(0, "again");
    printf("%s is %d\\n", name, sum);
    return sum;
}
"""

SAME = {
    "another name": [("walk", "stroll")],
    "another linkage": [("int walk", "__attribute__((used)) static int walk")],
    "other names of types": [("point", "node")],
    "other names of what is local": [("weights", "table"), ("calls", "count"), ("scale", "triple")],
    "another body of a local function": [("x * 3", "x * 3 + 1")],
    "other functions before it": [
        ("struct point {", 'int a(int x) { return x + 7; }\nconst char *b = "b";\nstruct point {')
    ],
    "a declaration more": [
        ("#include <stdio.h>", "#include <stdio.h>\n#include <stdlib.h>\nint z(void) { return abs(1); }")
    ],
    "another order": [
        ("static int scale(int x) { return x * 3; }", "static int scale(int x);"),
        ("return sum;\n}", "return sum;\n}\nstatic int scale(int x) { return x * 3; }"),
    ],
}

DIFFERENT = {
    "another constant": [("> 10", "> 11")],
    "another operation": [("sum -=", "sum +=")],
    "another predicate": [("sum > 10", "sum >= 10")],
    "another string": [("again", "Again")],
    "another table": [("{1, 2, 3}", "{1, 2, 4}")],
    "another callee": [("printf", "scanf")],
    "another type": [("int x; struct point *next;", "long y; int x; struct point *next;")],
    "another attribute": [("int walk", "__attribute__((cold)) int walk")],
    "a call of another than itself": [
        ("walk(0", "elsewhere(0"),
        ("int walk", "int elsewhere(void *, char *); int walk"),
    ],
    "another type of a local variable": [("static int calls", "static short calls")],
}


def changed(changes: list[tuple[str, str]]) -> str:
    text = C
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return text


@pytest.fixture
def hash_of(write):
    """Hash of the largest function of a C file, compiled with these flags."""

    def hash_of(text: str, *flags: str) -> bytes:
        with CompilerSession(lower(write("a.c", text), flags=flags)) as session:
            return max(session.functions(), key=lambda function: function.instructions).hash

    return hash_of


@needs_clang
@pytest.mark.parametrize("change", SAME)
def test_hash__is_the_same_with(hash_of, change) -> None:
    assert hash_of(changed(SAME[change])) == hash_of(C)


@needs_clang
@pytest.mark.parametrize("change", DIFFERENT)
def test_hash__is_another_with(hash_of, change) -> None:
    assert hash_of(changed(DIFFERENT[change])) != hash_of(C)


@needs_clang
def test_hash__ignores_debug_info(hash_of) -> None:
    moved = "\n\n" + C.replace("static int scale", "\n\nstatic int scale")
    assert hash_of(moved, "-g") == hash_of(C, "-g") == hash_of(C)


# references that C cannot express, or not without much beside them
REFERENCES = {
    "a constant that refers to itself": "@{0} = internal constant {{ i32, ptr }} {{ i32 {2}, ptr @{0} }}",
    "constants in a circle": """
        @{0} = internal constant ptr @{1}
        @{1} = internal constant {{ ptr, i32 }} {{ ptr @{0}, i32 {2} }}""",
    "a long chain": "@{0} = internal constant {{ i32, ptr }} {{ i32 {2}, ptr @{0}.1 }}\n"
    + "".join(f"@{{0}}.{i} = internal constant ptr @{{0}}.{i + 1}\n" for i in range(1, 20_000))
    + "@{0}.20000 = internal constant i32 1",
    "addresses of its blocks": """
        @{0} = internal constant [2 x ptr] [ptr blockaddress(@{1}, %b{2}), ptr blockaddress(@{1}, %b{2})]
        define internal void @{1}() {{
          %p = load ptr, ptr @{0}
          indirectbr ptr %p, [label %b1, label %b2]
        b1:
          ret void
        b2:
          unreachable
        }}""",
    "addresses of its own blocks alone": """
        define internal void @{0}() {{
          indirectbr ptr blockaddress(@{0}, %b{2}), [label %b1, label %b2]
        b1:
          ret void
        b2:
          unreachable
        }}""",
    "a local alias": """
        @{1} = internal global i{2} 0
        @{0} = internal alias i{2}, ptr @{1}""",
    "a linker's alias": """
        @{1} = global i32 0
        @symbol{2} = alias i32, ptr @{1}
        @{0} = internal constant ptr @symbol{2}""",
    "a local resolver": """
        @{0} = internal ifunc void (i{2}), ptr @{1}
        define internal ptr @{1}() {{ ret ptr null }}""",
}


@pytest.mark.parametrize("kind", REFERENCES)
def test_hash__sees_through(kind) -> None:
    user = "\ndefine ptr @user() {{ ret ptr @{0} }}\n"

    def hashes(*values: str) -> list[bytes]:
        with CompilerSession((REFERENCES[kind] + user).format(*values).encode()) as session:
            return [function.hash for function in session.functions()]

    first = hashes("one", "two", "1")
    assert hashes("other", "name", "1") == first
    assert hashes("one", "two", "2") != first


def test_functions__are_those_defined_in_their_order() -> None:
    text = b"""
        declare void @g()
        define void @b() { call void @g() ret void }
        define i32 @a(i32 %x) { %y = add i32 %x, 1 %z = mul i32 %y, %y ret i32 %z }
        define void @c() { call void @g() ret void }"""
    with CompilerSession(text) as session:
        functions = session.functions()
    assert [function.instructions for function in functions] == [2, 3, 2]
    assert functions[0] == functions[2] != functions[1]
    assert {len(function.hash) for function in functions} == {16}


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_functions__do_not_depend_on_where_llvm_runs(path) -> None:
    program = path.read_bytes()
    with CompilerSession(program) as remote, CompilerSession(program, isolation="none") as local:
        for pipeline in ("verify", "sroa,instcombine<no-verify-fixpoint>", "default<Oz>"):
            for session in (remote, local):
                session.run(pipeline)
            state = remote.hash()
            functions = remote.functions()
            assert functions == local.functions() == remote.functions()
            assert sum(function.instructions for function in functions) == remote.instruction_count
            with CompilerSession(remote.bitcode()) as again, remote.fork() as fork:
                assert again.functions() == fork.functions() == functions
            remote.verify()
            remote.run("verify")
            assert remote.hash() == state


def test_functions__are_the_same_in_another_process(run_python) -> None:
    path = PROGRAMS[0]
    script = f"""
import json
from compiler_dojo.envs.llvm.session import CompilerSession
with CompilerSession(open({str(path)!r}, "rb").read(), isolation="none") as session:
    print(json.dumps([function.hash.hex() for function in session.functions()]))
"""
    done = run_python(script)
    with CompilerSession(path.read_bytes()) as session:
        assert json.loads(done.stdout) == [function.hash.hex() for function in session.functions()], done.stderr


CPP = """
#include <algorithm>
#include <string>
#include <vector>
namespace mine { template <class T> T twice(T x) { T sum = 0; for (T i = 0; i < x; i++) sum += 2; return sum; } }
std::size_t visible(std::vector<std::string> &names) {
    std::sort(names.begin(), names.end());
    return names.size() + mine::twice(names.size());
}
"""


@needs_clang
def test_functions__tell_the_standard_librarys_from_the_programs_own(tmp_path) -> None:
    source = tmp_path / "a.cpp"
    source.write_text(CPP)
    with CompilerSession(lower(source)) as session:
        functions = session.functions()
        names = [line.split("@")[1].split("(")[0].strip('"') for line in session.ir().splitlines() if "define " in line]
    own = {name for name, function in zip(names, functions, strict=True) if not function.standard}
    library = [function for function in functions if function.standard]
    assert {name for name in own if "visible" in name or "twice" in name} == {
        "_Z7visibleRSt6vectorINSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEESaIS5_EE",
        "_ZN4mine5twiceImEET_S1_",
    }
    assert all(not name.startswith(("_ZSt", "_ZNSt")) for name in own)
    assert len(library) > 50
