"""Units of source distributions by URI, from archives that are in the cache already."""

import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from compiler_dojo.envs.errors import CompilationError, InvalidConfigError, UnknownProgramError
from compiler_dojo.envs.programs import load_programs
from compiler_dojo.envs.programs.folders import cache_folder
from compiler_dojo.envs.programs.sources import pypi
from compiler_dojo.envs.programs.sources.headers import Headers

FILES = {
    "src/add.c": '#include "add.h"\nint add(int x) { return x + ONE; }\n',
    "src/add.h": "#include <stdio.h>\n#define ONE 1\n",
    "src/twice.cpp": "template <class T> T twice(T x) { return x + x; }\nint four() { return twice(2); }\n",
    "src/broken.c": "int f(void) { return 1 +; }\n",
    "PKG-INFO": "Name: p\nLicense-Expression: Zlib\n",
}


@pytest.fixture(autouse=True)
def headers(tmp_path, monkeypatch) -> None:
    """A C library of one header."""
    (tmp_path / "root" / "usr" / "include").mkdir(parents=True)
    (tmp_path / "root" / "usr" / "include" / "stdio.h").write_text("int puts(const char *);\n")
    monkeypatch.setattr(pypi, "shared_headers", lambda: Headers(tmp_path / "root"))


@pytest.fixture
def package(tmp_path, monkeypatch, request) -> str:
    """The name of a package whose version 1.0 is in the cache; another for each test, as processes remember them."""
    monkeypatch.setenv("DOJO_CACHE", str(tmp_path / "cache"))
    name = "p" + hashlib.sha256(request.node.name.encode()).hexdigest()[:8]
    put(name, "tar.gz", FILES)
    return name


def put(name: str, suffix: str, files: dict[str, str]) -> Path:
    folder = cache_folder("pypi") / name
    folder.mkdir(parents=True)
    path = folder / f"{name}-1.0.{suffix}"
    if suffix == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for member, text in files.items():
                archive.writestr(f"{name}-1.0/{member}", text)
    else:
        with tarfile.open(path, "w:gz") as archive:
            for member, text in files.items():
                entry = tarfile.TarInfo(f"{name}-1.0/{member}")
                entry.size = len(text)
                archive.addfile(entry, io.BytesIO(text.encode()))
    path.with_name(path.name + ".sha256").write_text(hashlib.sha256(path.read_bytes()).hexdigest())
    return path


def test_uri__is_one_unit_with_its_provenance(package) -> None:
    uri = f"pypi://{package}==1.0/src/add.c"
    program = load_programs(uri)[0]
    assert (program.uri, program.language, program.lowering, program.project) == (uri, "c", "oz", package)
    assert (program.provenance.package, program.provenance.version) == (package, "1.0")
    assert program.provenance.license_expression == "Zlib"
    assert program.provenance.package_source.startswith(f"{package}-1.0.tar.gz#sha256=")
    assert load_programs(uri, lowering="compilergym")[0].module != program.module


def test_package__is_all_its_units_and_globs_choose(package) -> None:
    prefix = f"pypi://{package}==1.0"
    assert load_programs(prefix).uris == tuple(f"{prefix}/src/{u}" for u in ("add.c", "broken.c", "twice.cpp"))
    chosen = load_programs(f"{prefix}/src/*.cpp")
    assert chosen.uris == (f"{prefix}/src/twice.cpp",)
    assert chosen[0].language == "c++"


def test_zip__is_read_too(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("DOJO_CACHE", str(tmp_path / "cache"))
    put("zipped", "zip", FILES)
    assert load_programs("pypi://zipped==1.0/src/add.c")[0].language == "c"


def test_load__says_why_a_unit_does_not_compile(package) -> None:
    program_set = load_programs(f"pypi://{package}==1.0/src/broken.c")
    with pytest.raises(CompilationError, match=r"broken.c does not compile outside .*own build: syntax: "):
        program_set[0]


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        ("/src/ad.c", "has no unit 'src/ad.c': did you mean 'src/add.c'?"),
        ("/src/x/*.c", "has no unit 'src/x': did you mean"),
        ("/src/*.cc", "no program matches"),
    ],
)
def test_unknown_unit__is_told_with_the_nearest(package, rest, message) -> None:
    with pytest.raises(UnknownProgramError, match=message.replace("?", r"\?")):
        load_programs(f"pypi://{package}==1.0{rest}")


def test_package_without_sources__is_refused(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("DOJO_CACHE", str(tmp_path / "cache"))
    put("pure", "tar.gz", {"pure.py": ""})
    with pytest.raises(UnknownProgramError, match=r"pure==1.0 has no C or C\+\+ in its sources"):
        load_programs("pypi://pure==1.0")


def test_uri_without_package__is_refused() -> None:
    with pytest.raises(UnknownProgramError, match="which package\\? A URI is pypi://NAME/PATH"):
        load_programs("pypi://")
    with pytest.raises(InvalidConfigError, match="'-x' is no name of a Python package"):
        load_programs("pypi://-x/a.c")
