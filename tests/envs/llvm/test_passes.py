"""The action table: complete, accepted by LLVM, and true to what programs mean."""

import functools
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from compiler_dojo.envs.errors import UnknownPassError
from compiler_dojo.envs.llvm.execution import build_executable, run_executable
from compiler_dojo.envs.llvm.passes import (
    EXCLUDED,
    OZ_PASS_COUNT,
    PASS_SETS,
    PASSES,
    find_pass,
    pipeline_text,
    select_passes,
)
from compiler_dojo.envs.llvm.session import CompilerSession
from compiler_dojo.envs.programs import bundled

OPT = shutil.which("opt-19")
needs_opt = pytest.mark.skipif(OPT is None, reason="opt-19 is not installed")

TINY = b"define i32 @f(i32 %x) {\n  ret i32 %x\n}\n"
# small programs of several kinds: loops over arrays, switches, pointers and allocation, C++ with inline functions
PROGRAMS = ("graphs/max_flow", "compression/run_length", "containers/skip_list", "strings/string_slice")


def base_name(name: str) -> str:
    return name.split("<")[0]


def test_table__has_unique_names():
    names = [item.name for item in PASSES]
    assert len(names) >= 90
    assert len(set(names)) == len(names)
    assert len({item.pipeline for item in PASSES}) == len(names)


def test_table__and_excluded_are_disjoint():
    assert not {item.name for item in PASSES} & set(EXCLUDED)
    assert not {base_name(item.name) for item in PASSES} & set(EXCLUDED)
    assert all(EXCLUDED.values())


@pytest.mark.parametrize("item", PASSES, ids=lambda item: item.name)
def test_pipeline__is_accepted_by_llvm(item):
    with CompilerSession(TINY) as session:
        session.run(item.pipeline)
        session.verify()


def test_pipeline_text__joins_all_passes():
    with CompilerSession(TINY) as session:
        session.run(pipeline_text(PASSES))
    assert pipeline_text(select_passes(["licm", "globaldce"])) == "function(loop-mssa(licm)),globaldce"
    assert pipeline_text([]) == ""


def test_find_pass__knows_every_pass():
    assert all(find_pass(item.name) is item for item in PASSES)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mem2rge", r"^unknown pass 'mem2rge': did you mean 'mem2reg'\?$"),
        ("simplify-cfg", r"^unknown pass 'simplify-cfg': did you mean 'simplifycfg'\?$"),
        ("", r"^unknown pass '': known: adce, .*, \.\.\.$"),
        ("internalize", r"^pass 'internalize' is not in the action table: drops public symbols$"),
        ("structurizecfg", r"^pass 'structurizecfg' is not in the action table: .*miscompile"),
    ],
)
def test_find_pass__refuses(name, message):
    with pytest.raises(UnknownPassError, match=message):
        find_pass(name)


@pytest.mark.parametrize("name", EXCLUDED)
def test_find_pass__tells_why_a_pass_is_excluded(name):
    with pytest.raises(UnknownPassError, match=re.escape(EXCLUDED[name])):
        find_pass(name)


def test_pass_sets__are_parts_of_the_table():
    assert select_passes("all") == PASSES
    for name, members in PASS_SETS.items():
        assert len(set(members)) == len(members), name
        assert [item.name for item in select_passes(name)] == list(members)
    with pytest.raises(UnknownPassError, match=r"^unknown pass set 'al': did you mean 'all'\?; or give a list$"):
        select_passes("al")


def test_select_passes__keeps_the_order_given():
    assert [item.name for item in select_passes(["sroa", "dce", "sroa"])] == ["sroa", "dce", "sroa"]
    assert select_passes([]) == ()
    with pytest.raises(UnknownPassError, match=r"unknown pass 'sora': did you mean 'sroa'\?"):
        select_passes(["dce", "sora"])


@needs_opt
def test_every_pass_of_llvm__is_in_the_table_or_excluded():
    listed: dict[str, set[str]] = {}
    section: set[str] = set()
    for line in subprocess.run([OPT, "--print-passes"], capture_output=True, text=True, check=True).stdout.splitlines():
        if line.endswith(":"):
            section = listed.setdefault(line, set())
        elif not line.endswith("(WIP):"):
            section.add(base_name(line.strip()))
    ours = {title for title in listed if "passes" in title and not title.startswith("Machine")}
    assert {"Module passes:", "CGSCC passes:", "Function passes with params:", "Loop passes:"} <= ours
    analyses = set().union(*(names for title, names in listed.items() if "analyses" in title))
    transforms = set().union(*(listed[title] for title in ours)) - analyses - {"invalidate", "require"}
    transforms = {name for name in transforms if not name.startswith(("print", "dot-", "view-"))}
    assert len(transforms) > 150
    known = {base_name(item.name) for item in PASSES} | set(EXCLUDED)
    assert not transforms - known


@needs_opt
def test_oz_pass_count__is_that_of_the_printed_pipeline():
    source = bundled.FOLDER / "bitcode" / "oz" / "graphs" / "max_flow.bc"
    command = [OPT, "-passes=default<Oz>", "-print-pipeline-passes", "-disable-output", str(source)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    names = re.findall(r"[\w-]+", re.sub(r"<[^<>]*>", "", text))
    adaptors = {"function", "cgscc", "devirt", "loop", "loop-mssa"}
    analyses_and_remarks = {"require", "invalidate", "recompute-globalsaa", "verify", "annotation-remarks"}
    assert len([name for name in names if name not in adaptors | analyses_and_remarks]) == OZ_PASS_COUNT


# modules that are forked over and over, opened once
@functools.cache
def start_of(program: str, start: str) -> CompilerSession:
    session = CompilerSession((bundled.FOLDER / "bitcode" / "oz" / f"{program}.bc").read_bytes(), program)
    session.run(start)
    return session


@functools.cache
def output_by_hash() -> dict[str, tuple[int | None, str]]:
    """Exit status and output of every module that was run, by its hash."""
    return {}


def run_module(session: CompilerSession) -> tuple[int | None, str]:
    known = output_by_hash()
    if session.hash() not in known:
        entry = bundled.BundledSource(session.name, "oz").load().run
        with build_executable(session) as executable:
            result = run_executable(executable, entry)
        known[session.hash()] = (result.status, result.output)
    return known[session.hash()]


@pytest.mark.parametrize("start", ["no-op-module", "default<Oz>"], ids=["from O0", "after Oz"])
@pytest.mark.parametrize("item", PASSES, ids=lambda item: item.name)
def test_pass__keeps_what_programs_print(item, start):
    for program in PROGRAMS:
        expected = 0, bundled.manifest()[program]["output"]
        origin = start_of(program, start)
        with origin.fork() as session:
            if session.run(item.pipeline).changed:
                session.verify()
                assert run_module(session) == expected, program
        assert run_module(origin) == expected, program


@pytest.mark.parametrize("start", ["function(sroa)", "default<Oz>"], ids=["after sroa", "after Oz"])
@pytest.mark.parametrize("item", PASSES, ids=lambda item: item.name)
def test_pass__is_deterministic(item, start):
    """The same bitcode at other addresses gives the same module."""
    for program in PROGRAMS:
        with start_of(program, start).fork() as first:
            copies = [CompilerSession(first.bitcode()) for _ in range(3)]
            first.run(item.pipeline)
            for copy in copies:
                copy.run(item.pipeline)
            assert {copy.hash() for copy in copies} == {first.hash()}, program
            for copy in copies:
                copy.close()


def test_programs__are_bundled():
    assert all(Path(bundled.FOLDER / "bitcode" / "oz" / f"{program}.bc").is_file() for program in PROGRAMS)
