"""The worker process: how it starts, ends and is limited, and that nothing of it stays behind."""

import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from compiler_dojo.envs.errors import (
    InvalidConfigError,
    InvalidProgramError,
    NativeLibraryError,
    PassFailedError,
    SessionBusyError,
    SessionClosedError,
)
from compiler_dojo.envs.llvm import library
from compiler_dojo.envs.llvm.session import CompilerSession
from compiler_dojo.envs.llvm.worker import Connection, Isolation, Worker, make_isolation, shared_worker

ONE_THREAD = Isolation(threads=1, pass_seconds=61.0)  # a worker of this file's own
OPEN_A_SESSION = """
import os, signal, sys, time
from compiler_dojo.envs.llvm.session import CompilerSession
from compiler_dojo.envs.llvm.worker import Isolation, shared_worker
from compiler_dojo.envs.programs import load_programs
program = load_programs("bundled://graphs/union_find")[0].module
session = CompilerSession(program)
session.run("sroa")
worker = shared_worker(Isolation())
"""


@pytest.fixture
def program(small_program) -> bytes:
    return small_program.module


def open_files() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


def children() -> list[int]:
    """Processes whose parent this is, zombies among them."""
    tasks = Path("/proc/self/task").iterdir()
    return [int(pid) for task in tasks for pid in (task / "children").read_text().split()]


def wait_until_gone(pid: int) -> bool:
    """Whether the process ends within a minute, and no zombie of it remains."""
    for _ in range(6000):
        if not Path(f"/proc/{pid}").exists():
            return True
        time.sleep(0.01)
    return False


def large_program(functions: int) -> bytes:
    body = "define i32 @f{0:0200}(i32 %x) {{\n  %y = mul i32 %x, {0}\n  %z = add i32 %y, 0\n  ret i32 %z\n}}\n"
    return "".join(body.format(number) for number in range(functions)).encode()


def test_worker__that_outlives_its_modules_ends_in_silence() -> None:
    wipe = "atexit.register(lambda: [vars(each).update(dict.fromkeys(vars(each))) for each in (worker, module)])"
    code = f"""
import atexit
{wipe}  # as the interpreter does with modules that are still referred to; registered first, it comes last
from compiler_dojo.envs.llvm import module, worker
from compiler_dojo.envs.llvm.session import CompilerSession
session = CompilerSession(b"define void @f() {{ ret void }}")
connection = worker.Connection(worker.Isolation())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_isolation__refuses_what_makes_no_sense() -> None:
    for settings in ({"pass_seconds": 0.0}, {"memory_bytes": -1}, {"threads": -1}):
        with pytest.raises(InvalidConfigError, match="limits are positive numbers"):
            Isolation(**settings)
    with pytest.raises(InvalidConfigError, match="isolation is 'process', 'none' or an Isolation, got 'thread'"):
        make_isolation("thread")
    assert make_isolation("none") is None
    assert make_isolation("process") == Isolation()


def test_worker__starts_at_the_first_request(program) -> None:
    worker = Worker(ONE_THREAD)
    assert worker.starts == 0
    connection = worker.connection()
    assert worker.connection() is connection
    assert connection.version == library.load_library().version
    assert (worker.starts, connection.is_alive()) == (1, True)
    connection.end()
    assert not connection.is_alive()
    assert worker.connection() is not connection
    assert worker.starts == 2


def test_connections__leave_no_files_and_no_processes() -> None:
    Connection(ONE_THREAD).end()
    before, processes = open_files(), sorted(children())
    for _ in range(10):
        connection = Connection(ONE_THREAD)
        connection.end()
        connection.end()
        del connection
    assert open_files() == before
    assert sorted(children()) == processes


@pytest.mark.parametrize("fault", ["no libLLVM", "no program", "not executable", "no LLVM in it"])
def test_connection__that_cannot_start_leaves_nothing(monkeypatch, tmp_path, fault) -> None:
    from compiler_dojo.envs.llvm import worker

    text = tmp_path / "text"
    text.write_text("no program")
    if fault == "no libLLVM":
        monkeypatch.setattr(library, "find_libllvm", list)
    elif fault == "no program":
        monkeypatch.setattr("compiler_dojo.envs.llvm.__path__", [str(tmp_path)])
    elif fault == "not executable":
        monkeypatch.setattr(worker, "find_native_library", lambda _: text)
    else:
        monkeypatch.setenv("DOJO_LIBLLVM", str(text))
    library.load_core()
    before, processes = open_files(), sorted(children())
    for _ in range(3):
        with pytest.raises(NativeLibraryError, match=r"libLLVM|dojo-worker|cannot start"):
            Connection(ONE_THREAD)
    assert open_files() == before
    assert sorted(children()) == processes


def test_worker__lives_within_its_memory_whatever_its_threads(program) -> None:
    isolation = Isolation(memory_bytes=512 << 20, threads=32)
    with CompilerSession(program, isolation=isolation) as session:
        assert session.run("default<Oz>").changed


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), signal.SIGKILL)", "sys.exit()", "os._exit(0)", "os.abort()"])
def test_worker__ends_with_its_parent(end) -> None:
    script = f"{OPEN_A_SESSION}\nprint(worker.connection().pid, flush=True)\nsession.begin('default<O3>')\n{end}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert wait_until_gone(int(done.stdout))
    if end == "sys.exit()":
        assert done.stderr == ""


def test_worker__leaves_no_shared_memory(program) -> None:
    before = sorted(os.listdir("/dev/shm"))
    with CompilerSession(program) as session:
        session.run("sroa")
        assert sorted(os.listdir("/dev/shm")) == before


def run_in_child(session: CompilerSession, results, begun: bool) -> None:
    if begun:
        session.end()
    else:
        session.run("sroa")
    results.put((session.hash(), session._worker.connection().pid))
    session.close()


@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
@pytest.mark.parametrize("begun", [False, True])
def test_fork__of_this_process_has_a_worker_of_its_own(program, begun) -> None:
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    with CompilerSession(program, isolation=ONE_THREAD) as session, CompilerSession(program) as plain:
        plain.run("sroa")
        pid = shared_worker(ONE_THREAD).connection().pid
        if begun:
            session.begin("sroa")
        child = context.Process(target=run_in_child, args=(session, results, begun))
        child.start()
        child_hash, child_pid = results.get()
        child.join()
        assert child.exitcode == 0
        assert child_pid != pid
        if begun:
            session.end()
        else:
            session.run("sroa")
        assert session.hash() == child_hash == plain.hash()
        assert shared_worker(ONE_THREAD).connection().pid == pid
        assert wait_until_gone(child_pid)


def test_sigint__to_all_processes_interrupts_this_one_only(tmp_path) -> None:
    script = f"""{OPEN_A_SESSION}
pid = worker.connection().pid
for delay in range(15):
    try:
        session = CompilerSession(program)
        if os.fork() == 0:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            time.sleep(0.001 * delay)
            os.killpg(0, signal.SIGINT)
            os._exit(0)
        while True:
            session.begin("default<O3>")
            session.end()
            fork = session.fork()  # closed by hand: Python ignores what is raised in __del__
            fork.run("gvn")
            fork.close()
    except KeyboardInterrupt:
        pass
    os.wait()
    session.close()
    with CompilerSession(program) as session:
        session.run("sroa")
print(worker.connection().pid == pid, worker.starts)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, start_new_session=True
    )
    assert (done.stdout, done.returncode) == ("True 1\n", 0), done.stderr


class Interrupted(BaseException):
    """What Ctrl-C raises, in a form that pytest does not take for its own."""


@pytest.mark.parametrize("isolation", ["process", "none"])
@pytest.mark.parametrize("half", ["begin", "end"])
def test_interrupted_run__leaves_a_session_that_can_be_closed(program, monkeypatch, isolation, half) -> None:
    with CompilerSession(program, isolation=isolation) as session, CompilerSession(program) as plain:
        session.run("sroa")
        plain.run("sroa")
        module, real = session._module, getattr(session._module, half)

        def interrupted(*arguments) -> None:
            real(*arguments)
            raise Interrupted

        monkeypatch.setattr(module, half, interrupted)
        with pytest.raises(Interrupted):
            session.run("gvn")
        if half == "end":
            with pytest.raises(SessionClosedError, match="is closed"):
                session.run("gvn")
        else:
            assert session.hash() == plain.hash()
            assert session.run("gvn").changed == plain.run("gvn").changed
            assert session.hash() == plain.hash()


def test_begin_and_end__in_another_order_are_refused(program) -> None:
    with CompilerSession(program) as session:
        with pytest.raises(SessionBusyError, match="nothing was"):
            session.end()
        session.begin("sroa")
        for use in (lambda: session.begin("gvn"), session.fork, session.bitcode, session.text_size, session.verify):
            with pytest.raises(SessionBusyError, match="a pass has begun"):
                use()
        assert session.end().changed


def test_close__while_a_pass_runs(program) -> None:
    isolation = Isolation(threads=4, pass_seconds=62.0)  # so that a close can overtake the pass
    worker = shared_worker(isolation)
    with CompilerSession(program, isolation=isolation) as first:
        before = worker.starts
        for _ in range(100):
            session = CompilerSession(program, isolation=isolation)
            session.begin("default<O3>")
            session.close()
        assert first.run("sroa").changed
    assert worker.starts == before


def test_sessions__may_begin_in_any_number(program) -> None:
    with CompilerSession(program) as parent:
        sessions = [parent.fork() for _ in range(1100)]
        for session in sessions:
            session.begin("sroa")
        forks = [parent.fork() for _ in range(50)]  # calls find a slot
        for session in reversed(sessions):
            assert session.end().changed
        assert len({session.hash() for session in sessions}) == 1
        for session in [*sessions, *forks]:
            session.close()
        assert parent.run("sroa").changed


def test_forks__by_the_thousand_are_freed_at_once(program) -> None:
    with CompilerSession(program) as parent:
        forks = [parent.fork() for _ in range(5000)]
        forks.clear()
        assert parent.run("sroa").changed


def test_pipeline__longer_than_a_slot(program) -> None:
    passes = ",".join(["sroa", "gvn", "dce"] * 500)
    with CompilerSession(program) as remote, CompilerSession(program, isolation="none") as local:
        assert remote.run(passes).changed == local.run(passes).changed
        assert remote.hash() == local.hash()
        with pytest.raises(PassFailedError, match=r"pipeline 'x{190}... \(10000 characters\)': unknown pass name 'x+"):
            remote.run("x" * 10_000)


def test_programs_and_results__larger_than_a_slot() -> None:
    program = large_program(5_000)
    assert len(program) > 1 << 20
    with CompilerSession(program) as remote, CompilerSession(program, isolation="none") as local:
        for session in (remote, local):
            session.run("instcombine<no-verify-fixpoint>")
        assert len(remote.ir()) > 1 << 20
        assert remote.ir() == local.ir()
        assert remote.bitcode() == local.bitcode()
        assert remote.object_code() == local.object_code()
        assert remote.graph().nodes.tobytes() == local.graph().nodes.tobytes()
    with pytest.raises(InvalidProgramError, match="invalid LLVM IR"):
        CompilerSession(b"x" * (3 << 20))


def test_threads__share_a_worker_that_is_killed_again_and_again(program) -> None:
    worker = shared_worker(ONE_THREAD)
    passes = ["sroa", "simplifycfg", "gvn", "licm", "adce"] * 4

    def work(number: int) -> tuple[str, ...]:
        hashes = []
        with CompilerSession(program, isolation=ONE_THREAD) as session:
            for item in passes:
                session.begin(item)
                if number == 0 and item == "gvn":
                    os.kill(worker.connection().pid, signal.SIGKILL)
                session.end()
                hashes.append(session.hash())
                session.fork().run("dce")
        return tuple(hashes)

    before, files = worker.starts, open_files()
    with ThreadPoolExecutor(8) as pool:
        results = set(pool.map(work, range(16)))
    assert len(results) == 1
    assert worker.starts > before
    assert open_files() <= files + 3


def test_stopped_worker__holds_nobody_up(program) -> None:
    with CompilerSession(program, isolation=ONE_THREAD) as session, CompilerSession(program) as plain:
        os.kill(shared_worker(ONE_THREAD).connection().pid, signal.SIGSTOP)
        assert session.run("sroa").changed == plain.run("sroa").changed
        assert session.hash() == plain.hash()
