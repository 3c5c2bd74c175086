"""The files that a model names, found without an ONNX library."""

from __future__ import annotations

from pathlib import PurePosixPath

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from onnxmesh.client.external_data import external_files
from onnxmesh.client.upload import files_of, messages
from onnxmesh.errors import InvalidModel


def external(name, location):
    tensor = numpy_helper.from_array(np.ones(4, np.float32), name)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"offset": "0", "location": location, "length": "16"}.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    return tensor


def nested_model():
    """External tensors everywhere that a tensor can be."""
    inner = helper.make_graph([], "inner", [], [], initializer=[external("in_branch", "branch.bin")])
    nodes = [
        helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner),
        helper.make_node("Constant", [], ["k"], value=external("in_attribute", "sub/attribute.bin")),
    ]
    graph = helper.make_graph(nodes, "outer", [], [], initializer=[external("w", "weights.bin")])
    graph.initializer.append(external("v", "weights.bin"))
    function = helper.make_function(
        "local",
        "F",
        [],
        ["o"],
        [helper.make_node("Constant", [], ["o"], value=external("in_function", "function.bin"))],
        [helper.make_opsetid("", 20)],
    )
    return helper.make_model(graph, functions=[function])


def test_finds_every_file_once(tmp_path):
    """Initialisers, attributes, branches and functions: the same set that the onnx package sees."""
    path = tmp_path / "m.onnx"
    path.write_bytes(nested_model().SerializeToString())
    wanted = {"weights.bin", "branch.bin", "sub/attribute.bin", "function.bin"}
    found = external_files(path)
    assert {str(name) for name in found} == wanted
    assert len(found) == len(wanted)


def test_finds_what_the_onnx_package_writes(tmp_path):
    """A model saved with external data names its one file."""
    weights = numpy_helper.from_array(np.zeros((64, 64), np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 64])],
        [weights],
    )
    path = tmp_path / "m.onnx"
    onnx.save(
        helper.make_model(graph), path, save_as_external_data=True, location="m.onnx.data", size_threshold=0
    )
    assert external_files(path) == [PurePosixPath("m.onnx.data")]
    assert [file.name for file in files_of(path)] == ["model.onnx", "m.onnx.data"]


@pytest.mark.parametrize("location", ["../secret", "/etc/hostname", "a/../../b", ""])
def test_what_lies_outside_the_models_folder_is_not_touched(tmp_path, location):
    """A hostile location is left for a worker to refuse."""
    path = tmp_path / "m.onnx"
    graph = helper.make_graph([], "g", [], [], initializer=[external("w", location)])
    path.write_bytes(helper.make_model(graph).SerializeToString())
    assert external_files(path) == []


@given(data=st.binary(max_size=300))
@settings(max_examples=200)
def test_any_bytes_give_a_list(tmp_path_factory, data):
    """A file that is no model raises nothing: what is wrong with it is for a worker to say."""
    path = tmp_path_factory.mktemp("any") / "m.onnx"
    path.write_bytes(data)
    assert isinstance(external_files(path), list)


@given(length=st.integers(0, 400))
@settings(max_examples=50)
def test_a_truncated_model_gives_a_list(tmp_path_factory, length):
    """So does a model that breaks off anywhere."""
    path = tmp_path_factory.mktemp("cut") / "m.onnx"
    path.write_bytes(nested_model().SerializeToString()[:length])
    assert isinstance(external_files(path), list)


def test_deep_nesting_is_walked_without_recursion(tmp_path):
    """A file that nests a graph in an attribute 5,000 times is walked to its end."""
    message = b""
    for number in (1, 5, 6) * 5_000:  # graph → node → attribute, from the inside out in wire format
        message = bytes([{1: 0x0A, 5: 0x2A, 6: 0x32}[number]]) + varint(len(message)) + message
    path = tmp_path / "m.onnx"
    path.write_bytes(b"\x3a" + varint(len(message)) + message)
    assert external_files(path) == []


def varint(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out + bytes([value]))


async def test_an_upload_says_each_file_and_its_end(tmp_path):
    """Every byte of every file comes after its name, and the number of files last."""
    path = tmp_path / "m.onnx"
    content = b"x" * (3 << 20)
    path.write_bytes(content)
    sent = [message async for message in messages(files_of(path))]
    kinds = [message.WhichOneof("kind") for message in sent]
    assert kinds == ["file", "data", "data", "data", "end"]
    assert sent[0].file.byte_size == len(content)
    assert b"".join(message.data for message in sent) == content
    assert sent[-1].end.num_files == 1


def test_a_model_that_is_not_there_is_named(tmp_path):
    """So is a folder in its place."""
    for path in (tmp_path / "none.onnx", tmp_path):
        with pytest.raises(InvalidModel, match=str(path)):
            files_of(path)
