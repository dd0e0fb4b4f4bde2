"""An analytical model of what a loop nest costs: deterministic, without compiling or running anything."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from compiler_dojo.envs.loops.codegen import resolve_tile
from compiler_dojo.envs.loops.footprints import Footprint, Layout, Reference, Traffic, fitting
from compiler_dojo.envs.loops.machine import Machine, host_machine
from compiler_dojo.envs.loops.nest import Nest
from compiler_dojo.envs.loops.throughput import core_cycles
from compiler_dojo.envs.loops.workload import Workload

if TYPE_CHECKING:
    from compiler_dojo.envs.loops.jit import Target

_MOST_CACHED = 100_000


class Analysis(NamedTuple):
    """What the model finds out about a nest.

    Attributes:
        nest: with its register tile made explicit.
        cycles: by part, see :meth:`AnalyticalCost.explain`.
        visits: how often each depth is reached; after the tile's come those inside its reduction loops.
        lines: cache lines that one run of the loops from each depth on touches.
    """

    nest: Nest
    cycles: dict[str, float]
    visits: Sequence[float]
    lines: Sequence[float]


class AnalyticalCost:
    """Cycles of a nest from the parameters of a processor.

    The core's time is the longest of what its ports, its front end and the latency of its accumulators need. Moving
    data between the levels of the memory hierarchy comes on top, as far as it does not overlap. The pieces are those
    of Low et al., "Analytical modeling is enough for high-performance BLIS" (TOMS 2016), and of the execution-cache-
    memory model (Stengel et al., ICS 2015); footprints are those of the loop tree, see :class:`.footprints.Traffic`.

    Args:
        target: instructions that the code may use.
        machine: the processor; by default that of this host, looked up when first needed.

    Attributes:
        deterministic: equal nests cost the same, always.
        platform_dependent: whether the host's caches go into the result.
    """

    deterministic = True

    def __init__(self, target: Target, machine: Machine | None = None) -> None:
        self.target = target
        self.platform_dependent = machine is None
        self._machine = machine
        self._seconds: dict[str, float] = {}

    @property
    def machine(self) -> Machine:
        """The processor."""
        if self._machine is None:
            self._machine = host_machine()
        return self._machine

    def peak(self, dtype: str = "float32", threads: int = 1) -> float:
        """GFLOP/s of multiply-adds alone."""
        lanes = self.target.vector_bytes // (4 if dtype == "float32" else 8)
        per_cycle = 2 * lanes * self.machine.fma_per_cycle / (1 if self.target.fma else 2)
        return per_cycle * self.machine.gigahertz * min(threads, self.machine.cores)

    def gflops(self, nest: Nest) -> float:
        """Billions of floating-point operations per second."""
        return nest.workload.flops / self.seconds(nest) / 1e9

    def seconds(self, nest: Nest) -> float:
        """Time of one run with warm caches."""
        found = self._seconds.get(nest.key)
        if found is None:
            if len(self._seconds) >= _MOST_CACHED:
                self._seconds.clear()
            found = self.explain(nest)["total"] / self.machine.gigahertz / 1e9
            self._seconds[nest.key] = found
        return found

    def explain(self, nest: Nest) -> dict[str, float]:
        """Cycles by part, of one thread.

        ``fma``, ``loads``, ``stores``, ``frontend`` and ``latency`` overlap: the longest counts, for each shape of tile
        by itself, as ``bound`` says. ``horizontal`` (adding up partial sums), ``masked`` (loads that wait for masked
        stores), ``loops`` and ``packs`` are added to it. ``l2``, ``l3``, ``memory`` are the transfers from there,
        ``tlb`` the address translation. ``total`` is what the nest takes.
        """
        return self.analyse(nest).cycles

    def analyse(self, nest: Nest) -> Analysis:
        """The cycles of :meth:`explain`, with what they follow from."""
        machine, target = self.machine, self.target
        nest = resolve_tile(nest, target)
        tile = nest.tile or 0
        if any(pack.depth > tile for pack in nest.packs):
            # the tile was chosen automatically, and no copy is made inside of it
            nest = nest.with_(packs=tuple(pack for pack in nest.packs if pack.depth <= tile))
        core = core_cycles(nest, tile, machine, target)
        layouts = _layouts(
            nest.workload,
            machine.line_bytes,
            machine.page_bytes,
            max(1, machine.l1_bytes // (machine.line_bytes * machine.l1_ways)),
        )
        visits, extents = _boxes(nest, tile)
        packs = 0.0
        for pack in nest.packs:
            packs += self._pack_cycles(nest, layouts[pack.operand + 1], tile, visits[pack.depth], extents[pack.depth])
        traffic = _traffic(nest, layouts, tile, visits, extents, machine)
        l2, l3, memory, tlb = self._transfers(traffic)
        computing = core.bound + core.horizontal + core.masked + core.loops + packs
        moving = l2 + l3 + memory + tlb
        total = max(computing, moving) + (1 - machine.overlap) * min(computing, moving)
        if nest.threads > 1:
            total = self._divided(nest, total, memory)
        cycles = {**core._asdict(), "packs": packs, "l2": l2, "l3": l3, "memory": memory, "tlb": tlb, "total": total}
        return Analysis(nest, cycles, visits, traffic.lines)

    def _pack_cycles(self, nest: Nest, layout: Layout, tile: int, visits: float, extents: Sequence[int]) -> float:
        names = list(nest.workload.sizes)
        elements = visits * math.prod([extents[axis] for axis in layout.axes])
        lanes = self.target.vector_bytes // layout.item_bytes
        vector = nest.loops[-1].axis
        stride = layout.strides[names.index(vector)]
        buffer = math.prod([extents[axis] for axis in layout.axes]) * layout.item_bytes
        # stores that wait for their lines hold up loads 4096 bytes away from them
        stalled = (1 - fitting(buffer / self.machine.l1_bytes)) * self.machine.copy_miss_cycles
        if stride == 0:
            # element by element, and the loops around the tile's box
            rows = math.prod(
                [
                    min(nest.extent(tile, names[a]), extents[a])
                    for a in layout.axes
                    if names[a] in nest.workload.output.axes
                ]
            )
            loops = self.machine.loop_uops / 2 / rows
            return elements * (self.machine.copy_cycles + loops + stalled / lanes)
        width = extents[names.index(vector)]
        vectors = elements / width * -(-width // lanes)
        gathering = 0.0 if stride == 1 else lanes * self.machine.gather_cycles
        return vectors * (self.machine.copy_cycles + gathering + stalled)

    def _transfers(self, traffic: Traffic) -> tuple[float, float, float, float]:
        machine = self.machine
        line = machine.line_bytes
        l1 = traffic.misses(machine.l1_bytes / line, ways=machine.l1_ways)
        l2 = min(l1, traffic.misses(machine.l2_bytes / line)) if l1 else 0.0
        l3 = min(l2, traffic.misses(machine.l3_bytes / line)) if l2 else 0.0
        tlb = traffic.misses(machine.tlb_pages, pages=True)
        stlb = min(tlb, traffic.misses(machine.stlb_pages, pages=True)) if tlb else 0.0
        return (
            l1 * line / machine.l2_bandwidth,
            l2 * line / machine.l3_bandwidth,
            l3 * line / machine.memory_bandwidth,
            tlb * machine.tlb_cycles + stlb * machine.stlb_cycles,
        )

    def _divided(self, nest: Nest, busy: float, memory: float) -> float:
        """Cycles with the outermost loop divided over threads, of which the slowest counts."""
        machine = self.machine
        trips = -(-nest.extent(0) // nest.loops[0].step)
        threads = min(nest.threads, trips)
        waves = -(-threads // machine.cores)
        share = -(-trips // threads) / trips * waves
        # memory serves all cores together
        slower = max(1.0, threads / waves * machine.memory_bandwidth / machine.shared_bandwidth)
        return busy * share + memory * share * (slower - 1.0) + threads * machine.thread_cycles


@lru_cache(maxsize=1024)
def _layouts(workload: Workload, line_bytes: int, page_bytes: int, l1_sets: int) -> tuple[Layout, ...]:
    """Of the output, then the inputs."""
    operands = (workload.output, *workload.inputs)
    return tuple(Layout(workload, operand, line_bytes, page_bytes, l1_sets) for operand in operands)


def _boxes(nest: Nest, tile: int) -> tuple[list[float], list[list[int]]]:
    """How often each depth is reached, and the extents of the axes there; after the tile come its reduction loops.

    Footprints are those of full iterations, so the numbers of iterations are not rounded up.
    """
    number = {name: i for i, name in enumerate(nest.workload.sizes)}
    reductions = nest.workload.reduction_axes
    current = list(nest.workload.sizes.values())
    visits, extents = [1.0], [current]
    for position, loop in enumerate(nest.loops):
        if position < tile or loop.axis in reductions:
            axis = number[loop.axis]
            before = current[axis]
            after = min(loop.step, before)
            current = current.copy()
            current[axis] = after
            extents.append(current)
            visits.append(visits[-1] * before / after)
    return visits, extents


def _traffic(
    nest: Nest,
    layouts: Sequence[Layout],
    tile: int,
    visits: Sequence[float],
    extents: Sequence[Sequence[int]],
    machine: Machine,
) -> Traffic:
    deepest = len(visits) - 1
    packed = {pack.operand: pack.depth for pack in nest.packs}
    references = []
    for number, layout in enumerate(layouts):
        footprints = [layout.footprint(box) for box in extents]
        if number == 0:
            references.append(Reference(footprints, tile, 2.0))
            continue
        depth = packed.get(number - 1)
        references.append(Reference(footprints, deepest if depth is None else depth, 1.0))
        if depth is not None:
            references.append(Reference(_copied(layout, extents, depth, machine), deepest, 1.0))
    return Traffic(references, visits)


def _copied(layout: Layout, extents: Sequence[Sequence[int]], depth: int, machine: Machine) -> list[Footprint]:
    """Footprints of a packed operand, which is contiguous; outside the pack its storage is used again and again."""
    footprints = []
    for box in extents[depth:]:
        size = math.prod([box[axis] for axis in layout.axes]) * layout.item_bytes
        footprints.append(Footprint(max(1.0, size / machine.line_bytes), 1 + size / machine.page_bytes, 0.0))
    return [footprints[0]] * depth + footprints
