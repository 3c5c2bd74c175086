"""The proof that a stage keeps rows apart: each of its inputs and outputs has one row at each index of axis 0, or none."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import onnx_ir as ir

from onnxmesh.graph.reading.value_types import Dim as DeclaredDim
from onnxmesh.graph.rows.row_analysis import AnalysisTimeout, analyse_rows
from onnxmesh.graph.rows.row_state import Mixed, RowCount, Rows, RowValue, Shared, declared_input
from onnxmesh.model.partition import Partition


@dataclass(frozen=True, slots=True)
class StageProof:
    """Finding about one stage.

    Attributes:
        why_not: Why the rows of a run are not proven to be independent; empty where they are.
        shared: Its inputs and outputs that all rows share.
        with_rows: Values of the whole graph that have one row at each index of their first axis.
    """

    why_not: str = ""
    shared: frozenset[str] = frozenset()
    with_rows: frozenset[str] = frozenset()


def prove_stages(
    model: ir.Model,
    dims: Mapping[str, Sequence[DeclaredDim]],
    partitions: Sequence[Partition],
    expired: Callable[[], bool] = lambda: False,
    *,
    why_expired: str = "the graph was not analysed in time",
) -> list[StageProof]:
    """Proves, for each stage of a chain, that row i of its outputs depends on row i of its inputs alone.

    Args:
        model: The graph that was cut; it is modified.
        dims: Declared dimensions of each input; the first is the number of rows.
        partitions: The chain, in order.
        expired: Whether the time is up.
        why_expired: The finding if it is.
    """
    inputs = {name: declared_input(name, declared) for name, declared in dims.items()}
    try:
        values = analyse_rows(model, inputs, expired)
    except AnalysisTimeout:
        return [StageProof(why_expired) for _ in partitions]
    with_rows = frozenset(name for name, value in values.items() if value.state == Rows(0))
    return [replace(_stage_proof(partition, values), with_rows=with_rows) for partition in partitions]


def _stage_proof(partition: Partition, values: Mapping[str, RowValue]) -> StageProof:
    shared = set()
    for spec in (*partition.inputs, *partition.outputs):
        value = values.get(spec.name)
        if value is None:
            return StageProof(f"'{spec.name}' was not found in the graph")
        match value.state:
            case Mixed(reason=reason):
                return StageProof(reason)
            case RowCount():
                return StageProof(f"'{spec.name}' depends on the number of rows")
            case Rows() if value.state != Rows(0):
                return StageProof(f"'{spec.name}' has no row at each index of its first axis")
            case Shared():
                shared.add(spec.name)
    return StageProof(shared=frozenset(shared))
