"""Random programs by their seeds: what comes out, and what is said about URIs and tools that are not there."""

import re

import pytest

from compiler_dojo.envs.errors import CompilationError, InvalidConfigError, ToolchainError, UnknownProgramError
from compiler_dojo.envs.llvm.execution import build_executable, run_executable
from compiler_dojo.envs.llvm.library import load_library
from compiler_dojo.envs.llvm.session import CompilerSession
from compiler_dojo.envs.llvm.tools import find_llvm_tool
from compiler_dojo.envs.programs.sources import generators
from compiler_dojo.envs.programs.sources.generators import CsmithSource, StressSource, find_csmith, select


def problem_with(find, *arguments) -> str:
    try:
        find(*arguments)
    except ToolchainError as error:
        return str(error)
    return ""


MISSING_CSMITH, MISSING_STRESS = problem_with(find_csmith), problem_with(find_llvm_tool, "llvm-stress")
needs_csmith = pytest.mark.skipif(bool(MISSING_CSMITH), reason=MISSING_CSMITH)
needs_stress = pytest.mark.skipif(bool(MISSING_STRESS), reason=MISSING_STRESS)


@pytest.fixture(autouse=True)
def _fresh_caches():
    generators._load_csmith.cache_clear()
    generators._load_stress.cache_clear()


@needs_csmith
def test_csmith__programs_are_fixed_by_seed_size_and_lowering() -> None:
    program = CsmithSource(3).load()
    generators._load_csmith.cache_clear()
    assert CsmithSource(3).load() == program
    assert CsmithSource(3).load() is CsmithSource(3).load()
    others = [CsmithSource(4), CsmithSource(3, "full"), CsmithSource(3, lowering="compilergym")]
    assert len({program.module, *(other.load().module for other in others)}) == 4


@needs_csmith
def test_csmith__programs_say_where_they_come_from() -> None:
    program = CsmithSource(3, lowering="compilergym").load()
    assert (program.uri, program.lowering, program.language) == ("csmith://3", "compilergym", "c")
    assert (program.project, program.domain, program.provenance.package) == ("csmith", "random", "csmith")
    assert re.fullmatch(r"[1-9]\d*\.\d+\.\d+", program.provenance.version)


@needs_csmith
def test_csmith__programs_print_the_same_checksum_after_oz() -> None:
    program = CsmithSource(3).load()
    assert program.run is not None
    printed = []
    for pipeline in ("", "default<Oz>"):
        with CompilerSession(program.module, program.uri) as session:
            if pipeline:
                session.run(pipeline)
            with build_executable(session) as executable:
                printed.append(run_executable(executable, program.run).output)
    assert printed[0].startswith("checksum = ")
    assert printed[0] == printed[1]


@needs_csmith
def test_csmith__a_seed_that_takes_too_long_is_an_error(monkeypatch) -> None:
    monkeypatch.setattr(generators, "GENERATOR_SECONDS", 1e-4)
    with pytest.raises(CompilationError, match=r"csmith://3\?size=full: csmith makes no program within 0\.0001 s"):
        CsmithSource(3, "full").load()


@needs_csmith
def test_csmith__refuses_an_unknown_lowering() -> None:
    with pytest.raises(InvalidConfigError, match="unknown lowering 'o0'"):
        CsmithSource(3, lowering="o0").load()


@needs_stress
def test_stress__programs_are_fixed_by_seed_and_size() -> None:
    program = StressSource(3).load()
    generators._load_stress.cache_clear()
    assert StressSource(3).load() == program
    assert len({program.module, StressSource(4).load().module, StressSource(3, 50).load().module}) == 3
    assert (program.uri, program.lowering, program.language) == ("llvm-stress://3", "given", "llvm")
    assert (program.project, program.run) == ("llvm-stress", None)
    assert program.provenance.version == ".".join(map(str, load_library().version))
    with CompilerSession(program.module) as session:
        assert session.instruction_count > 50


@pytest.mark.parametrize(
    ("uri", "sources"),
    [
        ("csmith://7", [CsmithSource(7)]),
        ("csmith://7?size=small", [CsmithSource(7)]),
        ("csmith://0..2?size=full", [CsmithSource(seed, "full") for seed in range(3)]),
        ("llvm-stress://4294967295", [StressSource(4294967295)]),
        ("llvm-stress://8..9?size=30", [StressSource(8, 30), StressSource(9, 30)]),
    ],
)
def test_select__takes_seeds_and_ranges(uri, sources) -> None:
    assert select(uri, "oz") == sources


@pytest.mark.parametrize("source", [CsmithSource(7), CsmithSource(7, "full"), StressSource(7), StressSource(7, 20)])
def test_select__finds_a_source_again_by_its_uri(source) -> None:
    assert select(source.uri, "oz") == [source]


def test_select__passes_the_lowering_on() -> None:
    assert select("csmith://1", "compilergym") == [CsmithSource(1, lowering="compilergym")]


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("csmiht://1", "no generator 'csmiht': did you mean 'csmith'?"),
        ("csmith://", "csmith://: expected a seed or a range of them, such as csmith://7 or csmith://0..99"),
        ("csmith://x", "csmith://x: expected a seed"),
        ("csmith://-1", "csmith://-1: expected a seed"),
        ("csmith://9..3", "csmith://9..3: expected a seed"),
        ("llvm-stress://4294967296", "such as llvm-stress://7 or llvm-stress://0..99, from 0 to 4294967295"),
        ("csmith://0..1000000", "1000001 programs are too many: a range has 1000000 at most"),
        ("csmith://1?size=ful", "csmith://1?size=ful: no size 'ful': did you mean 'full'?"),
        ("csmith://1?sizes=small", "no option 'sizes': the only one is size"),
        ("llvm-stress://1?size=big", "a size of llvm-stress is a number from 1 to 99999, got 'big'"),
    ],
)
def test_select__refuses_what_names_no_program(uri, message) -> None:
    with pytest.raises(UnknownProgramError, match=re.escape(message)):
        select(uri, "oz")


def test_load__says_what_to_install(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(generators, "CSMITH_INCLUDE", tmp_path)
    if not MISSING_CSMITH:
        with pytest.raises(ToolchainError, match=rf"{tmp_path}/csmith\.h is missing"):
            CsmithSource(1).load()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolchainError, match="csmith is missing: `apt-get install csmith libcsmith-dev`"):
        CsmithSource(1).load()
    with pytest.raises(ToolchainError, match=r"llvm-stress \d+ is needed, and none was found: .*apt-get install llvm-"):
        StressSource(1).load()
