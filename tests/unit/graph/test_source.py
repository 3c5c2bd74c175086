"""Bad models are refused with a message that names what is wrong."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from onnxmesh.errors import InvalidModel
from onnxmesh.graph.reading.source import check_source, source_digest
from tests.zoo import ZOO
from tests.zoo.zoo_model import floats, model, node, value


def refused(path) -> str:
    with pytest.raises(InvalidModel) as caught:
        check_source(path)
    assert str(path.parent) not in caught.value.message
    return caught.value.message


@pytest.mark.parametrize("name", sorted(ZOO))
def test_every_zoo_model_is_accepted(tmp_path, name):
    """Whatever ONNX allows and the protocol can carry is accepted."""
    check_source(ZOO[name].build(tmp_path))


def test_a_missing_file_is_named(tmp_path):
    """A path without a file is an error of the model, not of the system."""
    assert refused(tmp_path / "gone.onnx") == "no model file at 'gone.onnx'"


def test_an_empty_file_is_named(tmp_path):
    """Nothing is not a model."""
    (tmp_path / "m.onnx").touch()
    assert refused(tmp_path / "m.onnx") == "'m.onnx' is empty"


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n" + bytes(range(256)), b"hello, mesh", b"\x00" * 64])
def test_other_files_are_no_models(tmp_path, content):
    """Pictures, text and zeros are told apart from ONNX."""
    (tmp_path / "m.onnx").write_bytes(content)
    assert "not an ONNX model" in refused(tmp_path / "m.onnx")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_a_truncated_model_is_refused(tmp_path, share):
    """However much of the file is missing."""
    path = ZOO["mlp"].build(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert "m" in refused(path)


def test_an_unknown_operator_is_named(tmp_path):
    """What the checker refuses, it refuses by name."""
    path = tmp_path / "m.onnx"
    onnx.save(model([node("Frobnicate", ["x"], ["y"])], [floats("x", 1)], [floats("y", 1)]), path)
    assert "Frobnicate" in refused(path)


def test_a_value_that_nothing_computes_is_named(tmp_path):
    """A graph that is not closed does not pass."""
    path = tmp_path / "m.onnx"
    onnx.save(model([node("Add", ["x", "ghost"], ["y"])], [floats("x", 1)], [floats("y", 1)]), path)
    assert "ghost" in refused(path)


def test_a_cycle_is_told_by_its_nodes(tmp_path):
    """A graph has to end: the message names the nodes that go round, and no others."""
    path = tmp_path / "m.onnx"
    nodes = [
        node("Tanh", ["x"], ["start"], name="before"),
        node("Add", ["start", "c"], ["a"], name="first"),
        node("Neg", ["a"], ["b"], name="second"),
        node("Abs", ["b"], ["c"]),
        node("Exp", ["c"], ["y"], name="after"),
    ]
    onnx.save(model(nodes, [floats("x", 1)], [floats("y", 1)]), path)
    message = refused(path)
    assert message.startswith("'m.onnx' has a cycle: ")
    assert "node 'first' (Add)" in message
    assert "node 'second' (Neg)" in message
    assert "the node of 'c' (Abs)" in message
    assert "before" not in message
    assert "after" not in message


def test_a_cycle_through_a_subgraph_is_told(tmp_path):
    """What a branch reads of the outer graph, its If reads."""
    path = tmp_path / "m.onnx"
    branch = helper.make_graph([node("Neg", ["later"], ["out"])], "branch", [], [floats("out", 1)])
    other = helper.make_graph([node("Abs", ["x"], ["out"])], "other", [], [floats("out", 1)])
    nodes = [
        node("If", ["go"], ["chosen"], name="choice", then_branch=branch, else_branch=other),
        node("Exp", ["chosen"], ["later"], name="grown"),
    ]
    made = model(nodes, [floats("x", 1), value("go", TensorProto.BOOL, [])], [floats("later", 1)])
    onnx.save(made, path)
    assert "has a cycle: node 'grown' (Exp), node 'choice' (If)" in refused(path)


def test_nodes_out_of_order_are_no_cycle(tmp_path):
    """Nor are they valid ONNX."""
    path = tmp_path / "m.onnx"
    nodes = [node("Neg", ["b"], ["a"]), node("Neg", ["x"], ["b"])]
    onnx.save(model(nodes, [floats("x", 1)], [floats("a", 1)]), path)
    assert "cycle" not in refused(path)


def test_thousands_of_nodes_are_no_problem(tmp_path):
    """A long cycle is found without recursion."""
    nodes = [node("Neg", [f"v{number - 1}"], [f"v{number}"]) for number in range(5000)]
    nodes[0].input[0] = "v4999"
    onnx.save(model(nodes, [floats("x", 1)], [floats("v4999", 1)]), tmp_path / "m.onnx")
    assert "has a cycle" in refused(tmp_path / "m.onnx")


def test_operators_of_onnx_runtime_beside_those_of_onnx_are_accepted(tmp_path):
    """Tools write SimplifiedLayerNormalization without a domain; ONNX's checker does not know it."""
    nodes = [node("SimplifiedLayerNormalization", ["x", "w"], ["y"])]
    made = model(nodes, [floats("x", 1, 4)], [floats("y", 1, 4)], {"w": np.ones(4, np.float32)})
    onnx.save(made, tmp_path / "m.onnx")
    check_source(tmp_path / "m.onnx")
    made.graph.node.append(node("Frobnicate", ["y"], ["z"]))
    onnx.save(made, tmp_path / "m.onnx")
    assert "Frobnicate" in refused(tmp_path / "m.onnx")


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        (helper.make_sequence_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, [1])), "sequence"),
        (helper.make_optional_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, [1])), "optional"),
        (helper.make_tensor_type_proto(TensorProto.COMPLEX64, [1]), "COMPLEX64"),
        (helper.make_tensor_type_proto(TensorProto.FLOAT8E5M2, [1]), "FLOAT8E5M2"),
        (helper.make_tensor_type_proto(TensorProto.INT4, [2]), "INT4"),
    ],
)
def test_what_the_protocol_cannot_carry_is_named(tmp_path, kind, word):
    """An input or output outside the Open Inference Protocol is refused with its name and type."""
    path = tmp_path / "m.onnx"
    odd = helper.make_value_info("odd", kind)
    onnx.save(model([node("Identity", ["odd"], ["y"])], [odd], [helper.make_value_info("y", kind)]), path)
    message = refused(path)
    assert "input 'odd'" in message
    assert word in message


def test_a_model_without_outputs_is_refused(tmp_path):
    """There would be nothing to answer."""
    path = tmp_path / "m.onnx"
    onnx.save(model([], [floats("x", 1)], []), path)
    assert refused(path)


def external_model(folder, location="weights.bin", length=64):
    array = np.arange(16, dtype=np.float32)
    made = model([node("Add", ["x", "w"], ["y"])], [floats("x", 16)], [floats("y", 16)], {"w": array})
    tensor = made.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    tensor.external_data.add(key="length", value=str(length))
    folder.mkdir(exist_ok=True)
    path = folder / "m.onnx"
    path.write_bytes(made.SerializeToString())
    return path, array.tobytes()


def test_external_data_is_found(tmp_path):
    """Weights beside the model are part of it."""
    path, content = external_model(tmp_path)
    (tmp_path / "weights.bin").write_bytes(content)
    check_source(path)


def test_missing_external_data_is_named(tmp_path):
    """The message names the file and the tensor."""
    path, _ = external_model(tmp_path)
    assert refused(path) == "tensor 'w': external data file 'weights.bin' is missing"


def test_short_external_data_is_named(tmp_path):
    """A file that ends too early is no better than none."""
    path, content = external_model(tmp_path)
    (tmp_path / "weights.bin").write_bytes(content[:-1])
    assert "expected at least 64 bytes, got 63" in refused(path)


@pytest.mark.parametrize(
    "location", ["../secret.bin", "/etc/hostname", "a/../../secret.bin", "..\\secret.bin"]
)
def test_external_data_stays_in_the_folder(tmp_path, location):
    """A model cannot have other files read."""
    (tmp_path / "secret.bin").write_bytes(bytes(64))
    path, _ = external_model(tmp_path / "model", location)
    assert "outside the model's folder" in refused(path)


def test_external_data_is_no_link_out(tmp_path):
    """Nor through a symbolic link."""
    (tmp_path / "secret.bin").write_bytes(bytes(64))
    path, _ = external_model(tmp_path / "model")
    (tmp_path / "model" / "weights.bin").symlink_to(tmp_path / "secret.bin")
    assert "links to outside" in refused(path)


def test_the_digest_is_of_the_content(tmp_path):
    """A renamed or moved model is the same model; other weights make another."""
    path, content = external_model(tmp_path / "a")
    (tmp_path / "a" / "weights.bin").write_bytes(content)
    first = source_digest(path)
    (tmp_path / "a").rename(tmp_path / "b")
    (tmp_path / "b" / "m.onnx").rename(tmp_path / "b" / "other.onnx")
    assert source_digest(tmp_path / "b" / "other.onnx") == first
    (tmp_path / "b" / "weights.bin").write_bytes(content[:-1] + b"\xff")
    assert source_digest(tmp_path / "b" / "other.onnx") != first


def test_a_default_makes_an_input_no_input(tmp_path):
    """An initialiser that is listed among the inputs may be of a type that clients could not send."""
    made = model(
        [node("Cast", ["odd"], ["wide"], to=TensorProto.FLOAT), node("Add", ["x", "wide"], ["y"])],
        [floats("x", 1), value("odd", TensorProto.FLOAT8E5M2, [1])],
        [floats("y", 1)],
    )
    made.graph.initializer.append(helper.make_tensor("odd", TensorProto.FLOAT8E5M2, [1], b"\x3c", raw=True))
    onnx.save(made, tmp_path / "m.onnx")
    check_source(tmp_path / "m.onnx")
