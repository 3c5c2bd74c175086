"""Nodes as messages describe them."""

from __future__ import annotations

from collections.abc import Iterator

import onnx


def describe_node(node: onnx.NodeProto) -> str:
    """Returns a node's name and operator for messages; an unnamed node is described by its first output."""
    domain = f"{node.domain}." if node.domain else ""
    place = f"node '{node.name}'" if node.name else f"the node of '{next(iter(node.output), '')}'"
    return f"{place} ({domain}{node.op_type})"


def bodies_of(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """Yields the subgraphs of a node: branches of an If, the body of a Loop or Scan."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def nodes_of(graph: onnx.GraphProto | onnx.FunctionProto) -> Iterator[onnx.NodeProto]:
    """Yields the nodes of a graph or function and of its subgraphs, in pre-order."""
    for node in graph.node:
        yield node
        for inner in bodies_of(node):
            yield from nodes_of(inner)
