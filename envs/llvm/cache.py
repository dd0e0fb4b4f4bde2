"""What passes did, remembered: the exact results of transitions and the modules from which to go on."""

from __future__ import annotations

import collections
import threading

from compiler_dojo.envs.llvm.module import Module
from compiler_dojo.envs.llvm.once import once

ENTRY_OVERHEAD_BYTES = 250  # of a key and a value in a dictionary, measured
KEPT_MODULES = 256


class TransitionCache:
    """Results by (program, module hash, pass), least recently used ones forgotten first.

    A pass's result depends on the module alone, so what one session has seen serves all others of the process.

    Args:
        max_bytes: bound on the memory of the results.

    Attributes:
        hits: lookups that were answered.
        misses: lookups that were not.
        bytes: memory in use.
    """

    def __init__(self, max_bytes: int = 256 << 20) -> None:
        self.max_bytes = max_bytes
        self.hits = 0
        self.misses = 0
        self.bytes = 0
        self._lock = threading.Lock()
        self._entries: collections.OrderedDict[bytes, bytes] = collections.OrderedDict()
        self._modules: collections.OrderedDict[bytes, Module] = collections.OrderedDict()

    def get(self, key: bytes) -> bytes | None:
        """What was stored, or None."""
        value = self._entries.get(key)
        if value is None:
            self.misses += 1
            return None
        self.hits += 1
        try:
            self._entries.move_to_end(key)
        except KeyError:  # another thread has just forgotten it
            return value
        return value

    def put(self, key: bytes, value: bytes) -> None:
        """Store a result."""
        with self._lock:
            if key in self._entries:
                return
            self._entries[key] = value
            self.bytes += len(key) + len(value) + ENTRY_OVERHEAD_BYTES
            while self.bytes > self.max_bytes:
                old_key, old_value = self._entries.popitem(last=False)
                self.bytes -= len(old_key) + len(old_value) + ENTRY_OVERHEAD_BYTES

    def module(self, key: bytes) -> Module | None:
        """The kept module with this program and hash."""
        module = self._modules.get(key)
        if module is not None and module.ended:
            self._modules.pop(key, None)
            return None
        return module

    def keep(self, key: bytes, module: Module) -> None:
        """Keep a module from which later misses go on; of more than 256, the oldest are freed."""
        with self._lock:
            self._modules[key] = module
            while len(self._modules) > KEPT_MODULES:
                self._modules.popitem(last=False)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()
            self._modules.clear()
            self.bytes = self.hits = self.misses = 0

    @property
    def hit_rate(self) -> float:
        """Share of the lookups that were answered."""
        return self.hits / max(self.hits + self.misses, 1)


@once
def shared_cache() -> TransitionCache:
    """The process's cache."""
    return TransitionCache()
