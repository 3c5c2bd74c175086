"""Floats that a stage makes discrete: they show differences which its outputs hide."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from pathlib import Path

import onnx

from onnxmesh.graph.reading.source import load_structure

_DISCRETISING = frozenset(
    {
        "ArgMax",
        "ArgMin",
        "Cast",
        "Ceil",
        "Floor",
        "Greater",
        "GreaterOrEqual",
        "Less",
        "LessOrEqual",
        "QuantizeLinear",
        "Round",
        "Sign",
        "TopK",
    }
)
"""Operators after which close floats may be equal, or further apart."""

_INTEGERS = frozenset(
    {
        onnx.TensorProto.BOOL,
        onnx.TensorProto.INT8,
        onnx.TensorProto.INT16,
        onnx.TensorProto.INT32,
        onnx.TensorProto.INT64,
        onnx.TensorProto.UINT8,
        onnx.TensorProto.UINT16,
        onnx.TensorProto.UINT32,
        onnx.TensorProto.UINT64,
    }
)

MAX_VALUES = 32
"""Most values of a stage that are compared beside its outputs."""


def discretised_values(graph: onnx.GraphProto) -> list[str]:
    """Returns the computed values that an operator makes discrete and that are no outputs, in the order of the graph."""
    computed = {name for node in graph.node for name in node.output}
    found = dict.fromkeys(
        name
        for node in graph.node
        if node.op_type in _DISCRETISING and not (node.op_type == "Cast" and _target(node) not in _INTEGERS)
        for name in node.input
        if name in computed
    )
    outputs = {value.name for value in graph.output}
    return [name for name in found if name not in outputs][:MAX_VALUES]


def _target(node: onnx.NodeProto) -> int:
    return next((attribute.i for attribute in node.attribute if attribute.name == "to"), 0)


@contextlib.contextmanager
def model_with_values(stage: Path, with_rows: Collection[str]) -> Iterator[Path]:
    """Yields a model of a stage with the values that it makes discrete as further outputs.

    Args:
        stage: The folder of a partition. The model is written beside its weights and removed.
        with_rows: Values with one row at each index of their first axis; no others become outputs.
    """
    model = load_structure(stage / "model.onnx")
    wanted = [name for name in discretised_values(model.graph) if name in with_rows]
    if not wanted:
        yield stage
        return
    for name in wanted:
        model.graph.output.add().name = name
    path = stage / ".check.onnx"
    try:
        path.write_bytes(model.SerializeToString())
        yield path
    finally:
        path.unlink(missing_ok=True)
