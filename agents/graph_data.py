"""Graph observations as PyTorch Geometric data."""

from __future__ import annotations

import numpy as np
import torch
from gymnasium.spaces import GraphInstance
from torch_geometric.data import Data


def to_data(graph: GraphInstance, type_column: int = 0) -> Data:
    """A graph observation with integer features, copied; ``Batch.from_data_list`` puts several together.

    Symbols: N nodes, E edges, F and G features of a node and an edge. All tensors are int64, for embeddings:
    ``x`` of shape (N, F), ``edge_index`` (2, E), ``edge_attr`` (E, G), and ``edge_type`` (E,), the column of
    ``edge_attr`` that relational layers such as RGCNConv take; the last two are left out where edges have no features.

    Args:
        graph: an instance of :class:`gymnasium.spaces.Graph`.
        type_column: the edge feature that is the edge's type.
    """
    links = np.empty((0, 2), np.int64) if graph.edge_links is None else graph.edge_links
    data = Data(x=_tensor(graph.nodes), edge_index=_tensor(links.T))
    if graph.edges is not None:
        data.edge_attr = _tensor(graph.edges)
        data.edge_type = data.edge_attr[:, type_column].contiguous()
    return data


def _tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(array, np.int64, order="C"))
