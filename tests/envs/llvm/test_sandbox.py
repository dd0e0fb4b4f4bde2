"""Programs that mean harm do none, in every kind of sandbox that works here; and nothing of theirs is left behind."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from compiler_dojo.envs.llvm import sandbox as module
from compiler_dojo.envs.llvm.execution import find_linker, run_timed
from compiler_dojo.envs.llvm.sandbox import (
    NOBODY,
    TOOLS,
    Kind,
    Limits,
    RunResult,
    Sandbox,
    find_sandbox,
    private_folder,
    what_refuses,
)
from compiler_dojo.envs.programs import RunSpecification

INCLUDES = "".join(
    f"#include <{name}>\n"
    for name in (
        "arpa/inet.h", "errno.h", "fcntl.h", "netinet/in.h", "signal.h", "stdio.h", "stdlib.h", "string.h",
        "sys/resource.h", "sys/socket.h", "time.h", "unistd.h",
    )
)  # fmt: skip
USER = NOBODY if os.getuid() == 0 else None
Run = Callable[..., RunResult]


def marked_processes(mark: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if mark.encode() in path.read_bytes():
                found.append(str(path))
    return found


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Run C programs in a sandbox of a kind; afterwards neither a process nor a file of theirs may be left."""
    with private_folder() as folder:
        mark = uuid.uuid4().hex
        source, executable, temporary = folder / "program.c", folder / "program", folder / "temporary"
        temporary.mkdir(mode=0o711)

        def run(kind: Kind, text: str, *arguments: str, **limits: float | int) -> RunResult:
            sandbox = Sandbox(kind, USER)
            problem = what_refuses(sandbox)
            if problem is not None:
                pytest.skip(f"{kind} does not work here: {problem}")
            source.write_text(INCLUDES + text)
            subprocess.run([find_linker(), "-x", "c", "-w", source, "-o", executable], check=True)
            monkeypatch.setattr(tempfile, "tempdir", str(temporary))
            return sandbox.run(executable, [*arguments, mark], Limits(**limits))  # type: ignore[arg-type]

        yield run
        assert list(temporary.iterdir()) == []
        # the kernel ends the processes of a namespace a moment after its first
        deadline = time.monotonic() + 2.0
        while marked_processes(mark) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert marked_processes(mark) == []


every_kind = pytest.mark.parametrize("kind", TOOLS)
with_namespaces = pytest.mark.parametrize("kind", ["bubblewrap", "namespaces"])


@every_kind
def test_run__gives_output_errors_status_and_kind(run: Run, kind: Kind) -> None:
    result = run(kind, 'int main(int n, char **a) { puts(a[1]); fputs("no\\n", stderr); return 3; }', "two words")
    assert (result.status, result.output, result.errors, result.sandbox) == (3, "two words\n", "no\n", kind)


@every_kind
@pytest.mark.parametrize(("code", "status"), [("abort();", -6), ("raise(SIGSEGV);", -11), ("return 255;", 255)])
def test_run__tells_signals_from_statuses(run: Run, kind: Kind, code: str, status: int) -> None:
    assert run(kind, f"int main(void) {{ {code} }}").status == status


CONNECTS = """
int main(int n, char **a) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(a[1]))};
    inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
    int s = socket(AF_INET, SOCK_STREAM, 0);
    puts(s >= 0 && connect(s, (struct sockaddr *)&to, sizeof to) == 0 ? "connected" : "no network");
}
"""


@with_namespaces
def test_run__has_no_network(run: Run, kind: Kind) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        assert run(kind, CONNECTS, str(server.getsockname()[1])).output == "no network\n"
        with pytest.raises(TimeoutError):
            server.accept()


def test_run__in_limits_alone_has_a_network_and_says_so(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        result = run("limits", CONNECTS, str(server.getsockname()[1]))
    assert (result.output, result.sandbox) == ("connected\n", "limits")


@pytest.mark.parametrize("place", ["/tmp", "/var/tmp"])
def test_run__writes_nowhere_but_in_a_folder_of_its_own(run: Run, place: str) -> None:
    source = """
int main(int n, char **a) {
    for (int i = 1; i <= 2; i++) {
        int file = open(a[i], O_WRONLY | O_CREAT, 0666);
        puts(file >= 0 ? "written" : "refused");
    }
}
"""
    with tempfile.TemporaryDirectory(dir=place) as folder:
        os.chmod(folder, 0o777)
        result = run("bubblewrap", source, f"{folder}/outside", "inside")
        assert result.output == "refused\nwritten\n"
        assert os.listdir(folder) == []


def test_run__cannot_fill_the_disk(run: Run) -> None:
    source = """
int main(void) {
    static char block[1 << 20];
    long written = 0;
    for (int i = 0; i < 100; i++) {
        char name[20];
        snprintf(name, sizeof name, "%d", i);
        int file = open(name, O_WRONLY | O_CREAT, 0666);
        long n = write(file, block, sizeof block);
        written += n > 0 ? n : 0;
    }
    printf("%ld\\n", written >> 20);
}
"""
    assert 60 <= int(run("bubblewrap", source).output) <= 64


@every_kind
def test_run__bounds_a_fork_bomb(run: Run, kind: Kind) -> None:
    source = """
int main(void) {
    int children = 0;
    for (; children < 200; children++) {
        int child = fork();
        if (child == 0) for (;;) pause();
        if (child < 0) break;
    }
    printf("%d\\n", children);
}
"""
    result = run(kind, source)
    assert result.status == 0
    assert 10 <= int(result.output) <= 32


@every_kind
def test_run__of_too_long_is_killed_with_its_children(run: Run, kind: Kind) -> None:
    source = """
int main(void) {
    for (int s = 1; s < 32; s++) signal(s, SIG_IGN);
    for (int i = 0; i < 3; i++) if (fork() == 0) { if (i == 1) setsid(); for (;;) pause(); }
    puts("on");
    fflush(stdout);
    for (;;) pause();
}
"""
    result = run(kind, source, seconds=0.3)
    assert (result.status, result.output) == (None, "on\n")
    assert 0.3 <= result.seconds < 5.0


@every_kind
def test_run__leaves_no_daemon_behind(run: Run, kind: Kind) -> None:
    source = """
int main(void) {
    if (fork() == 0) {
        setsid();
        if (fork() != 0) _exit(0);
        chdir("/");
        for (;;) pause();
    }
    sleep(1);
}
"""
    assert run(kind, source).status == 0


@every_kind
def test_run__cannot_take_all_memory_nor_print_without_end(run: Run, kind: Kind) -> None:
    takes = 'int main(void) { char *p = malloc(3UL << 30); if (p) p[1] = 1; puts(p ? "taken" : "refused"); }'
    assert run(kind, takes).output == "refused\n"
    prints = "static char b[1 << 20]; int main(void) { for (;;) if (write(1, b, sizeof b) < 0) return 1; }"
    result = run(kind, prints)
    assert (result.status, len(result.output)) == (-25, 16 << 20)  # SIGXFSZ


@every_kind
def test_run__has_limits_on_cores_and_processor_time_and_is_not_root(run: Run, kind: Kind) -> None:
    source = """
int main(void) {
    struct rlimit core, cpu;
    getrlimit(RLIMIT_CORE, &core);
    getrlimit(RLIMIT_CPU, &cpu);
    printf("%ld %ld %d\\n", (long)core.rlim_max, (long)cpu.rlim_max, getuid());
}
"""
    core, processor, user = map(int, run(kind, source, seconds=3.0).output.split())
    assert core == 0
    assert 3 < processor <= 3 * (os.cpu_count() or 1) + 1
    assert user == (os.getuid() or NOBODY)


@with_namespaces
def test_run__does_not_see_other_processes(run: Run, kind: Kind) -> None:
    source = 'int main(int n, char **a) { puts(kill(atoi(a[1]), 0) == 0 || errno == EPERM ? "seen" : "unseen"); }'
    assert run(kind, source, str(os.getpid())).output == "unseen\n"


def test_run__is_told_of_the_end_at_once(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    wait = subprocess.Popen.wait

    def wait_without_looking(process: subprocess.Popen[bytes], timeout: float | None = None) -> int:
        assert timeout is None  # with one, Popen looks every 0.5 to 50 ms
        return wait(process)

    monkeypatch.setattr(subprocess.Popen, "wait", wait_without_looking)
    result = run("limits", "int main(void) { struct timespec t = {0, 34000000}; nanosleep(&t, 0); }")
    assert (result.status, result.seconds >= 0.034) == (0, True)


@every_kind
def test_run__works_without_process_descriptors(run: Run, kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(process: int) -> int:
        raise OSError("Function not implemented")

    monkeypatch.setattr(module.os, "pidfd_open", absent)
    assert run(kind, "int main(void) { return 4; }").status == 4
    assert run(kind, "int main(void) { for (;;) pause(); }", seconds=0.2).status is None


def test_run_timed__has_limits_and_the_same_user(run: Run) -> None:
    run("limits", 'int main(void) { printf("%d", getuid()); }')
    with private_folder() as folder:
        shutil.copy("/usr/bin/id", folder / "program")
        result = run_timed(folder / "program", RunSpecification(("-u",)))
    assert (result.sandbox, result.output) == ("limits", f"{os.getuid() or NOBODY}\n")


@pytest.mark.parametrize(
    ("tools", "expected"),
    [(["unshare", "prlimit", "sh"], ["namespaces", "limits"]), (["bwrap"], ["limits"]), ([], ["limits"])],
)
def test_find_sandbox__takes_the_next_best_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tools: list[str], expected: list[str]
) -> None:
    for tool in tools:
        (tmp_path / tool).symlink_to(shutil.which(tool) or "/bin/false")
    monkeypatch.setenv("PATH", str(tmp_path))
    found = find_sandbox.__wrapped__()
    assert found.kind in expected
    assert found.refused.startswith("bubblewrap: ")
    assert f"{'prlimit' if 'bwrap' in tools else 'bwrap'} is not installed" in found.refused


def test_find_sandbox__does_not_use_what_is_installed_and_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    with private_folder() as folder:
        bwrap = folder / "bwrap"
        bwrap.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
        bwrap.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
        found = find_sandbox.__wrapped__()
    assert found.kind != "bubblewrap"
    assert "bubblewrap: bwrap: No permissions to create new namespace" in found.refused


@every_kind
def test_run__may_write_to_its_workplace_only(tmp_path_factory, kind: Kind) -> None:
    sandbox = Sandbox(kind, USER)
    problem = what_refuses(sandbox)
    if problem is not None:
        pytest.skip(f"{kind} does not work here: {problem}")
    with private_folder() as folder:
        work, other = folder / "work", folder / "other"
        (work / "sub").mkdir(parents=True)
        (work / "sub" / "given").write_text("given\n")
        (work / "link").symlink_to(other)
        other.mkdir()
        script = folder / "script"
        script.write_text(f"#!/bin/sh\npwd\ncat sub/given\necho written >sub/given\necho x >{other}/made\nmkdir new\n")
        script.chmod(0o755)
        result = sandbox.run(script, workplace=work)
        assert (result.status, result.output) == (0, f"{sandbox.place_of(work)}\ngiven\n"), result.errors
        assert (work / "sub" / "given").read_text() == "written\n"
        assert (work / "new").is_dir()
        if kind == "bubblewrap" or USER is not None:
            assert list(other.iterdir()) == []
