"""The nodes of a graph in topological order, and the values that are live between any two of them."""

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
"""Operators whose outputs differ from run to run: never duplicated, so never treated as constants."""

LIVE_TO_END = 1 << 62
"""Last use of a value that is a model output: it is live to the end."""


@dataclass(frozen=True, slots=True)
class OrderedNode:
    """One node of a `NodeOrder`.

    Attributes:
        node: The node of the graph.
        reads: Values that it and its subgraphs read: outputs of other nodes and inputs of the model, in order.
        writes: Its named outputs.
        weights: Initialisers that it and its subgraphs read, directly or through constant nodes.
    """

    node: ir.Node
    reads: tuple[ir.Value, ...]
    writes: tuple[ir.Value, ...]
    weights: tuple[ir.Value, ...]


@dataclass(frozen=True, slots=True)
class NodeOrder:
    """The topological order of a graph, with the liveness of its values.

    Nodes that no output depends on are omitted, and so are constant nodes (those that depend on no input of
    the model): each stage has its own copies of the constants that it needs.

    Attributes:
        graph: The graph; not to be modified.
        nodes: Its nodes in execution order.
        inputs: The model's inputs, except those that have an initialiser as their default.
        outputs: The model's outputs.
        constants: Values that depend on no input: initialisers and outputs of constant nodes.
        defined_at: First position at which each value that is not constant exists: 0 for inputs, i + 1 for what
            node i writes.
        last_use: Position of the last node that reads a value, or `LIVE_TO_END`; -1 if it is never read.
    """

    graph: ir.Graph
    nodes: tuple[OrderedNode, ...]
    inputs: tuple[ir.Value, ...]
    outputs: tuple[ir.Value, ...]
    constants: frozenset[ir.Value]
    defined_at: dict[ir.Value, int]
    last_use: dict[ir.Value, int]

    def live_at(self, position: int) -> list[ir.Value]:
        """Returns the values that exist at `position` and are read at or after it, oldest first.

        Position p lies between node p - 1 and node p.
        """
        return [
            value
            for value, first in self.defined_at.items()
            if first <= position and self.last_use[value] >= position
        ]

    def liveness_changes(self) -> Iterator[tuple[list[ir.Value], list[ir.Value]]]:
        """Yields, for each position from 1 to n - 1, the values that become live there and those that are live no more.

        Linear in the number of values, however many are live at once.
        """
        if not self.nodes:
            return
        added: list[list[ir.Value]] = [[] for _ in range(len(self.nodes) + 1)]
        removed: list[list[ir.Value]] = [[] for _ in range(len(self.nodes) + 1)]
        for value, first in self.defined_at.items():
            start, last = max(first, 1), self.last_use[value]
            if last < start:
                continue
            added[start].append(value)
            if last < len(self.nodes):
                removed[last + 1].append(value)
        yield from zip(added[1:-1], removed[1:-1], strict=True)


def value_name(value: ir.Value) -> str:
    """Returns a value's name; every value of a stored model has one."""
    return value.name or ""


def load_graph(path: Path) -> ir.Model:
    """Reads a model; its external weights stay on disk.

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
    """Returns the topological order of a model's graph: the stored order where it is one, else a stable sort.

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
    """Returns the initialisers of the node's subgraphs, at any depth."""
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
    """Returns the nodes that an output of the graph depends on."""
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
