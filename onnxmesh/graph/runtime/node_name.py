"""Nodes as messages describe them."""

from __future__ import annotations

from collections.abc import Iterator

import onnx


def describe_node(node: onnx.NodeProto) -> str:
    """Returns a node's name and operator for messages; an unnamed node is described by its first output."""
    domain = f"{node.domain}." if node.domain else ""
    place = f"node '{node.name}'" if node.name else f"the node of '{next(iter(node.output), '')}'"
    return f"{place} ({domain}{node.op_type})"


def nodes_of(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Yields the nodes of a graph and of its subgraphs, in pre-order."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
                yield from nodes_of(inner)
