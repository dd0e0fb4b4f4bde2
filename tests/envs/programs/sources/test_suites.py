"""Published suites: every one in the form in which it is published, listed, loaded, upgraded, compiled, refused."""

import bz2
import dataclasses
import gzip
import hashlib
import io
import pickle
import re
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from compiler_dojo.envs.errors import (
    CompilationError,
    FetchError,
    UnknownProgramError,
    UnreadableProgramError,
    UnsafeArchiveError,
)
from compiler_dojo.envs.llvm.session import CompilerSession
from compiler_dojo.envs.programs import ProgramSet, load_programs
from compiler_dojo.envs.programs.bitcode import producer
from compiler_dojo.envs.programs.sources import suites
from compiler_dojo.envs.programs.sources.fetching import RemoteFile
from compiler_dojo.envs.programs.sources.suite_table import SUITES, Suite, SuiteHeaders, complete_poj104
from compiler_dojo.envs.programs.sources.suites import SuiteSource, select

BUNDLED = ["graphs/union_find", "containers/ring_buffer", "strings/text_diff"]

# as AnghaBench has them: a function with what it needs declared, and more that was a warning once
C = b"typedef long scalar_t__;\nstruct T {int n;};\n__attribute__((used)) static f(struct T *t) { return g(t->n); }\n"
POJ104 = b'#include <stdio.h>\nvoid main()\n{ int a[MAX]; scanf("%d", &a[0]); cout << a[0] << endl; }\n'
OPENCL = b"__kernel void A(__global FLOAT* a, const int n) {\n  int i = get_global_id(0);\n  if (i < n) a[i] *= 2;\n}\n"
OPENCL_HEADERS = {"clc/clc.h": b"#define FLOAT float\ntypedef unsigned uint;\nunsigned long get_global_id(uint);\n"}
OLD = (Path(__file__).parents[1] / "bitcode" / "union_find_llvm13.bc").read_bytes()
SOURCES = {".c": C, ".txt": POJ104, ".cl": OPENCL}


def tar_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture
def publish(mirror, monkeypatch) -> Iterator[Callable[..., Suite]]:
    """Publish a suite with these files, below its prefix, in its archive's form, under the published file names."""

    def put(remote: RemoteFile, content: bytes) -> RemoteFile:
        packed = gzip.compress(content) if remote.name.endswith("gz") else bz2.compress(content)
        mirror.files[remote.name] = packed if not remote.name.endswith(".h") else content
        return dataclasses.replace(remote, sha256=hashlib.sha256(mirror.files[remote.name]).hexdigest())

    def run(name: str, files: dict[str, bytes], names: str | None = None) -> Suite:
        suite = SUITES[name]
        tar = tar_of({"elsewhere/README": b"not a program", **{f"{suite.prefix}/{k}": v for k, v in files.items()}})
        changed = dataclasses.replace(suite, archive=put(suite.archive, tar))
        if isinstance(suite.names, RemoteFile):
            listed = names if names is not None else "".join(f"{key.removesuffix(suite.suffix)}\n" for key in files)
            changed = dataclasses.replace(changed, names=put(suite.names, listed.encode()))
        if suite.headers:
            included = put(suite.headers.included, b"#define cl_clang_storage_class_specifiers\n#include <clc/clc.h>\n")
            headers = SuiteHeaders(put(suite.headers.archive, tar_of(OPENCL_HEADERS)), included)
            changed = dataclasses.replace(changed, headers=headers)
        monkeypatch.setitem(SUITES, name, changed)
        return changed

    suites._load.cache_clear()
    yield run
    suites._load.cache_clear()


def bundled(key: str) -> bytes:
    return load_programs(f"bundled://{key}")[0].module


def structure(module: bytes) -> str:
    with CompilerSession(module) as session:
        return session.hash()


def instructions(module: bytes) -> int:
    with CompilerSession(module) as session:
        return session.instruction_count


def files_of(suite: Suite) -> dict[str, bytes]:
    """Three programs in the suite's form."""
    if not isinstance(suite.names, RemoteFile):
        return {file: C for _, file in suite.names}
    names = ["1/a", "1/b", "2/c"] if suite.suffix != ".txt" else ["1/a"]  # the whole C++ library takes seconds
    if suite.suffix != ".bc":
        return {f"{name}{suite.suffix}": SOURCES[suite.suffix] for name in names}
    return {f"{name}.bc": bundled(key) for name, key in zip(names, BUNDLED, strict=True)}


@pytest.mark.parametrize("name", SUITES)
def test_suite__is_listed_without_its_archive_and_loaded_with_it(publish, mirror, name) -> None:
    suite = publish(name, files_of(SUITES[name]))
    sources = select(f"compilergym://{name}", "compilergym")
    assert suite.archive.name not in mirror.asked_for()
    programs = [source.load() for source in sources]
    assert [program.uri for program in programs] == [f"compilergym://{name}/{source.name}" for source in sources]
    assert len(programs) == {"chstone-v0": 12, "poj104-v1": 1}.get(name, 3)
    for program in programs:
        assert instructions(program.module) > 3
        assert (program.lowering == "given") == (suite.suffix == ".bc") == (program.source is None)
        assert program.language == suite.language
        assert (program.provenance.package, program.provenance.version) == tuple(name.rsplit("-", 1))
        assert program.provenance.package_source == f"{suite.archive.name}#sha256={suite.archive.sha256}"
        assert program.provenance.license_expression == suite.licence
    asked = mirror.asked_for()
    assert len(asked) == len(set(asked)), "something was fetched twice"


def test_table__has_the_published_suites() -> None:
    required = (
        "cbench-v1 chstone-v0 mibench-v1 npb-v0 blas-v0 opencv-v0 tensorflow-v0 linux-v0 github-v0 poj104-v1 "
        "anghabench-v1 clgen-v0 jotaibench-v0"
    )
    assert set(required.split()) <= set(SUITES)
    for suite in SUITES.values():
        remotes = [suite.archive]
        remotes += [suite.names] if isinstance(suite.names, RemoteFile) else []
        remotes += [suite.headers.archive, suite.headers.included] if suite.headers else []
        for remote in remotes:
            assert remote.address.startswith("https://")
            assert re.fullmatch("[0-9a-f]{64}", remote.sha256)
    hashes = [suite.archive.sha256 for suite in SUITES.values()]
    assert len(set(hashes)) == len(hashes)


def test_select__takes_names_globs_and_whole_suites(publish) -> None:
    publish("cbench-v1", {f"{name}.bc": b"" for name in ("qsort", "crc32", "jpeg-c", "jpeg-d")})

    def names(uri: str) -> list[str]:
        return [uri.removeprefix("compilergym://cbench-v1/") for uri in load_programs(uri).uris]

    assert names("compilergym://cbench-v1/qsort") == ["qsort"]
    assert names("compilergym://cbench-v1/jpeg-*") == ["jpeg-c", "jpeg-d"]
    every = ["qsort", "crc32", "jpeg-c", "jpeg-d"]
    assert names("compilergym://cbench-v1") == names("compilergym://cbench-v1/") == every
    assert names("compilergym://cbench-v1/*") == every


def test_select__suggests_the_nearest(publish) -> None:
    publish("cbench-v1", {"qsort.bc": b"", "crc32.bc": b""})
    with pytest.raises(UnknownProgramError, match="no published suite 'cbench-v2': did you mean 'cbench-v1'"):
        select("compilergym://cbench-v2/qsort", "oz")
    with pytest.raises(UnknownProgramError, match="no program 'qsrt' in cbench-v1: did you mean 'qsort'"):
        select("compilergym://cbench-v1/qsrt", "oz")


def test_select__without_a_list_says_how_to_get_it(mirror) -> None:
    with pytest.raises(FetchError, match=r"npb-v0-manifest.bz2 could not be fetched: HTTP Error 404.*curl -L -o"):
        select("compilergym://npb-v0", "oz")
    assert [source.name for source in select("compilergym://chstone-v0/sha", "oz")] == ["sha"]


def test_sources__make_a_set_and_travel_between_processes(publish) -> None:
    publish("cbench-v1", {f"{key.split('/')[1]}.bc": bundled(key) for key in BUNDLED})
    sources = select("compilergym://cbench-v1", "oz")
    assert pickle.loads(pickle.dumps(sources)) == sources
    program = ProgramSet("cbench", sources).get("union_find")
    assert structure(program.module) == structure(bundled("graphs/union_find"))


def test_bitcode__of_an_old_llvm_is_upgraded(publish) -> None:
    publish("linux-v0", {"old.bc": OLD})
    module = SuiteSource("linux-v0", "old", "oz").load().module
    assert (producer(OLD), producer(module)) == ("LLVM13.0.1", producer(bundled(BUNDLED[0])))
    assert instructions(module) > 100


def test_bitcode__that_is_none_is_refused(publish) -> None:
    publish("cbench-v1", {"broken.bc": bundled(BUNDLED[0])[:1000]})
    (source,) = select("compilergym://cbench-v1", "oz")
    with pytest.raises(UnreadableProgramError, match="compilergym://cbench-v1/broken"):
        source.load()


def test_program__that_is_listed_but_not_there(publish) -> None:
    publish("cbench-v1", {"qsort.bc": b""}, names="qsort\nlame\n")
    with pytest.raises(FetchError, match=r"cbench-v1/lame is in the list .* but .*lame.bc is not in the"):
        SuiteSource("cbench-v1", "lame", "oz").load()


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "a/../../b"])
def test_list__with_a_path_that_leads_outside_is_refused(publish, name) -> None:
    publish("cbench-v1", {"qsort.bc": b""}, names=f"qsort\n{name}\n")
    with pytest.raises(UnsafeArchiveError, match=f"'{name}' is no name of a program"):
        select("compilergym://cbench-v1", "oz")


def test_archive__that_would_write_outside_is_refused(publish) -> None:
    publish("cbench-v1", {"../../qsort.bc": b""}, names="qsort\n")
    with pytest.raises(UnsafeArchiveError, match=r"cBench-v1/../../qsort.bc' leads outside"):
        SuiteSource("cbench-v1", "qsort", "oz").load()


def test_archive__with_another_hash_is_refused_and_not_kept(publish, mirror, tmp_path) -> None:
    suite = publish("cbench-v1", {"qsort.bc": bundled(BUNDLED[0])})
    good = mirror.files[suite.archive.name]
    mirror.files[suite.archive.name] = good[:-1] + b"!"
    with pytest.raises(FetchError, match=f"published was {suite.archive.sha256}"):
        SuiteSource("cbench-v1", "qsort", "oz").load()
    mirror.files[suite.archive.name] = good
    assert structure(SuiteSource("cbench-v1", "qsort", "oz").load().module) == structure(bundled(BUNDLED[0]))


def test_sources__are_compiled_with_the_wanted_lowering(publish) -> None:
    publish("anghabench-v1", {"8cc/extr_buffer.c_f.c": C, "8cc/bad.c": b"int f( {"})
    uri = "compilergym://anghabench-v1/8cc/extr_buffer.c_f"
    programs = {lowering: select(uri, lowering)[0].load() for lowering in ("oz", "compilergym")}
    assert {program.lowering for program in programs.values()} == {"oz", "compilergym"}
    assert programs["oz"].module != programs["compilergym"].module
    assert programs["oz"].source is not None
    with pytest.raises(CompilationError, match=r"bad\.c does not compile"):
        select("compilergym://anghabench-v1/8cc/bad", "oz")[0].load()


def test_sources__find_the_files_beside_them(publish) -> None:
    files = {
        "blowfish/bf.c": b'#include "bf_local.h"\nint main(void) { return N; }',
        "blowfish/bf_local.h": b"#define N 7",
    }
    publish("chstone-v0", files)
    assert instructions(select("compilergym://chstone-v0/blowfish", "oz")[0].load().module) > 0


def test_projects__are_suites_or_what_the_suite_is_made_of() -> None:
    assert SUITES["cbench-v1"].project("qsort") == "cbench"
    assert SUITES["anghabench-v1"].project("8cc/extr_buffer.c_f") == "anghabench/8cc"
    assert SUITES["poj104-v1"].project("17/1234") == "poj104/17"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (b"void main() {}", b"int main() {}"),
        (b"main() {}", b"int main() {}"),
        (b"int x;\nmain ( ) {}", b"int x;\nint main ( ) {}"),
        (b"int main() {}", b"int main() {}"),
        (b"int domain; // main\n", b"int domain; // main\n"),
    ],
)
def test_poj104__main_has_a_type(given, expected) -> None:
    completed = complete_poj104(given)
    assert completed.startswith(b"#include <bits/stdc++.h>\n")
    assert completed.endswith(b"#define MAX 1024\n" + expected)


def test_cache__holds_what_was_unpacked_once(publish, mirror, tmp_path) -> None:
    suite = publish("blas-v0", {"a/1.bc": bundled(BUNDLED[0])})
    SuiteSource("blas-v0", "a/1", "oz").load()
    suites._load.cache_clear()
    mirror.requests.clear()
    assert structure(SuiteSource("blas-v0", "a/1", "oz").load().module) == structure(bundled(BUNDLED[0]))
    assert mirror.requests == []
    assert (tmp_path / "cache" / "suites" / f"blas-v0-{suite.archive.sha256[:12]}" / "a" / "1.bc").is_file()
