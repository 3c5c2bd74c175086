"""Types and shapes of values."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from onnxmesh.errors import CorruptData, InvalidModel
from onnxmesh.graph.reading.value_types import (
    ValueType,
    declared_dims,
    infer_shapes_at,
    infer_types,
    types_from_json,
    types_to_json,
)
from onnxmesh.tensors.datatype import Datatype
from tests.zoo.zoo_model import floats, model, node


@pytest.fixture
def path(tmp_path):
    """y = relu(x @ w) with a free batch, and its sum, a scalar."""
    nodes = [
        node("MatMul", ["x", "w"], ["h"]),
        node("Relu", ["h"], ["y"]),
        node("ReduceSum", ["y"], ["s"], keepdims=0),
    ]
    made = model(
        nodes, [floats("x", "N", 3)], [floats("y", "N", 2), floats("s")], {"w": np.ones((3, 2), np.float32)}
    )
    onnx.save(made, tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


def test_infer_types_finds_inner_values_and_scalars(path):
    """The copy that is made for it is removed."""
    types = infer_types(path, ["h", "s"])
    assert types["h"] == ValueType("tensor(float)", ("N", 2))
    assert (types["h"].datatype, types["h"].shape) == (Datatype.FP32, (-1, 2))
    assert types["s"].dims == ()
    assert [file.name for file in path.parent.iterdir()] == ["m.onnx"]


def test_infer_shapes_at_replaces_free_dimensions(path):
    """At a batch of 5."""
    assert infer_shapes_at(path, ["h"], {"x": (5, 3)})["h"] == (5, 2)


def test_infer_types_refuses_a_model_that_cannot_be_loaded(tmp_path):
    """The message has the reason of ONNX Runtime."""
    onnx.save(
        model([node("Frobnicate", ["x"], ["y"])], [floats("x", 2)], [floats("y", 2)]), tmp_path / "m.onnx"
    )
    with pytest.raises(InvalidModel, match="Frobnicate"):
        infer_types(tmp_path / "m.onnx", ["y"])


def test_declared_dims_distinguish_scalars_from_unknown_ranks():
    """A symbol is its name, an unnamed free dimension None."""
    assert declared_dims(floats("x", "N", 3)) == ("N", 3)
    assert declared_dims(floats("x")) == ()
    assert declared_dims(onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, None)) is None


def test_value_types_survive_json():
    """Symbols, unknown dimensions and unknown ranks."""
    types = {"a": ValueType("tensor(float)", ("N", 2, None)), "b": ValueType("seq(tensor(int64))", None)}
    assert types_from_json(types_to_json(types)) == types
    assert types["b"].datatype is None
    with pytest.raises(CorruptData, match="not a list of value types"):
        types_from_json("[1]")
