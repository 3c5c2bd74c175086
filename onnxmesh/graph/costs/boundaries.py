"""What crosses at each position of a order, for the planner."""

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
    """Returns the boundaries of a order, from position 1 on; the model's inputs are not counted.

    Sums are carried from one position to the next, so that it takes time linear in the nodes even where thousands of
    values are alive at once.

    Args:
        order: The whole graph.
        types: Types of its values.
        num_bytes: Size of a value.
    """
    crossing = BoundaryValues(order, types)
    inputs = frozenset(order.inputs)
    alive: dict[ir.Value, int] = {}
    candidates: dict[ir.Value, None] = {}
    obstacles: dict[ir.Value, str] = {}
    total = num_computed = 0
    boundaries: list[Boundary] = []
    for born, gone in order.liveness_changes():
        for value in gone:
            size = alive.pop(value)
            candidates.pop(value, None)
            obstacles.pop(value, None)
            total -= size
            num_computed -= value not in inputs
        for value in born:
            size = 0 if value in inputs else num_bytes(value)
            alive[value] = size
            if crossing.may_rematerialise(value):
                candidates[value] = None
            if (obstacle := _obstacle(value, types)) is not None:
                obstacles[value] = obstacle
            total += size
            num_computed += value not in inputs
        rematerialised = crossing.rematerialised(alive, list(candidates))
        if len(rematerialised) == len(alive):
            rematerialised = frozenset()
        boundaries.append(
            Boundary(
                total - sum(alive[value] for value in rematerialised),
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
