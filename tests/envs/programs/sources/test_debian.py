"""``debian://``: units and whole programs of packages by URI, the same as a build gives."""

import pickle
from collections.abc import Iterator

import pytest
from debian_archive import LocalArchive

from compiler_dojo.envs.errors import CompilationError, FetchError, UnknownProgramError
from compiler_dojo.envs.programs import load_programs
from compiler_dojo.envs.programs.building import PackageChoice, build_packages
from compiler_dojo.envs.programs.sources import debian as module
from compiler_dojo.envs.programs.sources.headers import Headers
from compiler_dojo.envs.programs.storage import open_set

LOOP = "{ int s = 0; for (int i = 0; i < n; i++) s += i * i; for (int i = 3; i < n; i++) s ^= i / 3; return s; }\n"
FILES = {
    "main.c": f"int part(int);\nint own(int n) {LOOP}int main(void) {{ return own(2) + part(3); }}\n",
    "lib/part.c": f'#include "config.h"\nint part(int n) {LOOP}int unused(int n) {LOOP}',
    "lib/more.cc": f"int more(int n) {LOOP}",
    "tests/broken.c": "#error never\n",
}


@pytest.fixture
def packages(debian: LocalArchive, headers: Headers, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalArchive]:
    """The machine's archive has these packages."""
    debian.add("whole", "1:1-1", {**FILES, "lib/part.c": f"int part(int n) {LOOP}"})
    debian.add("whole", "1:2-1", FILES, "Format: x\n\nFiles: *\nLicense: Expat\n")
    debian.add("scripts", "1-1", {"run.py": "pass\n"})
    debian.add("parts", "1-1", {"a.c": f"int a(int n) {LOOP}"})
    caches = (module._load, module._fetched, module._units, module._linked)
    archive = debian.open()
    monkeypatch.setattr(module, "shared_archive", lambda: archive)
    monkeypatch.setattr(module, "shared_headers", lambda: headers)
    yield debian
    for cache in caches:
        cache.cache_clear()


@pytest.mark.parametrize(
    ("uri", "units"),
    [
        ("whole", ["lib/more.cc", "lib/part.c", "main.c", "tests/broken.c"]),
        ("whole/", ["lib/more.cc", "lib/part.c", "main.c", "tests/broken.c"]),
        ("whole/lib", ["lib/more.cc", "lib/part.c"]),
        ("whole/*.c", ["lib/part.c", "main.c", "tests/broken.c"]),
        ("whole/lib/p*", ["lib/part.c"]),
        ("whole/main.c", ["main.c"]),
    ],
)
def test_uri__means_units(packages: LocalArchive, uri: str, units: list[str]) -> None:
    sources = load_programs(f"debian://{uri}").sources
    assert sorted(source.uri for source in sources) == [f"debian://whole/{unit}" for unit in units]
    assert pickle.loads(pickle.dumps(sources)) == sources


def test_programs__are_those_of_a_build(
    packages: LocalArchive, headers: Headers, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOJO_CACHE", str(tmp_path / "cache"))
    for linked, instructions in ((False, 3), (True, 2)):
        name = f"linked-{linked}".lower()
        choice = PackageChoice(packages=("whole",), linked=linked, instructions=(20, 10_000))
        result = build_packages(name, choice, tmp_path, 1, archive=packages.open(), headers=headers)
        built = open_set(result.folder)
        assert len(built) == instructions - linked
        for program in built:
            (found,) = load_programs(program.uri)
            assert found == program
            assert (found.sha256, found.provenance) == (program.sha256, program.provenance)
            assert found.provenance.license_expression == "MIT"


def test_version__is_part_of_the_uri(packages: LocalArchive) -> None:
    (old,) = load_programs("debian://whole=1:1-1/lib/part.c")
    (new,) = load_programs("debian://whole/lib/part.c")
    (same,) = load_programs("debian://whole=1:2-1/lib/part.c")
    assert (old.uri, old.provenance.version) == ("debian://whole=1:1-1/lib/part.c", "1:1-1")
    assert (new.uri, new.provenance.version) == ("debian://whole/lib/part.c", "1:2-1")
    assert old.sha256 != new.sha256 == same.sha256
    both = load_programs("debian://whole=1:1-1/lib/part.c,debian://whole=1:2-1/lib/part.c")
    assert len({program.uri for program in both}) == 2


def test_linked__are_the_units_that_make_whole_programs(packages: LocalArchive) -> None:
    (program,) = load_programs("debian+linked://whole")
    assert program.uri == "debian+linked://whole/main.c"
    assert [source.uri for source in load_programs("debian+linked://whole/*").sources] == [program.uri]
    assert load_programs("debian+linked://whole=1:2-1/main.c")[0].uri == "debian+linked://whole=1:2-1/main.c"
    with pytest.raises(UnknownProgramError, match=r"no unit of whole there makes a whole program: try debian://"):
        load_programs("debian+linked://whole/lib")
    (part,) = load_programs("debian+linked://whole/lib/part.c").sources
    with pytest.raises(CompilationError, match=r"lib/part.c makes no whole program: it defines no main"):
        part.load()
    (broken,) = load_programs("debian+linked://whole/tests/broken.c").sources
    with pytest.raises(CompilationError, match=r"broken.c makes no whole program: error: never"):
        broken.load()


def test_unit__that_does_not_compile_says_so_when_it_is_loaded(packages: LocalArchive) -> None:
    (broken,) = load_programs("debian://whole/tests/broken.c").sources
    with pytest.raises(CompilationError, match=r"broken.c does not compile outside .*#error: error: never"):
        broken.load()


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("debian://", r"which package\? A URI is debian://PACKAGE/PATH"),
        ("debian+linked://", r"which package\?"),
        ("debian://hole", "no sources of 'hole': did you mean 'whole'"),
        ("debian://whole=3/main.c", r"has whole 1:1-1, 1:2-1, not 3"),
        ("debian://whole/man.c", r"whole has no unit 'man.c': did you mean 'main.c'"),
        ("debian://whole/lib/pat.c", "did you mean 'lib/part.c'"),
        ("debian://whole/*.f90", "no program matches"),
        ("debian://scripts", r"scripts has no C or C\+\+ in its sources"),
        ("debian+linked://parts", "no unit of parts there makes a whole program"),
    ],
)
def test_unknown__is_answered_with_what_is_near(packages: LocalArchive, uri: str, message: str) -> None:
    with pytest.raises(UnknownProgramError, match=message):
        load_programs(uri)


def test_package__that_cannot_be_fetched_is_named(packages: LocalArchive) -> None:
    for file in packages.pool.glob("parts_*"):
        file.unlink()
    with pytest.raises(FetchError, match="of parts 1-1 could not be fetched"):
        load_programs("debian://parts/a.c")
