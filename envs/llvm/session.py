"""A compiler session: one program's module that is transformed pass by pass."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from ctypes import c_uint32
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from compiler_dojo.envs.errors import (
    CompilerCrashedError,
    CompilerFailedError,
    CompilerLostError,
    CompilerTimeoutError,
    DojoError,
    PassFailedError,
    ReplayError,
    SessionBusyError,
    SessionClosedError,
    UnreadableProgramError,
)
from compiler_dojo.envs.llvm.cache import TransitionCache
from compiler_dojo.envs.llvm.functions import FunctionHash, read_functions
from compiler_dojo.envs.llvm.graph import ProgramGraph, read_graph
from compiler_dojo.envs.llvm.library import AUTOPHASE_SIZE, INSTCOUNT_SIZE, State, load_core, load_library
from compiler_dojo.envs.llvm.module import Export, LocalModule, Module, RemoteModule
from compiler_dojo.envs.llvm.reproducer import Reproducer
from compiler_dojo.envs.llvm.worker import Isolation, Worker, make_isolation, shared_worker

IntArray = npt.NDArray[np.int64]
T = TypeVar("T")

BITCODE_MAGIC, WRAPPER_MAGIC = b"BC\xc0\xde", b"\xde\xc0\x17\x0b"
"""First bytes of bitcode, and of bitcode in the wrapper that Apple's tools put around it."""

_STATE_SIZE = ctypes.sizeof(State)
_HASH = slice(State.hash.offset, State.hash.offset + 16)

# A miss after this many remembered passes leaves a copy of the module behind for later misses.
KEEP_AFTER = 4
# A request that lost its worker this often, and nobody knows why, is tried in a worker of its own.
LOSSES_BEFORE_ALONE = 3


class PassResult(NamedTuple):
    """What one call of :meth:`CompilerSession.run` did.

    Attributes:
        changed: the structural hash differs from before.
        seconds: time inside LLVM.
    """

    changed: bool
    seconds: float


class CompilerSession:
    """A module in an LLVM context of its own.

    A session may be used by one thread at a time; different sessions run in parallel. What a pass does depends on the
    module's text alone, so equal pass lists give equal modules whether the session was opened, forked, replayed, or
    remembered.

    With ``isolation="process"`` LLVM runs in a worker process that all sessions of this process share. When the worker
    dies, its sessions are rebuilt in a new one by replay. The request that killed it is tried once more in a worker of
    its own; if that dies too, the request fails.

    Args:
        program: LLVM bitcode or textual IR.
        name: what to call the program in messages.
        isolation: ``"process"``, ``"none"`` (LLVM in this process, for debuggers), or limits of your own.

    Raises:
        InvalidProgramError: the program does not parse or verify, is empty, or defines no function.
        NativeLibraryError: libLLVM cannot be loaded.
        CompilerCrashedError: LLVM crashes when it reads the program.
    """

    def __init__(
        self,
        program: bytes,
        name: str = "program",
        isolation: str | Isolation = "process",
    ) -> None:
        self.name = name
        self._program = program
        limits = make_isolation(isolation)
        self._worker = shared_worker(limits) if limits is not None else None
        self._cache: TransitionCache | None = None
        self._identity = b""
        self._history: list[bytes] = []
        self._set_up()
        self._module: Module | None = None
        self._module = self._surviving(lambda: self._open(self._state), "reading the program")

    def _set_up(self) -> None:
        self._closed = False
        # passes that are part of the history and have not been run on the module, with the hash after each
        self._pending: list[tuple[bytes, bytes]] = []
        self._running: bytes | None = None
        self._found: bytes | None = None
        self._failed: DojoError | None = None
        self._state = State()
        self._bytes = view = memoryview(self._state).cast("B")
        # views of the state, which is rewritten in place; handed out as copies only
        self._instcount: IntArray = np.frombuffer(view, np.int64, INSTCOUNT_SIZE, State.instcount.offset)
        self._autophase: IntArray = np.frombuffer(view, np.int64, AUTOPHASE_SIZE, State.autophase.offset)
        self._shares: npt.NDArray[np.float32] = np.frombuffer(
            view, np.float32, AUTOPHASE_SIZE, State.autophase_shares.offset
        )

    def remember(self, cache: TransitionCache, identity: bytes) -> None:
        """From now on, take results from the cache and put new ones into it; forks do so too.

        Args:
            cache: the cache, which may serve any number of sessions.
            identity: what the cache knows the program by: bytes that no other program has.
        """
        self._cache, self._identity = cache, identity

    def run(self, pipeline: str | bytes) -> PassResult:
        """Run the passes of ``pipeline`` (the text of ``opt -passes=``).

        Raises:
            PassFailedError: LLVM refused the text; the module is as before.
            CompilerCrashedError: LLVM crashed.
            CompilerTimeoutError: the passes took longer than the limit.
        """
        self.begin(pipeline)
        return self.end()

    def begin(self, pipeline: str | bytes) -> None:
        """Start what :meth:`run` does; with a worker, several sessions run at once."""
        self._require_idle()
        text = pipeline if isinstance(pipeline, bytes) else pipeline.encode()
        if b"\0" in text or b"\n" in text:
            raise PassFailedError(f"{self.name}: a pipeline holds neither NUL nor line breaks, got {text!r}")
        self._running = text
        if self._cache is not None:
            self._found = self._cache.get(self._key(text))
            if self._found is not None:
                return
        try:
            self._begin_run(text)
        except DojoError as error:
            self._failed = error
        except BaseException:  # Ctrl-C among them
            self._running = None
            self._drop_module()
            raise

    def end(self) -> PassResult:
        """Wait for what :meth:`begin` started."""
        self._require_open()
        text, self._running = self._running, None
        if text is None:
            raise SessionBusyError(f"{self.name}: end() waits for what begin() started, and nothing was")
        if self._found is not None:
            return self._take_found(text, self._found)
        key = self._key(text) if self._cache is not None else b""
        try:
            self._end_run(text)
        except PassFailedError as error:
            self._pending.clear()
            reason = str(error).removeprefix(f"{self.name}: ")
            raise PassFailedError(f"{self.name}: pipeline {_shortened(text)!r}: {reason}") from None
        except DojoError:
            raise
        except BaseException:  # Ctrl-C among them: whether the pass has run is not known
            self.close()
            raise
        self._pending.clear()
        self._history.append(text)
        changed = bool(self._state.changed)
        if self._cache is not None:
            self._cache.put(key, bytes(self._bytes) if changed else b"")
        return PassResult(changed, self._state.pass_seconds)

    def _end_run(self, text: bytes) -> None:
        failed, self._failed = self._failed, None
        try:
            if failed is not None:
                raise failed
            if self._module is None or self._module.ended:
                raise CompilerLostError(f"{self.name}: the compiler process has ended")
            self._module.end(self._state)
        except CompilerFailedError as error:
            self._recover(lambda: self._run_again(text), text, error)

    def hash(self) -> str:
        """128-bit structural hash as 32 hexadecimal digits: equal modules have equal hashes in every process."""
        self._require_open()
        first, second = self._state.hash
        return f"{first:016x}{second:016x}"

    @property
    def instruction_count(self) -> int:
        """IR instructions of the module."""
        self._require_open()
        return int(self._instcount[0])

    @property
    def llvm_version(self) -> str:
        """Version of the LLVM that works for this session, such as ``19.1.7``."""
        version = load_library().version if self._worker is None else self._worker.connection().version
        return ".".join(map(str, version))

    def instcount(self) -> IntArray:
        """LLVM's InstCount, int64 of shape (70,): see :data:`compiler_dojo.envs.llvm.features.INSTCOUNT_NAMES`."""
        self._require_open()
        return self._instcount.copy()

    def autophase(self) -> IntArray:
        """Autophase, int64 of shape (56,): see :data:`compiler_dojo.envs.llvm.features.AUTOPHASE_NAMES`."""
        self._require_open()
        return self._autophase.copy()

    def autophase_shares(self) -> npt.NDArray[np.float32]:
        """Autophase counts divided by the instruction count, clipped to [0, 1], float32 of shape (56,)."""
        self._require_open()
        return self._shares.copy()

    def graph(self) -> ProgramGraph:
        """The program graph in ProGraML's schema: see :mod:`compiler_dojo.envs.llvm.graph`."""
        return read_graph(self._remembered(b"graph", lambda module: module.export(Export.GRAPH), "drawing the graph"))

    def functions(self) -> tuple[FunctionHash, ...]:
        """Hash and size of every function that the module defines, in the module's order."""
        return read_functions(self._ask(lambda module: module.export(Export.FUNCTIONS), "hashing functions"))

    def text_size(self) -> int:
        """Bytes of the .text sections of the object that LLVM emits for the module; takes 10 to 100 passes' time."""

        def measure(module: Module) -> bytes:
            return module.text_size().to_bytes(8, "little")

        return int.from_bytes(self._remembered(b"text_size", measure, "emitting an object"), "little")

    def object_code(self) -> bytes:
        """The relocatable object that LLVM emits for the module."""
        return self._ask(lambda module: module.export(Export.OBJECT), "emitting an object")

    def bitcode(self) -> bytes:
        """The module as LLVM bitcode."""
        return self._ask(lambda module: module.export(Export.BITCODE), "writing bitcode")

    def ir(self) -> str:
        """The module as text."""
        return self._ask(lambda module: module.export(Export.IR), "writing text").decode(errors="replace")

    def verify(self) -> None:
        """Check the module's validity.

        Raises:
            InvalidProgramError: LLVM's verifier found a fault.
        """
        self._ask(lambda module: module.verify(), "verifying")

    def fork(self) -> CompilerSession:
        """An independent session at the same state; its module is parsed when it first runs a pass."""
        self._require_idle()
        fork = CompilerSession.__new__(CompilerSession)
        fork._set_up()
        fork._module = self._surviving(lambda: self._module_now().fork(), "copying the module")
        fork.name, fork._program, fork._worker = self.name, self._program, self._worker
        fork._cache, fork._identity = self._cache, self._identity
        fork._history, fork._pending = self._history.copy(), self._pending.copy()
        fork._bytes[:] = self._bytes
        return fork

    def materialize(self) -> None:
        """Do now the parsing that a fork otherwise puts off until it first runs a pass, and passes that wait."""
        self._ask(lambda module: module.materialize(), "reading the module")

    def benchmark_floor(self, pipelines: list[str]) -> tuple[list[float], list[float]]:
        """Seconds of each pipeline, and of the walk after it, when a bare C loop in this process runs them."""
        module = LocalModule.open(self.bitcode(), self.name, State())
        return module.benchmark_floor(pipelines)

    def close(self) -> None:
        """Free the module. Closing twice is harmless."""
        self._closed = True
        self._drop_module()

    @property
    def _is_waiting(self) -> bool:
        if self._running is None or self._found is not None or self._failed is not None:
            return False
        module = self._module
        return not isinstance(module, RemoteModule) or module.run_number is not None

    def _key(self, item: bytes) -> bytes:
        return self._identity + self._bytes[_HASH].tobytes() + item

    def _take_found(self, text: bytes, found: bytes) -> PassResult:
        """Take a remembered result; the module follows when it is needed."""
        self._found = None
        if not found:
            self._state.changed = 0
            return PassResult(False, 0.0)
        self._bytes[:] = found
        self._state.pass_seconds = 0.0
        self._history.append(text)
        self._pending.append((text, self._bytes[_HASH].tobytes()))
        return PassResult(True, 0.0)

    def _begin_run(self, text: bytes) -> None:
        """Send the passes that wait and the one that is to run."""
        module = self._module_now()
        if self._pending:
            if len(self._pending) >= KEEP_AFTER:
                module = self._run_pending()
            else:
                text = b"\n".join([*(item for item, _ in self._pending), text])
        module.begin(text, self._state)

    def _run_pending(self) -> Module:
        """Bring the module up to the state, from the nearest kept ancestor, and keep a copy."""
        cache = self._cache
        assert cache is not None
        pending, remaining = self._pending, self._pending
        for index in range(len(pending) - 1, -1, -1):
            kept = cache.module(self._identity + pending[index][1])
            if kept is not None and self._is_at_home(kept):
                if self._module is not None:
                    self._module.close()
                self._module = kept.fork()
                remaining = pending[index + 1 :]
                break
        module = self._module_now()
        if remaining and self._pending:  # a module that was rebuilt just now is up to date
            self._replay(module, [item for item, _ in remaining])
            cache.keep(self._identity + pending[-1][1], module.fork(), len(self._program))
        self._pending = []
        return module

    def _is_at_home(self, module: Module) -> bool:
        """Whether a module lives where this session's do."""
        if self._worker is None:
            return isinstance(module, LocalModule)
        return isinstance(module, RemoteModule) and module.connection is self._worker.connection()

    def _ask(self, question: Callable[[Module], T], what: str) -> T:
        """Ask the module as it is now."""

        def answer() -> T:
            module = self._module_now()
            self._replay(module, [item for item, _ in self._pending])
            self._pending = []
            return question(module)

        return self._surviving(answer, what)

    def _remembered(self, item: bytes, question: Callable[[Module], bytes], what: str) -> bytes:
        """What the cache knows of the module, or else the module itself."""
        self._require_open()
        if self._cache is None:
            return self._ask(question, what)
        key = self._key(b"\0" + item)
        answer = self._cache.get(key)
        if answer is None:
            answer = self._ask(question, what)
            self._cache.put(key, answer)
        return answer

    def _surviving(self, request: Callable[[], T], what: str) -> T:
        self._require_idle()
        try:
            return request()
        except CompilerFailedError as error:
            return self._recover(request, what.encode(), error)
        except DojoError:
            raise
        except BaseException:  # Ctrl-C among them: how far the module has come is not known
            self._drop_module()
            raise

    def _run_again(self, text: bytes) -> None:
        self._module_now().run(b"\n".join([*(item for item, _ in self._pending), text]), self._state)

    def _recover(self, request: Callable[[], T], what: bytes, error: CompilerFailedError) -> T:
        """Make a request again after its worker has died, until it is certain that the request is to blame."""
        losses = 0
        alone = False
        shared = self._worker
        while True:
            self._lose_module()
            if isinstance(error, CompilerCrashedError | CompilerTimeoutError) or losses == LOSSES_BEFORE_ALONE:
                if alone or self._worker is None:
                    break
                alone, losses = True, 0
                self._worker = Worker(self._worker.isolation)
            losses += 1
            try:
                return request()
            except CompilerFailedError as again:
                error = again
        self._worker = shared
        raise self._with_reproducer(error, what)

    def _with_reproducer(self, error: CompilerFailedError, what: bytes) -> CompilerFailedError:
        """The error as the user sees it, with everything needed to see it again."""
        pipelines = [item.decode(errors="replace") for item in (*self._history, what)]
        message = f"{error} (pass {_shortened(what)!r}, after {len(self._history)} others) {self._last_words}".strip()
        kind = CompilerTimeoutError if isinstance(error, CompilerTimeoutError) else CompilerCrashedError
        assert self._worker is not None
        try:
            limit = self._worker.isolation.pass_seconds
            reproducer = Reproducer(
                self._program, pipelines, kind.__name__, message, self.llvm_version, self.name, limit
            )
            folder = reproducer.save()
        except (OSError, RuntimeError, DojoError) as problem:  # RuntimeError: there is no home folder
            return kind(f"{message}; no reproducer was saved: {problem}", pipelines[-1])
        return kind(f"{message}; reproducer: {folder}", pipelines[-1], folder)

    def _module_now(self) -> Module:
        """The module, rebuilt when it was lost; passes that wait are not run."""
        if self._module is None or self._module.ended:
            self._module = self._rebuild()
        return self._module

    def _rebuild(self) -> Module:
        module = self._open(State())
        self._replay(module, self._history)
        self._pending = []
        return module

    def _replay(self, module: Module, pipelines: list[bytes]) -> None:
        """Bring a module up to this session's state."""
        if not pipelines:
            return
        state = State()
        module.run(b"\n".join(pipelines), state)
        if bytes(state.hash) != bytes(self._state.hash):
            raise ReplayError(f"{self.name}: replaying {len(pipelines)} passes gives another module")

    def _open(self, state: State) -> Module:
        try:
            if self._worker is None:
                return LocalModule.open(self._program, self.name, state)
            limit = self._worker.isolation.pass_seconds
            return RemoteModule.open(self._worker.connection(), self._program, self.name, state, limit)
        except UnreadableProgramError as error:
            reason = str(error).removeprefix(f"{self.name}: ")
            raise UnreadableProgramError(f"{self.name}: {_kind_of_input(self._program)}: {reason}") from None

    def _drop_module(self) -> None:
        module, self._module = self._module, None
        if module is not None:
            module.close()

    def _lose_module(self) -> None:
        """Give the module up, and the worker that died with it."""
        module, self._module = self._module, None
        if isinstance(module, RemoteModule):
            self._last_words = module.connection.last_words()
            module.connection.end()
        elif module is None and self._worker is not None:
            self._worker.end_if_dead()

    _last_words = ""

    def _require_open(self) -> None:
        if self._closed:
            raise SessionClosedError(f"the session of {self.name} is closed; open a new one")

    def _require_idle(self) -> None:
        self._require_open()
        if self._running is not None:
            raise SessionBusyError(f"{self.name}: a pass has begun; end() it first, or close the session")

    def __enter__(self) -> CompilerSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def wait_for_any(sessions: Sequence[CompilerSession]) -> list[bool]:
    """Wait until at least one of the sessions that have begun a pass can end it at once; which of them can."""
    modules = [session._module if session._is_waiting else None for session in sessions]
    first = modules[0]
    if not isinstance(first, RemoteModule) or any(
        not isinstance(module, RemoteModule) or module.connection is not first.connection for module in modules
    ):
        # some need no wait, or they are in several workers: take them as they come
        waits = [isinstance(module, RemoteModule) for module in modules]
        return [not wait for wait in waits] if not all(waits) else [True] + [False] * (len(waits) - 1)
    count = len(modules)
    runs = (c_uint32 * count)(*[module.run_number or 0 for module in modules if isinstance(module, RemoteModule)])
    done = ctypes.create_string_buffer(count)
    load_core().functions.dojo_worker_wait(first.connection.handle, runs, count, first.limit, done)
    return [flag == 1 for flag in done.raw]


def _shortened(pipeline: bytes) -> str:
    text = pipeline.decode(errors="replace")
    return text if len(text) <= 200 else f"{text[:190]}... ({len(text)} characters)"


def is_bitcode(program: bytes) -> bool:
    """Whether this is LLVM bitcode, by its first bytes; textual IR is not."""
    return program.startswith((BITCODE_MAGIC, WRAPPER_MAGIC))


def _kind_of_input(program: bytes) -> str:
    """A first clause that tells the user what kind of input this looked like."""
    if is_bitcode(program):
        return "invalid or truncated LLVM bitcode, or of a newer LLVM"
    if b"* " in program[:100_000] and b"define" in program and b"ptr" not in program[:100_000]:
        return (
            "invalid LLVM IR; if it was written by LLVM 14 or older (typed pointers such as i32*), "
            "convert it to bitcode with that LLVM's llvm-as: old bitcode is upgraded on load"
        )
    return "invalid LLVM IR"
