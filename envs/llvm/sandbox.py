"""Running programs so that they can harm nothing: limits on what they use, and a sandbox where there is one.

The kinds, best first:

- ``bubblewrap``: no network, a read-only file system but for an empty /tmp, only its own processes in sight.
- ``namespaces``: util-linux's ``unshare``; no network, only its own processes in sight. Files are as the user's.
- ``limits``: limits on time, memory, output and processes alone.

Run by root, programs run as nobody in all of them, because the limit on processes does not hold for root.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import resource
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal, NamedTuple

from compiler_dojo.envs.llvm.once import once

Kind = Literal["bubblewrap", "namespaces", "limits"]

CONFINES: dict[Kind, str] = {
    "bubblewrap": "no network, read-only files, resource limits",
    "namespaces": "no network, files as permissions say, resource limits",
    "limits": "resource limits, no sandbox around them",
}
"""What each kind of sandbox does."""

TOOLS: dict[Kind, tuple[str, ...]] = {
    "bubblewrap": ("bwrap", "prlimit"),
    "namespaces": ("unshare", "prlimit", "sh"),
    "limits": (),
}
"""The commands that each kind needs, best kind first."""

NOBODY = 65534
ERRORS_KEPT = 1 << 16

# the kernel ends a killed process at once, unless it waits for a device
SWEEP_SECONDS = 5.0


@dataclass(frozen=True)
class Limits:
    """What one run may use.

    Attributes:
        seconds: wall-clock time; processor time is limited to as much on every core.
        memory: bytes of address space of each process, or None for no limit, as AddressSanitizer's shadow needs.
        output: bytes of each file written, standard output among them.
        scratch: bytes of all files together, under bubblewrap.
        processes: processes and threads together.
    """

    seconds: float = 10.0
    memory: int | None = 2 << 30
    output: int = 16 << 20
    scratch: int = 64 << 20
    processes: int = 32


class RunResult(NamedTuple):
    """What a program did.

    Attributes:
        status: exit status; negative for a signal, None when it ran out of time. Inside bubblewrap and namespaces an
            exit status of 129 to 192 cannot be told from a signal and counts as one.
        output: standard output.
        seconds: wall-clock time, the sandbox's own start (see :attr:`sandbox`) included.
        errors: the first 64 KiB of standard error.
        sandbox: what it ran in.
    """

    status: int | None
    output: str
    seconds: float
    errors: str = ""
    sandbox: Kind = "limits"


@dataclass(frozen=True)
class Sandbox:
    """A way of running programs.

    Attributes:
        kind: what confines them.
        user: id of the user that they run as, or None for the one who runs this.
        refused: why no better kind is used.
    """

    kind: Kind
    user: int | None = None
    refused: str = ""

    def run(
        self,
        executable: Path,
        arguments: Sequence[str] = (),
        limits: Limits | None = None,
        environment: Mapping[str, str] | None = None,
        workplace: Path | None = None,
    ) -> RunResult:
        """Run an executable in an empty folder that is gone afterwards, as are all processes it started.

        Args:
            executable: what to run.
            arguments: its arguments.
            limits: what it may use.
            environment: variables beside PATH, LC_ALL and TMPDIR.
            workplace: a folder to run in instead, which with all that is in it becomes the sandbox's user's; it may
                write there, and what it writes stays. :meth:`place_of` tells where it finds it.
        """
        limits = limits or Limits()
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dojo-run-")))
            output, errors = (stack.enter_context(tempfile.TemporaryFile()) for _ in range(2))
            if self.user is not None:
                os.chown(folder, self.user, self.user)
                if workplace is not None:
                    _give(workplace, self.user)
            inside = "/tmp" if self.kind == "bubblewrap" else str(folder)
            command, limit = [*self._prefix(executable, limits, workplace), *arguments], self._limiter(limits)
            start = time.perf_counter()
            process = subprocess.Popen(
                command,
                cwd=workplace or folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TMPDIR": inside, **(environment or {})},
                preexec_fn=limit,
                start_new_session=True,
                user=self.user,
                group=self.user,
                extra_groups=None if self.user is None else (),
            )
            try:
                ended = _wait(process, limits.seconds)
                seconds = time.perf_counter() - start
            finally:
                self._kill(process, folder)
            status = self._status(process.wait()) if ended else None
            return RunResult(status, _text(output), seconds, _text(errors, ERRORS_KEPT), self.kind)

    def place_of(self, workplace: Path) -> str:
        """The path by which a program in the sandbox knows its workplace."""
        return "/tmp/work" if self.kind == "bubblewrap" else str(workplace)

    def _prefix(self, executable: Path, limits: Limits, workplace: Path | None) -> list[str]:
        """The command up to the program's arguments."""
        # counted inside a user namespace of its own, from zero
        processes = [_tool("prlimit"), f"--nproc={limits.processes}"]
        if self.kind == "bubblewrap":
            place = "/tmp" if workplace is None else self.place_of(workplace)
            return [
                _tool("bwrap"), "--unshare-all", "--die-with-parent",
                "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc",
                # sockets in /run can be talked to however read-only they are
                "--tmpfs", "/run", "--size", str(limits.scratch), "--tmpfs", "/tmp",
                "--ro-bind", str(executable), "/tmp/program",
                *(() if workplace is None else ("--bind", str(workplace), place)),
                "--chdir", place, *processes, "/tmp/program",
            ]  # fmt: skip
        if self.kind == "namespaces":
            return [
                _tool("unshare"), "--user", "--map-current-user", "--net", "--ipc", "--uts",
                "--pid", "--fork", "--kill-child", "--mount-proc",
                # a shell as the first process: signals of a program's own do not end a process 1
                _tool("sh"), "-c", '"$0" "$@"; exit $?', *processes, str(executable),
            ]  # fmt: skip
        return [str(executable)]

    def _limiter(self, limits: Limits) -> Callable[[], None]:
        """What the process does to itself before it becomes the program."""
        processor = math.ceil(limits.seconds) * (os.cpu_count() or 1) + 1
        bounds = {
            resource.RLIMIT_FSIZE: limits.output,
            resource.RLIMIT_CORE: 0,
            # the wall clock ends a run first, unless whoever holds the clock is killed
            resource.RLIMIT_CPU: processor,
        }
        if limits.memory is not None:
            bounds[resource.RLIMIT_AS] = limits.memory
        if self.kind == "limits":
            user = os.getuid() if self.user is None else self.user
            tasks = sum(_count(f"/proc/{process}/task") for process in _processes_of(user))
            bounds[resource.RLIMIT_NPROC] = tasks + limits.processes

        def limit() -> None:
            for kind, bound in bounds.items():
                highest = resource.getrlimit(kind)[1]
                if highest != resource.RLIM_INFINITY:
                    bound = min(bound, highest)
                resource.setrlimit(kind, (bound, bound))

        return limit

    def _kill(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        """End everything that the run started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        # processes that left the group: a process namespace takes them along, elsewhere the environment betrays them
        if self.kind == "limits":
            mark = f"TMPDIR={folder}\0".encode()
            user = os.getuid() if self.user is None else self.user
            deadline = time.monotonic() + SWEEP_SECONDS
            while marked := [number for number in _processes_of(user) if mark in _environment(number)]:
                for number in marked:
                    with contextlib.suppress(OSError):
                        os.kill(number, signal.SIGKILL)
                if time.monotonic() > deadline:
                    break

    def _status(self, status: int) -> int:
        """With shells' 128 + signal, by which bubblewrap and sh report signals, turned back."""
        if self.kind != "limits" and 128 < status <= 128 + signal.NSIG:
            return 128 - status
        return status


@functools.cache
def find_sandbox() -> Sandbox:
    """The best sandbox that works here, found out once per process by running ``true`` in it."""
    user = NOBODY if os.getuid() == 0 else None
    refused: list[str] = []
    for kind, tools in TOOLS.items():
        absent = [tool for tool in tools if shutil.which(tool) is None]
        problem = f"{absent[0]} is not installed" if absent else what_refuses(Sandbox(kind, user))
        if problem is None:
            return Sandbox(kind, user, "; ".join(refused))
        refused.append(f"{kind}: {problem}")
    return Sandbox("limits", None, "; ".join(refused))


def what_refuses(sandbox: Sandbox) -> str | None:
    """What keeps a sandbox from working, or None."""
    with private_folder() as folder:
        executable = folder / "true"
        try:
            shutil.copy(shutil.which("true") or "/bin/true", executable)
            result = sandbox.run(executable)
        except (OSError, subprocess.SubprocessError) as error:
            return str(error)
    return None if result.status == 0 else (result.errors.strip() or f"`true` ends with {result.status} in it")


@once
def without_network() -> tuple[str, ...]:
    """What to put before a command so that it has no network; empty where the system allows no such thing."""
    user = () if os.getuid() == 0 else ("--user", "--map-current-user")
    prefix = (_tool("unshare"), *user, "--net")
    try:
        refused = subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode != 0
    except OSError:
        refused = True
    return () if refused else prefix


@contextlib.contextmanager
def private_folder() -> Iterator[Path]:
    """A temporary folder for executables: others may pass through, as nobody must, and not list it."""
    with tempfile.TemporaryDirectory(prefix="dojo-") as folder:
        os.chmod(folder, 0o711)
        yield Path(folder)


def _give(folder: Path, user: int) -> None:
    os.chown(folder, user, user)
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            os.chown(f"{parent}/{name}", user, user, follow_symlinks=False)


def _tool(name: str) -> str:
    return shutil.which(name) or name


def _wait(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Wait for the end of a process; False when it does not come in time.

    A process's own descriptor tells the end at once, where ``Popen.wait`` looks every 0.5 to 50 ms.
    """
    try:
        descriptor = os.pidfd_open(process.pid)
    except OSError:  # Linux before 5.3
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        return process.returncode is not None
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(seconds * 1000.0))
    finally:
        os.close(descriptor)


def _processes_of(user: int) -> Iterator[int]:
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                if os.stat(f"/proc/{name}").st_uid == user:
                    yield int(name)


def _count(folder: str) -> int:
    try:
        return len(os.listdir(folder))
    except OSError:
        return 0


def _environment(process: int) -> bytes:
    try:
        return Path(f"/proc/{process}/environ").read_bytes()
    except OSError:
        return b""


def _text(file: IO[bytes], limit: int = -1) -> str:
    file.seek(0)
    return file.read(limit).decode(errors="replace")
