"""What passes did, remembered: the exact results of transitions and the modules from which to go on."""

from __future__ import annotations

import collections
import threading

from compiler_dojo.envs.llvm.module import Module
from compiler_dojo.envs.llvm.once import once

# of a key and a value: 171 by tracemalloc at 50,000 entries, more when the table has just grown
ENTRY_OVERHEAD_BYTES = 250
KEPT_MODULES = 256


class TransitionCache:
    """Results by (program, module hash, pass), least recently used ones forgotten first.

    A pass's result depends on the module alone, so what one session has seen serves all others of the process.

    Args:
        max_bytes: bound on the memory of the results, and on that of the kept modules.

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
        self._modules: collections.OrderedDict[bytes, tuple[Module, int]] = collections.OrderedDict()
        self._module_bytes = 0

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
        """Store a result, unless it alone is larger than the bound."""
        size = len(key) + len(value) + ENTRY_OVERHEAD_BYTES
        with self._lock:
            if key in self._entries or size > self.max_bytes:
                return
            self._entries[key] = value
            self.bytes += size
            while self.bytes > self.max_bytes:
                old_key, old_value = self._entries.popitem(last=False)
                self.bytes -= len(old_key) + len(old_value) + ENTRY_OVERHEAD_BYTES

    def module(self, key: bytes) -> Module | None:
        """The kept module with this program and hash."""
        kept = self._modules.get(key)
        if kept is not None and kept[0].ended:
            self._drop(key)
            return None
        return kept[0] if kept is not None else None

    def keep(self, key: bytes, module: Module, size: int) -> None:
        """Keep a module from which later misses go on; of more than 256, or too many bytes, the oldest are freed."""
        self._drop(key)
        with self._lock:
            self._modules[key] = module, size
            self._module_bytes += size
            while len(self._modules) > KEPT_MODULES or self._module_bytes > self.max_bytes:
                self._module_bytes -= self._modules.popitem(last=False)[1][1]

    def _drop(self, key: bytes) -> None:
        with self._lock:
            self._module_bytes -= self._modules.pop(key, (None, 0))[1]

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()
            self._modules.clear()
            self.bytes = self.hits = self.misses = self._module_bytes = 0

    def __reduce__(self) -> tuple[type[TransitionCache], tuple[int]]:
        return TransitionCache, (self.max_bytes,)  # an empty one: what is in it belongs to this process

    @property
    def hit_rate(self) -> float:
        """Share of the lookups that were answered."""
        return self.hits / max(self.hits + self.misses, 1)


@once
def shared_cache() -> TransitionCache:
    """The process's cache."""
    return TransitionCache()
