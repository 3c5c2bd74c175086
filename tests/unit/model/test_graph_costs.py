"""Costs of a graph as JSON, and the sums over ranges of nodes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.errors import CorruptData
from onnxmesh.model.graph_costs import Boundary, GraphCosts, NodeCost
from onnxmesh.model.signature import Signature
from onnxmesh.model.tensor_spec import TensorSpec

names = st.text(max_size=8)
figures = st.integers(0, 2**63)
specs = st.builds(
    TensorSpec, names, st.sampled_from(["FP32", "BYTES"]), st.none() | st.lists(st.integers(-1, 9)).map(tuple)
)
signatures = st.builds(
    Signature, st.lists(specs, max_size=2).map(tuple), st.lists(specs, max_size=2).map(tuple)
)


@st.composite
def graph_costs(draw):
    nodes = draw(st.lists(st.builds(NodeCost, names, names, figures, figures, st.just((0,))), max_size=4))
    count = max(0, len(nodes) - 1)
    boundary = st.builds(Boundary, figures, st.integers(0, 9), st.none() | names, st.booleans())
    boundaries = draw(st.lists(boundary, min_size=count, max_size=count))
    return GraphCosts(
        tuple(nodes), tuple(boundaries), draw(st.lists(figures).map(tuple)), (), draw(signatures)
    )


@given(graph_costs())
def test_graph_costs_survive_json(costs):
    """The scheduler reads the costs that the worker wrote."""
    assert GraphCosts.from_json(costs.to_json()) == costs


def test_costs_of_an_earlier_worker_have_no_preference_among_cuts():
    """It does not say which boundaries keep rows."""
    node = NodeCost("a", "A", 1, 1, ())
    costs = GraphCosts((node, node), (Boundary(1, 1, keeps_rows=False),), (), (), Signature((), ()))
    plain = json.loads(costs.to_json())
    assert plain.pop("without_rows") == [0]
    assert GraphCosts.from_json(json.dumps(plain)).boundaries == (Boundary(1, 1),)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "null", '{"format":3}', '{"format":2,"nodes":[[1]]}'])
def test_graph_costs_refuse_other_json(text):
    """Damaged costs are DATA_LOSS."""
    with pytest.raises(CorruptData, match="not the costs of a graph"):
        GraphCosts.from_json(text)


def test_graph_costs_refuse_a_wrong_number_of_boundaries():
    """Two nodes have one boundary between them."""
    with pytest.raises(ValueError, match="2 nodes have 0 boundaries"):
        GraphCosts((NodeCost("a", "A", 1, 1, ()),) * 2, (), (), (), Signature((), ()))


def test_graph_costs_count_shared_weights_once_in_a_range():
    """Nodes 0 and 2 share a weight of 100; the largest working memory of a range is added to its weights."""
    nodes = (
        NodeCost("a", "A", 1, 1, (0,), 7),
        NodeCost("b", "B", 1, 1, (1,), 9),
        NodeCost("c", "C", 1, 1, (0,), 5),
    )
    costs = GraphCosts(
        nodes, (Boundary(1, 1), Boundary(1, 1, "a sequence")), (100, 10), (), Signature((), ())
    )
    assert (costs.weight_bytes(0, 3), costs.weight_bytes(1, 3), costs.weight_bytes(1, 1)) == (110, 110, 0)
    assert (costs.peak_bytes(0, 3), costs.peak_bytes(2, 3), costs.peak_bytes(1, 1)) == (119, 105, 0)
    assert (costs.legal_cuts, costs.max_stages) == ((1,), 2)
