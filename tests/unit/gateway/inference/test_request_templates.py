"""Requests that repeat themselves but for their numbers."""

from __future__ import annotations

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.errors import MeshError
from onnxmesh.oip.open_inference_pb2 import ModelInferRequest
from onnxmesh.routing.table.table import RoutingTable
from onnxmesh.v1.mesh_pb2 import RouteTable
from services.gateway.inference.request_codec import decode_request
from services.gateway.inference.request_templates import MAX_TEMPLATES, RequestTemplates
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
    """The parsed request; None where it is invalid."""
    try:
        parsed, raw_inputs = decode_request(message)
        return parsed, raw_inputs, read_inputs(parsed, raw_inputs, MODEL), read_outputs(parsed, MODEL)
    except MeshError:
        return None


def add(templates, message):
    parsed, raw_inputs, tensors, _ = read(message)
    templates.add(message, parsed, raw_inputs, MODEL, tensors)


def test_find_returns_the_template_and_the_tensors_of_a_repeated_request():
    """Its tensors have its own content; outputs and version are those of the template."""
    templates = RequestTemplates()
    add(templates, request(outputs=("z",), model_version="1").SerializeToString())
    template, tensors = templates.find(
        request(x=b"abcdefgh", n=b"\xff", outputs=("z",), model_version="1").SerializeToString()
    )
    assert [(tensor.name, tensor.shape, tensor.data) for tensor in tensors] == [
        ("x", (1, 2), b"abcdefgh"),
        ("n", (1,), b"\xff"),
    ]
    assert (template.model, template.name, template.version, template.outputs) == (MODEL, "m", "1", ("z",))


@pytest.mark.parametrize(
    "other",
    [
        request(x=b"1234567887654321"),
        request(outputs=("y",)),
        request(model_version="1"),
        request(names=("n", "x")),
    ],
)
def test_find_returns_nothing_for_another_request(other):
    """Other shapes, outputs, versions, or another order."""
    templates = RequestTemplates()
    add(templates, request().SerializeToString())
    assert templates.find(other.SerializeToString()) is None


@pytest.mark.parametrize("change", ["id", "parameter", "order", "typed", "size"])
def test_add_ignores_requests_that_cannot_have_a_template(change):
    """It is parsed again for each request."""
    parsed = request(names=("n", "x")) if change == "order" else request()
    if change == "id":
        parsed.id = "7"
    elif change == "parameter":
        parsed.parameters["priority"].int64_param = 1
    elif change == "typed":
        del parsed.raw_input_contents[:]
        parsed.inputs[0].contents.fp32_contents[:] = [1, 2]
        parsed.inputs[1].contents.int_contents[:] = [1]
    elif change == "size":
        parsed = request(x=bytes(64 << 10))
    message = parsed.SerializeToString()
    templates = RequestTemplates()
    add(templates, message)
    assert templates.find(message) is None


def test_add_ignores_a_request_whose_contents_are_not_at_the_end():
    """Any order of fields is right on the wire."""
    parsed = request()
    rest = ModelInferRequest()
    rest.CopyFrom(parsed)
    rest.ClearField("raw_input_contents")
    raws = ModelInferRequest(raw_input_contents=parsed.raw_input_contents)
    message = raws.SerializeToString() + rest.SerializeToString()
    assert read(message) is not None
    templates = RequestTemplates()
    add(templates, message)
    assert templates.find(message) is None


def test_templates_are_evicted_beyond_the_capacity():
    """Requests may name unknown outputs."""
    templates = RequestTemplates()
    for rows in range(2 * MAX_TEMPLATES):
        add(templates, request(x=bytes(8 * rows)).SerializeToString())
    assert len(templates._templates) <= MAX_TEMPLATES


def test_find_and_add_ignore_messages_that_are_not_bytes():
    """A view may be of memory that is written again."""
    message = request().SerializeToString()
    for other in (memoryview(message), bytearray(message)):
        templates = RequestTemplates()
        add(templates, other)
        assert templates.find(message) is None
        add(templates, message)
        assert templates.find(message) is not None
        assert templates.find(other) is None


@pytest.mark.parametrize("num", [127, 128])
def test_add_ignores_a_request_whose_model_name_is_too_long_for_a_key(num):
    """Only a name of up to 127 bytes has its length in one byte."""
    named = request()
    named.model_name = "m" * num
    message = named.SerializeToString()
    templates = RequestTemplates()
    add(templates, message)
    assert (templates.find(message) is not None) == (num == 127)
    longer = message + ModelInferRequest(id="7").SerializeToString()
    assert templates.find(longer) is None


def test_add_ignores_a_request_without_inputs():
    """Of a model that has none."""
    message = ModelInferRequest(model_name="m").SerializeToString()
    templates = RequestTemplates()
    templates.add(message, ModelInferRequest.FromString(message), [], MODEL, ())
    assert templates.find(message) is None


def test_add_ignores_inputs_in_another_order_than_the_signature():
    """Also where each has as many bytes as the other."""
    message = request(n=b"abcdefgh", names=("n", "x")).SerializeToString()
    templates = RequestTemplates()
    add(templates, message)
    assert templates.find(message) is None


@pytest.mark.parametrize("datatype", ["BOOL", "BYTES"])
def test_add_ignores_datatypes_whose_contents_have_to_be_validated(datatype):
    """Of a repeated request the contents are not looked at."""
    routed = routed_model([[("a", "a:1")]], inputs=(("x", datatype, [1]),))
    model = RoutingTable.from_proto(RouteTable(models=[routed])).find("m", "")
    given = ModelInferRequest(
        model_name="m", raw_input_contents=[b"\1" if datatype == "BOOL" else b"\1\0\0\0a"]
    )
    given.inputs.add(name="x", datatype=datatype, shape=[1])
    message = given.SerializeToString()
    parsed, raw_inputs = decode_request(message)
    templates = RequestTemplates()
    templates.add(message, parsed, raw_inputs, model, read_inputs(parsed, raw_inputs, model))
    assert templates.find(message) is None


def test_add_ignores_contents_that_only_seem_to_be_at_the_end():
    """Here the version ends with the bytes of the first contents, which are elsewhere."""
    x, n = b"12345678", b"1"
    given = request(x=x, n=n)
    head = ModelInferRequest(model_name="m", inputs=given.inputs, raw_input_contents=[x])
    version = ModelInferRequest(model_version="1:\x08" + x.decode())
    tail = ModelInferRequest(raw_input_contents=[n])
    message = b"".join(part.SerializeToString() for part in (head, version, tail))
    assert read(message) is not None
    templates = RequestTemplates()
    add(templates, message)
    assert templates.find(message) is None


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
def test_find_agrees_with_the_parser_or_finds_nothing(before, parsed, data):
    """Whatever was kept before, and whatever byte is changed on the way."""
    templates = RequestTemplates()
    for each in before:
        add(templates, each.SerializeToString())
    message = bytearray(data.draw(st.sampled_from([*before, parsed])).SerializeToString())
    if message and data.draw(st.booleans()):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    found = templates.find(bytes(message))
    if found is None:
        return
    template, tensors = found
    try:
        right = read(bytes(message))
    except DecodeError:
        right = None
    assert right is not None
    assert (right[2], right[3]) == (tensors, template.outputs)
    assert (right[0].model_name, right[0].model_version, right[0].id) == (template.name, template.version, "")
