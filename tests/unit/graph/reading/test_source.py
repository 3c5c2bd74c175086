"""Validation and digest of source models."""

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
def test_source_accepts_every_zoo_model(tmp_path, name):
    """Whatever ONNX allows and the protocol can carry is accepted."""
    check_source(ZOO[name].build(tmp_path))


def test_source_names_a_missing_file(tmp_path):
    """A path without a file is an error of the model, not of the system."""
    assert refused(tmp_path / "missing.onnx") == "no model file at 'missing.onnx'"


def test_source_names_an_empty_file(tmp_path):
    """Nothing is not a model."""
    (tmp_path / "m.onnx").touch()
    assert (
        refused(tmp_path / "m.onnx")
        == "'m.onnx' is not an ONNX model; it is empty: download or export it again"
    )


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n" + bytes(range(256)), b"hello, mesh", b"\x00" * 64])
def test_source_refuses_other_files(tmp_path, content):
    """Pictures, text and zeros are not ONNX."""
    (tmp_path / "m.onnx").write_bytes(content)
    assert "not an ONNX model" in refused(tmp_path / "m.onnx")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_source_refuses_a_truncated_model(tmp_path, share):
    """However much of the file is missing."""
    path = ZOO["mlp"].build(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert "m" in refused(path)


def test_source_names_an_unknown_operator(tmp_path):
    """What the checker refuses, it refuses by name."""
    path = tmp_path / "m.onnx"
    onnx.save(model([node("Frobnicate", ["x"], ["y"])], [floats("x", 1)], [floats("y", 1)]), path)
    assert "Frobnicate" in refused(path)


def test_source_names_a_value_without_producer(tmp_path):
    """A graph that is not closed does not pass."""
    path = tmp_path / "m.onnx"
    onnx.save(model([node("Add", ["x", "ghost"], ["y"])], [floats("x", 1)], [floats("y", 1)]), path)
    assert "ghost" in refused(path)


def test_source_accepts_operators_that_onnx_runtime_added(tmp_path):
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
def test_source_names_types_that_the_protocol_lacks(tmp_path, kind, word):
    """An input or output outside the Open Inference Protocol is refused with its name and type."""
    path = tmp_path / "m.onnx"
    odd = helper.make_value_info("odd", kind)
    onnx.save(model([node("Identity", ["odd"], ["y"])], [odd], [helper.make_value_info("y", kind)]), path)
    message = refused(path)
    assert "input 'odd'" in message
    assert word in message


def test_source_names_the_cure_of_zipmap(tmp_path):
    """What scikit-learn's converter writes by default: probabilities as a sequence of maps."""
    scores = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 2])
    maps = helper.make_sequence_type_proto(
        helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
    )
    zipped = helper.make_node(
        "ZipMap", ["probabilities"], ["p"], domain="ai.onnx.ml", classlabels_int64s=[0, 1]
    )
    graph = helper.make_graph([zipped], "g", [scores], [helper.make_value_info("p", maps)])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), tmp_path / "m.onnx")
    message = refused(tmp_path / "m.onnx")
    assert message.startswith(
        "output 'p' is of type sequence of map; the Open Inference Protocol carries dense"
    )
    assert "options={'zipmap': False}" in message


def test_source_names_an_input_of_unknown_rank(tmp_path):
    """With the reason and the cure; an output of unknown rank is served, and so is a default."""
    unranked = helper.make_tensor_value_info("odd", TensorProto.FLOAT, None)
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    made = model([node("Neg", ["odd"], ["y"])], [unranked], [result])
    onnx.save(made, tmp_path / "m.onnx")
    assert refused(tmp_path / "m.onnx").startswith("input 'odd' has no declared shape")
    made = model([node("Neg", ["odd"], ["y"])], [unranked], [result], {"odd": np.ones(2, np.float32)})
    onnx.save(made, tmp_path / "m.onnx")
    check_source(tmp_path / "m.onnx")


def test_source_names_an_input_that_is_listed_twice(tmp_path):
    """ONNX Runtime takes one neither: two values would have one name."""
    made = model([node("Neg", ["x"], ["y"])], [floats("x", 1), floats("x", 1)], [floats("y", 1)])
    onnx.save(made, tmp_path / "m.onnx")
    assert "'x' has been used as graph input names multiple times" in refused(tmp_path / "m.onnx")


def test_source_accepts_what_onnx_runtime_loads_and_the_checker_refuses(tmp_path, monkeypatch):
    """Unforeseen forms of a model: whatever ONNX Runtime runs is served."""

    def refuse(*_args, **_options):
        raise onnx.checker.ValidationError("stricter than the specification")

    monkeypatch.setattr(onnx.checker, "check_model", refuse)
    onnx.save(model([node("Neg", ["x"], ["y"])], [floats("x", 1)], [floats("y", 1)]), tmp_path / "m.onnx")
    check_source(tmp_path / "m.onnx")
    onnx.save(model([node("Nag", ["x"], ["y"])], [floats("x", 1)], [floats("y", 1)]), tmp_path / "m.onnx")
    assert "stricter than the specification" in refused(tmp_path / "m.onnx")


def test_source_refuses_a_model_without_outputs(tmp_path):
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


def test_source_digest_is_of_the_content(tmp_path):
    """A renamed or moved model is the same model; other weights make another."""
    path, content = external_model(tmp_path / "a")
    (tmp_path / "a" / "weights.bin").write_bytes(content)
    first = source_digest(path)
    (tmp_path / "a").rename(tmp_path / "b")
    (tmp_path / "b" / "m.onnx").rename(tmp_path / "b" / "other.onnx")
    assert source_digest(tmp_path / "b" / "other.onnx") == first
    (tmp_path / "b" / "weights.bin").write_bytes(content[:-1] + b"\xff")
    assert source_digest(tmp_path / "b" / "other.onnx") != first


def test_source_ignores_the_type_of_an_input_with_a_default(tmp_path):
    """An initialiser that is listed among the inputs may be of a type that clients could not send."""
    made = model(
        [node("Cast", ["odd"], ["wide"], to=TensorProto.FLOAT), node("Add", ["x", "wide"], ["y"])],
        [floats("x", 1), value("odd", TensorProto.FLOAT8E5M2, [1])],
        [floats("y", 1)],
    )
    made.graph.initializer.append(helper.make_tensor("odd", TensorProto.FLOAT8E5M2, [1], b"\x3c", raw=True))
    onnx.save(made, tmp_path / "m.onnx")
    check_source(tmp_path / "m.onnx")
