"""Tensors."""

from __future__ import annotations

from onnxmesh.tensors.datatype import Datatype
from onnxmesh.tensors.tensor import Tensor


def test_tensor_counts_elements_and_bytes():
    """A scalar has one element, an empty tensor none."""
    assert Tensor("x", Datatype.FP32, (2, 3), bytes(24)).num_elements == 6
    assert Tensor("x", Datatype.FP32, (), bytes(4)).num_elements == 1
    assert Tensor("x", Datatype.FP32, (0, 3), b"").num_elements == 0
    assert Tensor("x", Datatype.FP32, (2, 3), memoryview(bytes(24))).byte_size == 24


def test_tensor_renamed_shares_the_data():
    """No byte is copied."""
    tensor = Tensor("x", Datatype.FP32, (1,), bytes(4))
    renamed = tensor.renamed("y")
    assert (renamed.name, renamed.datatype, renamed.shape) == ("y", Datatype.FP32, (1,))
    assert renamed.data is tensor.data
