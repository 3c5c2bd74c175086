"""Topological order and liveness, on graphs small enough to see."""

from __future__ import annotations

import onnx_ir as ir
import pytest

from onnxmesh.errors import InvalidModel
from onnxmesh.graph.reading.node_order import LIVE_TO_END, topological_order, value_name
from tests.zoo.zoo_model import floats, model, node

# a = tanh(x); b = exp(x); y = a + b; `unused` is read by no output.
DIAMOND = [
    node("Tanh", ["x"], ["a"]),
    node("Exp", ["x"], ["b"]),
    node("Neg", ["a"], ["unused"]),
    node("Add", ["a", "b"], ["y"]),
]


def order_of(nodes, outputs=("y",), weights=None):
    """Returns the order of a graph with the input x."""
    made = model(nodes, [floats("x", 2)], [floats(name, 2) for name in outputs], weights)
    return topological_order(ir.from_proto(made))


def names(values):
    return [value_name(value) for value in values]


def test_order_sorts_nodes_and_omits_those_without_a_reader():
    """The stored order is kept where it is topological; a reversed one is sorted."""
    assert [entry.node.op_type for entry in order_of(DIAMOND).nodes] == ["Tanh", "Exp", "Add"]
    backwards = [entry.node.op_type for entry in order_of(DIAMOND[::-1]).nodes]
    assert sorted(backwards[:2]) == ["Exp", "Tanh"]
    assert backwards[2:] == ["Add"]


def test_order_knows_live_values_at_each_position():
    """x is live up to node 1, a and b up to node 2, y to the end."""
    order = order_of(DIAMOND, outputs=("y", "a"))
    assert [names(order.live_at(position)) for position in range(4)] == [
        ["x"],
        ["x", "a"],
        ["a", "b"],
        ["a", "y"],
    ]
    last_use = {value_name(value): last for value, last in order.last_use.items()}
    assert last_use == {"x": 1, "a": LIVE_TO_END, "b": 2, "y": LIVE_TO_END}


def test_liveness_changes_add_up_to_the_live_values():
    """Applied one after another, they give what `live_at` returns."""
    order = order_of(DIAMOND)
    live: set[ir.Value] = set()
    for position, (added, removed) in enumerate(order.liveness_changes(), start=1):
        live = (live - set(removed)) | set(added)
        assert live == set(order.live_at(position))


def test_order_omits_constant_nodes_but_not_random_ones():
    """exp(w) is a constant whose weight its reader has; a random value is computed each time."""
    nodes = [
        node("Exp", ["w"], ["c"]),
        node("RandomNormal", [], ["r"], shape=[2]),
        node("Sum", ["x", "c", "r"], ["y"]),
    ]
    order = order_of(nodes, weights={"w": [1.0, 2.0]})
    assert [entry.node.op_type for entry in order.nodes] == ["RandomNormal", "Sum"]
    assert names(order.nodes[1].weights) == ["w"]
    assert set(names(order.constants)) == {"w", "c"}


def test_order_refuses_a_cycle():
    """y reads a, a reads y."""
    with pytest.raises(InvalidModel, match="cycle"):
        order_of([node("Add", ["x", "y"], ["a"]), node("Exp", ["a"], ["y"])])
