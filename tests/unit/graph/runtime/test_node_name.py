"""Descriptions of nodes."""

from __future__ import annotations

from onnx import helper

from onnxmesh.graph.runtime.node_name import describe_node, nodes_of


def test_nodes_are_described_by_name_or_first_output():
    """With the domain of operators that are not ONNX's."""
    assert describe_node(helper.make_node("Add", ["a"], ["y"], name="sum")) == "node 'sum' (Add)"
    gelu = helper.make_node("Gelu", ["a"], ["y"], domain="com.microsoft")
    assert describe_node(gelu) == "the node of 'y' (com.microsoft.Gelu)"


def test_nodes_of_a_graph_include_subgraphs_in_pre_order():
    """The If precedes the nodes of its branches."""
    branch = helper.make_graph([helper.make_node("Neg", ["x"], ["n"], name="inner")], "b", [], [])
    outer = helper.make_node("If", ["c"], ["y"], name="outer", then_branch=branch, else_branch=branch)
    graph = helper.make_graph([outer, helper.make_node("Exp", ["y"], ["z"], name="last")], "g", [], [])
    assert [node.name for node in nodes_of(graph)] == ["outer", "inner", "inner", "last"]
