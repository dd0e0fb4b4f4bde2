"""Graph observations as PyTorch Geometric data."""

import gymnasium as gym
import numpy as np
import torch
from gymnasium.spaces import GraphInstance
from torch_geometric.data import Batch
from torch_geometric.nn import RGCNConv

import compiler_dojo
from compiler_dojo.agents.graph_data import to_data

NODES = np.array([[0, 5], [1, 6], [2, 7]], np.int32)
LINKS = np.array([[0, 1], [2, 1]], np.int32)
FEATURES = np.array([[1, 0], [2, 9]], np.int32)


def test_to_data__keeps_every_number() -> None:
    data = to_data(GraphInstance(NODES, FEATURES, LINKS))
    assert data.x.tolist() == [[0, 5], [1, 6], [2, 7]]
    assert data.edge_index.tolist() == [[0, 2], [1, 1]]
    assert data.edge_attr.tolist() == [[1, 0], [2, 9]]
    assert data.edge_type.tolist() == [1, 2]
    assert {tensor.dtype for _, tensor in data} == {torch.int64}
    assert all(tensor.is_contiguous() for _, tensor in data)
    assert data.validate(raise_on_error=True)
    assert to_data(GraphInstance(NODES, FEATURES, LINKS), type_column=1).edge_type.tolist() == [0, 9]


def test_to_data__copies() -> None:
    nodes, features, links = NODES.astype(np.int64), FEATURES.astype(np.int64), LINKS.astype(np.int64)
    data = to_data(GraphInstance(nodes, features, links))
    for array in (nodes, features, links):
        array[:] = 0
    assert data.x.tolist() == NODES.tolist()
    assert data.edge_attr.tolist() == FEATURES.tolist()
    assert data.edge_index.t().tolist() == LINKS.tolist()


def test_to_data__takes_graphs_without_edges_or_edge_features() -> None:
    alone = to_data(GraphInstance(NODES, None, None))
    assert alone.edge_index.shape == (2, 0)
    bare = to_data(GraphInstance(NODES, None, LINKS))
    assert bare.edge_index.shape == (2, 2)
    assert bare.edge_attr is None
    assert "edge_type" not in bare


def test_observation__goes_through_a_relational_layer_in_a_batch() -> None:
    assert compiler_dojo.__version__
    env = gym.make("CompilerDojo/PassOrdering-v0", programs="bundled://graphs/union_find", observation="graph")
    first, _ = env.reset(seed=0)
    second = env.step(0)[0]
    env.close()
    batch = Batch.from_data_list([to_data(first), to_data(second)])
    assert batch.num_nodes == len(first.nodes) + len(second.nodes)
    assert batch.edge_type.tolist() == [*first.edges[:, 0], *second.edges[:, 0]]
    layer = RGCNConv(batch.x.shape[1], 4, num_relations=3)
    assert layer(batch.x.float(), batch.edge_index, batch.edge_type).shape == (batch.num_nodes, 4)
