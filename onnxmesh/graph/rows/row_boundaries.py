"""The boundaries that keep rows apart: a cut elsewhere leaves the stages beside it without batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import onnx_ir as ir

from onnxmesh.graph.costs.boundary_values import BoundaryValues
from onnxmesh.graph.reading.node_order import NodeOrder, load_graph, topological_order, value_name
from onnxmesh.graph.reading.value_types import ValueType
from onnxmesh.graph.rows.row_analysis import AnalysisTimeout, analyse_rows
from onnxmesh.graph.rows.row_state import RowValue, declared_input
from onnxmesh.model.graph_costs import GraphCosts


def mark_boundaries(
    graph: Path,
    costs: GraphCosts,
    types: Mapping[str, ValueType],
    expired: Callable[[], bool] = lambda: False,
) -> GraphCosts:
    """Returns the costs with a mark on each boundary that a value crosses without a row at each index of its first axis.

    Without marks where the graph is not analysed in time.

    Args:
        graph: The model that is cut.
        costs: Costs of it. The first dimension of each input may be a batch.
        types: Types of its values, by name.
        expired: Whether the time is up.

    Raises:
        InvalidModel: The graph has a cycle (INVALID_ARGUMENT).
    """
    inputs = {
        spec.name: declared_input(spec.name, types[spec.name].dims or ()) for spec in costs.signature.inputs
    }
    model = load_graph(graph)
    order = topological_order(model)
    try:
        # The analysis replaces calls of functions by their bodies.
        values = analyse_rows(load_graph(graph) if model.functions else model, inputs, expired)
    except AnalysisTimeout:
        return costs
    return replace(
        costs,
        boundaries=tuple(
            replace(boundary, keeps_rows=kept)
            for boundary, kept in zip(costs.boundaries, _keep_rows(order, types, values), strict=True)
        ),
    )


def _keep_rows(
    order: NodeOrder, types: Mapping[str, ValueType], values: Mapping[str, RowValue]
) -> Iterator[bool]:
    """Yields for each position from 1 on whether each value that crosses there has rows at axis 0, or is shared."""
    values_at = BoundaryValues(order, types)
    live: dict[ir.Value, None] = {}
    small: dict[ir.Value, None] = {}
    elsewhere: dict[ir.Value, None] = {}
    for position, (added, removed) in enumerate(order.liveness_changes(), start=1):
        for value in removed:
            for each in (live, small, elsewhere):
                each.pop(value, None)
        for value in added:
            live[value] = None
            if values_at.may_rematerialise(value):
                small[value] = None
            known = values.get(value_name(value))
            if known is None or not known.may_be_batched:
                elsewhere[value] = None
        # Sizes that are computed again behind the cut do not cross it; but a stage that ends with one sends it, lest it have
        # no output. The position before is as good a cut.
        again = values_at.rematerialised(live, list(small))
        sends = any(order.defined_at[value] == position and value not in again for value in added)
        yield sends and elsewhere.keys() <= again
