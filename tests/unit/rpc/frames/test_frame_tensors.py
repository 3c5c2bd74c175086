"""Tensors are written to frames and read from them in one place, which believes no description."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.errors import CorruptData
from onnxmesh.rpc.frames.frame_tensors import frame_body, read_tensors, write_tensors
from onnxmesh.tensors.bytes_codec import encode_bytes
from onnxmesh.tensors.datatype import Datatype
from onnxmesh.tensors.tensor import Tensor
from onnxmesh.v1 import frame_pb2


@st.composite
def tensors(draw):
    """A tensor of any datatype whose payload is as long as it should be."""
    datatype = draw(st.sampled_from(Datatype))
    shape = tuple(draw(st.lists(st.integers(0, 3), max_size=3)))
    tensor = Tensor(draw(st.text(max_size=5)), datatype, shape, b"")
    byte_size = datatype.byte_size(tensor.num_elements)
    data = encode_bytes([b"ab"] * tensor.num_elements) if byte_size is None else bytes(byte_size)
    return Tensor(tensor.name, datatype, shape, data)


@given(st.lists(tensors(), max_size=4), st.sampled_from([frame_pb2.Activation, frame_pb2.Result]))
def test_read_tensors_returns_what_write_tensors_wrote(given_tensors, message):
    """Of any datatype, empty ones and scalars included; the payloads are the very same objects."""
    body = message()
    payloads = write_tensors(body, given_tensors)
    read = read_tensors(message.FromString(body.SerializeToString()), payloads)
    assert read == tuple(given_tensors)
    assert all(got.data is tensor.data for got, tensor in zip(read, given_tensors, strict=True))
    assert [each.byte_size for each in body.tensors] == [len(payload) for payload in payloads]


def described(datatype="FP32", shape=(2, 1), byte_size=8):
    return frame_pb2.Tensor(name="y", datatype=datatype, shape=shape, byte_size=byte_size)


@pytest.mark.parametrize(
    ("descriptions", "payloads", "message"),
    [
        ([described("FP33")], [bytes(8)], "'y' is of unknown datatype 'FP33'"),
        ([described("")], [bytes(8)], "'y' is of unknown datatype ''"),
        ([described(shape=(-2, -1))], [bytes(8)], "'y' has the impossible shape [-2, -1]"),
        ([described(shape=(2, -1))], [b""], "'y' has the impossible shape [2, -1]"),
        ([described()], [], "expected payloads of 1 tensors, got 0"),
        ([described()], [bytes(8), b""], "expected payloads of 1 tensors, got 2"),
        ([described()], [bytes(7)], "'y': expected 8 bytes of FP32 [2, 1], got 7"),
        ([described(shape=(3, 1))], [bytes(8)], "'y': expected 12 bytes of FP32 [3, 1], got 8"),
        ([described(shape=())], [bytes(8)], "'y': expected 4 bytes of FP32 [], got 8"),
        ([described("INT4", (3,), 1)], [bytes(1)], "'y': expected 2 bytes of INT4 [3], got 1"),
        ([described("BYTES", (1,), 9)], [bytes(8)], "'y': expected 9 bytes of BYTES [1], got 8"),
    ],
)
def test_read_tensors_refuses_what_its_header_does_not_describe(descriptions, payloads, message):
    """As corrupt data: the sender is at fault, not the client."""
    with pytest.raises(CorruptData) as caught:
        read_tensors(frame_pb2.Result(tensors=descriptions), payloads)
    assert message in caught.value.message


def test_frame_body_is_the_message_that_describes_tensors():
    """That of an Activation or a Result; other frames have none."""
    header = frame_pb2.FrameHeader(activation=frame_pb2.Activation(hop=3))
    assert frame_body(header) == header.activation
    header = frame_pb2.FrameHeader(result=frame_pb2.Result(sent_unix_ns=3))
    assert frame_body(header) == header.result
    assert frame_body(frame_pb2.FrameHeader(goodbye=frame_pb2.Goodbye())) is None
    assert frame_body(frame_pb2.FrameHeader()) is None
