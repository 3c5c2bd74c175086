"""Arrays as Open Inference requests, and responses as results."""

from __future__ import annotations

import numpy as np
import pytest

from onnxmesh.client.infer_messages import infer_request, parse_infer_response
from onnxmesh.errors import CorruptData
from onnxmesh.oip.open_inference_pb2 import ModelInferResponse
from onnxmesh.tensors.datatype import Datatype


def response(raw: bytes, shape: list[int]) -> ModelInferResponse:
    message = ModelInferResponse(model_name="m", model_version="3", id="seven")
    message.outputs.add(name="y", datatype="FP32", shape=shape)
    message.raw_output_contents.append(raw)
    return message


def test_infer_request_has_raw_inputs_and_requested_outputs():
    """The datatype follows from the array, unless it is given."""
    bits = np.array([0x3F80], np.uint16)
    request = infer_request(
        "m",
        {"x": np.ones((2, 3), np.float32), "b": bits},
        outputs=["y"],
        version="2",
        request_id="seven",
        datatypes={"b": Datatype.BF16},
        trace=True,
    )
    assert [(each.name, each.datatype, list(each.shape)) for each in request.inputs] == [
        ("x", "FP32", [2, 3]),
        ("b", "BF16", [1]),
    ]
    assert list(map(len, request.raw_input_contents)) == [24, 2]
    assert [each.name for each in request.outputs] == ["y"]
    assert (request.model_version, request.id) == ("2", "seven")
    assert request.parameters["mesh.trace"].bool_param


def test_infer_response_is_parsed_to_arrays():
    """Without a trace there is none."""
    result = parse_infer_response(response(np.arange(4, dtype=np.float32).tobytes(), [2, 2]))
    assert (result.model, result.version, result.request_id, result.trace) == ("m", "3", "seven", None)
    assert result.outputs["y"].tolist() == [[0.0, 1.0], [2.0, 3.0]]


def test_infer_response_with_wrong_bytes_is_corrupt():
    """Too few bytes for the shape, and fewer raw outputs than outputs."""
    with pytest.raises(CorruptData, match="output 'y' cannot be read"):
        parse_infer_response(response(b"123", [2, 2]))
    message = response(b"1234", [1])
    del message.raw_output_contents[:]
    with pytest.raises(CorruptData, match="expected 1 raw outputs, got 0"):
        parse_infer_response(message)
