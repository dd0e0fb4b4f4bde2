"""``dojo programs`` as users meet it: lists, one program, figures, building, import and export."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from experiments_support import Dojo, table_row

from compiler_dojo.envs.errors import UnknownProgramError
from compiler_dojo.envs.llvm.session import CompilerSession
from compiler_dojo.envs.programs import building, corpora, load_programs
from compiler_dojo.envs.programs.building import BuildResult, PackageChoice
from compiler_dojo.envs.programs.measure import measure
from compiler_dojo.envs.programs.schemes import SCHEMES
from compiler_dojo.envs.programs.storage import write_set
from compiler_dojo.envs.programs.transfer import measured
from compiler_dojo.experiments import programs_catalogue
from compiler_dojo.experiments.programs_choice import default_name, package_names, standard_names
from compiler_dojo.experiments.programs_show import source_text

SET = "bundled/simulation"
URI = "bundled://crypto/xtea"
SOURCES = Path(building.__file__).parent / "bundled" / "src"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where named sets are kept in this test."""
    monkeypatch.setenv("DOJO_PROGRAMS", str(tmp_path / "programs"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "programs"


@pytest.fixture
def mine(dojo: Dojo) -> str:
    """A set that was imported from a folder of two projects and a file that does not compile."""
    for name in ("crypto/xtea.c", "simulation/galois_lfsr.c", "simulation/queue_sim.c"):
        target = Path("src", name)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(SOURCES / name, target)
    Path("src/broken.c").write_text("int broken(\n")
    done = dojo("programs", "import", "src", "--name", "mine")
    assert done.status == 0
    assert "mine: 3 programs in " in done.out
    assert "broken.c" in done.out
    assert "expected parameter declarator" in done.out
    return "mine"


@pytest.mark.parametrize("command", ["list", "show", "stats", "build", "import", "export"])
def test_help__has_examples(dojo: Dojo, command: str) -> None:
    done = dojo("programs", command, "--help")
    assert done.status == 0
    assert f"dojo programs {command}" in " ".join(done.out.split()).split("Example", 1)[1]


def test_list__names_every_set_and_what_uris_mean(dojo: Dojo, mine: str, folder: Path) -> None:
    done, values = dojo("programs", "list"), json.loads(dojo("programs", "list", "--json").out)
    assert done.status == 0
    assert table_row(done.out, "bundled/test")[1] == "20"
    [own] = [entry for entry in values["sets"] if entry["name"] == mine]
    assert (own["programs"], own["folder"]) == (3, str(folder / mine))
    assert own["version"] == load_programs(mine).version
    assert own["size"] == sum(file.stat().st_size for file in (folder / mine).glob("*.parquet"))
    assert table_row(done.out, mine)[-1] == str(folder / mine)
    assert {scheme["scheme"] for scheme in values["schemes"]} == set(SCHEMES)
    for scheme in programs_catalogue.SCHEMES.values():
        assert scheme.example in done.out


def test_list__has_the_command_that_builds_a_corpus_that_is_not_there(
    dojo: Dojo, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = corpora.PinnedPackage("p", "1", "0", "p", "games", {"a.c": "0" * 16, "b.c": "1" * 16})
    corpora.write_corpus(corpora.Corpus("corpus-tiny", "A few.", (package,)), tmp_path)
    monkeypatch.setattr(corpora, "FOLDER", tmp_path)
    entries = json.loads(dojo("programs", "list", "--json").out)["sets"]
    assert [entry for entry in entries if entry["command"]] == [
        {
            "name": "corpus-tiny", "programs": 2, "version": "", "llvm_version": "", "size": None, "folder": "",
            "command": "dojo programs build corpus-tiny", "error": "",
        }
    ]  # fmt: skip
    assert "dojo programs build corpus-tiny" in dojo("programs", "list").out


def test_list__shows_a_damaged_set_as_damaged(dojo: Dojo, folder: Path) -> None:
    (folder / "lost").mkdir(parents=True)
    (folder / "lost" / "manifest.json").write_text("{")
    assert dojo("programs", "list").status == 0
    assert "cut short" in dojo("programs", "list", "--json").out


def test_list__of_a_set_has_every_program_with_its_sizes(dojo: Dojo) -> None:
    table, values = dojo("programs", "list", SET), json.loads(dojo("programs", "list", SET, "--json").out)
    assert (values["set"], values["total"]) == (SET, 5)
    assert [row["uri"] for row in values["programs"]] == list(load_programs(SET).uris)
    for row, program in zip(values["programs"], load_programs(SET), strict=True):
        found = measure(program)
        counts = [found.instructions_o0, found.instructions_oz, found.instructions_o3]
        assert [row["instructions_o0"], row["instructions_oz"], row["instructions_o3"]] == counts
        assert table_row(table.out, program.uri) == [program.uri, program.language, *(f"{n:,}" for n in counts)]


def test_list__of_many_programs_says_how_many_more_there_are(dojo: Dojo) -> None:
    done = dojo("programs", "list", SET, "--limit", 2)
    assert done.out.count("bundled://") == 2
    assert "3 more programs: --limit 0 lists all" in done.out
    values = json.loads(dojo("programs", "list", SET, "--limit", 2, "--json").out)
    assert (values["total"], len(values["programs"])) == (5, 2)
    assert dojo("programs", "list", SET, "--limit", 0).out.count("bundled://") == 5


def test_list__of_a_stored_set_measures_nothing(dojo: Dojo, mine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CompilerSession, "__init__", lambda *_: pytest.fail("measured"))
    done = dojo("programs", "list", mine)
    assert table_row(done.out, "mine://crypto/xtea")[2:] == ["259", "117", "117"]


def test_list__shows_a_glob_with_brackets_as_it_is(dojo: Dojo) -> None:
    Path("a.c").write_text("int one(void) { return 1; }\n")
    assert "[ab].c: LLVM IR instructions" in dojo("programs", "list", "[ab].c").out


def test_list__shows_a_program_that_does_not_compile_and_fails(dojo: Dojo, mine: str) -> None:
    done = dojo("programs", "list", "src")
    assert done.status == 1
    assert table_row(done.out, f"file://{Path('src/crypto/xtea.c').resolve()}")[-1] == "117"
    assert "CompilationError: src/broken.c does not compile" in done.out


def test_show__has_the_same_in_the_table_and_in_json(dojo: Dojo) -> None:
    table, values = dojo("programs", "show", URI), json.loads(dojo("programs", "show", URI, "--json").out)
    program = load_programs(URI).get(URI)
    assert (values["uri"], values["sha256"], values["license_expression"]) == (URI, program.sha256, "MIT")
    assert values["instructions_o0"] == sum(values["opcodes"].values()) == 259
    assert values["structural_hash"] == measure(program).structural_hash
    for text in (URI, program.sha256, values["structural_hash"], "117 (45%)", f"{values['text_size_oz']:,} bytes"):
        assert text in table.out


def test_show__finds_a_program_of_a_stored_set(dojo: Dojo, mine: str) -> None:
    values = json.loads(dojo("programs", "show", "xtea", "--in", mine, "--json").out)
    assert (values["uri"], values["project"], values["instructions_oz"]) == ("mine://crypto/xtea", "crypto", 117)


def test_show__prints_ir_and_source_alone(dojo: Dojo, mine: str) -> None:
    with CompilerSession(load_programs(URI).get(URI).module) as session:
        assert dojo("programs", "show", URI, "--ir").out == session.ir()
    assert dojo("programs", "show", URI, "--source").out == (SOURCES / "crypto/xtea.c").read_text()
    Path("gone.c").write_text("int one(void) { return 1; }\n")
    assert dojo("programs", "show", "gone.c", "--source").out.startswith("int one")
    done = dojo("programs", "show", "mine://crypto/xtea", "--source")
    assert (done.status, done.out) == (1, "")
    assert "its source is not on this machine: only its IR is known" in done.err


def test_stats__puts_sets_side_by_side_with_what_they_share(dojo: Dojo, mine: str) -> None:
    done = dojo("programs", "stats", mine, "bundled/crypto")
    assert done.status == 0
    assert table_row(done.out, "programs") == ["programs", "3", "6"]
    assert table_row(done.out, "median")[1:] == ["259", "1,019"]
    assert "module 9fc124cbc10f38b5afa8cbe8bf08af69 is in mine (mine://crypto/xtea) and bundled/crypto" in done.out
    assert "projects, modules or functions are in several of these sets" in done.out
    values = json.loads(dojo("programs", "stats", mine, "bundled/crypto", "--json").out)
    assert [item["programs"] for item in values["sets"]] == [3, 6]
    assert values["sets"][0]["build"]["reasons"] == {"CompilationError": 1}
    assert len(values["crossings"]) >= 4


@pytest.mark.parametrize("option", ["--check", "--split"])
def test_stats__checks_splits(dojo: Dojo, mine: str, option: str) -> None:
    assert dojo("programs", "stats", mine, "bundled/crypto", option).status == 1
    done = dojo("programs", "stats", "bundled/graphs", "bundled/crypto", option)
    assert done.status == 0
    assert "no project, module or function of 20 or more instructions is in two of these sets" in done.out


def test_stats__says_how_many_more_are_shared(dojo: Dojo, mine: str) -> None:
    done = dojo("programs", "stats", "bundled/crypto", "bundled://crypto/*")
    assert "more: --json lists all" in done.out


def test_stats__draws_pictures_and_keeps_its_figures(dojo: Dojo, mine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # without csmith, which takes half a minute for its hundred programs
    monkeypatch.setattr(shutil, "which", lambda *_: None)
    done = dojo("programs", "stats", SET, "--out", "out/here", "--json")
    values = json.loads(done.out)
    assert json.loads(Path("out/here/stats.json").read_text()) == values
    for picture in ("sizes.png", "opcodes.png"):
        assert f"out/here/{picture}" in values["pictures"]
        assert Path("out/here", picture).read_bytes().startswith(b"\x89PNG")


def build_from_bundled(name: str, root: Path, incomplete: tuple[str, ...] = ()) -> BuildResult:
    details = {"seconds": 1.5, "workers": 1, "build": {"packages": 1, "tried": 5, "compiled": 4}, "duplicates": {}}
    write_set(root / name, name, map(measured, load_programs(SET).sources), details)
    return BuildResult(name, root / name, 5, details, incomplete)


def test_build__of_packages_passes_the_choice_on_and_prints_what_came(
    dojo: Dojo, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    def build(name: str, choice: PackageChoice, workers: int | None, progress: building.Progress) -> BuildResult:
        asked.update(name=name, choice=choice, workers=workers)
        for done in (0, 1):
            progress(done, 1, f"[{choice.packages[0]}]")
        progress(0, 1, "writing")
        return build_from_bundled(name, folder, ("figlet is gone",))

    monkeypatch.setattr(building, "build_packages", build)
    options = ("--seed", 3, "--limit", 7, "--languages", "c", "--instructions", "20..", "--linked", "--workers", 1)
    done = dojo("programs", "build", "debian", "--packages", "zlib=1:1.2, lua5.4", *options)
    assert done.status == 0
    assert asked["name"] == "debian-packages"
    choice = asked["choice"]
    assert (choice.packages, choice.seed, choice.limit) == (("zlib=1:1.2", "lua5.4"), 3, 7)
    assert (choice.languages, choice.instructions[0], choice.linked) == (("c",), 20, True)
    assert choice.instructions[1] > 10**9
    assert table_row(done.out, "yield") == ["yield", "80.0%"]
    assert f"debian-packages: 5 programs in {folder / 'debian-packages'}" in done.out
    assert "debian-packages is not complete: figlet is gone" in done.err
    values = json.loads(dojo("programs", "build", "pypi", "--packages", "a", "--name", "b", "--json").out)
    assert (values[0]["name"], values[0]["figures"]["programs"]) == ("b", 5)
    assert asked["choice"].scheme == "pypi"


@pytest.mark.parametrize(("missing", "status"), [((), 0), (("zlib: 2 programs are missing",), 1)])
def test_build__of_a_corpus_fails_when_it_is_not_complete(
    dojo: Dojo, folder: Path, monkeypatch: pytest.MonkeyPatch, missing: tuple[str, ...], status: int
) -> None:
    monkeypatch.setattr(corpora, "corpus_names", lambda: ["corpus-tiny"])
    monkeypatch.setattr(
        building, "build_standard", lambda names, workers, progress: [build_from_bundled(names[0], folder, missing)]
    )
    done = dojo("programs", "build", "corpus-tiny")
    assert done.status == status
    assert "corpus-tiny: 5 programs in" in done.out
    assert ("not complete" in done.err) == bool(missing)


def test_build__says_how_to_go_on_after_an_interruption(dojo: Dojo, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> BuildResult:
        raise KeyboardInterrupt

    monkeypatch.setattr(building, "build_packages", interrupted)
    done = dojo("programs", "build", "debian", "--packages", "zlib,lua5.4")
    assert done.status == 130
    assert "the same command goes on: dojo programs build debian --packages zlib,lua5.4" in done.err


def test_standard_names__groups_become_their_members_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpora, "corpus_names", lambda: ["corpus-mini", "corpus-test"])
    everything = list(corpora.GROUPS["corpus"])
    assert standard_names(["corpus", "corpus-mini", "corpus-test"]) == [*everything, "corpus-mini"]


def test_package_names__come_from_a_text_or_a_file() -> None:
    assert package_names(" zlib ,lua5.4,") == ("zlib", "lua5.4")
    Path("list").write_text("# small ones\nzlib=1:1.2\n\nlua5.4\n")
    assert package_names("list") == ("zlib=1:1.2", "lua5.4")


def test_default_name__says_what_was_chosen() -> None:
    assert default_name(PackageChoice(packages=("zlib=1:1.2",))) == "debian-zlib"
    assert default_name(PackageChoice("pypi", packages=("a", "b"))) == "pypi-packages"
    assert default_name(PackageChoice(sample=50, seed=2)) == "debian-sample-50-seed-2"


def test_import__needs_replace_for_a_name_that_is_taken(dojo: Dojo, mine: str) -> None:
    again = dojo("programs", "import", "src", "--name", mine)
    assert again.status == 1
    assert "there is a set 'mine'" in again.err
    values = json.loads(dojo("programs", "import", "src", "--name", mine, "--replace", "--json").out)
    assert (values["programs"], values["reasons"]) == (3, {"CompilationError": 1})
    assert list(values["failures"]) == ["broken.c"]


def test_import__shows_the_first_failures(dojo: Dojo) -> None:
    Path("many").mkdir()
    for number in range(22):
        Path("many", f"{number}.ll").write_text("no IR")
    shutil.copy(SOURCES / "crypto/xtea.c", "many")
    assert "2 more files: --json lists all" in dojo("programs", "import", "many", "--name", "many").out


@pytest.mark.parametrize(("format", "suffix"), [("bitcode", "bc"), ("ir", "ll")])
def test_export__writes_a_file_for_each_program(dojo: Dojo, format: str, suffix: str) -> None:
    done = dojo("programs", "export", SET, "out", "--format", format)
    assert (done.status, done.out) == (0, "5 programs in out\n")
    assert len(list(Path("out").rglob(f"*.{suffix}"))) == 5


def test_export__writes_a_set_that_commands_take_by_its_folder(dojo: Dojo) -> None:
    assert dojo("programs", "export", SET, "out", "--format", "parquet").status == 0
    values = json.loads(dojo("programs", "list", "out", "--json").out)
    assert [row["uri"] for row in values["programs"]] == list(load_programs(SET).uris)


MISTAKES = [
    (["list", "absent.c"], "UnknownProgramError: no program matches 'absent.c'"),
    (["list", "bundled/tests"], "UnknownProgramError: no bundled program or set 'tests': did you mean"),
    (["show", SET], "InvalidConfigError: bundled/simulation means 5 programs: choose one, such as bundled://simul"),
    (["show", "xtee", "--in", "bundled"], "UnknownProgramError: no program 'xtee' in bundled: did you mean"),
    (["show", URI, "--ir", "--json"], "InvalidConfigError: --ir, --source and --json exclude each other"),
    (["stats", SET, SET], "InvalidConfigError: a set is named twice among bundled/simulation, bundled/simulation"),
    (["stats", SET, "--check"], "InvalidConfigError: --check compares splits: name at least two sets"),
    (["build", "debiam"], "InvalidConfigError: nothing called 'debiam' to build: did you mean 'debian'?"),
    (["build", "debian", "pypi"], "InvalidConfigError: debian is built by itself: give a command for each set"),
    (["build", "debian"], "InvalidConfigError: which packages? Give names, or a sample"),
    (["build", "debian", "--packages", "a", "--instructions", "5"], "InvalidConfigError: instructions=5: expected LOW"),
    (["build", "corpus", "--seed", "1"], "InvalidConfigError: --seed is for debian and pypi: the standard corpora are"),
    (["import", "absent", "--name", "a"], "UnknownProgramError: absent: expected a folder with"),
    (["export", SET, "out", "--format", "bitcod"], "InvalidConfigError: sets are not written as 'bitcod': did you"),
]


@pytest.mark.parametrize(("arguments", "message"), MISTAKES, ids=[" ".join(item[0]) for item in MISTAKES])
def test_mistake__is_a_class_and_a_message_and_leaves_nothing(
    dojo: Dojo, tmp_path: Path, arguments: list[str], message: str
) -> None:
    done = dojo("programs", *arguments)
    assert (done.status, done.out) == (1, "")
    assert " ".join(done.err.split()).startswith(message)
    assert list(tmp_path.iterdir()) == []


def test_mistake__a_list_of_packages_that_is_no_text(dojo: Dojo) -> None:
    Path("list").write_bytes(b"\xff\xfe")
    done = dojo("programs", "build", "debian", "--packages", "list")
    assert done.status == 1
    assert "InvalidConfigError: list: not a list of packages, one in each line" in done.err


def test_source_text__says_when_the_file_is_gone() -> None:
    program = dataclasses.replace(load_programs(URI).get(URI), source=Path("gone.c"))
    with pytest.raises(UnknownProgramError, match="its source cannot be read"):
        source_text(program)
