"""Tensors, arrays and BYTES."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from onnxmesh.errors import InvalidRequest
from onnxmesh.tensors.arrays import from_array, to_array
from onnxmesh.tensors.bytes_codec import decode_bytes, encode_bytes
from onnxmesh.tensors.datatype import NUMPY, Datatype
from onnxmesh.tensors.tensor import Tensor


@given(
    st.sampled_from(sorted(NUMPY.values(), key=str)).flatmap(
        lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, min_side=0, max_side=5))
    )
)
def test_arrays_survive(array):
    """Every NumPy type comes back with its bits, its shape and its type; scalars and empty ones too."""
    tensor = from_array("x", array)
    again = to_array(tensor)
    assert again.dtype == array.dtype
    assert again.shape == array.shape
    assert again.tobytes() == array.tobytes()
    assert tensor.byte_size == tensor.datatype.byte_size(tensor.num_elements)


@given(st.lists(st.binary(max_size=50), max_size=10))
def test_bytes_survive(elements):
    """BYTES hold any bytes, the empty element and none at all included."""
    assert decode_bytes(encode_bytes(elements), len(elements), "x") == elements


def test_text_becomes_utf8():
    """str elements travel as UTF-8."""
    tensor = from_array("x", np.array([["ä", "b"]]))
    assert tensor.shape == (1, 2)
    assert to_array(tensor).tolist() == [["ä".encode(), b"b"]]


@pytest.mark.parametrize(
    ("data", "count", "message"),
    [
        (
            b"\x01\x00",
            1,
            "expected a 4-byte length of BYTES element 0 at offset 0, but only 2 bytes are left",
        ),
        (b"\x05\x00\x00\x00ab", 1, "BYTES element 0 says it has 5 bytes, but only 2 are left"),
        (encode_bytes([b"a", b"b"]), 1, "expected 1 BYTES elements, but 5 bytes follow the last one"),
        (encode_bytes([b"a"]), 2, "expected 2 BYTES elements, but the data holds 1"),
        (b"\xff\xff\xff\xff", 1, "says it has 4294967295 bytes, but only 0 are left"),
    ],
)
def test_malformed_bytes_are_named(data, count, message):
    """A wrong length is refused with what was expected and what came."""
    with pytest.raises(InvalidRequest, match=message):
        decode_bytes(data, count, "x")


def test_bf16_becomes_float32():
    """BF16 is the upper half of a float32."""
    values = np.array([1.0, -2.5, 0.0], dtype=np.float32)
    bits = (values.view(np.uint32) >> 16).astype(np.uint16)
    tensor = from_array("x", bits, Datatype.BF16)
    assert tensor.byte_size == 6
    assert to_array(tensor).tolist() == values.tolist()


def test_packed_types_have_packed_sizes():
    """Two 4-bit elements share a byte; an odd one takes a byte of its own."""
    assert Datatype.INT4.byte_size(3) == 2
    assert Datatype.BYTES.byte_size(3) is None


def test_foreign_types_are_refused():
    """complex64 and FLOAT8 have no way in or out as arrays."""
    with pytest.raises(InvalidRequest, match="holds complex64"):
        from_array("x", np.zeros(1, np.complex64))
    with pytest.raises(InvalidRequest, match="no element type for FLOAT8E5M2"):
        to_array(Tensor("x", Datatype.FLOAT8E5M2, (1,), b"\x00"))
