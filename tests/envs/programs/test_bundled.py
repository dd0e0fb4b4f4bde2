"""The bundled programs: enough, of every size, split by domain, as their sources and manifest say, and working."""

import collections
import json
import shutil
import subprocess
import sys

import pytest

from compiler_dojo.envs.errors import UnknownProgramError
from compiler_dojo.envs.llvm.execution import build_executable, run_executable
from compiler_dojo.envs.llvm.lowering import LOWERINGS
from compiler_dojo.envs.llvm.session import CompilerSession
from compiler_dojo.envs.programs import Program, load_programs
from compiler_dojo.envs.programs.bundled import FOLDER, HELD_OUT_DOMAINS, MANIFEST, build, manifest, select, split_of

# Both languages, both splits, floating point, exceptions to the rule in size.
SAMPLE = [
    "graphs/union_find",
    "numerical/fft_polymul",
    "containers/ring_buffer",
    "interpreters/mini_lisp",
    "storage/slab_allocator",
    "image/raster_canvas",
]


def output_at(program: Program, pipeline: str | None) -> tuple[int | None, str]:
    with CompilerSession(program.module, program.uri) as session:
        if pipeline:
            session.run(pipeline)
        with build_executable(session) as executable:
            assert program.run
            result = run_executable(executable, program.run)
    return result.status, result.output


def test_programs__are_many_and_of_every_size() -> None:
    sizes = [entry["oz"]["instructions"] for entry in manifest().values()]
    assert len(sizes) >= 40
    assert min(sizes) >= 100
    assert max(sizes) <= 10_000
    assert sum(size > 2_000 for size in sizes) >= 8
    languages = collections.Counter(entry["language"] for entry in manifest().values())
    assert languages.keys() == {"c", "c++"}
    assert min(languages.values()) >= 10


def test_splits__are_whole_domains() -> None:
    train, test = (load_programs(f"bundled/{split}") for split in ("train", "test"))
    domains = [{program.domain for program in programs} for programs in (train, test)]
    assert domains[0].isdisjoint(domains[1])
    assert domains[1] == HELD_OUT_DOMAINS
    assert set(train.uris).isdisjoint(test.uris)
    assert set(train.uris) | set(test.uris) == set(load_programs("bundled").uris)
    assert min(len(train), len(test)) >= 10


def test_splits__share_no_code() -> None:
    owners = collections.defaultdict(set)
    for program in load_programs("bundled"):
        owners[program.sha256].add(program.uri)
    assert [uris for uris in owners.values() if len(uris) > 1] == []


@pytest.mark.parametrize("lowering", LOWERINGS)
def test_programs__load_and_are_as_the_manifest_says(lowering) -> None:
    programs = load_programs("bundled", lowering)
    assert len(programs) == len(manifest())
    for program in programs:
        key = program.uri.removeprefix("bundled://")
        entry = manifest()[key]
        assert (program.domain, program.language) == (key.split("/")[0], entry["language"])
        assert entry["split"] == split_of(program.domain)
        assert program.source == FOLDER / entry["source"]
        assert program.source.is_file()
        assert program.run
        assert program.run.output == entry["output"]
        assert entry["output"].endswith("\n")
        with CompilerSession(program.module, program.uri) as session:
            assert 100 <= session.instruction_count <= 10_000
            assert {"hash": session.hash(), "instructions": session.instruction_count} == entry[lowering]
            assert ("minsize" in session.ir()) == (lowering == "oz")


def test_files__are_those_of_the_manifest() -> None:
    found = {str(path.relative_to(FOLDER / "bitcode")) for path in (FOLDER / "bitcode").rglob("*.bc")}
    assert found == {f"{lowering}/{key}.bc" for lowering in LOWERINGS for key in manifest()}
    assert {entry["source"] for entry in manifest().values()} == {
        path.relative_to(FOLDER).as_posix() for path in build.sources()
    }


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("bundled://graphs/union_find", 1),
        ("bundled/graphs/union_find", 1),
        ("bundled/graphs", 5),
        ("bundled://graphs", 5),
    ],
)
def test_select__takes_domains_and_programs(name, count) -> None:
    assert len(select(name, "oz")) == count
    assert all(source.uri.startswith("bundled://graphs/") for source in select(name, "oz"))


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("bundled/trein", "train"), ("bundled/grphs", "graphs"), ("bundled://graphs/union_fnd", "graphs/union_find")],
)
def test_select__suggests_the_nearest(name, nearest) -> None:
    with pytest.raises(UnknownProgramError, match=f"no bundled program or set '.*': did you mean '{nearest}'"):
        select(name, "oz")


@pytest.mark.parametrize("key", SAMPLE)
def test_program__prints_the_recorded_output_at_o0_and_oz(key) -> None:
    program = load_programs(f"bundled://{key}")[0]
    assert program.run
    for pipeline in (None, "default<Oz>"):
        assert output_at(program, pipeline) == (0, program.run.output)


@pytest.mark.slow
def test_programs__all_print_the_recorded_output_at_oz() -> None:
    # at O0 they run in the check below
    wrong = {}
    for program in load_programs("bundled"):
        assert program.run
        found = output_at(program, "default<Oz>")
        if found != (0, program.run.output):
            wrong[program.uri] = found
    assert wrong == {}


@pytest.mark.slow
def test_check__finds_what_is_committed_in_order() -> None:
    command = [sys.executable, "-m", "compiler_dojo.envs.programs.bundled.build", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"{len(manifest())} programs match their sources\n"), done.stderr


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A copy of two bundled programs that the build module works on."""
    keys = ["graphs/union_find", "containers/ring_buffer"]
    everything = json.loads(MANIFEST.read_text())
    programs = {key: everything["programs"][key] for key in keys}
    names = [entry["source"] for entry in programs.values()]
    names += [f"bitcode/{lowering}/{key}.bc" for lowering in LOWERINGS for key in keys]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(FOLDER / name, tmp_path / name)
    (tmp_path / "manifest.json").write_text(json.dumps({"llvm": everything["llvm"], "programs": programs}))
    monkeypatch.setattr(build, "FOLDER", tmp_path)
    monkeypatch.setattr(build, "MANIFEST", tmp_path / "manifest.json")
    return tmp_path


def run_build(monkeypatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["build", *arguments])
    return build.main()


def change_source(folder):
    path = folder / "src/graphs/union_find.c"
    path.write_text(path.read_text() + "\nint added(int x) { return x + 1; }\n")


def change_bitcode(folder):
    shutil.copy(folder / "bitcode/oz/containers/ring_buffer.bc", folder / "bitcode/oz/graphs/union_find.bc")


def change_manifest(folder):
    path = folder / "manifest.json"
    path.write_text(path.read_text().replace("connected after", "disconnected after"))


TAMPERINGS = {
    "source": (change_source, "graphs/union_find"),
    "bitcode": (change_bitcode, "graphs/union_find"),
    "output": (change_manifest, "graphs/union_find"),
    "truncated bitcode": (
        lambda folder: (folder / "bitcode/oz/graphs/union_find.bc").write_bytes(b"BC\xc0\xde"),
        "graphs/union_find",
    ),
    "no bitcode": (lambda folder: (folder / "bitcode/oz/graphs/union_find.bc").unlink(), "graphs/union_find"),
    "no source": (lambda folder: (folder / "src/graphs/union_find.c").unlink(), "graphs/union_find (no source)"),
}


def test_check__passes_on_an_untouched_copy(copy, monkeypatch, capsys) -> None:
    assert run_build(monkeypatch, "--check") == 0
    assert capsys.readouterr().out == "2 programs match their sources\n"


@pytest.mark.parametrize("kind", TAMPERINGS)
def test_check__fails_when_tampered_with(copy, monkeypatch, capsys, kind) -> None:
    tamper, named = TAMPERINGS[kind]
    tamper(copy)
    assert run_build(monkeypatch, "--check") == 1
    assert f"differ from their sources: {named}; run `make programs`" in capsys.readouterr().err


def test_build__repairs_what_check_finds(copy, monkeypatch) -> None:
    change_source(copy)
    (copy / "src/containers/ring_buffer.cpp").unlink()
    assert run_build(monkeypatch) == 0
    assert run_build(monkeypatch, "--check") == 0
    assert len(list(copy.rglob("*.bc"))) == len(LOWERINGS)
