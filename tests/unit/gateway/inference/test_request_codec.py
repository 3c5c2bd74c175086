"""Requests from the wire, by protobuf and by hand."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.errors import InvalidRequest
from onnxmesh.oip.open_inference_pb2 import ModelInferRequest
from services.gateway.inference import request_codec
from services.gateway.inference.request_codec import VIEW_BYTES, decode_request


def request_of(name, raws, ids):
    request = ModelInferRequest(model_name=name, id="id", raw_input_contents=raws)
    for id_ in ids:
        request.inputs.add(name=id_, datatype="FP32", shape=[1, -1, 2**40])
    request.parameters["timeout"].int64_param = 7
    return request


@given(st.text(max_size=300), st.lists(st.binary(max_size=300), max_size=4), st.lists(st.text(), max_size=3))
def test_request_codec_reads_what_protobuf_reads(name, raws, ids):
    """The hand-written parser returns the same as protobuf's."""
    request = request_of(name, raws, ids)
    message = request.SerializeToString()
    split = request_codec._split(message)
    assert split is not None
    rest, views = split
    assert [bytes(view) for view in views] == raws
    request.ClearField("raw_input_contents")
    assert ModelInferRequest.FromString(rest) == request


def test_request_codec_returns_views_of_a_large_message():
    """Nothing of a large tensor is copied."""
    message = request_of("m", [bytes(VIEW_BYTES), b"", b"xyz"], ["a"]).SerializeToString()
    request, raws = decode_request(message)
    assert request.model_name == "m"
    assert [len(raw) for raw in raws] == [VIEW_BYTES, 0, 3]
    assert all(isinstance(raw, memoryview) and raw.obj is message for raw in raws)


def test_request_codec_returns_bytes_of_a_small_message():
    """Small ones go through protobuf, with the same result."""
    request, raws = decode_request(request_of("m", [b"abc", b""], ["a"]).SerializeToString())
    assert request.id == "id"
    assert raws == [b"abc", b""]


def test_request_codec_skips_a_field_of_a_later_protocol():
    """A varint or high-numbered field sends the whole message through protobuf."""
    message = request_of("m", [bytes(VIEW_BYTES)], []).SerializeToString()
    for unknown in (b"\x48\x01", b"\xfa\x01\x00"):
        request, raws = decode_request(message + unknown)
        assert request.model_name == "m"
        assert raws == [bytes(VIEW_BYTES)]


@pytest.mark.parametrize("size", [4, VIEW_BYTES])
@pytest.mark.parametrize("garbage", [b"\xff\xff\xff\xff", b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"])
def test_garbage_is_refused(size, garbage):
    """Bytes that are no message are an InvalidRequest, by hand or by protobuf."""
    with pytest.raises(InvalidRequest, match="expected a ModelInferRequest"):
        decode_request(garbage + b"\xff" * size)


@given(st.binary(max_size=64))
def test_request_codec_reads_or_refuses_any_bytes(garbage):
    """It raises no error but InvalidRequest."""
    for message in (garbage, garbage + bytes(VIEW_BYTES)):
        with contextlib.suppress(InvalidRequest):
            decode_request(message)


@pytest.mark.parametrize("cut", [1, 100, VIEW_BYTES - 1])
def test_request_codec_refuses_a_truncated_message(cut):
    """A raw input that is shorter than announced is never handed on."""
    message = request_of("m", [bytes(2 * VIEW_BYTES)], ["a"]).SerializeToString()
    with pytest.raises(InvalidRequest):
        decode_request(message[:-cut])
