"""The raw form of BYTES tensors."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.errors import InvalidRequest
from onnxmesh.tensors.bytes_codec import decode_bytes, encode_bytes


@given(st.lists(st.binary(max_size=50), max_size=10))
def test_decode_bytes_restores_what_encode_bytes_wrote(elements):
    """Any bytes, also empty elements and no elements."""
    assert decode_bytes(encode_bytes(elements), len(elements), "x") == elements


@pytest.mark.parametrize(
    ("data", "count", "message"),
    [
        (
            b"\x01\x00",
            1,
            "expected a 4-byte length of BYTES element 0 at offset 0, but only 2 bytes remain",
        ),
        (b"\x05\x00\x00\x00ab", 1, "BYTES element 0 announces 5 bytes, but only 2 remain"),
        (encode_bytes([b"a", b"b"]), 1, "expected 1 BYTES elements, but 5 bytes follow the last one"),
        (encode_bytes([b"a"]), 2, "expected 2 BYTES elements, but the data holds 1"),
        (b"\xff\xff\xff\xff", 1, "announces 4294967295 bytes, but only 0 remain"),
    ],
)
def test_decode_bytes_refuses_malformed_data(data, count, message):
    """The message names what was expected and what was received."""
    with pytest.raises(InvalidRequest, match=message):
        decode_bytes(data, count, "x")
