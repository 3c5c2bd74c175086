"""Request parameters."""

from __future__ import annotations

import pytest

from onnxmesh.errors import InvalidRequest
from onnxmesh.oip.open_inference_pb2 import ModelInferRequest
from services.gateway.inference.parameters import read_options, refuse_tensor_parameters
from services.gateway.requests.request_options import DEFAULT_OPTIONS


def options(**parameters):
    request = ModelInferRequest()
    for name, (kind, value) in parameters.items():
        setattr(request.parameters[name.replace("__", ".")], kind, value)
    return read_options(request.parameters)


def test_read_options_without_parameters_returns_the_default():
    """The very same object, by which the coalescer recognises it."""
    assert options() is DEFAULT_OPTIONS


@pytest.mark.parametrize(
    ("kind", "value", "seconds"),
    [("int64_param", 1500, 0.0015), ("uint64_param", 2_000_000, 2.0), ("int64_param", 0, None)],
)
def test_timeout_is_in_microseconds(kind, value, seconds):
    """Zero means that there is none, as in Triton."""
    assert options(timeout=(kind, value)).timeout_s == seconds


def test_trace_is_requested_by_a_flag():
    """Only `mesh.trace` with the value true requests it."""
    assert options(mesh__trace=("bool_param", True)).trace
    assert not options(mesh__trace=("bool_param", False)).trace


def test_session_is_a_name_of_limited_length():
    """Of up to 256 bytes; an empty one is none."""
    assert options(mesh__session=("string_param", "s")).session == "s"
    assert options(mesh__session=("string_param", "")).session == ""
    assert len(options(mesh__session=("string_param", "ä" * 128)).session) == 128
    with pytest.raises(
        InvalidRequest, match=r"parameter 'mesh.session': expected at most 256 bytes, got 258"
    ):
        options(mesh__session=("string_param", "ä" * 129))
    with pytest.raises(InvalidRequest, match="expected a string, got 7"):
        options(mesh__session=("int64_param", 7))


@pytest.mark.parametrize(
    "harmless",
    [
        {"priority": ("int64_param", 0)},
        {"sequence_id": ("int64_param", 0), "sequence_start": ("bool_param", False)},
        {"sequence_id": ("string_param", "")},
        {"triton_enable_empty_final_response": ("bool_param", True)},
        {"headers": ("string_param", "x")},
        {"temperature": ("double_param", 0.5)},
    ],
)
def test_read_options_accepts_parameters_that_do_not_change_the_result(harmless):
    """Standard clients send these to models that have no use for them."""
    assert options(**harmless) == DEFAULT_OPTIONS


@pytest.mark.parametrize(("value", "priority"), [(0, 0), (3, 3), (2**40, 2**32 - 1)])
def test_priority_is_clamped_to_what_a_frame_can_carry(value, priority):
    """What is less urgent still is as urgent as the last."""
    assert options(priority=("uint64_param", value)).priority == priority


@pytest.mark.parametrize(
    ("refused", "message"),
    [
        (
            {"sequence_id": ("int64_param", 7)},
            "parameter 'sequence_id' is not supported: models keep no state between requests",
        ),
        (
            {"sequence_start": ("bool_param", True)},
            "parameter 'sequence_start' is not supported: models keep no state between requests",
        ),
        ({"triton_magic": ("bool_param", True)}, "unknown parameter 'triton_magic': its prefix is reserved"),
        (
            {"mesh__affinity": ("string_param", "gpu")},
            "unknown parameter 'mesh.affinity': its prefix is reserved",
        ),
        (
            {"timeout": ("string_param", "1s")},
            "parameter 'timeout': expected a whole number of at least 0, got '1s'",
        ),
        (
            {"timeout": ("int64_param", -1)},
            "parameter 'timeout': expected a whole number of at least 0, got -1",
        ),
        (
            {"timeout": ("bool_param", True)},
            "parameter 'timeout': expected a whole number of at least 0, got True",
        ),
        ({"mesh__require": ("bool_param", True)}, "parameter 'mesh.require': expected a string, got True"),
        (
            {"mesh__require": ("string_param", "gpu >")},
            "selector 'gpu >', character 6: expected a number such as 24, 7.5 or 80Gi, got the end",
        ),
        (
            {"mesh__prefer": ("string_param", "gpu; zone=eu:500")},
            "preference 'zone=eu:500': expected a weight from 1 to 100, got 500",
        ),
        ({"mesh__trace": ("int64_param", 1)}, "parameter 'mesh.trace': expected true or false, got 1"),
    ],
)
def test_read_options_refuses_parameters_that_would_change_the_result(refused, message):
    """A parameter that is not honoured must not be passed over in silence."""
    with pytest.raises(InvalidRequest) as caught:
        options(**refused)
    assert caught.value.message == message


def test_read_options_refuses_a_parameter_without_a_value():
    """An empty oneof is no flag."""
    request = ModelInferRequest()
    request.parameters["mesh.trace"].SetInParent()
    with pytest.raises(InvalidRequest, match="expected true or false, got None"):
        read_options(request.parameters)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "shared_memory_region",
            "input 'x': shared memory (parameter 'shared_memory_region') is not supported",
        ),
        (
            "shared_memory_byte_size",
            "input 'x': shared memory (parameter 'shared_memory_byte_size') is not supported",
        ),
        ("classification", "input 'x': parameter 'classification' is not supported"),
    ],
)
def test_refuse_tensor_parameters_refuses_those_that_change_the_contents(name, message):
    """Where the bytes are elsewhere, what stands in the request is not the tensor."""
    request = ModelInferRequest()
    tensor = request.inputs.add()
    tensor.parameters[name].int64_param = 1
    with pytest.raises(InvalidRequest) as caught:
        refuse_tensor_parameters("input 'x'", tensor.parameters)
    assert caught.value.message == message
