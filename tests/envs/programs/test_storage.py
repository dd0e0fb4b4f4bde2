"""Stored sets: what goes in comes out, from anywhere, by anyone at once; damage and half sets are found."""

import dataclasses
import errno
import gc
import hashlib
import json
import multiprocessing
import os
import pickle
import random
import signal
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import gymnasium as gym
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from compiler_dojo.envs.errors import DatasetError, InvalidConfigError
from compiler_dojo.envs.programs import Program, load_programs
from compiler_dojo.envs.programs import stored as stored_module
from compiler_dojo.envs.programs.columns import Row, schema
from compiler_dojo.envs.programs.manifest import MANIFEST, Manifest
from compiler_dojo.envs.programs.storage import open_set, read_rows, verify_set, write_part, write_set

CONTRACT = [
    "content", "license_expression", "license_source", "license_files", "package_source", "language",
    "uri", "sha256", "llvm_version", "lowering", "instructions_o0", "instructions_oz", "instructions_o3",
    "structural_hash", "function_hashes", "project", "domain", "package", "version", "run",
]  # fmt: skip


def fields(program: Program) -> tuple[object, ...]:
    """All fields, those too that do not make programs equal."""
    return tuple(getattr(program, field.name) for field in dataclasses.fields(program))


def edit_manifest(folder: Path, **changes: object) -> None:
    path = folder / MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def shards(folder: Path) -> list[Path]:
    return sorted(folder.glob("shard-*.parquet"))


def make_zip(folder: Path, path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for file in folder.iterdir():
            archive.write(file, f"set/{file.name}")


@pytest.fixture
def memory():
    """A folder of the file system in memory, emptied afterwards."""
    system = fsspec.filesystem("memory")
    yield "memory://sets/one"
    system.store.clear()
    system.pseudo_dirs[:] = [""]


def test_set__gives_back_what_was_stored(stored, rows) -> None:
    programs = open_set(str(stored))
    assert (programs.name, programs.uris) == ("thirty", tuple(row.program.uri for row in rows))
    assert [fields(program) for program in programs] == [fields(row.program) for row in rows]
    order = random.Random(0).sample(range(30), 30)
    assert [programs[number] for number in order] == [rows[number].program for number in order]
    assert programs.get("unit7.c") == rows[7].program
    assert list(read_rows(stored)) == rows
    assert [shard.name[:11] for shard in shards(stored)] == ["shard-00000", "shard-00001", "shard-00002"]
    verify_set(str(stored))


def test_set__tells_what_it_knows_of_a_program_without_reading_it(stored, rows) -> None:
    for source, row in zip(open_set(stored).sources, rows, strict=True):
        assert source.measurement() == row.measurement
        assert (source.values()["uri"], source.values()["sha256"]) == (row.program.uri, row.program.sha256)
        assert "content" not in source.values()
        assert source.manifest == Manifest.from_json((stored / MANIFEST).read_bytes(), "here")


def test_set__has_the_columns_of_compile_first(stored) -> None:
    assert pq.read_schema(shards(stored)[0]).names == CONTRACT == schema().names
    assert pq.read_table(shards(stored)[0]).column("content")[3].as_py() == open_set(stored)[3].module


def test_manifest__names_the_content(stored, rows, tmp_path) -> None:
    manifest = json.loads((stored / MANIFEST).read_text())
    assert (manifest["name"], manifest["count"], manifest["llvm_version"]) == ("thirty", 30, "19.1.7")
    assert (manifest["format_version"], manifest["details"]) == (1, {"built": "here"})
    assert [shard["rows"] for shard in manifest["shards"]] == [12, 12, 6]
    for entry in (manifest["index"], *manifest["shards"]):
        content = (stored / entry["name"]).read_bytes()
        assert (entry["size"], entry["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    assert open_set(stored).version == manifest["version"]
    write_set(str(tmp_path / "other"), "turned round", rows[::-1])
    write_set(str(tmp_path / "less"), "thirty", rows[1:])
    assert open_set(tmp_path / "other").version == manifest["version"] != open_set(tmp_path / "less").version


def test_set__of_the_same_rows_is_the_same_bytes(stored, rows, tmp_path) -> None:
    write_set(str(tmp_path / "again"), "thirty", iter(rows), {"built": "here"}, rows_per_shard=12)
    assert {path.name: path.read_bytes() for path in stored.iterdir()} == {
        path.name: path.read_bytes() for path in (tmp_path / "again").iterdir()
    }


def test_set__opens_without_reading_bitcode(stored) -> None:
    programs = open_set(stored)
    for shard in shards(stored):
        shard.unlink()
    assert len(programs.uris) == 30
    assert len(programs.filter(language="c", instructions=(5, 10))) == 4
    with pytest.raises(DatasetError, match=r"shard-00000.*missing: build, import or copy it again"):
        programs[0]


@pytest.mark.parametrize("where", ["file://{}/set", "{}/set", "memory"])
def test_set__lies_on_any_path(where, memory, tmp_path, rows) -> None:
    folder = memory if where == "memory" else where.format(tmp_path)
    write_set(folder, "thirty", rows, rows_per_shard=12)
    assert list(open_set(folder)) == [row.program for row in rows]
    assert list(load_programs(folder)) == [row.program for row in rows]
    verify_set(folder)
    write_set(folder, "two", rows[:2])
    assert (open_set(folder).name, len(open_set(folder))) == ("two", 2)
    assert len(fsspec.filesystem("memory" if where == "memory" else "file").ls(folder)) == 3


def test_set__is_read_inside_a_zip_archive(stored, rows, tmp_path) -> None:
    make_zip(stored, tmp_path / "sets.zip")
    programs = load_programs(f"zip://set::{tmp_path}/sets.zip")
    assert list(pickle.loads(pickle.dumps(programs))) == [row.program for row in rows]


def test_part__is_one_file(tmp_path, rows, memory) -> None:
    for path in (f"{tmp_path}/deep/part.parquet", f"{memory}/part.parquet"):
        assert write_part(path, iter(rows)) == 30
        assert list(read_rows(path)) == rows
        assert list(open_set(path)) == [row.program for row in rows]
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["part.parquet"]
    assert write_part(str(tmp_path / "none.parquet"), []) == 0
    assert list(read_rows(tmp_path / "none.parquet")) == []
    first = (tmp_path / "deep/part.parquet").read_bytes()
    write_part(str(tmp_path / "deep/part.parquet"), rows)
    assert (tmp_path / "deep/part.parquet").read_bytes() == first


def test_parts__in_one_folder_are_a_set(tmp_path, rows) -> None:
    for number in range(3):
        write_part(str(tmp_path / f"part-{number}.parquet"), rows[10 * number : 10 * number + 10])
    assert list(load_programs(tmp_path)) == [row.program for row in rows]
    assert list(read_rows(tmp_path)) == rows


@pytest.mark.parametrize("columns", [["content"], CONTRACT[:6]])
@pytest.mark.parametrize("large", [False, True])
def test_foreign_file__is_read_with_what_it_has(tmp_path, rows, columns, large) -> None:
    values = {
        "content": pa.array([row.program.module for row in rows], pa.large_binary() if large else pa.binary()),
        "license_expression": ["MIT", None] * 15,
        "license_source": ["spdx"] * 30,
        "license_files": [["COPYING"], None] * 15 if large else ["COPYING", None] * 15,
        "package_source": ["url"] * 30,
        "language": ["rust"] * 30,
    }
    table = pa.table({name: values[name] for name in columns})
    pq.write_table(table.slice(0, 20), tmp_path / "train-0.parquet", row_group_size=7)
    pq.write_table(table.slice(20), tmp_path / "train-1.parquet")
    programs = load_programs(str(tmp_path))
    assert programs.uris[19:21] == (f"{tmp_path.as_uri()}/train-0.parquet#19", f"{tmp_path.as_uri()}/train-1.parquet#0")
    assert [program.module for program in programs] == [row.program.module for row in rows]
    assert programs[20].uri == programs.uris[20]
    assert programs[0].language == ("rust" if len(columns) > 1 else "llvm")
    if len(columns) > 1:
        assert programs[0].provenance.license_files == ("COPYING",)
        assert [program.provenance.license_expression for program in programs][:2] == ["MIT", ""]
    assert pickle.loads(pickle.dumps(programs))[25] == programs[25]
    assert programs.filter(instructions=(30, None)).uris == programs.uris[29:]  # measured, as nothing is stored
    assert (programs.sources[0].measurement(), programs.sources[0].manifest) == (None, None)
    with pytest.raises(DatasetError, match="row 0 was stored without measurements: import the programs instead"):
        next(read_rows(tmp_path))


def test_foreign_file__may_lack_the_content_of_a_row(tmp_path) -> None:
    pq.write_table(pa.table({"content": [b"a", None, b"c"], "uri": ["x", "y", "x"]}), tmp_path / "a.parquet")
    with pytest.raises(InvalidConfigError, match=r"two programs of .* are called 'x'"):
        load_programs(tmp_path / "a.parquet")
    pq.write_table(pa.table({"content": [b"a", None], "uri": ["x", "y"]}), tmp_path / "a.parquet")
    programs = load_programs(tmp_path / "a.parquet")
    assert programs[0] == Program("x", b"a")
    with pytest.raises(DatasetError, match="y: the row holds no bitcode: leave it out"):
        programs[1]


def test_set__refuses_two_programs_of_one_uri_and_none_at_all(tmp_path, rows) -> None:
    with pytest.raises(DatasetError, match=r"two programs are called 'debian://project3/src/unit3\.c'"):
        write_set(str(tmp_path / "set"), "twice", [*rows, rows[3]])
    with pytest.raises(DatasetError, match="no programs to store"):
        write_set(str(tmp_path / "set"), "empty", [])
    assert list((tmp_path / "set").glob("manifest*")) == []


def test_set__is_not_written_among_other_files(tmp_path, rows) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(DatasetError, match=r"holds 'thesis\.tex', which is no part of a set: give an empty folder"):
        write_set(str(tmp_path), "set", rows)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_set__is_written_by_one_process_at_a_time(stored, rows) -> None:
    def twice():
        yield rows[0]
        write_set(str(stored), "inner", rows)

    with pytest.raises(DatasetError, match="another process is writing this set: wait until it has ended"):
        write_set(str(stored), "outer", twice())
    assert open_set(stored).name == "thirty"


def test_set__stays_when_its_replacement_fails(stored, rows) -> None:
    def failing():
        yield from rows[:20]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_set(str(stored), "new", failing(), rows_per_shard=4)
    verify_set(stored)
    assert (open_set(stored).name, len(open_set(stored))) == ("thirty", 30)
    write_set(str(stored), "new", rows)  # and clears away what the failure left
    assert (len(shards(stored)), len(list(stored.iterdir()))) == (1, 3)


KILLED = """
import sys, time
from compiler_dojo.envs.programs.storage import read_rows, write_set
def slow():
    for row in read_rows(sys.argv[1]):
        yield row
        if row.program.uri.endswith("unit20.c"):
            print("writing", flush=True)
            time.sleep(60)
write_set(sys.argv[2], "new", slow(), rows_per_shard=4)
"""


@pytest.mark.parametrize("target", ["set", "new"])
def test_set__of_a_killed_writer_is_the_old_one_or_none(stored, rows, tmp_path, target) -> None:
    folder = tmp_path / target
    with subprocess.Popen([sys.executable, "-c", KILLED, stored, folder], stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"writing\n"
        process.send_signal(signal.SIGKILL)
    if target == "set":
        verify_set(folder)
        assert open_set(folder).name == "thirty"
    else:
        assert len(shards(folder)) == 5
        for opener in (open_set, load_programs):
            with pytest.raises(DatasetError, match=r"no manifest\.json, so its writing did not end: build, import"):
                opener(str(folder))
    write_set(str(folder), "new", rows)
    verify_set(folder)
    assert len(list(folder.iterdir())) == 3


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 128 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=128k", "none", folder]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"a small file system cannot be mounted: {done.stderr.strip()}")
    yield folder
    gc.collect()
    subprocess.run(["umount", folder], check=True)


def test_full_disk__leaves_the_old_set(small_disk, rows) -> None:
    folder = small_disk / "set"
    write_set(str(folder), "old", rows[:3])
    # incompressible
    large = [
        Row(dataclasses.replace(row.program, module=random.Random(number).randbytes(9000)), row.measurement)
        for number, row in enumerate(rows)
    ]
    with pytest.raises(DatasetError, match=r"cannot be written: .*No space left on device; free space there") as caught:
        write_set(str(folder), "new", large, rows_per_shard=6)
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.ENOSPC
    with pytest.raises(DatasetError, match="No space left"):
        write_part(str(small_disk / "part.parquet"), large)
    verify_set(folder)
    assert [path.name for path in small_disk.rglob("*part*") if not path.name.startswith("shard")] == []
    write_set(str(folder), "new", rows[:4])
    assert len(open_set(folder)) == 4


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def overwrite(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[30:90] = bytes(60)
    path.write_bytes(content)


DAMAGES = {
    "no manifest": (lambda f: (f / MANIFEST).unlink(), r"no manifest\.json, so its writing did not end"),
    "short manifest": (lambda f: cut(f / MANIFEST), r"manifest\.json: not the manifest of a set of programs"),
    "another manifest": (lambda f: edit_manifest(f, format="x"), "the format is 'x', and 'compiler-dojo programs' was"),
    "later format": (lambda f: edit_manifest(f, format_version=2), "version 2 of the format, .* upgrade CompilerDojo"),
    "no shards": (lambda f: edit_manifest(f, shards=None), "the manifest lacks a field"),
    "wrong count": (lambda f: edit_manifest(f, count=31), "the index and the shards hold different numbers"),
    "missing shard": (lambda f: shards(f)[1].unlink(), r"shard-00001.*: a file of the set is missing"),
    "short shard": (lambda f: cut(shards(f)[1]), r"shard-00001.* bytes, and \d+ were written: build"),
    "short index": (lambda f: cut(next(f.glob("index*"))), r"index-.* bytes, and \d+ were written: build"),
    "damaged index": (lambda f: overwrite(next(f.glob("index*"))), "the index is damaged"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage__is_found_on_opening(stored, damage) -> None:
    cause, message = DAMAGES[damage]
    cause(stored)
    for opener in (open_set, load_programs):
        with pytest.raises(DatasetError, match=message):
            opener(str(stored))


def test_damage__is_found_on_reading_and_by_verifying(stored) -> None:
    programs = open_set(stored)
    overwrite(shards(stored)[0])
    for _ in range(2):
        with pytest.raises(DatasetError, match=r"shard-00000.*: damaged or cut short|the stored bitcode has SHA-256"):
            list(programs)
    assert programs[29].uri == programs.uris[29]
    with pytest.raises(DatasetError, match=r"shard-00000.*: SHA-256 \w+, and \w+ was written"):
        verify_set(stored)


def test_damage__by_cutting_a_file_is_found_on_reading(stored) -> None:
    programs = open_set(stored)
    cut(shards(stored)[0])
    with pytest.raises(DatasetError, match="cut short or not a Parquet file"):
        programs[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda values: values["content"].__setitem__(0, b"other"), "the stored bitcode has SHA-256"),
        (lambda values: values["project"].__setitem__(0, "other"), "the index differs from the shards in row 0"),
    ],
)
def test_verify__finds_what_hashes_of_files_do_not(stored, change, message) -> None:
    table = pq.read_table(shards(stored)[0])
    values = table.to_pydict()
    change(values)
    pq.write_table(pa.table(values, schema=table.schema), shards(stored)[0])
    content = shards(stored)[0].read_bytes()
    manifest = json.loads((stored / MANIFEST).read_text())
    manifest["shards"][0] |= {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (stored / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(DatasetError, match=message):
        verify_set(stored)


def test_verify__finds_another_version(stored) -> None:
    edit_manifest(stored, version="000000000000")
    with pytest.raises(DatasetError, match="the programs are not those that the manifest counts"):
        verify_set(stored)
    with pytest.raises(DatasetError, match=r"manifest\.json: no such file"):
        verify_set(stored.parent)


def test_file__that_holds_no_programs_is_refused(tmp_path) -> None:
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "a.parquet")
    with pytest.raises(DatasetError, match="no column 'content' with bitcode: not a file of programs"):
        load_programs(tmp_path / "a.parquet")
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    with pytest.raises(DatasetError, match="cut short or not a Parquet file"):
        load_programs(tmp_path / "a.parquet")
    with pytest.raises(DatasetError, match=r"no stored set of programs: there is neither manifest\.json nor"):
        open_set(tmp_path / "nothing")
    with pytest.raises(DatasetError, match="no such place"):
        open_set("nowhere://x")


def test_set__that_cannot_be_written_says_why(tmp_path, rows) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DatasetError, match=r"cannot be written: .*; free space there, or choose another folder"):
        write_set(str(tmp_path / "file" / "set"), "set", rows)


def test_set__needs_pyarrow_and_says_so(stored, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(DatasetError, match=r"need pyarrow and fsspec: install them with `pip install 'compiler-dojo"):
        open_set(stored)


@pytest.mark.parametrize("where", ["disk", "memory", "zip"])
def test_set__is_read_by_many_threads(stored, rows, memory, tmp_path, where) -> None:
    write_set(memory, "memory", rows, rows_per_shard=12)
    make_zip(stored, tmp_path / "sets.zip")
    programs = open_set({"disk": stored, "memory": memory, "zip": f"zip://set::{tmp_path}/sets.zip"}[where])
    order = [random.Random(seed).sample(range(30), 30) for seed in range(8)]
    with ThreadPoolExecutor(8) as pool:
        for found, numbers in zip(pool.map(lambda n: [programs[i] for i in n], order), order, strict=True):
            assert found == [rows[i].program for i in numbers]


def test_set__keeps_few_files_open(stored, rows, monkeypatch) -> None:
    monkeypatch.setattr(stored_module, "OPEN_FILES", 1)
    programs = open_set(stored)
    assert [programs[i] for i in (0, 29, 1, 15, 0)] == [rows[i].program for i in (0, 29, 1, 15, 0)]


def hashes_of(programs) -> list[str]:
    return [programs[number].sha256 for number in range(len(programs) - 1, -1, -1)]


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")  # forking is what is tested
def test_set__is_read_by_other_processes(stored, rows, method) -> None:
    programs = open_set(stored)
    expected = [row.program.sha256 for row in rows[::-1]]
    assert hashes_of(programs) == expected  # files are open when the process forks
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.map(hashes_of, [programs] * 4, chunksize=1) == [expected] * 4


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_set__forked_with_files_open_shares_no_position(stored, rows, tmp_path) -> None:
    make_zip(stored, tmp_path / "sets.zip")  # read through one file handle
    programs = open_set(f"zip://set::{tmp_path}/sets.zip")
    expected = [row.program.sha256 for row in rows[::-1]]
    assert hashes_of(programs) == expected
    child = os.fork()
    found = [hashes_of(programs) for _ in range(5)]
    if child == 0:
        os._exit(0 if found == [expected] * 5 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert found == [expected] * 5


def test_pickle__of_a_set_is_small_and_notices_another_one(stored, rows) -> None:
    pickled = pickle.dumps(open_set(stored))
    assert len(pickled) < 200 * len(rows)
    write_set(str(stored), "thirty", rows[::-1])  # the same programs in another order
    stored_module._reopen.cache_clear()
    with pytest.raises(DatasetError, match="the set was replaced since it was pickled: open it again"):
        pickle.loads(pickled)


def test_set__that_is_replaced_while_in_use_is_noticed(stored, rows) -> None:
    programs = open_set(stored)
    assert programs[0] == rows[0].program
    write_set(str(stored), "other", rows[5:], rows_per_shard=12)
    assert programs[1] == rows[1].program  # of a file that is open
    with pytest.raises(DatasetError, match="a file of the set is missing"):
        programs[29]


def test_environment__runs_on_a_stored_set(tmp_path, measured_row) -> None:
    write_set(str(tmp_path / "set"), "one", [measured_row])
    env = gym.make("CompilerDojo/PassOrdering-v0", programs=str(tmp_path / "set"))
    try:
        _, info = env.reset(seed=0)
        assert info["program"] == measured_row.program.uri
        _, reward, *_ = env.step(env.action_space.sample())
        assert isinstance(reward, float)
    finally:
        env.close()


def test_set__is_opened_by_its_index_and_read_by_groups(stored, monkeypatch) -> None:
    opened: list[str] = []

    def counted(
        system: fsspec.AbstractFileSystem, path: str, metadata: pq.FileMetaData | None = None
    ) -> pq.ParquetFile:
        opened.append(Path(path).name.split("-")[0])
        return open_parquet(system, path, metadata)

    open_parquet = stored_module.open_parquet
    monkeypatch.setattr(stored_module, "open_parquet", counted)
    programs = open_set(stored)
    assert len(programs.filter(language="c", instructions=(5, 20))) == 11
    assert opened == ["index"]
    groups: list[int] = []
    read = pq.ParquetFile.read_row_group
    monkeypatch.setattr(pq.ParquetFile, "read_row_group", lambda self, i, **kw: groups.append(i) or read(self, i, **kw))
    for program in programs:
        assert program.module
    assert opened == ["index", "shard", "shard", "shard"]
    assert groups == [0, 1, 2, 3] * 2 + [0, 1]
