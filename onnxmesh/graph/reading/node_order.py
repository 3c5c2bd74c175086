"""The nodes of a graph in a order, and which values are alive between any two of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from onnxmesh.errors import InvalidModel
from onnxmesh.graph.reading.source import load_structure
from onnxmesh.graph.reading.sparse import make_dense

_RANDOM = frozenset(
    {"RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Multinomial", "Bernoulli"}
)
"""Operators that answer differently each time: never run twice, so never taken for constants."""

LIVE_TO_END = 1 << 62
"""Last use of a value that is a model output: it stays alive to the end."""


@dataclass(frozen=True, slots=True)
class OrderedNode:
    """One node in the order.

    Attributes:
        node: The node of the graph.
        reads: What it needs of other nodes and of the model's inputs, for its subgraphs too, in order.
        writes: Its outputs that something needs.
        weights: The initialisers that it reads, itself or through constant nodes, and those of its subgraphs.
    """

    node: ir.Node
    reads: tuple[ir.Value, ...]
    writes: tuple[ir.Value, ...]
    weights: tuple[ir.Value, ...]


@dataclass(frozen=True, slots=True)
class NodeOrder:
    """A graph linearised.

    Nodes that no output needs are left out; so are constant nodes (those that depend on no input of
    the model): each stage gets its own copies of those that it needs.

    Attributes:
        graph: The graph itself; not to be changed.
        nodes: Its nodes in the order in which they run.
        inputs: The model's inputs without those that are initialisers with a default.
        outputs: The model's outputs.
        constants: Values that depend on no input: initialisers and outputs of constant nodes.
        defined_at: Position after which each value that is not constant exists: 0 for inputs, i + 1 for what
            node i writes.
        last_use: Position of the last node that reads a value, or `LIVE_TO_END`; -1 if none does.
    """

    graph: ir.Graph
    nodes: tuple[OrderedNode, ...]
    inputs: tuple[ir.Value, ...]
    outputs: tuple[ir.Value, ...]
    constants: frozenset[ir.Value]
    defined_at: dict[ir.Value, int]
    last_use: dict[ir.Value, int]

    def live_at(self, position: int) -> list[ir.Value]:
        """Returns the values that exist at `position` and are needed at or after it, oldest first.

        Position p lies between node p - 1 and node p.
        """
        return [
            value
            for value, born in self.defined_at.items()
            if born <= position and self.last_use[value] >= position
        ]

    def liveness_changes(self) -> Iterator[tuple[list[ir.Value], list[ir.Value]]]:
        """Yields for each position from 1 to n - 1 the values that are alive there and were not before, and the reverse.

        Together they are twice as many as there are values, however many are alive at a time.
        """
        if not self.nodes:
            return
        born: list[list[ir.Value]] = [[] for _ in range(len(self.nodes) + 1)]
        gone: list[list[ir.Value]] = [[] for _ in range(len(self.nodes) + 1)]
        for value, first in self.defined_at.items():
            start, last = max(first, 1), self.last_use[value]
            if last < start:
                continue
            born[start].append(value)
            if last < len(self.nodes):
                gone[last + 1].append(value)
        yield from zip(born[1:-1], gone[1:-1], strict=True)


def value_name(value: ir.Value) -> str:
    """Returns a value's name; every value of a stored model has one."""
    return value.name or ""


def load_graph(path: Path) -> ir.Model:
    """Reads a model with its weights left on disk where they are external.

    Raises:
        InvalidModel: The file cannot be read as a model (INVALID_ARGUMENT).
    """
    proto = load_structure(path)
    make_dense(proto.graph, path.parent)
    try:
        model = ir.from_proto(proto)
    except Exception as error:
        raise InvalidModel(f"'{path.name}' cannot be read: {type(error).__name__}: {error}") from error
    ir.external_data.set_base_dir(model.graph, path.parent)
    return model


def topological_order(model: ir.Model) -> NodeOrder:
    """Linearises a model's graph: its own order if that is topological, as ONNX requires, else a stable sort.

    Raises:
        InvalidModel: The graph has a cycle (INVALID_ARGUMENT).
    """
    graph = model.graph
    captured = {node: _captured(node, graph) for node in graph if _subgraphs(node)}
    if not _is_topological(graph, captured):
        try:
            graph.sort()
        except ValueError as error:
            raise InvalidModel(f"graph '{graph.name}' has a cycle") from error
    needed = _needed(graph, captured)
    inputs = tuple(value for value in graph.inputs if not value.is_initializer())
    weights_of: dict[ir.Value, tuple[ir.Value, ...]] = {
        value: (value,) for value in graph.initializers.values()
    }
    defined_at: dict[ir.Value, int] = dict.fromkeys(inputs, 0)
    last_use: dict[ir.Value, int] = dict.fromkeys(inputs, -1)
    nodes: list[OrderedNode] = []
    for node in graph:
        if node not in needed:
            continue
        everything = _unique([value for value in node.inputs if value is not None] + captured.get(node, []))
        reads = tuple(value for value in everything if value not in weights_of)
        read = [weight for value in everything for weight in weights_of.get(value, ())]
        weights = tuple(_unique(read + _weights_inside(node)))
        if not reads and not _is_random(node):
            weights_of.update(dict.fromkeys(node.outputs, weights))
            continue
        position = len(nodes)
        for value in reads:
            last_use[value] = position
        writes = tuple(value for value in node.outputs if value.name)
        for value in writes:
            defined_at[value] = position + 1
            last_use[value] = -1
        nodes.append(OrderedNode(node, reads, writes, weights))
    for value in graph.outputs:
        if value in defined_at:
            last_use[value] = LIVE_TO_END
    return NodeOrder(
        graph, tuple(nodes), inputs, tuple(graph.outputs), frozenset(weights_of), defined_at, last_use
    )


def _unique(values: list[ir.Value]) -> list[ir.Value]:
    return list(dict.fromkeys(values))


def _subgraphs(node: ir.Node) -> list[ir.Graph]:
    graphs: list[ir.Graph] = []
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            graphs.append(attribute.as_graph())
        elif attribute.type == ir.AttributeType.GRAPHS:
            graphs.extend(attribute.as_graphs())
    return graphs


def _weights_inside(node: ir.Node) -> list[ir.Value]:
    """Returns the initialisers that the node's subgraphs bring, at any depth."""
    found: list[ir.Value] = []
    for graph in _subgraphs(node):
        found += graph.initializers.values()
        for inner in graph:
            found += _weights_inside(inner)
    return found


def _captured(node: ir.Node, graph: ir.Graph) -> list[ir.Value]:
    """Returns the values of `graph` that the node's subgraphs read, at any depth."""
    found: list[ir.Value] = []
    for subgraph in _subgraphs(node):
        candidates = [value for inner in subgraph.all_nodes() for value in inner.inputs]
        candidates += list(subgraph.outputs)
        found += [value for value in candidates if value is not None and value.graph is graph]
    return _unique(found)


def _is_random(node: ir.Node) -> bool:
    if node.op_type in _RANDOM:
        return True
    return any(inner.op_type in _RANDOM for graph in _subgraphs(node) for inner in graph.all_nodes())


def _is_topological(graph: ir.Graph, captured: dict[ir.Node, list[ir.Value]]) -> bool:
    seen: set[ir.Node] = set()
    for node in graph:
        for value in [*node.inputs, *captured.get(node, [])]:
            producer = None if value is None else value.producer()
            if producer is not None and producer not in seen:
                return False
        seen.add(node)
    return True


def _needed(graph: ir.Graph, captured: dict[ir.Node, list[ir.Value]]) -> set[ir.Node]:
    """Returns the nodes that some output of the graph depends on."""
    needed: set[ir.Node] = set()
    waiting = [value.producer() for value in graph.outputs]
    while waiting:
        node = waiting.pop()
        if node is None or node in needed:
            continue
        needed.add(node)
        waiting += [
            value.producer() for value in [*node.inputs, *captured.get(node, [])] if value is not None
        ]
    return needed
