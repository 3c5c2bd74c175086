"""Cycles of stored graphs."""

from __future__ import annotations

import onnx
import pytest
from onnx import TensorProto, helper

from onnxmesh.errors import InvalidModel
from onnxmesh.graph.reading.cycle import find_cycle
from onnxmesh.graph.reading.source import check_source
from tests.zoo.zoo_model import floats, model, node, value


def refused(path) -> str:
    with pytest.raises(InvalidModel) as caught:
        check_source(path)
    assert str(path.parent) not in caught.value.message
    return caught.value.message


def test_cycle_is_named_by_its_nodes(tmp_path):
    """A graph has to end: the message names the nodes that go round, and no others."""
    path = tmp_path / "m.onnx"
    nodes = [
        node("Tanh", ["x"], ["start"], name="before"),
        node("Add", ["start", "c"], ["a"], name="first"),
        node("Neg", ["a"], ["b"], name="second"),
        node("Abs", ["b"], ["c"]),
        node("Exp", ["c"], ["y"], name="after"),
    ]
    onnx.save(model(nodes, [floats("x", 1)], [floats("y", 1)]), path)
    message = refused(path)
    assert message.startswith("'m.onnx' has a cycle: ")
    assert "node 'first' (Add)" in message
    assert "node 'second' (Neg)" in message
    assert "the node of 'c' (Abs)" in message
    assert "before" not in message
    assert "after" not in message


def test_cycle_through_a_subgraph_is_named(tmp_path):
    """What a branch reads of the outer graph, its If reads."""
    path = tmp_path / "m.onnx"
    branch = helper.make_graph([node("Neg", ["later"], ["out"])], "branch", [], [floats("out", 1)])
    other = helper.make_graph([node("Abs", ["x"], ["out"])], "other", [], [floats("out", 1)])
    nodes = [
        node("If", ["go"], ["chosen"], name="choice", then_branch=branch, else_branch=other),
        node("Exp", ["chosen"], ["later"], name="grown"),
    ]
    made = model(nodes, [floats("x", 1), value("go", TensorProto.BOOL, [])], [floats("later", 1)])
    onnx.save(made, path)
    assert "has a cycle: node 'grown' (Exp), node 'choice' (If)" in refused(path)


def test_cycle_is_not_found_in_unsorted_nodes():
    """They are sorted, as by ONNX Runtime."""
    nodes = [node("Neg", ["b"], ["a"]), node("Neg", ["x"], ["b"])]
    assert not find_cycle(model(nodes, [floats("x", 1)], [floats("a", 1)]).graph)


def test_cycle_is_found_among_thousands_of_nodes(tmp_path):
    """A long cycle is found without recursion."""
    nodes = [node("Neg", [f"v{number - 1}"], [f"v{number}"]) for number in range(5000)]
    nodes[0].input[0] = "v4999"
    onnx.save(model(nodes, [floats("x", 1)], [floats("v4999", 1)]), tmp_path / "m.onnx")
    assert "has a cycle" in refused(tmp_path / "m.onnx")
