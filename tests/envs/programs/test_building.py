"""Sets built from packages: what is in them, the same everywhere, and what is missing is named."""

import dataclasses
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from building_tools import function, hashes
from debian_archive import PLAIN, LocalArchive, tarball, write_headers

from compiler_dojo.envs.errors import (
    DatasetError,
    FetchError,
    InvalidConfigError,
    ToolchainError,
    UnknownProgramError,
)
from compiler_dojo.envs.llvm.lowering import find_clang
from compiler_dojo.envs.llvm.sandbox import find_sandbox
from compiler_dojo.envs.programs import building, corpora, load_programs
from compiler_dojo.envs.programs.building import BuildResult, PackageChoice, build_packages, build_standard
from compiler_dojo.envs.programs.corpora import Corpus, PinnedPackage, write_corpus
from compiler_dojo.envs.programs.sources import debian as debian_source
from compiler_dojo.envs.programs.sources.archive import Archive
from compiler_dojo.envs.programs.sources.headers import Headers
from compiler_dojo.envs.programs.storage import open_set, read_rows
from compiler_dojo.envs.programs.stored import StoredPrograms

pytestmark = pytest.mark.usefixtures("cache")
if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
    pytest.skip("there is no apt", allow_module_level=True)


# what some units make the compiler look for must not change what others become
ALPHA = {
    "a.c": '#include "config.h"\n' + function("a"),
    "b.c": "#ifdef HAVE_CONFIG_H\nint told;\n#endif\n#ifdef HAVE_STRING_H\nint more;\n#endif\n" + function("b", 7),
    "c.c": '#include "deep/version.h"\n' + function("c", 8),
    "d.c": '#include "build_info.h"\n#ifdef VERSION\nconst char *version = VERSION;\n#endif\n' + function("d", 9),
    "e.c": function("e").replace("return x", "return printf(PACKAGE_VERSION, x)"),
    "f.cc": "template <class T> T f(T x) { return x; }\n" + function("g").replace("return x", "return f(x)"),
    "tiny.c": "int tiny(void) { return 1; }\n",
    "broken.c": "#error never\n",
    "COPYING": "GPL",
}
BETA = {"same.c": ALPHA["b.c"], "own.c": function("own", 10)}
COPYRIGHT = "Format: x\n\nFiles: *\nLicense: Expat\n"


@dataclasses.dataclass(frozen=True)
class World:
    """An archive with packages, and headers."""

    local: LocalArchive
    headers: Headers

    def archive(self) -> Archive:
        return self.local.open()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    local = LocalArchive(tmp_path_factory.mktemp("world") / "debian")
    local.add("alpha", "1:1-1", ALPHA, COPYRIGHT, maintainer="A <a@example.org>")
    local.add("beta2", "2-1", BETA)
    local.add("plain", "3-1", PLAIN)
    for number in range(6):
        text = function(f"drawn{number}", 12 + number)
        local.add(f"drawn{number}", "1-1", {"x.c": text, "data.bin": os.urandom(50_000)})
    return World(local, Headers(write_headers(tmp_path_factory.mktemp("headers"))))


@pytest.fixture
def build(world: World) -> Callable[..., BuildResult]:
    """Build these packages, by one process."""

    def build(*packages: str, name: str = "mine", root: Path | None = None, **settings: Any) -> BuildResult:
        choice = PackageChoice(packages=packages, **settings)
        return build_packages(name, choice, root, workers=1, archive=world.archive(), headers=world.headers)

    return build


def details(folder: Path) -> Mapping[str, Any]:
    manifest = StoredPrograms(folder).manifest
    assert manifest is not None
    return manifest.details


@pytest.fixture(scope="module")
def whole(world: World, tmp_path_factory: pytest.TempPathFactory) -> BuildResult:
    """All programs of two packages, and what was told on the way."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOJO_CACHE", str(folder / "cache"))
        choice = PackageChoice(packages=("alpha", "beta2=2-1"))
        return build_packages("whole", choice, folder, 2, archive=world.archive(), headers=world.headers)


def test_packages__become_a_set_without_duplicates(whole: BuildResult) -> None:
    programs = open_set(whole.folder)
    # the same module is in two packages, and the first in the order of URIs stays
    units = ["alpha/a.c", "alpha/b.c", "alpha/c.c", "alpha/d.c", "alpha/e.c", "alpha/f.cc", "beta2/own.c"]
    assert [program.uri for program in programs] == [f"debian://{unit}" for unit in units]
    assert (whole.programs, whole.incomplete, whole.folder.name) == (7, (), "whole")
    assert {program.project for program in programs} == {"alpha", "beta"}
    assert programs[0].provenance.license_expression == "MIT"
    assert re.fullmatch(r"alpha_1.orig.tar.gz#sha256=[0-9a-f]{64}", programs[0].provenance.package_source)
    assert all(row.measurement.instructions_oz for row in read_rows(whole.folder))


def test_details__say_what_was_built_of_what(whole: BuildResult) -> None:
    found = details(whole.folder)
    assert found == whole.details
    assert found["command"] == "dojo programs build debian --name whole"
    assert found["choice"]["packages"] == ["alpha", "beta2=2-1"]
    assert found["duplicates"] == {"module in the same split": 1}
    assert found["workers"] == 2
    summary = found["build"]
    assert (summary["packages"], summary["found"], summary["tried"], summary["compiled"]) == (2, 10, 10, 9)
    assert (summary["reasons"], summary["left_out"]) == ({"#error": 1}, {"fewer instructions": 1})
    assert summary["kept"] == whole.programs + sum(found["duplicates"].values())
    assert [(p["name"], p["version"], p["kept"]) for p in found["packages"]] == [
        ("alpha", "1:1-1", 6),
        ("beta2", "2-1", 2),
    ]


def test_progress__counts_packages_up_to_all(build: Callable[..., BuildResult], world: World) -> None:
    told: list[tuple[int, int, str]] = []
    choice = PackageChoice(packages=("plain", "beta2", "drawn0"))
    build_packages("mine", choice, None, 2, lambda *step: told.append(step), world.archive(), world.headers)
    assert [done for done, _, _ in told] == sorted(done for done, _, _ in told)
    assert {total for _, total, _ in told} == {3}
    assert told[-1] == (3, 3, "writing mine")
    assert sorted(text.partition(":")[0] for done, _, text in told[:-1] if done) == ["beta2", "drawn0", "plain"]


def test_set__is_known_by_its_name_and_leaves_no_files_behind(
    build: Callable[..., BuildResult], cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", None)
    result = build("plain")
    assert result.folder == tmp_path / "programs" / "mine"
    assert [program.uri for program in load_programs("mine")] == ["debian://plain/src/plain.c"]
    assert list((cache / "builds").iterdir()) == []
    assert list((tmp_path / "tmp").iterdir()) == []
    assert sorted(path.name.partition("-")[0] for path in result.folder.iterdir()) == [
        "index", "manifest.json", "shard",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["../x", "csmith", "bundled", "", "a/b", ".hidden", "debian+linked", "http"])
def test_name__that_means_something_else_is_refused(build: Callable[..., BuildResult], name: str) -> None:
    with pytest.raises(InvalidConfigError, match=r"cannot name a set|means something else"):
        build("plain", name=name)


def test_choice__of_nothing_or_of_what_is_not_there_is_refused(build: Callable[..., BuildResult]) -> None:
    with pytest.raises(InvalidConfigError, match="which packages"):
        build()
    with pytest.raises(InvalidConfigError, match="from 'debian' or 'pypi', got 'npm'"):
        build("plain", scheme="npm")
    with pytest.raises(InvalidConfigError, match="samples are drawn from 'debian' only"):
        build(scheme="pypi", sample=3)
    with pytest.raises(UnknownProgramError, match=r"no sources of 'plan': did you mean 'plain'"):
        build("plan")
    with pytest.raises(UnknownProgramError, match=r"has plain 3-1, not 4"):
        build("plain=4")


def test_two_versions_of_a_package__are_not_one_set(build: Callable[..., BuildResult], debian: LocalArchive) -> None:
    for version in ("1-1", "2-1"):
        debian.add("twice", version, PLAIN)
    choice = PackageChoice(packages=("twice=1-1", "twice"))
    with pytest.raises(InvalidConfigError, match="twice is asked for in two versions"):
        build_packages("mine", choice, archive=debian.open())


def test_package__named_twice_counts_once(build: Callable[..., BuildResult]) -> None:
    result = build("plain", "plain=3-1")
    assert (result.programs, result.details["build"]["packages"]) == (1, 1)


def test_sample__is_drawn_by_its_seed_among_packages_of_ordinary_size(world: World) -> None:
    archive = world.archive()

    def drawn(seed: int) -> list[str]:
        return [package.name for package in building._chosen(PackageChoice(sample=3, seed=seed), archive)]

    draws = {seed: drawn(seed) for seed in range(6)}
    assert draws == {seed: drawn(seed) for seed in range(6)}
    assert len({tuple(names) for names in draws.values()}) > 1
    assert all(len(set(names)) == 3 and all(name.startswith("drawn") for name in names) for names in draws.values())
    assert len(building._chosen(PackageChoice(sample=50), archive)) == 6


def test_nothing_suitable__is_named(build: Callable[..., BuildResult], tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"mine would be empty: no unit of these packages is such a program"):
        build("plain", instructions=(5_000, 6_000))
    assert not (tmp_path / "programs" / "mine").exists()


def test_own_build_and_linked__are_other_sets_of_a_package(
    build: Callable[..., BuildResult], world: World, debian: LocalArchive
) -> None:
    files = {
        "main.c": "int part(int);\n#ifdef WITH_MAIN\n"
        + function("more") + "int main(void) { return part(3) + more(2); }\n#endif\n",
        "part.c": function("part", 9),
        "never.c": function("never", 3),
        "Makefile": "all:\n\t$(CC) -DWITH_MAIN -O2 -c main.c\n\t$(CC) -O2 -c part.c\n",
    }  # fmt: skip
    debian.add("made", "1-1", files)

    def programs(name: str, **settings: bool) -> list[str]:
        choice = PackageChoice(packages=("made",), **settings)
        result = build_packages(name, choice, workers=1, archive=debian.open(), headers=world.headers)
        return [program.uri for program in open_set(result.folder)]

    if find_sandbox().kind != "limits":
        assert programs("one", own_build=True) == ["debian://made/main.c", "debian://made/part.c"]
        assert programs("two", own_build=True, linked=True) == ["debian+linked://made/main.c"]
    with pytest.raises(DatasetError, match="three would be empty"):
        programs("three", linked=True)


@pytest.fixture
def lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of lists."""
    (tmp_path / "lists").mkdir()
    monkeypatch.setattr(corpora, "FOLDER", tmp_path / "lists")
    return tmp_path / "lists"


def pinned(world: World, units: Mapping[str, Mapping[str, str]], **changes: Any) -> tuple[PinnedPackage, ...]:
    archive = world.archive()
    packages = [archive.find(name) for name in units]
    return tuple(
        dataclasses.replace(
            PinnedPackage(p.name, p.version, p.sources.sha256, f"{p.name}-project", "text", units[p.name]), **changes
        )
        for p in packages
    )


def listed(whole: BuildResult, *uris: str) -> dict[str, dict[str, str]]:
    """These units of the whole set with their hashes, by package."""
    units: dict[str, dict[str, str]] = {}
    for uri, sha256 in hashes(whole).items():
        package, _, unit = uri.removeprefix("debian://").partition("/")
        if not uris or f"{package}/{unit}" in uris:
            units.setdefault(package, {})[unit] = sha256[:16]
    return units


def test_pinned_list__gives_the_same_programs_elsewhere_and_of_fewer_units(
    world: World, whole: BuildResult, lists: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subsets = {
        "all": listed(whole),
        "some": listed(whole, "alpha/b.c", "alpha/e.c", "alpha/f.cc"),
        "others": listed(whole, "alpha/d.c", "beta2/own.c"),
    }
    for name, units in subsets.items():
        write_corpus(Corpus(name, "A few.", pinned(world, units), selection={"tried": 3}), lists)
    monkeypatch.setenv("DOJO_CACHE", str(tmp_path / "another" / "cache"))
    results = build_standard([*subsets, "some"], tmp_path / "out", 2, archive=world.archive(), headers=world.headers)
    assert [(result.name, result.incomplete) for result in results] == [("all", ()), ("some", ()), ("others", ())]
    expected = hashes(whole)
    assert hashes(results[0]) == expected
    for result in results[1:]:
        found = hashes(result)
        assert len(found) == result.programs == sum(map(len, subsets[result.name].values()))
        assert found == {uri: expected[uri] for uri in found}
    program = open_set(results[1].folder)[0]
    assert (program.project, program.domain) == ("alpha-project", "text")
    assert details(results[0].folder)["selection"] == {"tried": 3}
    contents = [StoredPrograms(folder).manifest for folder in (results[0].folder, whole.folder)]
    assert contents[0] is not None
    assert contents[1] is not None
    assert contents[0].version == contents[1].version


def test_pinned_list__that_no_longer_holds_is_built_as_far_as_it_does(
    world: World, whole: BuildResult, lists: Path, tmp_path: Path
) -> None:
    units = listed(whole, "alpha/a.c", "alpha/b.c", "alpha/c.c", "beta2/own.c")
    units["alpha"] |= {"b.c": "0" * 16, "gone.c": "1" * 16}
    alpha, beta = pinned(world, units)
    plain, drawn = pinned(world, {"plain": {"src/plain.c": "0" * 16}, "drawn0": {"x.c": "0" * 16}})
    packages = (
        alpha,
        dataclasses.replace(beta, version="1-1"),
        dataclasses.replace(plain, sha256="0" * 64),
        dataclasses.replace(drawn, name="vanished", units={"x.c": "0" * 16, "y.c": "0" * 16}),
    )
    write_corpus(Corpus("aged", "Of long ago.", packages), lists)
    (result,) = build_standard(["aged"], tmp_path, 1, archive=world.archive(), headers=world.headers)
    assert sorted(hashes(result)) == ["debian://alpha/a.c", "debian://alpha/c.c"]
    beta_gone, plain_changed, vanished, unlike, absent = result.incomplete
    assert "1 programs are missing: the archive has beta2 2-1, not 1-1" in beta_gone
    assert "plain 3-1 has other sources than the list names" in plain_changed
    assert "2 programs are missing: the archive has no sources of 'vanished'" in vanished
    assert "alpha: 1 programs are not those of the list" in unlike
    assert "alpha: 1 programs of the list could not be made: {'other': 1}" in absent
    assert result.details["build"]["unlike"] == 1


def test_pinned_list__of_which_nothing_holds_is_an_error(world: World, lists: Path) -> None:
    write_corpus(Corpus("lost", "Gone.", pinned(world, {"plain": {"src/plain.c": "0" * 16}}, name="vanished")), lists)
    with pytest.raises(DatasetError, match=r"lost would be empty: .*no sources of 'vanished'"):
        build_standard(["lost"], archive=world.archive(), headers=world.headers)
    with pytest.raises(UnknownProgramError, match=r"no standard corpus 'los': did you mean 'lost'"):
        build_standard(["los"], archive=world.archive(), headers=world.headers)


def test_no_network__is_named(debian: LocalArchive, world: World) -> None:
    (debian.configuration / "sources.list").write_text("deb [trusted=yes] http://127.0.0.1:9/debian ./\n")
    with pytest.raises(FetchError, match="check the network"):
        build_packages("mine", PackageChoice(sample=1), archive=debian.open(), headers=world.headers)


def test_missing_clang__is_named_before_anything_is_fetched(
    build: Callable[..., BuildResult], debian: LocalArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    find_clang()
    monkeypatch.setenv("DOJO_CLANG", "/no/such/clang")
    # found earlier by this process, looked for by those that compile
    with pytest.raises(ToolchainError, match="DOJO_CLANG=/no/such/clang is not one"):
        build("plain")
    debian.add("plain", "1-1", PLAIN)
    archive = debian.open()
    find_clang.cache_clear()
    try:
        with pytest.raises(ToolchainError, match="DOJO_CLANG=/no/such/clang is not one"):
            build_packages("mine", PackageChoice(packages=("plain",)), archive=archive)
    finally:
        monkeypatch.undo()
        find_clang.cache_clear()
    assert not archive.downloads.exists()


def test_sdists__are_built_as_far_as_they_can_be_fetched(
    world: World, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    sdist = cache / "pypi" / "plain" / "plain-1.0.tar.gz"
    sdist.parent.mkdir(parents=True)
    sdist.write_bytes(tarball({**PLAIN, "PKG-INFO": "Name: plain\nVersion: 1.0\n"}, prefix="plain-1.0/"))
    sdist.with_name(f"{sdist.name}.sha256").write_text(hashlib.sha256(sdist.read_bytes()).hexdigest())

    def build(*packages: str) -> BuildResult:
        choice = PackageChoice("pypi", packages)
        return build_packages("mine", choice, None, 1, archive=world.archive(), headers=world.headers)

    result = build("plain==1.0", "dojo-away")
    assert list(hashes(result)) == ["pypi://plain/src/plain.c"]
    assert "dojo-away" in result.incomplete[0]
    with pytest.raises(FetchError, match=r"no package could be fetched: .*dojo-away"):
        build("dojo-away")


def test_cache__that_cannot_be_written_is_named(
    build: Callable[..., BuildResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("DOJO_CACHE", str(tmp_path / "file"))
    with pytest.raises(DatasetError, match=r"cannot be written: .*set DOJO_CACHE to another folder"):
        build("plain")


def test_other_versions_of_the_headers__are_used_and_told_of(
    debian: LocalArchive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    debian.add("plain", "1-1", PLAIN)
    debian.add_headers("libc6-dev", "2")
    (tmp_path / "headers.json").write_text('{"libc6-dev": "1"}')
    monkeypatch.setattr(debian_source, "HEADERS", tmp_path / "headers.json")
    result = build_packages("mine", PackageChoice(packages=("plain",)), None, 1, archive=debian.open())
    assert result.programs == 1
    assert "the archive has other versions of the pinned headers" in result.incomplete[0]
