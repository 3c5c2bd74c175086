"""Conversion of tensors to ONNX Runtime values and back."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.graph.runtime.runtime_values import (
    KERNEL_ALIGNMENT,
    aligned_copy,
    from_runtime,
    to_runtime,
)
from onnxmesh.graph.runtime.session import StageSession
from onnxmesh.tensors.arrays import from_array
from onnxmesh.tensors.datatype import Datatype
from onnxmesh.tensors.tensor import Tensor
from tests.zoo.zoo_model import floats, model, node


def session_for(tmp_path, nodes, inputs, outputs, weights=None, opset=21):
    path = tmp_path / "m.onnx"
    onnx.save(model(nodes, inputs, outputs, weights, opsets={"": opset}), path)
    return StageSession(path)


def raw(datatype, shape):
    size = datatype.byte_size(int(np.prod(shape)))
    content = np.random.default_rng(3).integers(0, 2, size, dtype=np.uint8)
    return Tensor("x", datatype, shape, content.tobytes())


@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 5), (0,), (2, 0, 3)])
@pytest.mark.parametrize("datatype", [kind for kind in Datatype if kind is not Datatype.BYTES])
def test_values_of_every_datatype_survive(datatype, shape):
    """Every element type, scalars and empty tensors too, comes back from ONNX Runtime with its bits."""
    tensor = raw(datatype, shape)
    again = from_runtime("x", to_runtime(tensor))
    assert again.datatype is datatype
    assert again.shape == shape
    assert bytes(again.data) == bytes(tensor.data)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), max_size=6))
def test_values_of_strings_survive(words):
    """Any text, the empty string and NUL included."""
    tensor = from_array("x", np.array(words, dtype=np.object_))
    again = from_runtime("x", to_runtime(tensor))
    assert again == Tensor("x", Datatype.BYTES, (len(words),), tensor.data)


@pytest.mark.parametrize("offset", range(0, 64, 4))
def test_values_do_not_depend_on_alignment(tmp_path, offset):
    """Wherever the data are in a frame, sums are the same: kernels must not get an unaligned address."""
    session = session_for(
        tmp_path,
        [node("ReduceSum", ["x"], ["y"], keepdims=0)],
        [floats("x", "N", 1003)],
        [floats("y")],
    )
    array = np.random.default_rng(0).standard_normal((3, 1003)).astype(np.float32)
    expected = session.run(
        {"x": from_array("x", aligned_copy(memoryview(array).cast("B")).view(np.float32).reshape(3, -1))}
    )
    frame = aligned_copy(bytes(offset) + array.tobytes())
    found = session.run({"x": Tensor("x", Datatype.FP32, (3, 1003), memoryview(frame)[offset:])})
    assert bytes(found["y"].data) == bytes(expected["y"].data)


def test_values_use_aligned_data_in_place():
    """No copy is made on the way in where none is needed."""
    data = aligned_copy(bytes(64))
    tensor = Tensor("x", Datatype.FP32, (16,), memoryview(data))
    assert to_runtime(tensor).data_ptr() == data.ctypes.data
    shifted = Tensor("x", Datatype.FP32, (15,), memoryview(data)[4:])
    assert to_runtime(shifted).data_ptr() % KERNEL_ALIGNMENT == 0
