"""Protobuf's varints."""

from __future__ import annotations

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.rpc.frames.varint import read_varint, varint
from onnxmesh.v1.frame_pb2 import Ping


@given(st.integers(1, 2**32 - 1), st.binary(max_size=3), st.binary(max_size=3))
def test_varint_is_that_of_protobuf(value, before, after):
    """Read at any position, it ends where the next field starts."""
    written = varint(value)
    assert Ping(number=value).SerializeToString() == b"\x08" + written
    view = memoryview(before + written + after)
    assert read_varint(view, len(before)) == (value, len(before) + len(written))


def test_varint_of_zero_is_one_byte():
    """Protobuf omits such fields, lengths of empty payloads need it."""
    assert varint(0) == b"\0"


@pytest.mark.parametrize("data", [b"", b"\x80", b"\xff" * 10 + b"\x01"])
def test_read_varint_refuses_an_integer_without_end(data):
    """Within the bytes, or within ten."""
    with pytest.raises(DecodeError, match="no varint ends"):
        read_varint(memoryview(data), 0)
