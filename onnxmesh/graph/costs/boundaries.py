"""What crosses at each position of a row, for the planner."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import onnx_ir as ir

from onnxmesh.graph.costs.crossing import Crossing
from onnxmesh.graph.reading.row import Row, name_of
from onnxmesh.graph.reading.value_types import ValueType
from onnxmesh.model.graph_costs import Boundary


def boundaries_of(
    row: Row, types: Mapping[str, ValueType], num_bytes: Callable[[ir.Value], int]
) -> tuple[Boundary, ...]:
    """Returns the boundaries of a row, from position 1 on; the model's inputs are not counted.

    Sums are carried from one position to the next, so that it takes time linear in the nodes even where thousands of
    values are alive at once.

    Args:
        row: The whole graph.
        types: Types of its values.
        num_bytes: Size of a value.
    """
    crossing = Crossing(row, types)
    inputs = frozenset(row.inputs)
    alive: dict[ir.Value, int] = {}
    candidates: dict[ir.Value, None] = {}
    obstacles: dict[ir.Value, str] = {}
    total = num_computed = 0
    boundaries: list[Boundary] = []
    for born, gone in row.changes():
        for value in gone:
            size = alive.pop(value)
            candidates.pop(value, None)
            obstacles.pop(value, None)
            total -= size
            num_computed -= value not in inputs
        for value in born:
            size = 0 if value in inputs else num_bytes(value)
            alive[value] = size
            if crossing.may_be_left_out(value):
                candidates[value] = None
            if (obstacle := _obstacle(value, types)) is not None:
                obstacles[value] = obstacle
            total += size
            num_computed += value not in inputs
        left_out = crossing.left_out(alive, list(candidates))
        if len(left_out) == len(alive):
            left_out = frozenset()
        boundaries.append(
            Boundary(
                total - sum(alive[value] for value in left_out),
                num_computed - len(left_out),
                next(iter(obstacles.values()), None),
            )
        )
    return tuple(boundaries)


def _obstacle(value: ir.Value, types: Mapping[str, ValueType]) -> str | None:
    known = types.get(name_of(value))
    if known is None:
        return f"the type of '{name_of(value)}' is unknown"
    if known.datatype is None:
        return f"'{name_of(value)}' is a {known.runtime_type}, which cannot be sent"
    return None
