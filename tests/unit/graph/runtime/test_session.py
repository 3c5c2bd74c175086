"""Stage sessions: inputs, outputs, errors."""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from onnxmesh.device.execution_provider import CPU
from onnxmesh.errors import InvalidModel, InvalidRequest, ModelRunFailed, Unsatisfiable
from onnxmesh.graph.runtime.session import StageSession, make_session
from onnxmesh.tensors.arrays import from_array, to_array
from onnxmesh.tensors.datatype import Datatype
from onnxmesh.tensors.tensor import Tensor
from tests.zoo import ZOO
from tests.zoo.zoo_model import floats, model, node, value


def session_for(tmp_path, nodes, inputs, outputs, weights=None, opset=21):
    path = tmp_path / "m.onnx"
    onnx.save(model(nodes, inputs, outputs, weights, opsets={"": opset}), path)
    return StageSession(path)


def test_session_combines_strings_with_types_that_numpy_lacks(tmp_path):
    """A stage that takes strings and gives BF16 works: neither of ONNX Runtime's two interfaces supports both."""
    zoo = ZOO["strings_and_bfloat"]
    answer = StageSession(zoo.build(tmp_path)).run(
        {"words": from_array("words", np.array(["1", "2.5"], dtype=np.object_))}
    )
    assert to_array(answer["brain"]).tolist() == [1.0, 2.5]
    assert to_array(answer["same"]).tolist() == [b"1", b"2.5"]


def test_session_accepts_string_scalars_and_empty_tensors(tmp_path):
    """BYTES of no dimension and of no element."""
    session = session_for(
        tmp_path,
        [node("Identity", ["x"], ["y"])],
        [value("x", TensorProto.STRING, None)],
        [value("y", TensorProto.STRING, None)],
    )
    for array in (np.array("alone", dtype=np.object_), np.empty((0, 2), dtype=np.object_)):
        tensor = from_array("x", array)
        assert session.run({"x": tensor})["y"] == tensor.renamed("y")


JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + bytes(range(256))


@pytest.mark.parametrize("elements", [[JPEG], ["text", JPEG], [b"\xff", b"\x00", b""]])
def test_session_takes_strings_that_are_not_utf8(tmp_path, elements):
    """ONNX Runtime's strings are bytes: images and other data reach its operators, and outputs have them unchanged."""
    session = session_for(
        tmp_path,
        [node("Identity", ["x"], ["y"]), node("Equal", ["x", "same"], ["equal"])],
        [value("x", TensorProto.STRING, ["N"])],
        [value("y", TensorProto.STRING, ["N"]), value("equal", TensorProto.BOOL, ["N"])],
        {"same": np.array(["text"], dtype=np.object_)},
    )
    tensor = from_array("x", np.array(elements, dtype=np.object_))
    answers = session.run({"x": tensor})
    assert answers["y"] == tensor.renamed("y")
    assert to_array(answers["equal"]).tolist() == [element == "text" for element in elements]
    assert session.run({"x": tensor}, ["equal"]).keys() == {"equal"}


def test_session_returns_constants_that_are_not_utf8(tmp_path):
    """A model may have such bytes itself."""
    made = model(
        [node("Where", ["c", "x", "image"], ["y"])],
        [value("c", TensorProto.BOOL, ["N"]), value("x", TensorProto.STRING, ["N"])],
        [value("y", TensorProto.STRING, ["N"])],
    )
    made.graph.initializer.add(name="image", data_type=TensorProto.STRING, dims=[1], string_data=[JPEG])
    onnx.save(made, tmp_path / "m.onnx")
    feeds = {"c": np.array([True, False]), "x": np.array(["text", "more"], dtype=np.object_)}
    answer = StageSession(tmp_path / "m.onnx").run({k: from_array(k, v) for k, v in feeds.items()})
    assert to_array(answer["y"]).tolist() == [b"text", JPEG]


def test_session_reports_an_operator_that_needs_text(tmp_path):
    """Some decode their input: ONNX Runtime's reason is passed on."""
    session = session_for(
        tmp_path,
        [node("StringNormalizer", ["x"], ["y"], case_change_action="LOWER", locale="C")],
        [value("x", TensorProto.STRING, ["N"])],
        [value("y", TensorProto.STRING, ["M"])],
    )
    with pytest.raises(ModelRunFailed, match="Invalid UTF-8"):
        session.run({"x": from_array("x", np.array([b"ok", b"\xff\xfe"], dtype=np.object_))})


def test_session_outputs_outlive_their_session(tmp_path):
    """A tensor stays valid when the session, the inputs and the other outputs are deleted."""
    session = session_for(
        tmp_path,
        [node("Add", ["x", "c"], ["y"])],
        [floats("x", 1000)],
        [floats("y", 1000), floats("c", 1000), floats("x", 1000)],
        {"c": np.full(1000, 2.0, np.float32)},
    )
    feeds = {"x": from_array("x", np.arange(1000, dtype=np.float32))}
    answer = session.run(feeds)
    del session, feeds
    gc.collect()
    garbage = [np.full(1000, -1.0, np.float32) for _ in range(100)]
    assert to_array(answer["y"]).tolist() == [2.0 + i for i in range(1000)]
    assert to_array(answer["c"]).tolist() == [2.0] * 1000
    assert to_array(answer["x"]).tolist() == list(range(1000))
    assert len(garbage) == 100


def test_session_outputs_are_read_only(tmp_path):
    """Views of ONNX Runtime's memory cannot be written to."""
    answer = StageSession(ZOO["mlp"].build(tmp_path)).run(ZOO["mlp"].tensors(1))
    assert memoryview(answer["probabilities"].data).readonly


def test_session_computes_requested_outputs_only(tmp_path):
    """A subset of the outputs, in the order of the model."""
    session = StageSession(ZOO["strings"].build(tmp_path))
    assert list(session.run(ZOO["strings"].tensors(1), {"again", "chosen"})) == ["chosen", "again"]


def test_session_validates_inputs(tmp_path):
    """Missing inputs, other types, and bytes that do not fill the shape are refused by name."""
    session = StageSession(ZOO["mlp"].build(tmp_path))
    with pytest.raises(InvalidRequest, match="input 'x' is missing"):
        session.run({})
    with pytest.raises(InvalidRequest, match="input 'x': expected FP32, got INT32"):
        session.run({"x": from_array("x", np.zeros((1, 32), np.int32))})
    with pytest.raises(InvalidRequest, match="has 128 bytes, got 127"):
        session.run({"x": Tensor("x", Datatype.FP32, (1, 32), bytes(127))})
    with pytest.raises(ModelRunFailed, match="32"):
        session.run({"x": from_array("x", np.zeros((1, 31), np.float32))})
    assert session.run(ZOO["mlp"].tensors(1))


def test_session_failure_has_a_readable_reason(tmp_path):
    """An index out of range inside the graph is an error of the request, with a short reason."""
    session = StageSession(ZOO["tied_weights"].build(tmp_path))
    with pytest.raises(ModelRunFailed) as caught:
        session.run({"tokens": from_array("tokens", np.array([[99]]))})
    assert "out of data bounds" in caught.value.message
    assert "onnxruntime" not in caught.value.message


def test_session_refuses_a_missing_provider(tmp_path):
    """A stage that was to run on a device does not run on the CPU instead."""
    with pytest.raises(Unsatisfiable, match="TensorrtExecutionProvider"):
        make_session(ZOO["mlp"].build(tmp_path), providers=["TensorrtExecutionProvider", CPU])
    assert StageSession(ZOO["mlp"].build(tmp_path)).providers == (CPU,)


def test_session_refuses_a_damaged_file(tmp_path):
    """The message names the file."""
    (tmp_path / "m.onnx").write_bytes(b"nonsense")
    with pytest.raises(InvalidModel, match=r"cannot load 'm.onnx'"):
        StageSession(tmp_path / "m.onnx")


def test_session_is_thread_safe(tmp_path):
    """Concurrent runs do not mix their tensors."""
    session = StageSession(ZOO["mlp"].build(tmp_path))
    feeds = [ZOO["mlp"].tensors(seed) for seed in range(20)]
    expected = [bytes(session.run(feed)["probabilities"].data) for feed in feeds]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(session.run, feeds))
    assert [bytes(answer["probabilities"].data) for answer in found] == expected
