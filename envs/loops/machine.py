"""What the analytical cost model knows of a processor: ports, latencies, caches, address translation."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

_SYSFS = Path("/sys/devices/system/cpu/cpu0/cache")
_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30}


@dataclass(frozen=True)
class Machine:
    """Parameters of one core and of the caches behind it; the defaults are those of Intel's Sapphire Rapids.

    Units, loads per cycle and the latency of a multiply-add are those of Intel's optimization reference manual. What is
    not a size of the hardware was fitted to measured nests of the training workloads (see
    :mod:`compiler_dojo.experiments.loop_costs`), so that it holds what else goes with an event: stores, for one, are
    slower than the port is.

    Attributes:
        gigahertz: clock under vector load; shares of peak do not depend on it.
        fma_per_cycle: vector multiply-adds started per cycle.
        fma_latency: cycles from one to the next that needs its result.
        loads_per_cycle: vector loads or broadcasts per cycle.
        stores_per_cycle: vector stores per cycle.
        uops_per_cycle: micro-operations issued per cycle.
        window: micro-operations in flight at once (reorder buffer).
        gather_cycles: load-port time per element of a gather.
        scatter_cycles: store-port time per element of a scatter.
        horizontal_cycles: per halving when the lanes of an accumulator are added up.
        load_latency: cycles of a load that hits L1.
        forward_latency: cycles from a store to the end of a load of the same bytes.
        visit_cycles: fixed cost of each run of the register tile: loop control, addresses.
        loop_uops: micro-operations of an iteration's counter and branch.
        predicted_trips: iterations up to which the branch predictor knows the end of a loop.
        mispredict_cycles: cost of leaving a longer one.
        line_bytes: of a cache line.
        page_bytes: of a page of memory.
        l1_bytes, l2_bytes, l3_bytes: sizes of the data caches.
        l1_ways: associativity of L1.
        l2_bandwidth, l3_bandwidth, memory_bandwidth: bytes per cycle from there into the next nearer level, one core.
        shared_bandwidth: bytes per cycle that all cores together get from memory.
        tlb_pages, stlb_pages: entries of the two levels of data TLBs.
        tlb_cycles, stlb_cycles: exposed cycles of a miss in each.
        overlap: part of the shorter of computing and moving that is hidden behind the longer, 0 to 1.
        copy_cycles: per element or vector that a pack copies.
        copy_miss_cycles: per vector that a pack copies to where L1 does not hold it.
        masked_cycles: of loading an output vector after its neighbour was stored under a mask.
        cores: threads that really run at once.
        thread_cycles: cost of starting and joining a thread.
    """

    gigahertz: float = 2.8
    fma_per_cycle: float = 2.0
    fma_latency: float = 4.0
    loads_per_cycle: float = 2.0
    stores_per_cycle: float = 0.5
    uops_per_cycle: float = 6.0
    window: float = 512.0
    gather_cycles: float = 0.45
    scatter_cycles: float = 2.0
    horizontal_cycles: float = 1.0
    load_latency: float = 5.0
    forward_latency: float = 6.0
    visit_cycles: float = 1.0
    loop_uops: float = 0.5
    predicted_trips: float = 8.0
    mispredict_cycles: float = 30.0
    line_bytes: int = 64
    page_bytes: int = 4096
    l1_bytes: int = 48 * 2**10
    l2_bytes: int = 2 * 2**20
    l3_bytes: int = 32 * 2**20
    l1_ways: int = 12
    l2_bandwidth: float = 35.0
    l3_bandwidth: float = 18.0
    memory_bandwidth: float = 4.0
    shared_bandwidth: float = 40.0
    tlb_pages: int = 96
    stlb_pages: int = 2048
    tlb_cycles: float = 4.0
    stlb_cycles: float = 40.0
    overlap: float = 0.3
    copy_cycles: float = 0.65
    copy_miss_cycles: float = 3.5
    masked_cycles: float = 2.0
    cores: int = 1
    thread_cycles: float = 30_000.0


@lru_cache(maxsize=1)
def host_machine() -> Machine:
    """The default machine with this host's cache sizes, associativity and number of cores, where sysfs tells them."""
    found: dict[str, int] = {"cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1}
    for folder in sorted(_SYSFS.glob("index*")):
        try:
            level, kind, size = ((folder / name).read_text().strip() for name in ("level", "type", "size"))
            ways = int((folder / "ways_of_associativity").read_text())
        except (OSError, ValueError):
            continue
        if kind == "Instruction" or level not in "123" or size[-1:] not in _UNITS:
            continue
        found[f"l{level}_bytes"] = int(size[:-1]) * _UNITS[size[-1]]
        if level == "1" and ways > 0:
            found["l1_ways"] = ways
    return replace(Machine(), **found)
