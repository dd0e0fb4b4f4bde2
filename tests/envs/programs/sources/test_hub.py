"""ComPile: streamed from a hub on this machine, in the published order or drawn, refusals among the programs."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hub_server import Hub, serve_hub

from compiler_dojo.envs.errors import UnknownProgramError
from compiler_dojo.envs.programs import load_programs
from compiler_dojo.envs.programs.sources import hub as hub_module
from compiler_dojo.envs.programs.sources.hub import REPOSITORY, REVISION, HubSource, select, stream

pytest.importorskip("huggingface_hub")
pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

BUNDLED = load_programs("bundled/train")
PACKAGE = "https://packages.example/zlib/zlib-1.2.13.tar.gz"

# the hub's address is read when its client is imported: every question is asked in an interpreter of its own
ASK = """
import itertools, json, sys
from compiler_dojo.envs.errors import DojoError
from compiler_dojo.envs.programs import load_programs
from compiler_dojo.envs.programs.sources.hub import HubSource, Refused, select, stream

def show(item):
    if isinstance(item, Refused):
        return [item.uri, "refused", item.reason]
    provenance = item.provenance
    licence = [provenance.license_expression, provenance.license_source, list(provenance.license_files)]
    return [item.uri, item.sha256, item.language, item.lowering, item.project, provenance.package_source, licence]

def attempt(question):
    try:
        return question()
    except DojoError as error:
        return [type(error).__name__, str(error)]

"""


def row(content: bytes | None, language: str = "c", package_source: str | None = PACKAGE) -> dict[str, Any]:
    return {
        "content": content,
        "license_expression": "Zlib",
        "license_source": "spack",
        "license_files": ["LICENSE", "README"],
        "package_source": package_source,
        "language": language,
    }


def parquet_of(rows: list[dict[str, Any]]) -> bytes:
    """As ComPile's files are: one row group, not compressed."""
    buffer = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(rows), buffer, compression="NONE")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    """Programs 0 to 5 of C in three files, whose numbers do not sort like their names; 400 of Rust; others."""
    modules = [BUNDLED[index].module for index in range(6)]
    modules[1], modules[4] = b"no bitcode", None
    random = np.random.default_rng(0)
    files = {
        "data/c/train-10.parquet": [row(modules[5], package_source=None)],
        "data/c/train-2.parquet": [row(modules[2]), row(modules[3]), row(modules[4])],
        "data/c/train-1.parquet": [row(modules[0]), row(modules[1])],
        "data/rust/train-0.parquet": [row(random.bytes(20), "rust") for _ in range(300)],
        "data/rust/train-1.parquet": [row(random.bytes(20), "rust") for _ in range(100)],
        "data/swift/train-0.parquet": [{"text": "another data set"}],
        "data/julia/train-0.parquet": [row(random.bytes(20_000), "julia") for _ in range(3000)],
    }
    served = {name: parquet_of(rows) for name, rows in files.items()}
    served["data/cpp/README.md"] = b"no data"
    with serve_hub(Hub(REPOSITORY, REVISION, served)) as hub:
        yield hub


@pytest.fixture
def ask(hub, tmp_path):
    """Answer to a question in Python, asked with this hub."""

    def run(question: str, **variables: str) -> Any:
        variables = {
            "HF_ENDPOINT": hub.address,
            "HF_HOME": str(tmp_path / "hf"),
            "DOJO_CACHE": str(tmp_path),
            **variables,
        }
        done = subprocess.run(
            [sys.executable, "-c", f"{ASK}\nprint(json.dumps({question}))"],
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def test_stream__yields_programs_in_order_and_what_was_refused(ask) -> None:
    everything, first = ask('[[show(item) for item in stream("c")], [item.uri for item in stream("c", limit=2)]]')
    assert [item[0] for item in everything] == [f"compile://c/{index}" for index in range(6)]
    assert [index for index, item in enumerate(everything) if item[1] == "refused"] == [1, 4]
    assert "compile://c/1" in everything[1][2]
    zlib = ["c", "given", "zlib", PACKAGE, ["Zlib", "spack", ["LICENSE", "README"]]]
    assert [item[2:] for item in everything if item[1] != "refused"][:-1] == [zlib] * 3
    assert everything[5][4:6] == ["compile-c", ""]
    assert first == ["compile://c/0", "compile://c/1"]


def test_programs__by_index_are_those_of_the_stream(ask) -> None:
    streamed, loaded, beyond, refused = ask(
        """[
            [show(item) for item in stream("c") if not isinstance(item, Refused)],
            [show(HubSource("c", index).load()) for index in (0, 2, 3, 5)],
            attempt(lambda: HubSource("c", 6).load()),
            attempt(lambda: HubSource("c", 1).load()),
        ]"""
    )
    assert loaded == streamed
    assert beyond == ["UnknownProgramError", "compile://c/6: ComPile has 6 programs of this language"]
    assert refused[0] == "UnreadableProgramError"


def test_stream__with_a_seed_keeps_indices_and_repeats_itself(ask) -> None:
    drawn, again, other, all_drawn, hashes = ask(
        """[
            [item.uri for item in stream("rust", 50, seed=1)],
            [item.uri for item in stream("rust", 50, seed=1)],
            [item.uri for item in stream("rust", 50, seed=2)],
            sorted(int(item.uri.split("/")[-1]) for item in stream("rust", seed=3)),
            [sorted(show(item) for item in stream("c", seed=seed)) for seed in (None, 5)],
        ]"""
    )
    assert drawn == again
    assert drawn != other
    assert drawn != sorted(drawn)
    assert all_drawn == list(range(400))
    assert hashes[0] == hashes[1]


def test_stream__reads_no_more_than_it_needs(ask, hub) -> None:
    hub.read.clear()
    assert len(ask('[item.uri for item in stream("julia", limit=5)]')) == 5
    assert 0 < hub.read["data/julia/train-0.parquet"] < len(hub.files["data/julia/train-0.parquet"]) * 0.5


def test_select__counts_a_language_by_its_files(ask) -> None:
    every, some = ask(
        """[
            [source.uri for source in select("compile://c", "oz")],
            list(load_programs("compile://c/[2-4]").uris),
        ]"""
    )
    assert every == [f"compile://c/{index}" for index in range(6)]
    assert some == every[2:5]


def test_select__of_one_needs_no_hub() -> None:
    assert select("compile://c++/123", "oz") == [HubSource("c++", 123)]
    with pytest.raises(UnknownProgramError, match=r"compile://rust/abc: expected compile://rust/INDEX with a number"):
        select("compile://rust/abc", "oz")
    with pytest.raises(UnknownProgramError, match="no language 'rusty': did you mean 'rust'"):
        select("compile://rusty/1", "oz")
    with pytest.raises(UnknownProgramError, match="no language 'fortran': known: c, c"):
        next(stream("fortran"))


def test_hub__that_cannot_be_reached_says_what_to_do(ask) -> None:
    error, message = ask('attempt(lambda: next(stream("c")))', HF_ENDPOINT="http://127.0.0.1:9")
    assert error == "FetchError"
    assert "data/c could not be read" in message
    assert "set HF_ENDPOINT to a mirror of the hub" in message


def test_hub__without_the_commit_names_the_variable(ask) -> None:
    error, message = ask('attempt(lambda: next(stream("c")))', DOJO_COMPILE_REVISION="0" * 40)
    assert error == "FetchError"
    assert f"ComPile@{'0' * 40}/data/c could not be read" in message
    assert "DOJO_COMPILE_REVISION=main" in message


def test_hub__with_other_files_is_refused(ask) -> None:
    answers = ask('[attempt(lambda: next(stream(language))) for language in ("swift", "c++")]')
    assert [error for error, _ in answers] == ["FetchError", "FetchError"]
    assert "has the columns text, and no content" in answers[0][1]
    assert "data/cpp holds no Parquet files" in answers[1][1]


@pytest.mark.parametrize("missing", ["huggingface_hub", "pyarrow.parquet"])
def test_hub__without_its_client_names_what_to_install(ask, missing) -> None:
    question = f'[sys.modules.update({{"{missing}": None}}), attempt(lambda: next(stream("c")))][1]'
    error, message = ask(question)
    assert error == "ToolchainError"
    assert "ComPile needs" in message
    assert "`pip install 'compiler-dojo[compile]'`" in message


@pytest.mark.parametrize(
    ("package_source", "project"),
    [
        (PACKAGE, "zlib"),
        ("https://git.example/madler/zlib.git", "zlib"),
        ("https://git.example/madler/zlib/archive/refs/tags/v1.2.13.tar.gz", "zlib"),
        ("https://git.example/madler/zlib/archive/04f42ceca40f73e2978b50e93806c2a18c1281fc.zip", "zlib"),
        ("https://packages.example/crates/serde_json/serde_json-1.0.99.crate", "serde_json"),
        ("https://git.example/x/h264-tools/", "h264-tools"),
        ("https://packages.example/Foo_2.1-rc1.orig.tar.xz?download=1", "foo"),
        ("", ""),
    ],
)
def test_project__is_the_name_in_the_address(package_source, project) -> None:
    assert hub_module._project(package_source) == project
