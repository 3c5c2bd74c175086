"""Attributes and operands of a node, with the default where one is missing."""

from __future__ import annotations

import onnx_ir as ir


def int_attribute(node: ir.Node, name: str, default: int) -> int:
    """Returns an integer attribute."""
    attribute = node.attributes.get(name)
    return default if attribute is None or attribute.type != ir.AttributeType.INT else attribute.as_int()


def ints_attribute(node: ir.Node, name: str) -> tuple[int, ...]:
    """Returns an attribute that is a list of integers; an empty tuple where it is missing."""
    attribute = node.attributes.get(name)
    return () if attribute is None or attribute.type != ir.AttributeType.INTS else tuple(attribute.as_ints())


def string_attribute(node: ir.Node, name: str) -> str:
    """Returns a string attribute; an empty string where it is missing."""
    attribute = node.attributes.get(name)
    return (
        "" if attribute is None or attribute.type != ir.AttributeType.STRING else str(attribute.as_string())
    )


def subgraphs(node: ir.Node) -> list[ir.Graph]:
    """Returns the graphs in a node's attributes: bodies of If, Loop and Scan; an empty list for other operators."""
    found: list[ir.Graph] = []
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            found.append(attribute.as_graph())
        elif attribute.type == ir.AttributeType.GRAPHS:
            found.extend(attribute.as_graphs())
    return found


def operand(node: ir.Node, index: int) -> ir.Value | None:
    """Returns the input at a position; None where it is omitted."""
    return node.inputs[index] if index < len(node.inputs) else None
