"""A cost model that was fitted to measurements: a small network corrects the analytical model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from compiler_dojo.envs.errors import InvalidRecordError
from compiler_dojo.envs.loops.codegen import vectors_of
from compiler_dojo.envs.loops.costs import AnalyticalCost
from compiler_dojo.envs.loops.machine import Machine
from compiler_dojo.envs.loops.nest import Nest
from compiler_dojo.envs.loops.throughput import unrolling

if TYPE_CHECKING:
    from compiler_dojo.envs.loops.jit import Target

Array = npt.NDArray[np.float32]

SHIPPED = Path(__file__).with_name("learned_cost.npz")
"""Weights fitted on the training workloads; how is in :mod:`compiler_dojo.experiments.loop_costs`."""

FEATURE_VERSION = 1
"""Weights belong to one version of the features: whoever changes what they mean counts it up."""

_PARTS = (
    "fma",
    "loads",
    "stores",
    "frontend",
    "latency",
    "bound",
    "horizontal",
    "masked",
    "loops",
    "packs",
    "l2",
    "l3",
    "memory",
    "tlb",
)
_DEPTHS = 5

FEATURES: tuple[str, ...] = (
    "analytical",
    *(f"cycles_{part}" for part in _PARTS),
    *(f"lines_{depth}" for depth in range(_DEPTHS)),
    *(f"visits_{depth}" for depth in range(_DEPTHS)),
    "flops",
    "lanes",
    "registers",
    "inputs",
    "loops",
    "automatic",
    "accumulators",
    "rows",
    "vectors",
    "filled",
    "unroll",
    "partial_sums",
    "reduction_steps",
    "vector_is_reduced",
    "reduction_outside",
    "output_stride",
    "broadcasts",
    "loaded_vectors",
    "gathers",
    "misaligned",
    "packs",
    "pack_depth",
    "prefetch",
    "threads",
)
"""Names of the features. All but flags are logarithms, cycles relative to the least that the arithmetic takes."""

_ANALYTICAL = 0

_MOST_CACHED = 100_000


def cost_features(nest: Nest, cost: AnalyticalCost) -> Array:
    """What the learned model sees of a nest.

    Args:
        nest: a nest.
        cost: the analytical model, whose parts are among the features.

    Returns:
        Shape (F,), as named by :data:`FEATURES`; the first is the logarithm of the share of peak that the analytical
        model predicts.
    """
    analysis = cost.analyse(nest)
    automatic, nest = nest.tile is None, analysis.nest
    tile = nest.tile or 0
    workload, target = nest.workload, cost.target
    lanes = target.vector_bytes // workload.item_bytes
    ideal = workload.flops / (2 * lanes * cost.machine.fma_per_cycle)
    deepest = len(analysis.visits) - 1
    levels = [min(max(0, tile - up), deepest) for up in range(_DEPTHS - 1)] + [deepest]
    vector = nest.loops[-1].axis
    accumulators = vectors_of(nest, tile, lanes)
    width = min(nest.extent(tile, vector), workload.sizes[vector])
    across = vector in workload.output.axes
    vectors = -(-width // lanes) if across else 1
    reductions = workload.reduction_axes
    steps = math.prod([min(nest.extent(tile, axis), workload.sizes[axis]) for axis in reductions])
    inner = next((i for i in range(len(nest.loops) - 1, tile - 1, -1) if nest.loops[i].axis in reductions), None)
    trips = 1 if inner is None else -(-nest.extent(inner) // (1 if across else lanes))
    unroll, sets = unrolling(nest, tile, accumulators, trips)
    kinds = [0, 0, 0]
    misaligned = 0.0
    packed = {pack.operand for pack in nest.packs}
    for number, operand in enumerate(workload.inputs):
        stride = workload.stride(operand, vector)
        kinds[0 if stride == 0 else 1 if stride == 1 or number in packed else 2] += 1
        if stride == 1 and number not in packed:
            others = [workload.stride(operand, axis) for axis in operand.axes if axis != vector]
            misaligned += any(other % lanes for other in others)
    values = [
        math.log(ideal / analysis.cycles["total"]),
        *[math.log1p(analysis.cycles[part] / ideal) for part in _PARTS],
        *[math.log2(1 + analysis.lines[depth]) for depth in levels],
        *[math.log2(analysis.visits[depth]) for depth in levels],
        math.log2(workload.flops),
        math.log2(lanes),
        math.log2(target.vector_registers),
        len(workload.inputs),
        len(nest.loops),
        automatic,
        math.log2(accumulators),
        math.log2(accumulators / vectors),
        math.log2(vectors),
        width / (-(-width // lanes) * lanes),
        math.log2(unroll),
        math.log2(sets),
        math.log2(steps),
        not across,
        tile > 0 and nest.loops[tile - 1].axis in reductions,
        workload.stride(workload.output, vector) > 1,
        *kinds,
        misaligned,
        len(nest.packs),
        math.fsum([tile - pack.depth for pack in nest.packs]),
        nest.prefetch > 0,
        math.log2(nest.threads),
    ]
    return np.array(values, np.float32)


class LearnedCost:
    """GFLOP/s of a nest by an ensemble of small networks, whose mean corrects the analytical model's logarithm.

    Args:
        target: instructions that the code may use.
        weights: a file that :func:`save_weights` wrote, or its content; by default the weights that are shipped.
        machine: the processor, as for :class:`AnalyticalCost`.

    Attributes:
        deterministic: equal nests cost the same, always.
        platform_dependent: whether the host's caches go into the result.

    Raises:
        InvalidRecordError: the weights cannot be read, or belong to other features.
    """

    deterministic = True

    def __init__(
        self,
        target: Target,
        weights: Path | Mapping[str, npt.NDArray[Any]] = SHIPPED,
        machine: Machine | None = None,
    ) -> None:
        self.target = target
        self.analytical = AnalyticalCost(target, machine)
        self.platform_dependent = self.analytical.platform_dependent
        content = load_weights(weights) if isinstance(weights, Path) else weights
        _check_features(content, weights)
        self._mean, self._scale, self._limit = content["mean"], content["scale"], float(content["limit"])
        self._layers = [(content[f"weight{i}"], content[f"bias{i}"]) for i in range(3)]
        self._gflops: dict[str, float] = {}

    def gflops(self, nest: Nest) -> float:
        """Billions of floating-point operations per second."""
        found = self._gflops.get(nest.key)
        if found is None:
            if len(self._gflops) >= _MOST_CACHED:
                self._gflops.clear()
            peak = self.analytical.peak(nest.workload.dtype)
            found = peak * math.exp(self.log_shares(cost_features(nest, self.analytical)[None])[0])
            self._gflops[nest.key] = found
        return found

    def peak(self, dtype: str = "float32", threads: int = 1) -> float:
        """GFLOP/s of multiply-adds alone, which shares are of."""
        return self.analytical.peak(dtype, threads)

    def seconds(self, nest: Nest) -> float:
        """Time of one run with warm caches."""
        return nest.workload.flops / self.gflops(nest) / 1e9

    def log_shares(self, features: Array) -> Array:
        """Logarithms of the shares of peak, shape (B,), for features of shape (B, F)."""
        # (B, F), then (E, B, H) for E networks
        hidden = np.clip((features - self._mean) * self._scale, -self._limit, self._limit)
        for number, (weight, bias) in enumerate(self._layers):
            hidden = hidden @ weight + bias[:, None]
            if number < len(self._layers) - 1:
                hidden = np.maximum(hidden, 0)
        result: Array = features[:, _ANALYTICAL] + hidden[..., 0].mean(axis=0)
        return result


def save_weights(path: Path, weights: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write weights, with the features that they belong to; a file that is there is replaced at once."""
    temporary = path.with_name(path.name + ".new")
    with temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **weights)
    temporary.replace(path)


def load_weights(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Read what :func:`save_weights` wrote.

    Raises:
        InvalidRecordError: there is no such file, or it is another kind of file.
    """
    try:
        with np.load(path, allow_pickle=False) as content:
            return dict(content)
    except (OSError, ValueError, EOFError) as error:
        raise InvalidRecordError(f"{path} has no weights of a learned cost model: {error}") from error


def _check_features(content: Mapping[str, npt.NDArray[Any]], source: object) -> None:
    version, names = content.get("feature_version"), content.get("features")
    if version is None or int(version) != FEATURE_VERSION or names is None or tuple(names) != FEATURES:
        what = f"version {int(version)}" if version is not None else "an unknown version"
        name = source if isinstance(source, Path) else "these weights"
        raise InvalidRecordError(
            f"{name} belong to {what} of the features, this is version {FEATURE_VERSION}: fit them again"
        )
