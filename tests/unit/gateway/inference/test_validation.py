"""Requests against signatures: everything that can be wrong, and what is right."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.errors import InvalidRequest
from onnxmesh.ids import ModelName, Version
from onnxmesh.oip.open_inference_pb2 import InferTensorContents, ModelInferRequest
from onnxmesh.routing.table.routed_model import RoutedModel, RoutedTensor
from onnxmesh.tensors.arrays import from_array
from onnxmesh.tensors.datatype import NUMPY, Datatype
from services.gateway.inference.typed_contents import FIELDS
from services.gateway.inference.validation import read_inputs, read_outputs


def model(inputs=(("X", Datatype.FP32, (-1, 16)),), outputs=("Y", "Z")):
    return RoutedModel(
        name=ModelName("m"),
        version=Version(1),
        inputs=tuple(RoutedTensor(index, *spec) for index, spec in enumerate(inputs)),
        outputs=tuple(RoutedTensor(index, name, Datatype.FP32, (1,)) for index, name in enumerate(outputs)),
        stages=(),
    )


TWO = model((("X", Datatype.FP32, (-1, 16)), ("S", Datatype.BYTES, (-1,))))


def request_of(*inputs):
    """Each input: name, datatype, shape and, if typed, its contents."""
    request = ModelInferRequest(model_name="m")
    for name, datatype, shape, *contents in inputs:
        tensor = request.inputs.add(name=name, datatype=datatype, shape=shape)
        if contents:
            tensor.contents.CopyFrom(InferTensorContents(**contents[0]))
    return request


X = ("X", "FP32", [1, 16])
S = ("S", "BYTES", [1])
RAW = bytes(64)
ONE = b"\x01\0\0\0a"

BAD = {
    "unknown input": (
        request_of(X, ("W", "FP32", [1])),
        [RAW, bytes(4)],
        model(),
        "unknown input 'W': model 'm' version 1 takes 'X'",
    ),
    "input given twice": (request_of(X, X), [RAW, RAW], model(), "input 'X' is given twice"),
    "missing input": (
        request_of(S),
        [ONE],
        TWO,
        "input 'X' is missing: model 'm' version 1 takes 'X', 'S'",
    ),
    "missing inputs": (
        request_of(),
        [],
        TWO,
        "inputs 'X', 'S' are missing: model 'm' version 1 takes 'X', 'S'",
    ),
    "input of a model without": (
        request_of(X),
        [RAW],
        model(()),
        "unknown input 'X': model 'm' version 1 takes nothing",
    ),
    "wrong datatype": (
        request_of(("X", "INT64", [1, 16])),
        [bytes(128)],
        model(),
        "input 'X': expected FP32, got 'INT64'",
    ),
    "no datatype": (request_of(("X", "", [1, 16])), [RAW], model(), "input 'X': expected FP32, got ''"),
    "wrong rank": (
        request_of(("X", "FP32", [1, 1, 16])),
        [RAW],
        model(),
        "input 'X': expected rank 2 [-1,16], got rank 3 [1,1,16]",
    ),
    "scalar": (
        request_of(("X", "FP32", [])),
        [bytes(4)],
        model(),
        "input 'X': expected rank 2 [-1,16], got rank 0 []",
    ),
    "wrong fixed dimension": (
        request_of(("X", "FP32", [1, 15])),
        [bytes(60)],
        model(),
        "input 'X': expected shape [-1,16], got [1,15]",
    ),
    "negative dimension": (
        request_of(("X", "FP32", [-1, 16])),
        [RAW],
        model(),
        "input 'X': expected no negative dimension, got -1 at axis 0 of [-1,16]",
    ),
    "overflowing shape": (
        request_of(("X", "FP32", [2**62, 16])),
        [RAW],
        model(),
        f"input 'X': expected {2**63 - 1} elements at most, got shape [{2**62},16]",
    ),
    "overflow beside a zero": (
        request_of(("X", "FP32", [0, 2**62, 2**62])),
        [b""],
        model((("X", Datatype.FP32, (-1, -1, -1)),)),
        f"input 'X': expected {2**63 - 1} elements at most, got shape [0,{2**62},{2**62}]",
    ),
    "huge but no overflow": (
        request_of(("X", "FP32", [2**50, 16])),
        [RAW],
        model(),
        f"input 'X': expected {2**56} bytes for FP32 [{2**50},16], got 64",
    ),
    "too few bytes": (
        request_of(X),
        [bytes(60)],
        model(),
        "input 'X': expected 64 bytes for FP32 [1,16], got 60",
    ),
    "too many bytes": (
        request_of(X),
        [bytes(65)],
        model(),
        "input 'X': expected 64 bytes for FP32 [1,16], got 65",
    ),
    "raw and typed in one input": (
        request_of((*X, {"fp32_contents": [0] * 16})),
        [RAW],
        model(),
        "input 'X': has typed contents beside raw_input_contents; send one or the other",
    ),
    "raw and typed in two inputs": (
        request_of(X, (*S, {"bytes_contents": [b"a"]})),
        [RAW],
        TWO,
        "input 'S': has typed contents beside raw_input_contents; send one or the other",
    ),
    "raw entry too few": (
        request_of(X, S),
        [RAW],
        TWO,
        "expected 2 entries in raw_input_contents, one for each input, got 1",
    ),
    "raw entry too many": (
        request_of(X),
        [RAW, RAW],
        model(),
        "expected 1 entries in raw_input_contents, one for each input, got 2",
    ),
    "no contents": (
        request_of(X),
        [],
        model(),
        "input 'X': expected its elements in raw_input_contents or fp32_contents, got neither",
    ),
    "no contents of a raw datatype": (
        request_of(("H", "FP16", [2])),
        [],
        model((("H", Datatype.FP16, (2,)),)),
        "input 'H': expected its elements in raw_input_contents, got neither",
    ),
    "typed field of another type": (
        request_of((*X, {"int_contents": [0] * 16})),
        [],
        model(),
        "input 'X': expected fp32_contents for FP32, got int_contents",
    ),
    "typed count": (
        request_of((*X, {"fp32_contents": [0] * 15})),
        [],
        model(),
        "input 'X': expected 16 elements in fp32_contents for FP32 [1,16], got 15",
    ),
    "typed value out of range": (
        request_of(("I", "INT8", [2], {"int_contents": [1, 300]})),
        [],
        model((("I", Datatype.INT8, (2,)),)),
        "input 'I': element 1 is 300, expected INT8 of -128 to 127",
    ),
    "bytes element past the end": (
        request_of(X, S),
        [RAW, b"\xff\0\0\0a"],
        TWO,
        "tensor 'S': BYTES element 0 announces 255 bytes, but only 1 remain",
    ),
    "bytes with a cut length": (
        request_of(X, S),
        [RAW, b"\x01\0"],
        TWO,
        "tensor 'S': expected a 4-byte length of BYTES element 0 at offset 0, but only 2 bytes remain",
    ),
    "bytes element too many": (
        request_of(X, S),
        [RAW, ONE + ONE],
        TWO,
        "tensor 'S': expected 1 BYTES elements, but 5 bytes follow the last one",
    ),
    "bytes element too few": (
        request_of(X, ("S", "BYTES", [2])),
        [RAW, ONE],
        TWO,
        "tensor 'S': expected 2 BYTES elements, but the data holds 1",
    ),
    "a boolean that is neither": (
        request_of(("B", "BOOL", [3])),
        [b"\0\1\2"],
        model((("B", Datatype.BOOL, (3,)),)),
        "input 'B': expected 0 or 1 in each byte of BOOL, got 2",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_read_inputs_names_what_is_wrong(case):
    """Every fault names the tensor, what was expected and what came."""
    request, raws, signature, message = BAD[case]
    with pytest.raises(InvalidRequest) as caught:
        read_inputs(request, raws, signature)
    assert caught.value.message == message


def test_read_inputs_refuses_shared_memory_before_it_counts_bytes():
    """Such inputs have no raw entry, so that count must not be what is complained about."""
    request = request_of(X)
    request.inputs[0].parameters["shared_memory_region"].string_param = "r"
    with pytest.raises(InvalidRequest, match="input 'X': shared memory"):
        read_inputs(request, [], model())


def test_read_inputs_returns_tensors_in_the_order_of_the_signature():
    """Raw entries follow the request's order, workers get the model's."""
    tensors = read_inputs(request_of(S, X), [ONE, RAW], TWO)
    assert [(tensor.name, tensor.data) for tensor in tensors] == [("X", RAW), ("S", ONE)]


def test_read_inputs_does_not_copy_raw_contents():
    """The tensor holds the very buffer that came."""
    view = memoryview(RAW)
    (tensor,) = read_inputs(request_of(X), [view], model())
    assert tensor.data is view


@pytest.mark.parametrize("raws", [[b""], []])
def test_read_inputs_accepts_an_empty_batch(raws):
    """Whether the model can run on none is for the model to say."""
    (tensor,) = read_inputs(request_of(("X", "FP32", [0, 16])), raws, model())
    assert (tensor.shape, tensor.data) == ((0, 16), b"")


def test_read_inputs_of_a_model_without_inputs():
    """Nothing is what it takes."""
    assert read_inputs(request_of(), [], model(())) == ()


SHAPES = st.lists(st.integers(0, 4), max_size=4)


@given(st.sampled_from([*Datatype]), SHAPES, st.data())
def test_read_inputs_accepts_any_matching_raw_tensor(datatype, shape, data):
    """Every datatype, every shape that fits: the bytes arrive untouched."""
    wildcards = [data.draw(st.sampled_from([dimension, -1])) for dimension in shape]
    count = int(np.prod(shape, dtype=np.int64))
    size = datatype.byte_size(count)
    raw = ONE * count if size is None else data.draw(st.binary(min_size=size, max_size=size))
    if datatype is Datatype.BOOL:
        raw = bytes(byte & 1 for byte in raw)
    signature = model((("T", datatype, tuple(wildcards)),))
    (tensor,) = read_inputs(request_of(("T", datatype, shape)), [raw], signature)
    assert (tensor.name, tensor.datatype, tensor.shape, tensor.data) == ("T", datatype, tuple(shape), raw)
    if size is not None:
        with pytest.raises(InvalidRequest, match=f"expected {size} bytes"):
            read_inputs(request_of(("T", datatype, shape)), [raw + b"\0"], signature)


@given(st.sampled_from([*NUMPY]), SHAPES, st.integers(0, 2**32))
def test_read_inputs_returns_the_same_for_typed_and_raw_contents(datatype, shape, seed):
    """An array sent element by element arrives as the bytes that a raw client sends."""
    if datatype not in FIELDS:
        return
    array = np.random.default_rng(seed).integers(0, 2, shape).astype(NUMPY[datatype])
    signature = model((("T", datatype, (-1,) * len(shape)),))
    typed = request_of(("T", datatype, shape, {FIELDS[datatype]: array.ravel().tolist()}))
    (tensor,) = read_inputs(typed, [], signature)
    assert bytes(tensor.data) == bytes(from_array("T", array).data)


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=5))
def test_read_inputs_accepts_or_refuses_any_shape(shape):
    """No shape makes the gateway allocate or fail otherwise."""
    signature = model((("T", Datatype.FP32, (-1,) * len(shape)),))
    try:
        read_inputs(request_of(("T", "FP32", shape)), [b""], signature)
    except InvalidRequest:
        assert (
            0 not in shape or min(shape) < 0 or abs(np.prod([d or 1 for d in shape], dtype=object)) >= 2**63
        )
    else:
        assert 0 in shape


def outputs_of(*names):
    request = ModelInferRequest()
    for name in names:
        request.outputs.add(name=name)
    return request


def test_read_outputs_returns_the_requested_names_in_order():
    """A request without outputs gets all of them, also from workers."""
    assert read_outputs(outputs_of("Z", "Y"), model()) == ("Z", "Y")
    assert read_outputs(outputs_of(), model()) == ()


def test_read_outputs_names_what_is_wrong():
    """Unknown, twice, or in a form that is not the tensor."""
    with pytest.raises(InvalidRequest) as caught:
        read_outputs(outputs_of("Q"), model())
    assert caught.value.message == "unknown output 'Q': model 'm' version 1 gives 'Y', 'Z'"
    with pytest.raises(InvalidRequest, match="output 'Y' is requested twice"):
        read_outputs(outputs_of("Y", "Z", "Y"), model())
    request = outputs_of("Y")
    request.outputs[0].parameters["classification"].int64_param = 3
    with pytest.raises(InvalidRequest, match="output 'Y': parameter 'classification' is not supported"):
        read_outputs(request, model())
