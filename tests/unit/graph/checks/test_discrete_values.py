"""Floats that a stage makes discrete."""

from __future__ import annotations

import onnx
import pytest
from onnx import TensorProto, helper

from onnxmesh.graph.checks.discrete_values import discretised_values, model_with_values
from onnxmesh.graph.runtime.session import StageSession
from onnxmesh.graph.split import split_model

N = helper.make_node


def graph_of(nodes):
    return helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("y", TensorProto.INT64, ["N", 1])],
    )


NODES = [N("Tanh", ["x"], ["t"]), N("ArgMax", ["t"], ["y"], axis=1)]


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        (NODES, ["t"]),
        ([N("Tanh", ["x"], ["t"]), N("Cast", ["t"], ["y"], to=TensorProto.INT64)], ["t"]),
        ([N("Tanh", ["x"], ["t"]), N("Cast", ["t"], ["y"], to=TensorProto.DOUBLE)], []),
        ([N("ArgMax", ["x"], ["y"], axis=1)], []),
    ],
)
def test_computed_floats_before_a_discretising_operator(nodes, expected):
    """Inputs of the model are equal anyway, and a cast to floats hides nothing."""
    assert discretised_values(graph_of(nodes)) == expected


def test_stage_model_has_them_as_outputs(tmp_path):
    """For as long as it is loaded; only where their rows are known."""
    path = tmp_path / "m.onnx"
    onnx.save(
        helper.make_model(graph_of(NODES), opset_imports=[helper.make_opsetid("", 20)], ir_version=9), path
    )
    split_model(path, tmp_path / "out", 1)
    stage = tmp_path / "out" / "stage-0"
    with model_with_values(stage, {"t"}) as model:
        assert [spec.name for spec in StageSession(model).outputs] == ["y", "t"]
    assert not model.exists()
    with model_with_values(stage, ()) as model:
        assert model == stage
