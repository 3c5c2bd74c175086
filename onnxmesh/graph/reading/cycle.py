"""Detection of cycles in a stored graph."""

from __future__ import annotations

from collections.abc import Iterator

import onnx

from onnxmesh.graph.runtime.node_name import bodies_of


def find_cycle(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Returns the nodes of one cycle, each after one whose output it reads; an empty list for an acyclic graph.

    Reads the protobuf form: onnx-ir and ONNX Runtime refuse a graph with a cycle.

    Args:
        graph: The outermost graph. What its subgraphs read of it counts as read by the node that contains them.
    """
    producers = {name: node for node in graph.node for name in node.output if name}
    done: set[int] = set()
    for root in graph.node:
        path: dict[int, onnx.NodeProto] = {}
        stack: list[tuple[onnx.NodeProto, Iterator[str]]] = []
        node: onnx.NodeProto | None = root if id(root) not in done else None
        while node is not None or stack:
            if node is not None:
                path[id(node)] = node
                stack.append((node, names_read(node)))
            current, reads = stack[-1]
            node = next(
                (producers[name] for name in reads if name in producers and id(producers[name]) not in done),
                None,
            )
            if node is None:
                stack.pop()
                done.add(id(current))
                del path[id(current)]
            elif id(node) in path:
                nodes = list(path.values())
                start = next(place for place, each in enumerate(nodes) if each is node)
                return nodes[start:][::-1]
    return []


def names_read(node: onnx.NodeProto) -> Iterator[str]:
    """Yields the names that a node and its subgraphs read; values of deeper subgraphs may be among them."""
    yield from node.input
    for graph in bodies_of(node):
        own = {name for inner in graph.node for name in inner.output}
        own |= {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
        yield from (name for inner in graph.node for name in names_read(inner) if name not in own)
        yield from (value.name for value in graph.output if value.name not in own)
