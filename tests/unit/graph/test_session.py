"""Tensors into ONNX Runtime and back, bit by bit."""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto

from onnxmesh.device.execution_provider import CPU
from onnxmesh.errors import InvalidModel, InvalidRequest, ModelRunFailed, Unsatisfiable
from onnxmesh.graph.runtime.element_types import DATATYPE_OF, ELEMENT_TYPE_OF
from onnxmesh.graph.runtime.runtime_values import (
    KERNEL_ALIGNMENT,
    aligned_copy,
    from_runtime,
    string_value,
    to_runtime,
)
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


def raw(datatype, shape):
    size = datatype.byte_size(int(np.prod(shape)))
    content = np.random.default_rng(3).integers(0, 2, size, dtype=np.uint8)
    return Tensor("x", datatype, shape, content.tobytes())


@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 5), (0,), (2, 0, 3)])
@pytest.mark.parametrize("datatype", [kind for kind in Datatype if kind is not Datatype.BYTES])
def test_every_type_survives(datatype, shape):
    """Every element type, scalars and empty tensors too, comes back from ONNX Runtime with its bits."""
    tensor = raw(datatype, shape)
    again = from_runtime("x", to_runtime(tensor))
    assert again.datatype is datatype
    assert again.shape == shape
    assert bytes(again.data) == bytes(tensor.data)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), max_size=6))
def test_strings_survive(words):
    """Any text, the empty string and NUL included."""
    tensor = from_array("x", np.array(words, dtype=np.object_))
    again = from_runtime("x", to_runtime(tensor))
    assert again == Tensor("x", Datatype.BYTES, (len(words),), tensor.data)


def test_all_types_of_the_mesh_have_an_onnx_type():
    """The two tables are one another's inverse, and complete."""
    assert set(ELEMENT_TYPE_OF) == set(Datatype)
    assert {ELEMENT_TYPE_OF[datatype] for datatype in DATATYPE_OF.values()} == set(DATATYPE_OF)


def test_strings_beside_types_that_numpy_lacks(tmp_path):
    """A stage that takes strings and gives BF16 works: neither of ONNX Runtime's own ways does both."""
    zoo = ZOO["strings_and_bfloat"]
    answer = StageSession(zoo.build(tmp_path)).run(
        {"words": from_array("words", np.array(["1", "2.5"], dtype=np.object_))}
    )
    assert to_array(answer["brain"]).tolist() == [1.0, 2.5]
    assert to_array(answer["same"]).tolist() == [b"1", b"2.5"]


def test_string_scalars_and_empties(tmp_path):
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
    assert string_value(np.array("alone", dtype=np.object_)).numpy().item() == "alone"


def test_bytes_that_are_no_text_are_refused(tmp_path):
    """ONNX strings are UTF-8; the message names tensor and element."""
    tensor = from_array("words", np.array([b"ok", b"\xff\xfe"], dtype=np.object_))
    with pytest.raises(InvalidRequest, match="tensor 'words': element 1 is not UTF-8"):
        StageSession(ZOO["strings"].build(tmp_path)).run({"words": tensor})


@pytest.mark.parametrize("offset", range(0, 64, 4))
def test_alignment_changes_no_bit(tmp_path, offset):
    """However a frame puts the data, sums come out the same: kernels must not see an odd address."""
    session = session_for(
        tmp_path,
        [node("ReduceSum", ["x"], ["y"], keepdims=0)],
        [floats("x", "N", 1003)],
        [floats("y")],
    )
    array = np.random.default_rng(0).standard_normal((3, 1003)).astype(np.float32)
    expected = session.run(
        {"x": from_array("x", aligned_copy(memoryview(array).cast("B")).view(np.float32).reshape(3, -1))}
    )
    frame = aligned_copy(bytes(offset) + array.tobytes())
    found = session.run({"x": Tensor("x", Datatype.FP32, (3, 1003), memoryview(frame)[offset:])})
    assert bytes(found["y"].data) == bytes(expected["y"].data)


def test_aligned_data_is_used_in_place():
    """No copy is made on the way in where none is needed."""
    data = aligned_copy(bytes(64))
    tensor = Tensor("x", Datatype.FP32, (16,), memoryview(data))
    assert to_runtime(tensor).data_ptr() == data.ctypes.data
    shifted = Tensor("x", Datatype.FP32, (15,), memoryview(data)[4:])
    assert to_runtime(shifted).data_ptr() % KERNEL_ALIGNMENT == 0


def test_answers_outlive_everything(tmp_path):
    """A tensor stays valid when the session, the inputs and the other outputs are gone."""
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


def test_answers_are_read_only(tmp_path):
    """Views of ONNX Runtime's memory cannot be written to."""
    answer = StageSession(ZOO["mlp"].build(tmp_path)).run(ZOO["mlp"].tensors(1))
    assert memoryview(answer["probabilities"].data).readonly


def test_only_what_is_wanted_is_computed(tmp_path):
    """A subset of the outputs, in the order of the model."""
    session = StageSession(ZOO["strings"].build(tmp_path))
    assert list(session.run(ZOO["strings"].tensors(1), {"again", "chosen"})) == ["chosen", "again"]


def test_inputs_are_checked(tmp_path):
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


def test_a_failing_run_is_readable(tmp_path):
    """An index out of range inside the graph is the request's fault, said without noise."""
    session = StageSession(ZOO["tied_weights"].build(tmp_path))
    with pytest.raises(ModelRunFailed) as caught:
        session.run({"tokens": from_array("tokens", np.array([[99]]))})
    assert "out of data bounds" in caught.value.message
    assert "onnxruntime" not in caught.value.message


def test_a_provider_that_is_not_there_is_an_error(tmp_path):
    """A stage that was to run on a device does not run on the CPU instead."""
    with pytest.raises(Unsatisfiable, match="TensorrtExecutionProvider"):
        make_session(ZOO["mlp"].build(tmp_path), providers=["TensorrtExecutionProvider", CPU])
    assert StageSession(ZOO["mlp"].build(tmp_path)).providers == (CPU,)


def test_a_broken_file_is_an_invalid_model(tmp_path):
    """What cannot be loaded is said to be so."""
    (tmp_path / "m.onnx").write_bytes(b"nonsense")
    with pytest.raises(InvalidModel, match=r"cannot load 'm.onnx'"):
        StageSession(tmp_path / "m.onnx")


def test_a_session_serves_several_threads(tmp_path):
    """Concurrent runs do not mix their tensors."""
    session = StageSession(ZOO["mlp"].build(tmp_path))
    feeds = [ZOO["mlp"].tensors(seed) for seed in range(20)]
    expected = [bytes(session.run(feed)["probabilities"].data) for feed in feeds]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(session.run, feeds))
    assert [bytes(answer["probabilities"].data) for answer in found] == expected
