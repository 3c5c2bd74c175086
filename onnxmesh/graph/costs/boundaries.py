"""The boundary at each position of a topological order, for the planner."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import onnx_ir as ir

from onnxmesh.graph.costs.boundary_values import BoundaryValues
from onnxmesh.graph.reading.node_order import NodeOrder, value_name
from onnxmesh.graph.reading.value_types import ValueType
from onnxmesh.model.graph_costs import Boundary


def boundaries_of(
    order: NodeOrder, types: Mapping[str, ValueType], num_bytes: Callable[[ir.Value], int]
) -> tuple[Boundary, ...]:
    """Returns the boundaries of a graph, from position 1 on; the model's inputs are not counted.

    Sums are updated from one position to the next: linear in the number of nodes even where thousands of values are
    live at once.

    Args:
        order: The graph.
        types: Types of its values, by name.
        num_bytes: Returns the size of a value.
    """
    values_at = BoundaryValues(order, types)
    inputs = frozenset(order.inputs)
    live: dict[ir.Value, int] = {}
    candidates: dict[ir.Value, None] = {}
    obstacles: dict[ir.Value, str] = {}
    total = num_computed = 0
    boundaries: list[Boundary] = []
    for added, removed in order.liveness_changes():
        for value in removed:
            size = live.pop(value)
            candidates.pop(value, None)
            obstacles.pop(value, None)
            total -= size
            num_computed -= value not in inputs
        for value in added:
            size = 0 if value in inputs else num_bytes(value)
            live[value] = size
            if values_at.may_rematerialise(value):
                candidates[value] = None
            if (obstacle := _obstacle(value, types)) is not None:
                obstacles[value] = obstacle
            total += size
            num_computed += value not in inputs
        rematerialised = values_at.rematerialised(live, list(candidates))
        if len(rematerialised) == len(live):
            rematerialised = frozenset()
        boundaries.append(
            Boundary(
                total - sum(live[value] for value in rematerialised),
                num_computed - len(rematerialised),
                next(iter(obstacles.values()), None),
            )
        )
    return tuple(boundaries)


def _obstacle(value: ir.Value, types: Mapping[str, ValueType]) -> str | None:
    known = types.get(value_name(value))
    if known is None:
        return f"the type of '{value_name(value)}' is unknown"
    if known.datatype is None:
        return f"'{value_name(value)}' is a {known.runtime_type}, which cannot be sent"
    return None
