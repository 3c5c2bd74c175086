"""External data files of a model, without an ONNX library."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from onnxmesh.client.external_data import external_data_files
from onnxmesh.client.upload import upload_files


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


def test_data_files_are_found_once_wherever_tensors_are(tmp_path):
    """Initialisers, attributes, branches and functions: the same set that the onnx package sees."""
    path = tmp_path / "m.onnx"
    path.write_bytes(nested_model().SerializeToString())
    wanted = {"weights.bin", "branch.bin", "sub/attribute.bin", "function.bin"}
    found = external_data_files(path)
    assert found == {name: tmp_path / name for name in wanted}


def test_data_files_of_the_onnx_package_are_found(tmp_path):
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
    assert external_data_files(path) == {"m.onnx.data": tmp_path / "m.onnx.data"}
    assert [file.name for file in upload_files(path)] == ["model.onnx", "m.onnx.data"]


@pytest.mark.parametrize("location", ["../secret", "/etc/hostname", "a/../../b", ""])
def test_data_files_outside_the_models_folder_are_omitted(tmp_path, location):
    """A hostile location is left for a worker to refuse."""
    path = tmp_path / "m.onnx"
    graph = helper.make_graph([], "g", [], [], initializer=[external("w", location)])
    path.write_bytes(helper.make_model(graph).SerializeToString())
    assert external_data_files(path) == {}


@pytest.mark.parametrize(
    ("location", "name"),
    [
        ("data\\w.bin", "data/w.bin"),
        ("./w.bin", "w.bin"),
        ("data/../w.bin", "w.bin"),
        ("onnx::MatMul_12", "onnx::MatMul_12"),
        ("100%25 größe/w.bin", "100%25 größe/w.bin"),
    ],
)
def test_data_files_are_uploaded_under_plain_paths(tmp_path, location, name):
    """The worker finds them by the same rule, whatever separators and dots the model has."""
    path = tmp_path / "m.onnx"
    graph = helper.make_graph([], "g", [], [], initializer=[external("w", location)])
    path.write_bytes(helper.make_model(graph).SerializeToString())
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(bytes(16))
    assert external_data_files(path) == {name: tmp_path / name}
    assert [file.name for file in upload_files(path)] == ["model.onnx", name]


@given(data=st.binary(max_size=300))
@settings(max_examples=200)
def test_data_files_of_any_bytes_are_a_dictionary(tmp_path_factory, data):
    """A file that is no model raises nothing: what is wrong with it is for a worker to say."""
    path = tmp_path_factory.mktemp("any") / "m.onnx"
    path.write_bytes(data)
    assert isinstance(external_data_files(path), dict)


@given(length=st.integers(0, 400))
@settings(max_examples=50)
def test_data_files_of_a_truncated_model_are_a_dictionary(tmp_path_factory, length):
    """So does a model that breaks off anywhere."""
    path = tmp_path_factory.mktemp("cut") / "m.onnx"
    path.write_bytes(nested_model().SerializeToString()[:length])
    assert isinstance(external_data_files(path), dict)


def test_data_files_of_deep_nesting_need_no_recursion(tmp_path):
    """A file that nests a graph in an attribute 5,000 times is walked to its end."""
    message = b""
    for number in (1, 5, 6) * 5_000:  # graph → node → attribute, from the inside out in wire format
        message = bytes([{1: 0x0A, 5: 0x2A, 6: 0x32}[number]]) + varint(len(message)) + message
    path = tmp_path / "m.onnx"
    path.write_bytes(b"\x3a" + varint(len(message)) + message)
    assert external_data_files(path) == {}


def varint(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out + bytes([value]))
