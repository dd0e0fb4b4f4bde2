"""Functions that run once however many threads call them."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

from compiler_dojo.envs.llvm.once import once


def test_once__calls_the_function_once_for_equal_arguments_of_many_threads() -> None:
    calls = []
    barrier = threading.Barrier(8)

    @once
    def load(name: str) -> object:
        calls.append(name)
        time.sleep(0.02)
        return object()

    def use(name: str) -> object:
        barrier.wait()
        return load(name)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(use, "aabbaabb"))
    assert sorted(calls) == ["a", "b"]
    assert len({id(item) for item in found}) == 2


def test_sessions__opened_first_by_several_threads_at_once(run_python) -> None:
    """LLVM's list of targets becomes a ring when two threads register them at once."""
    done = run_python(
        "import threading\n"
        "from compiler_dojo.envs.llvm.session import CompilerSession\n"
        "IR = b'define i32 @f() { ret i32 1 }'\n"
        "barrier, counts = threading.Barrier(4), []\n"
        "def use():\n"
        "    barrier.wait()\n"
        "    for isolation in ('none', 'process'):\n"
        "        counts.append(CompilerSession(IR, isolation=isolation).instruction_count)\n"
        "threads = [threading.Thread(target=use) for _ in range(4)]\n"
        "[thread.start() for thread in threads]\n"
        "[thread.join() for thread in threads]\n"
        "print(counts)\n"
    )
    assert done.stdout == f"{[1] * 8}\n", done.stderr
