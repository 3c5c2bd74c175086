"""Tensors from NumPy arrays, and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from onnxmesh.errors import InvalidRequest
from onnxmesh.tensors.arrays import from_array, to_array
from onnxmesh.tensors.datatype import NUMPY, Datatype
from onnxmesh.tensors.tensor import Tensor


@given(
    st.sampled_from(sorted(NUMPY.values(), key=str)).flatmap(
        lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, min_side=0, max_side=5))
    )
)
def test_to_array_restores_what_from_array_read(array):
    """Bits, shape and type of every NumPy type, of scalars and empty arrays too."""
    tensor = from_array("x", array)
    again = to_array(tensor)
    assert again.dtype == array.dtype
    assert again.shape == array.shape
    assert again.tobytes() == array.tobytes()
    assert tensor.byte_size == tensor.datatype.byte_size(tensor.num_elements)


def test_from_array_encodes_text_as_utf8():
    """Elements of str arrays become BYTES."""
    tensor = from_array("x", np.array([["ä", "b"]]))
    assert tensor.shape == (1, 2)
    assert to_array(tensor).tolist() == [["ä".encode(), b"b"]]


def test_to_array_returns_bf16_as_float32():
    """BF16 is the upper half of a float32."""
    values = np.array([1.0, -2.5, 0.0], dtype=np.float32)
    bits = (values.view(np.uint32) >> 16).astype(np.uint16)
    tensor = from_array("x", bits, Datatype.BF16)
    assert tensor.byte_size == 6
    assert to_array(tensor).tolist() == values.tolist()


def test_arrays_of_foreign_types_are_refused():
    """complex64 has no datatype, FLOAT8 no NumPy type."""
    with pytest.raises(InvalidRequest, match="holds complex64"):
        from_array("x", np.zeros(1, np.complex64))
    with pytest.raises(InvalidRequest, match="no element type for FLOAT8E5M2"):
        to_array(Tensor("x", Datatype.FLOAT8E5M2, (1,), b"\x00"))
