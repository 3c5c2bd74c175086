"""Answers for the wire."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.errors import TooLarge
from onnxmesh.oip.open_inference_pb2 import ModelInferResponse
from services.gateway.inference.response_codec import encode_response


@given(st.lists(st.binary(max_size=300), max_size=5))
def test_protobuf_reads_what_was_put_together_by_hand(raws):
    """Any reader of the protocol sees one ordinary message, empty outputs included."""
    response = ModelInferResponse(model_name="m", id="7")
    for index in range(len(raws)):
        response.outputs.add(name=str(index), datatype="UINT8", shape=[len(raws[index])])
    message = encode_response(response.SerializeToString(), [memoryview(raw) for raw in raws], 10_000)
    response.raw_output_contents.extend(raws)
    assert ModelInferResponse.FromString(message) == response


def test_response_over_the_limit_names_both_figures():
    """The message names the size of the response and the limit."""
    response = ModelInferResponse(model_name="m")
    assert len(encode_response(response.SerializeToString(), [bytes(95)], 100)) == 100
    with pytest.raises(TooLarge, match="has 101 bytes, the limit of a message is 100"):
        encode_response(response.SerializeToString(), [bytes(96)], 100)
