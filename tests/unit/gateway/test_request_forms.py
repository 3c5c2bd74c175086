"""Requests that repeat themselves but for their numbers."""

from __future__ import annotations

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.errors import MeshError
from onnxmesh.oip.open_inference_pb2 import ModelInferRequest
from onnxmesh.oip.request_codec import decode_request
from onnxmesh.routing.table.table import RoutingTable
from onnxmesh.v1.mesh_pb2 import RouteTable
from services.gateway.inference.request_templates import MAX_FORMS, RequestTemplates
from services.gateway.inference.validation import read_inputs, read_outputs
from tests.fakes.routed_models import routed_model

MODEL = RoutingTable.from_proto(
    RouteTable(
        models=[
            routed_model(
                [[("a", "a:1")]],
                inputs=(("x", "FP32", [-1, 2]), ("n", "INT8", [-1])),
                outputs=(("y", "FP32", [-1, 2]), ("z", "FP32", [-1])),
            )
        ]
    )
).find("m", "")


def request(x=b"12345678", n=b"1", outputs=(), names=("x", "n"), **more):
    message = ModelInferRequest(model_name="m", **more)
    specs = {"x": ("FP32", [len(x) // 8, 2], x), "n": ("INT8", [len(n)], n)}
    for name in names:
        datatype, shape, raw = specs[name]
        message.inputs.add(name=name, datatype=datatype, shape=shape)
        message.raw_input_contents.append(raw)
    for name in outputs:
        message.outputs.add(name=name)
    return message


def read(message):
    """What a request says, read as any other; None where it is wrong."""
    try:
        asked, raw_inputs = decode_request(message)
        return asked, raw_inputs, read_inputs(asked, raw_inputs, MODEL), read_outputs(asked, MODEL)
    except MeshError:
        return None


def keep(forms, message):
    asked, raw_inputs, tensors, _ = read(message)
    forms.keep(message, asked, raw_inputs, MODEL, tensors)


def test_a_request_like_one_before_is_read_by_its_form():
    """Its tensors hold its own numbers, and it wants the same outputs of the same version."""
    forms = RequestTemplates()
    keep(forms, request(outputs=("z",), model_version="1").SerializeToString())
    form, tensors = forms.find(
        request(x=b"abcdefgh", n=b"\xff", outputs=("z",), model_version="1").SerializeToString()
    )
    assert [(tensor.name, tensor.shape, tensor.data) for tensor in tensors] == [
        ("x", (1, 2), b"abcdefgh"),
        ("n", (1,), b"\xff"),
    ]
    assert (form.model, form.name, form.version, form.outputs) == (MODEL, "m", "1", ("z",))


@pytest.mark.parametrize(
    "other",
    [
        request(x=b"1234567887654321"),
        request(outputs=("y",)),
        request(model_version="1"),
        request(names=("n", "x")),
    ],
)
def test_another_request_has_another_form(other):
    """Other shapes, outputs, versions, or another order."""
    forms = RequestTemplates()
    keep(forms, request().SerializeToString())
    assert forms.find(other.SerializeToString()) is None


@pytest.mark.parametrize("change", ["id", "parameter", "order", "typed", "size"])
def test_what_is_special_has_no_form(change):
    """It is read anew each time."""
    asked = request(names=("n", "x")) if change == "order" else request()
    if change == "id":
        asked.id = "7"
    elif change == "parameter":
        asked.parameters["priority"].int64_param = 1
    elif change == "typed":
        del asked.raw_input_contents[:]
        asked.inputs[0].contents.fp32_contents[:] = [1, 2]
        asked.inputs[1].contents.int_contents[:] = [1]
    elif change == "size":
        asked = request(x=bytes(64 << 10))
    message = asked.SerializeToString()
    forms = RequestTemplates()
    keep(forms, message)
    assert forms.find(message) is None


def test_numbers_that_are_not_at_the_end_have_no_form():
    """Any order of fields is right on the wire."""
    asked = request()
    rest = ModelInferRequest()
    rest.CopyFrom(asked)
    rest.ClearField("raw_input_contents")
    raws = ModelInferRequest(raw_input_contents=asked.raw_input_contents)
    message = raws.SerializeToString() + rest.SerializeToString()
    assert read(message) is not None
    forms = RequestTemplates()
    keep(forms, message)
    assert forms.find(message) is None


def test_forms_do_not_pile_up():
    """Clients may ask for anything."""
    forms = RequestTemplates()
    for rows in range(2 * MAX_FORMS):
        keep(forms, request(x=bytes(8 * rows)).SerializeToString())
    assert len(forms._forms) <= MAX_FORMS


NAMES = st.permutations(["x", "n"]).map(tuple)
REQUESTS = st.builds(
    request,
    x=st.integers(0, 3).flatmap(lambda rows: st.binary(min_size=8 * rows, max_size=8 * rows)),
    n=st.binary(max_size=12),
    outputs=st.sampled_from([(), ("y",), ("z", "y")]),
    names=NAMES,
    model_version=st.sampled_from(["", "1"]),
    id=st.sampled_from(["", "\x3a\x01\x00"]),
)


@given(st.lists(REQUESTS, min_size=1, max_size=6), REQUESTS, st.data())
def test_who_is_read_by_a_form_is_read_right(before, asked, data):
    """Whatever was kept before, and whatever byte is changed on the way."""
    forms = RequestTemplates()
    for each in before:
        keep(forms, each.SerializeToString())
    message = bytearray(data.draw(st.sampled_from([*before, asked])).SerializeToString())
    if message and data.draw(st.booleans()):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    found = forms.find(bytes(message))
    if found is None:
        return
    form, tensors = found
    try:
        right = read(bytes(message))
    except DecodeError:
        right = None
    assert right is not None
    assert (right[2], right[3]) == (tensors, form.outputs)
    assert (right[0].model_name, right[0].model_version, right[0].id) == (form.name, form.version, "")
