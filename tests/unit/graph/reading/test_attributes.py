"""Attributes and operands of nodes."""

from __future__ import annotations

import onnx
import onnx_ir as ir

from onnxmesh.graph.reading.attributes import (
    int_attribute,
    ints_attribute,
    operand,
    string_attribute,
    subgraphs,
)


def node_of(proto: onnx.NodeProto) -> ir.Node:
    """Returns a node as onnx-ir reads it."""
    return ir.from_proto(proto)


def test_attributes_have_defaults_where_they_are_missing_or_of_another_type():
    """`axis` is an integer, `pads` a list, `mode` a string."""
    node = node_of(onnx.helper.make_node("Op", ["x", "", "z"], ["y"], axis=2, pads=[1, 0], mode="edge"))
    assert (
        int_attribute(node, "axis", 7),
        int_attribute(node, "other", 7),
        int_attribute(node, "mode", 7),
    ) == (2, 7, 7)
    assert (ints_attribute(node, "pads"), ints_attribute(node, "axis")) == ((1, 0), ())
    assert (string_attribute(node, "mode"), string_attribute(node, "pads")) == ("edge", "")
    assert subgraphs(node) == []


def test_operand_is_none_where_it_is_omitted():
    """By an empty name or by a shorter list."""
    node = node_of(onnx.helper.make_node("Op", ["x", "", "z"], ["y"]))
    names = [None if (value := operand(node, index)) is None else value.name for index in range(4)]
    assert names == ["x", None, "z", None]
