"""Downloads: resumed after every kind of end, verified, whole or absent, and told what to do when they fail."""

import hashlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from compiler_dojo.envs.errors import FetchError, InvalidConfigError
from compiler_dojo.envs.programs.sources import fetching
from compiler_dojo.envs.programs.sources.fetching import RemoteFile, fetch

CONTENT = bytes(index * index % 251 for index in range(300_000))
SHA256 = hashlib.sha256(CONTENT).hexdigest()
REMOTE = RemoteFile("https://published.example/archive/suite.tar", SHA256)

FETCH = f"""
import sys
from pathlib import Path
from compiler_dojo.envs.programs.sources.fetching import RemoteFile, fetch
print(fetch(RemoteFile({REMOTE.address!r}, {SHA256!r}), Path(sys.argv[1])))
"""


@pytest.fixture
def folder(mirror, tmp_path) -> Path:
    mirror.files["suite.tar"] = CONTENT
    return tmp_path / "downloads"


def part_of(folder: Path) -> Path:
    return folder / f"{SHA256[:12]}-suite.tar.part"


def test_fetch__downloads_once(folder, mirror) -> None:
    for _ in range(2):
        path = fetch(REMOTE, folder)
        assert (path.name, path.read_bytes()) == (f"{SHA256[:12]}-suite.tar", CONTENT)
    assert mirror.requests == [("suite.tar", None)]
    assert not part_of(folder).exists()


def test_fetch__without_a_mirror_asks_the_published_address(folder, mirror, monkeypatch) -> None:
    monkeypatch.delenv("DOJO_SUITES_MIRROR")
    fetch(RemoteFile(f"{mirror.address}/deep/suite.tar", SHA256), folder)
    assert mirror.asked_for() == ["suite.tar"]


def test_fetch__refuses_a_mirror_that_is_no_web_address(folder, monkeypatch) -> None:
    monkeypatch.setenv("DOJO_SUITES_MIRROR", "/etc")
    with pytest.raises(InvalidConfigError, match="DOJO_SUITES_MIRROR=/etc: expected an address with http"):
        fetch(REMOTE, folder)


def test_cut_connections__are_resumed_where_they_ended(folder, mirror) -> None:
    mirror.cuts = [100_000, 50_000, 1]
    assert fetch(REMOTE, folder).read_bytes() == CONTENT
    assert [request.start for request in mirror.requests] == [None, 100_000, 150_000, 150_001]


def test_cut_connections__start_again_where_parts_are_not_served(folder, mirror) -> None:
    mirror.cuts, mirror.ranges = [100_000], False
    assert fetch(REMOTE, folder).read_bytes() == CONTENT
    assert [request.start for request in mirror.requests] == [None, 100_000]


def test_connections_that_bring_nothing__are_given_up_and_the_part_is_kept(folder, mirror) -> None:
    mirror.cuts = [120_000, *[0] * 10]
    with pytest.raises(FetchError, match=r"the 120000 bytes that arrived are kept.*curl -L -o .*suite\.tar http"):
        fetch(REMOTE, folder)
    assert len(mirror.requests) == 1 + fetching.ATTEMPTS - 1
    mirror.cuts = []
    assert fetch(REMOTE, folder).read_bytes() == CONTENT
    assert mirror.requests[-1].start == 120_000


def test_wrong_hash__deletes_the_file_and_names_both(folder, mirror) -> None:
    mirror.files["suite.tar"] = other = CONTENT[:-1] + b"!"
    found = hashlib.sha256(other).hexdigest()
    with pytest.raises(FetchError, match=f"has the SHA-256 hash {found}, published was {SHA256}.*has been deleted"):
        fetch(REMOTE, folder)
    assert [path.suffix for path in folder.iterdir()] == [".lock"]


def test_file_put_there_by_hand__is_verified(folder, mirror) -> None:
    folder.mkdir()
    path = folder / f"{SHA256[:12]}-suite.tar"
    path.write_bytes(CONTENT)
    assert fetch(REMOTE, folder) == path
    path.write_bytes(CONTENT[:1000])
    with pytest.raises(FetchError, match=f"published was {SHA256}"):
        fetch(REMOTE, folder)
    assert not path.exists()
    assert mirror.requests == []


def test_file_that_changed_before_it_was_resumed__is_fetched_in_one_piece(folder, mirror) -> None:
    folder.mkdir()
    part_of(folder).write_bytes(b"?" * 1000)
    assert fetch(REMOTE, folder).read_bytes() == CONTENT
    assert [request.start for request in mirror.requests] == [1000, None]


def test_part_that_is_too_long__is_fetched_again(folder, mirror) -> None:
    folder.mkdir()
    part_of(folder).write_bytes(CONTENT + b"more")
    assert fetch(REMOTE, folder).read_bytes() == CONTENT
    assert [request.start for request in mirror.requests] == [len(CONTENT) + 4, None]


def test_part_that_is_complete__is_taken(folder) -> None:
    folder.mkdir()
    part_of(folder).write_bytes(CONTENT)
    assert fetch(REMOTE, folder).read_bytes() == CONTENT


def test_answer_with_another_part__is_not_appended(folder, mirror) -> None:
    mirror.cuts, mirror.shift = [1000], 7
    assert fetch(REMOTE, folder).read_bytes() == CONTENT
    assert [request.start for request in mirror.requests] == [None, 1000, None]


def test_file_that_is_not_there__is_asked_for_once(folder, mirror) -> None:
    del mirror.files["suite.tar"]
    with pytest.raises(FetchError, match=r"mirror/suite\.tar could not be fetched: HTTP Error 404"):
        fetch(REMOTE, folder)
    assert len(mirror.requests) == 1


def test_server_in_trouble__is_asked_again(folder, mirror) -> None:
    mirror.statuses = [503, 429, 500]
    assert fetch(REMOTE, folder).read_bytes() == CONTENT
    assert len(mirror.requests) == 4


def test_server_that_never_answers__is_given_up(folder, mirror, monkeypatch) -> None:
    monkeypatch.setattr(fetching, "TIMEOUT", 0.1)
    mirror.silent = True
    with pytest.raises(FetchError, match=r"could not be fetched: .*timed out"):
        fetch(REMOTE, folder)


def test_server_that_is_too_slow__is_given_up_and_the_part_is_kept(folder, mirror, monkeypatch) -> None:
    monkeypatch.setattr(fetching, "TIMEOUT", 0.2)
    monkeypatch.setattr(fetching, "SLOWEST", 10**9)
    monkeypatch.setattr(fetching, "ATTEMPTS", 1)
    mirror.pause = 0.05
    with pytest.raises(FetchError, match=r"fewer than 1000000000 bytes a second.*are kept"):
        fetch(REMOTE, folder)
    assert part_of(folder).stat().st_size > 0


def test_no_network__tells_how_to_do_without(folder, mirror, monkeypatch) -> None:
    monkeypatch.setenv("DOJO_SUITES_MIRROR", "http://127.0.0.1:9")
    with pytest.raises(
        FetchError, match=r"refused; set DOJO_SUITES_MIRROR .* or fetch it by hand: `curl -L -o "
    ) as info:
        fetch(REMOTE, folder)
    by_hand = re.search(r"curl -L -o (\S+) http://127.0.0.1:9/suite.tar`", str(info.value))
    assert by_hand is not None
    Path(by_hand[1]).write_bytes(CONTENT)
    assert fetch(REMOTE, folder) == Path(by_hand[1])


def test_full_disk__says_so(folder) -> None:
    folder.mkdir()
    part_of(folder).symlink_to("/dev/full")
    with pytest.raises(FetchError, match=r"no room in .*make some and try again"):
        fetch(REMOTE, folder)


def test_folder_that_cannot_be_written__says_so(folder) -> None:
    folder.write_text("a file")
    with pytest.raises(FetchError, match=r"cannot be written.*set DOJO_CACHE"):
        fetch(REMOTE, folder / "below")


def test_killed_download__goes_on_where_it_was(folder, mirror) -> None:
    mirror.pause = 0.02
    child = subprocess.Popen([sys.executable, "-c", FETCH, str(folder)])
    deadline = time.monotonic() + 20
    while not (part_of(folder).exists() and part_of(folder).stat().st_size > 60_000):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    arrived = part_of(folder).stat().st_size
    assert 0 < arrived < len(CONTENT)
    mirror.pause = 0
    assert fetch(REMOTE, folder).read_bytes() == CONTENT
    assert [request.start for request in mirror.requests] == [None, arrived]


def test_processes_at_once__fetch_it_once(folder, mirror) -> None:
    mirror.pause = 0.02
    children = [
        subprocess.Popen([sys.executable, "-c", FETCH, str(folder)], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    printed = {child.communicate(timeout=60)[0].strip() for child in children}
    assert [child.returncode for child in children] == [0, 0, 0]
    (path,) = printed
    assert Path(path).read_bytes() == CONTENT
    assert len(mirror.requests) == 1


def test_threads_at_once__fetch_it_once(folder, mirror) -> None:
    barrier = threading.Barrier(4)

    def run(_: int) -> Path:
        barrier.wait()
        return fetch(REMOTE, folder)

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(run, range(4)))) == 1
    assert len(mirror.requests) == 1
