"""A loop nest: the order in which a workload's iteration space is run, as frozen data.

The text of a nest shows what its parts mean::

    n 0:256:48
      pack B[k:256, n:48]
      m 0:256:8
        k 0:256 unroll 2
          tile C[m:8, n:48]

A loop steps over its axis; what its step does not divide is a smaller last iteration, which every loop inside takes
part in. So a loop needs no bounds: they follow from the loops around it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

from compiler_dojo.envs.loops.workload import Workload

MOST_LOOPS = 10
"""Loops a nest may have at most, those of the write nest included (LoopTune)."""


class Loop(NamedTuple):
    """One loop over an axis, or a part of it.

    Attributes:
        axis: name of the axis.
        step: elements of the axis that an iteration covers; 1 in the innermost loop of an axis.
    """

    axis: str
    step: int = 1


class Pack(NamedTuple):
    """The part of an input that the loops from ``depth`` on read is copied, before they run, into contiguous storage.

    It is laid out in the order in which they read it. Only an input without index sums can be packed.

    Attributes:
        operand: index among the workload's inputs.
        depth: at which the copy is made, 0 being before all loops; at most the depth of the register tile.
    """

    operand: int
    depth: int


@dataclass(frozen=True)
class Nest:
    """A workload and the loops that run it.

    The loops from depth ``tile`` on make up the register tile. Of it count the extents alone: the elements of the
    output that these loops compute stay in registers while the tile's reduction loops run, in their order; everything
    else of the tile is unrolled. Vectors lie along the axis of the innermost loop.

    Attributes:
        workload: what is computed.
        loops: the compute nest, outermost first; the innermost loop of each axis has step 1.
        write: the loops that LoopTune's tree has for the write of the result. Code does not depend on it (the result is
            written from the registers); observations and the cursor do.
        tile: depth of the register tile; None for the outermost at which the output fits the registers.
        unroll: how many steps of the innermost reduction loop are one iteration; 0 leaves it to the code generator.
        packs: copies of inputs.
        prefetch: iterations of the innermost loop around the tile by which its output is fetched ahead; 0 for none.
        threads: over which the outermost loop is divided.
    """

    workload: Workload
    loops: tuple[Loop, ...]
    write: tuple[Loop, ...] = ()
    tile: int | None = None
    unroll: int = 0
    packs: tuple[Pack, ...] = ()
    prefetch: int = 0
    threads: int = 1

    @cached_property
    def key(self) -> str:
        """What code depends on, as short text: nests of equal keys are compiled to the same code."""
        loops = " ".join(f"{loop.axis}{loop.step}" for loop in self.loops)
        packs = " ".join(f"{pack.operand}@{pack.depth}" for pack in self.packs)
        tile = "auto" if self.tile is None else self.tile
        return (
            f"{self.workload} | {loops} | tile {tile} unroll {self.unroll} packs {packs} "
            f"prefetch {self.prefetch} threads {self.threads}"
        )

    def extent(self, position: int, axis: str | None = None) -> int:
        """Elements of an axis that the loops from a position on cover, in a full iteration of those outside.

        Args:
            position: index into the compute nest; the loop there counts.
            axis: by default that of the loop.
        """
        axis = axis or self.loops[position].axis
        for loop in reversed(self.loops[:position]):
            if loop.axis == axis:
                return loop.step
        return self.workload.sizes[axis]

    def trips(self, position: int) -> tuple[int, int]:
        """Full iterations of the loop at a position, and the elements that are left for a last, smaller one."""
        return divmod(self.extent(position), self.loops[position].step)

    def tile_extents(self, depth: int) -> dict[str, int]:
        """Extent of every axis in the loops from a depth on: the box that they cover."""
        return {axis: self.extent(depth, axis) for axis in self.workload.sizes}

    def with_(self, **changes: object) -> Nest:
        """A copy with other attributes."""
        return replace(self, **changes)  # type: ignore[arg-type]

    def lines(self) -> Iterator[str]:
        """The nest as indented text."""
        depth = 0
        tile = self.tile if self.tile is not None else len(self.loops)
        for position in range(len(self.loops)):
            for pack in self.packs:
                if pack.depth == position:
                    yield (
                        "  " * depth
                        + f"pack {self._box(self.workload.inputs[pack.operand].axes, pack.depth, pack.operand)}"
                    )
            if position == tile:
                break
            yield "  " * depth + self._loop_text(position)
            depth += 1
        for position in range(tile, len(self.loops)):
            if self.loops[position].axis in self.workload.reduction_axes:
                yield "  " * depth + self._loop_text(position) + (f" unroll {self.unroll}" if self.unroll else "")
                depth += 1
        if self.tile is not None:
            yield "  " * depth + f"tile {self._box(self.workload.output.axes, tile)}"

    def _loop_text(self, position: int) -> str:
        loop = self.loops[position]
        step = f":{loop.step}" if loop.step > 1 else ""
        threads = f" threads {self.threads}" if position == 0 and self.threads > 1 else ""
        return f"{loop.axis} 0:{self.extent(position)}{step}{threads}"

    def _box(self, axes: frozenset[str], depth: int, operand: int | None = None) -> str:
        name = self.workload.output.name if operand is None else self.workload.inputs[operand].name
        extents = self.tile_extents(depth)
        return f"{name}[{', '.join(f'{axis}:{extents[axis]}' for axis in self.workload.sizes if axis in axes)}]"

    def __str__(self) -> str:
        return "\n".join(self.lines())


def start_nest(workload: Workload) -> Nest:
    """One loop per axis in the workload's order, nothing split: where LoopTune's episodes start.

    For ``mk,kn->mn`` that is ``m{k{n{multiply, add}}, n{write}}``.
    """
    return Nest(
        workload,
        tuple(Loop(axis.name) for axis in workload.axes),
        tuple(Loop(axis) for axis in workload.spatial_axes),
    )
