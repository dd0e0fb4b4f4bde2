"""An analytical model of what a loop nest costs: deterministic, without compiling or running anything."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

from compiler_dojo.envs.loops.footprints import Footprint, Layout, Reference, Traffic, boxes
from compiler_dojo.envs.loops.machine import Machine, host_machine
from compiler_dojo.envs.loops.nest import Nest
from compiler_dojo.envs.loops.workload import Workload

if TYPE_CHECKING:
    from compiler_dojo.envs.loops.jit import Target

OPERAND_REGISTERS = 4
"""Vector registers that the choice of a tile leaves to operands."""

_MOST_CACHED = 100_000


class Tile(NamedTuple):
    """The register tile of a nest.

    Attributes:
        depth: of the loops that make it up.
        streamed: not even the innermost loop fits: it runs vector by vector, with the output in memory.
    """

    depth: int
    streamed: bool


def register_tile(nest: Nest, lanes: int, registers: int) -> Tile:
    """The nest's own tile, or the outermost whose part of the output fits the registers.

    Args:
        nest: a nest.
        lanes: elements of a vector.
        registers: vector registers of the target.
    """
    last = len(nest.loops) - 1
    if nest.tile is not None:
        return Tile(nest.tile, False)
    for depth in range(last + 1):
        if accumulators(nest, depth, lanes) <= registers - OPERAND_REGISTERS:
            return Tile(depth, False)
    return Tile(last, True)


def accumulators(nest: Nest, depth: int, lanes: int) -> int:
    """Vectors of output elements that the loops from a depth on compute."""
    vector_axis = nest.loops[-1].axis
    count = 1
    for axis, extent in nest.tile_extents(depth).items():
        if axis in nest.workload.output.axes:
            count *= -(-extent // lanes) if axis == vector_axis else extent
    return count


class _Arrays(NamedTuple):
    """What of a workload the model asks for in every nest."""

    names: tuple[str, ...]
    number: dict[str, int]
    layouts: tuple[Layout, ...]  # output, then inputs
    spatial: tuple[bool, ...]


@lru_cache(maxsize=1024)
def _arrays(workload: Workload, line_bytes: int, page_bytes: int, l1_sets: int) -> _Arrays:
    names = tuple(workload.sizes)
    return _Arrays(
        names,
        {name: i for i, name in enumerate(names)},
        tuple(
            Layout(workload, operand, line_bytes, page_bytes, l1_sets)
            for operand in (workload.output, *workload.inputs)
        ),
        tuple(name in workload.output.axes for name in names),
    )


class _Loads(NamedTuple):
    """How the tile reads an input: ``kind`` is vector, broadcast or gather along the vector axis."""

    kind: str
    axes: tuple[int, ...]  # spatial axes, without the vector axis
    splits: float  # loads that a vector costs, 2 where vectors straddle lines


class _Core(NamedTuple):
    """Cycles of the core, were everything in L1, by what they are spent on."""

    fma: float
    loads: float
    gathers: float
    stores: float
    frontend: float
    latency: float
    horizontal: float
    loops: float


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

        ``fma``, ``loads`` (``gathers`` among them), ``stores``, ``frontend`` and ``latency`` overlap: the longest
        counts. ``horizontal``, ``loops`` and ``packs`` are added to it. ``l2``, ``l3``, ``memory`` are the transfers
        from there, ``tlb`` the address translation. ``total`` is what the nest takes.
        """
        machine = self.machine
        arrays = _arrays(
            nest.workload,
            machine.line_bytes,
            machine.page_bytes,
            max(1, machine.l1_bytes // (machine.line_bytes * machine.l1_ways)),
        )
        lanes = self.target.vector_bytes // nest.workload.item_bytes
        tile = register_tile(nest, lanes, self.target.vector_registers)
        extents = _extents(nest, arrays, tile.depth)
        core = self._core(nest, arrays, tile, extents[tile.depth], lanes)
        visits, references = _references(nest, arrays, tile.depth, extents, lanes, machine)
        packs = sum(self._pack_cycles(nest, arrays, extents, visits, pack.operand, pack.depth) for pack in nest.packs)
        l2, l3, memory, tlb = self._transfers(Traffic(references, visits))
        computing = max(core.fma, core.loads, core.stores, core.frontend, core.latency)
        computing += core.horizontal + core.loops + packs
        moving = l2 + l3 + memory + tlb
        busy = max(computing, moving) + (1 - machine.overlap) * min(computing, moving)
        threads = self._threads(nest, busy, memory)
        return {**core._asdict(), "packs": packs, "l2": l2, "l3": l3, "memory": memory, "tlb": tlb, "total": threads}

    def _core(self, nest: Nest, arrays: _Arrays, tile: Tile, tile_extents: Sequence[int], lanes: int) -> _Core:
        machine, target = self.machine, self.target
        vector = arrays.number[nest.loops[-1].axis]
        reduced = not arrays.spatial[vector]
        inputs = _loads(nest, arrays, vector, lanes)
        sizes = list(nest.workload.sizes.values())
        outer_steps: list[list[int]] = [[] for _ in sizes]
        for loop in nest.loops[: tile.depth]:
            outer_steps[arrays.number[loop.axis]].append(loop.step)
        pieces = [boxes(size, tuple(steps)) for size, steps in zip(sizes, outer_steps, strict=True)]
        # runs of the tile for the same output elements, and reduction steps of all of them
        rounds, steps = 1, 1
        for axis, cut in enumerate(pieces):
            if not arrays.spatial[axis]:
                rounds *= sum([count for _, count in cut])
                steps *= sum([count * (-(-e // lanes) if axis == vector else e) for e, count in cut])
        chained = tile.depth > 0 and not arrays.spatial[arrays.number[nest.loops[tile.depth - 1].axis]]
        operations = max(1, len(inputs) - 1) * (1 if target.fma or len(inputs) == 1 else 2)
        per_visit = steps / rounds
        fma = loads = gathers = stores = uops = latency = horizontal = 0.0
        for many, counts in _kinds(pieces, arrays, vector, lanes, tile.streamed):
            accumulators = math.prod(counts)
            read, gathered, held = 0.0, 0.0, math.inf
            for kind, axes, splits in inputs:
                wanted = math.prod([counts[axis] for axis in axes])
                if kind == "broadcast":
                    read += wanted
                elif kind == "vector":
                    read += wanted * counts[vector] * splits
                    wanted *= counts[vector]
                else:
                    gathered += wanted * counts[vector] * lanes
                    wanted *= counts[vector]
                held = min(held, wanted)
            if tile.streamed:
                read -= sum(1 for kind, _, _ in inputs if kind == "broadcast")
            runs = many * rounds
            spilled = max(0.0, accumulators + min(held, 2) + 1 - target.vector_registers)
            splits = self._splits(nest, accumulators, per_visit)
            first = 0 if reduced else accumulators * (runs - many)
            kind_fma = many * steps * accumulators * operations
            kind_loads = many * steps * (read + spilled) + first
            kind_stores = runs * accumulators + many * steps * spilled
            kind_gathers = many * steps * gathered * machine.gather_cycles
            kind_uops = kind_fma + kind_loads + kind_stores + kind_gathers
            kind_uops += machine.loop_uops * many * steps / max(nest.unroll or splits, 1)
            chain = per_visit * machine.fma_latency / splits + machine.load_latency
            if chained and not tile.streamed:
                chain += machine.forward_latency if not reduced else 2 * machine.forward_latency
                at_once = 1.0
            else:
                at_once = min(max(machine.window * runs / kind_uops, 1.0), 16.0)
            fma += kind_fma
            loads += kind_loads
            gathers += kind_gathers
            stores += kind_stores
            uops += kind_uops
            latency += runs * chain / at_once
            horizontal += runs * accumulators * (splits - 1) / machine.fma_per_cycle
            if reduced:
                horizontal += runs * accumulators * (math.log2(lanes) + 1)
        visited = math.prod([sum([count for _, count in cut]) for cut in pieces])
        left = machine.mispredict_cycles if per_visit > 40 else 0.0
        return _Core(
            fma / machine.fma_per_cycle,
            loads / machine.loads_per_cycle + gathers,
            gathers,
            stores / machine.stores_per_cycle,
            uops / machine.uops_per_cycle,
            latency,
            horizontal,
            visited * (machine.visit_cycles + left),
        )

    def _splits(self, nest: Nest, accumulators: int, steps: float) -> float:
        """Partial sums per accumulator, which hide the latency of few accumulators."""
        hiding = math.ceil(self.machine.fma_latency * self.machine.fma_per_cycle)
        room = (self.target.vector_registers - OPERAND_REGISTERS) // accumulators
        return float(max(1, min(-(-hiding // accumulators), room, nest.unroll or hiding, int(steps))))

    def _pack_cycles(
        self,
        nest: Nest,
        arrays: _Arrays,
        extents: Sequence[Sequence[int]],
        visits: Sequence[float],
        operand: int,
        depth: int,
    ) -> float:
        layout = arrays.layouts[operand + 1]
        depth = min(depth, len(visits) - 1)
        elements = math.prod([extents[depth][axis] for axis in layout.axes]) * visits[depth]
        innermost = next(
            number for number in (arrays.number[x.axis] for x in reversed(nest.loops)) if number in layout.axes
        )
        if layout.strides[innermost] == 1:
            return elements * layout.item_bytes / self.target.vector_bytes / self.machine.stores_per_cycle
        return elements * self.machine.copy_cycles

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

    def _threads(self, nest: Nest, busy: float, memory: float) -> float:
        if nest.threads <= 1:
            return busy
        machine = self.machine
        trips = -(-nest.extent(0) // nest.loops[0].step)
        threads = min(nest.threads, trips)
        waves = -(-threads // machine.cores)
        share = -(-trips // threads) / trips * waves
        # memory serves all cores together
        slower = max(1.0, threads / waves * machine.memory_bandwidth / machine.shared_bandwidth)
        return busy * share + memory * share * (slower - 1.0) + threads * machine.thread_cycles


def _extents(nest: Nest, arrays: _Arrays, tile: int) -> list[list[int]]:
    """Extents of every axis, by depth; after the tile's come those inside its reduction loops."""
    current = list(nest.workload.sizes.values())
    extents = [current]
    for position, loop in enumerate(nest.loops):
        axis = arrays.number[loop.axis]
        if position < tile or not arrays.spatial[axis]:
            current = current.copy()
            current[axis] = min(loop.step, current[axis])
            extents.append(current)
    return extents


def _loads(nest: Nest, arrays: _Arrays, vector: int, lanes: int) -> list[_Loads]:
    packed = {pack.operand for pack in nest.packs}
    vector_bytes = lanes * nest.workload.item_bytes
    result = []
    for operand, layout in enumerate(arrays.layouts[1:]):
        axes = tuple(axis for axis in layout.axes if arrays.spatial[axis] and axis != vector)
        stride = layout.strides[vector]
        if stride == 0:
            result.append(_Loads("broadcast", axes, 1.0))
        elif operand in packed:
            result.append(_Loads("vector", axes, 1.0))
        elif stride == 1:
            straddles = any(step % lanes for i, step in enumerate(layout.strides) if step and i != vector)
            result.append(_Loads("vector", axes, 1.0 + (vector_bytes / 64 if straddles else 0.0)))
        else:
            result.append(_Loads("gather", axes, 1.0))
    return result


def _kinds(
    pieces: Sequence[tuple[tuple[int, int], ...]], arrays: _Arrays, vector: int, lanes: int, streamed: bool
) -> Iterator[tuple[int, list[int]]]:
    """How many boxes of output there are of every shape, with their extents (in vectors along the vector axis)."""
    spatial = [axis for axis, is_spatial in enumerate(arrays.spatial) if is_spatial]
    for shape in product(*[pieces[axis] for axis in spatial]):
        many = 1
        counts = [1] * len(pieces)
        for axis, (extent, count) in zip(spatial, shape, strict=True):
            many *= count
            counts[axis] = -(-extent // lanes) if axis == vector else extent
        if streamed:
            many *= math.prod(counts)
            counts = [1] * len(pieces)
        yield many, counts


def _references(
    nest: Nest, arrays: _Arrays, tile: int, extents: Sequence[Sequence[int]], lanes: int, machine: Machine
) -> tuple[list[float], list[Reference]]:
    """How often each depth is reached, and the arrays, packed copies among them, as the loops use them."""
    visits = [1.0]
    for outer, inner in zip(extents, extents[1:], strict=False):
        trips = 1.0
        for before, after in zip(outer, inner, strict=True):
            if before != after:
                trips = before / after
        visits.append(visits[-1] * trips)
    deepest = len(visits) - 1
    packed = {pack.operand: min(pack.depth, deepest) for pack in nest.packs}
    references = []
    for number, layout in enumerate(arrays.layouts):
        footprints = tuple([layout.footprint(box) for box in extents])
        depth = packed.get(number - 1)
        if number == 0:
            references.append(Reference(footprints, min(tile, deepest), 2.0))
        elif depth is None:
            references.append(Reference(footprints, deepest, 1.0))
        else:
            references.append(Reference(footprints, depth, 1.0))
            references.append(Reference(_packed(layout, extents, depth, machine), deepest, 1.0))
    return visits, references


def _packed(layout: Layout, extents: Sequence[Sequence[int]], depth: int, machine: Machine) -> tuple[Footprint, ...]:
    footprints = []
    for box in extents[depth:]:
        size = math.prod([box[axis] for axis in layout.axes]) * layout.item_bytes
        lines = max(1.0, size / machine.line_bytes)
        footprints.append(Footprint(lines, 1 + size / machine.page_bytes, 0.0))
    return (footprints[0],) * depth + tuple(footprints)
