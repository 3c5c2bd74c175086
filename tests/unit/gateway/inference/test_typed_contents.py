"""Typed contents as raw bytes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.errors import InvalidRequest
from onnxmesh.oip.open_inference_pb2 import InferTensorContents
from onnxmesh.tensors.bytes_codec import decode_bytes
from onnxmesh.tensors.datatype import NUMPY, Datatype
from services.gateway.inference.typed_contents import FIELDS, raw_from_typed

NUMBERS = [datatype for datatype in FIELDS if datatype is not Datatype.BYTES]


@given(st.sampled_from(NUMBERS), st.data())
def test_numbers_become_their_bytes(datatype, data):
    """Every element of every datatype that has a field arrives with its own bits."""
    dtype = NUMPY[datatype]
    array = np.frombuffer(data.draw(st.binary(max_size=64)).ljust(64, b"\0"), dtype=dtype)
    if datatype is Datatype.BOOL:
        array = np.frombuffer(array.tobytes(), np.uint8) > 7
    if dtype.kind == "f":
        array = np.nan_to_num(array)
    contents = InferTensorContents(**{FIELDS[datatype]: array.tolist()})
    assert raw_from_typed(contents, datatype, [len(array)], "x") == array.tobytes()


@given(st.lists(st.binary(max_size=20), max_size=10))
def test_bytes_become_elements_after_their_lengths(elements):
    """BYTES take the raw form that every worker reads."""
    raw = raw_from_typed(InferTensorContents(bytes_contents=elements), Datatype.BYTES, [len(elements)], "x")
    assert decode_bytes(raw, len(elements), "x") == elements


@pytest.mark.parametrize(
    ("datatype", "low", "high"),
    [
        (Datatype.INT8, -128, 127),
        (Datatype.INT16, -32768, 32767),
        (Datatype.UINT8, 0, 255),
        (Datatype.UINT16, 0, 65535),
    ],
)
def test_typed_contents_refuse_an_element_that_does_not_fit(datatype, low, high):
    """The field is wider than the datatype: what does not fit is refused by its place and value."""
    field = FIELDS[datatype]
    fits = raw_from_typed(InferTensorContents(**{field: [low, high]}), datatype, [2], "x")
    assert np.frombuffer(fits, NUMPY[datatype]).tolist() == [low, high]
    with pytest.raises(InvalidRequest) as caught:
        raw_from_typed(InferTensorContents(**{field: [0, high + 1]}), datatype, [2], "x")
    expected = f"input 'x': element 1 is {high + 1}, expected {datatype} of {low} to {high}"
    assert caught.value.message == expected


@pytest.mark.parametrize(
    ("datatype", "contents", "shape", "message"),
    [
        (
            Datatype.FP32,
            {"int_contents": [1]},
            [1],
            "input 'x': expected fp32_contents for FP32, got int_contents",
        ),
        (
            Datatype.FP32,
            {"fp32_contents": [1], "int64_contents": [1]},
            [1],
            "input 'x': expected fp32_contents for FP32, got fp32_contents, int64_contents",
        ),
        (
            Datatype.INT64,
            {"int64_contents": [1, 2]},
            [1, 3],
            "input 'x': expected 3 elements in int64_contents for INT64 [1,3], got 2",
        ),
        (
            Datatype.FP16,
            {"fp32_contents": [1]},
            [1],
            "input 'x': FP16 has no typed contents, send it in raw_input_contents",
        ),
        (Datatype.BF16, {}, [1], "input 'x': BF16 has no typed contents, send it in raw_input_contents"),
    ],
)
def test_contents_that_do_not_match(datatype, contents, shape, message):
    """The error names the field or count that was expected and what came."""
    with pytest.raises(InvalidRequest) as caught:
        raw_from_typed(InferTensorContents(**contents), datatype, shape, "x")
    assert caught.value.message == message


def test_typed_contents_of_an_empty_tensor_may_be_absent():
    """Zero elements are none, of a datatype with a field and of one without."""
    assert raw_from_typed(InferTensorContents(), Datatype.FP32, [0, 4], "x") == b""
    assert raw_from_typed(InferTensorContents(), Datatype.FP16, [4, 0], "x") == b""
