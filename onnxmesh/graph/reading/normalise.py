"""Normalisation of a model: forms that only ONNX Runtime accepts are rewritten to those that every reader accepts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import onnx

from onnxmesh.graph.reading.cycle import names_read
from onnxmesh.graph.reading.external_data import write_plain_locations
from onnxmesh.graph.runtime.node_name import bodies_of, nodes_of

_ALIAS = "ai.onnx"
"""The other spelling of the default domain."""


def normalise(model: onnx.ModelProto) -> bool:
    """Rewrites a model in place, so that it means the same; returns whether anything changed.

    - The default domain is spelled as the empty string. Each domain is imported once: of several imports ONNX Runtime
      takes the last.
    - An output that the graph lists several times is listed once: clients request outputs by name.
    - A branch of an If, or a body of a Scan, that returns a value several times returns copies of it: ONNX Runtime computes
      with memory that it never wrote otherwise.
    - Of several initialisers of one name the last is kept, as by ONNX Runtime; those without a name are dropped.
    - Nodes are sorted topologically where the graph has no cycle, and the graph has a name.
    - Locations of external data are plain paths.
    """
    nodes = list(nodes_in(model))
    with_bodies = [node for node in nodes if any(True for _ in bodies_of(node))]
    graphs = [model.graph, *(body for node in with_bodies for body in bodies_of(node))]
    changes = [
        _spell_default_domain(model, nodes),
        _list_outputs_once(model.graph),
        *map(_return_copies, with_bodies),
        *map(_keep_last_initialisers, graphs),
        _sort_nodes(model.graph),
        _name_graph(model.graph),
        write_plain_locations(model),
    ]
    return any(changes)


def nodes_in(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """Yields every node of a model: of its graph, its functions and their subgraphs."""
    yield from nodes_of(model.graph)
    for function in model.functions:
        yield from nodes_of(function)


def _spell_default_domain(model: onnx.ModelProto, nodes: Sequence[onnx.NodeProto]) -> bool:
    changed = False
    for node in nodes:
        if node.domain == _ALIAS:
            node.domain = ""
            changed = True
    parts: list[onnx.ModelProto | onnx.FunctionProto] = [model, *model.functions]
    for part in parts:
        versions: dict[str, int] = {}
        for opset in part.opset_import:
            versions["" if opset.domain == _ALIAS else opset.domain] = opset.version
        if [(opset.domain, opset.version) for opset in part.opset_import] != list(versions.items()):
            del part.opset_import[:]
            for domain, version in versions.items():
                part.opset_import.add(domain=domain, version=version)
            changed = True
    return changed


def _list_outputs_once(graph: onnx.GraphProto) -> bool:
    seen: set[str] = set()
    repeated = []
    for position, value in enumerate(graph.output):
        if value.name in seen:
            repeated.append(position)
        seen.add(value.name)
    for position in reversed(repeated):
        del graph.output[position]
    return bool(repeated)


def _return_copies(node: onnx.NodeProto) -> bool:
    """Adds copies of the values that a body returns again. ONNX Runtime handles those of a Loop."""
    if node.op_type not in {"If", "Scan"}:
        return False
    changed = False
    for body in bodies_of(node):
        returned: set[str] = set()
        names = {name for inner in nodes_of(body) for name in (*inner.input, *inner.output)}
        names |= {value.name for value in body.input} | {tensor.name for tensor in body.initializer}
        for value in body.output:
            if value.name in returned:
                copy = _unused(f"{value.name}_copy", names)
                body.node.add(op_type="Identity", input=[value.name], output=[copy])
                value.name = copy
                names.add(copy)
                changed = True
            returned.add(value.name)
    return changed


def _unused(name: str, used: set[str]) -> str:
    while name in used:
        name += "_"
    return name


def _keep_last_initialisers(graph: onnx.GraphProto) -> bool:
    last = {tensor.name: position for position, tensor in enumerate(graph.initializer) if tensor.name}
    if len(last) == len(graph.initializer):
        return False
    kept = set(last.values())
    for position in reversed(range(len(graph.initializer))):
        if position not in kept:
            del graph.initializer[position]
    return True


def _sort_nodes(graph: onnx.GraphProto) -> bool:
    """Sorts nodes topologically, in the stored order as far as possible; a graph with a cycle is left as it is."""
    makers = {name: position for position, node in enumerate(graph.node) for name in node.output if name}
    needs = [
        sorted({makers[name] for name in names_read(node) if name in makers}, reverse=True)
        for node in graph.node
    ]
    if all(maker < position for position, made in enumerate(needs) for maker in made):
        return False
    order: list[int] = []
    entered: set[int] = set()
    placed: set[int] = set()
    for root in range(len(needs)):
        pending = [root]
        while pending:
            position = pending[-1]
            waits_for = [maker for maker in needs[position] if maker not in placed]
            if position in placed or not waits_for:
                pending.pop()
                if position not in placed:
                    placed.add(position)
                    order.append(position)
            elif position in entered:
                return False  # it waits for itself
            else:
                entered.add(position)
                pending += waits_for
    in_order = onnx.GraphProto(node=[graph.node[position] for position in order])
    del graph.node[:]
    graph.node.extend(in_order.node)
    return True


def _name_graph(graph: onnx.GraphProto) -> bool:
    if graph.name:
        return False
    graph.name = "graph"
    return True
