"""Outputs computed in the buffers where they are read."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from onnxmesh.errors import ModelRunFailed
from onnxmesh.graph.runtime.element_types import ELEMENT_TYPE_OF
from onnxmesh.graph.runtime.output_buffers import MIN_BOUND_BYTES, OutputBuffers
from onnxmesh.graph.runtime.session import StageSession
from onnxmesh.tensors.arrays import from_array, to_array
from onnxmesh.tensors.datatype import Datatype
from onnxmesh.tensors.tensor import Tensor
from tests.zoo import ZOO
from tests.zoo.zoo_model import model, node, value

NUM = MIN_BOUND_BYTES


class Buffers:
    """Gives buffers and remembers where they are, and which of them are still seen."""

    def __init__(self):
        self.addresses = []
        self._buffers = []

    def __call__(self, byte_size):
        aligned = np.empty(byte_size + 64, np.uint8)
        begin = -aligned.ctypes.data % 64
        buffer = aligned[begin : begin + byte_size]
        self.addresses.append(buffer.ctypes.data)
        self._buffers.append(weakref.ref(buffer))
        return memoryview(buffer)

    @property
    def num_seen(self):
        return sum(buffer() is not None for buffer in self._buffers)

    def hold(self, tensor):
        return np.frombuffer(tensor.data, np.uint8).ctypes.data in self.addresses


def session_for(tmp_path, nodes, inputs, outputs):
    path = tmp_path / "m.onnx"
    onnx.save(model(nodes, inputs, outputs, opsets={"": 21}), path)
    return StageSession(path)


def test_output_is_computed_in_its_buffer_once_its_shape_is_known(tmp_path):
    """With equal bits; the output alone keeps the buffer alive. Shapes for other input shapes are learned separately."""
    session = session_for(
        tmp_path,
        [node("Relu", ["x"], ["y"]), node("ReduceMax", ["x"], ["small"], keepdims=0)],
        [value("x", TensorProto.FLOAT, ["N"])],
        [value("y", TensorProto.FLOAT, None), value("small", TensorProto.FLOAT, None)],
    )
    buffers = Buffers()
    for num in (NUM, NUM // 2):
        x = from_array("x", np.random.default_rng(num).standard_normal(num).astype(np.float32))
        expected = session.run({"x": x})
        assert not buffers.hold(session.run({"x": x}, None, buffers)["y"])
        again = session.run({"x": x}, None, buffers)
        assert buffers.hold(again["y"])
        assert not buffers.hold(again["small"])
        assert {name: bytes(each.data) for name, each in again.items()} == {
            name: bytes(each.data) for name, each in expected.items()
        }
        assert memoryview(again["y"].data).readonly
        assert buffers.num_seen == 1
        del again
        gc.collect()
        assert buffers.num_seen == 0


def test_output_without_a_buffer_is_allocated_by_the_session(tmp_path):
    """A place that is full changes nothing but where the answer is."""
    session = session_for(
        tmp_path,
        [node("Neg", ["x"], ["y"])],
        [value("x", TensorProto.FLOAT, ["N"])],
        [value("y", TensorProto.FLOAT, ["N"])],
    )
    x = from_array("x", np.arange(NUM, dtype=np.float32))
    for _ in range(3):
        answer = session.run({"x": x}, None, lambda _: None)
        assert np.array_equal(to_array(answer["y"]), -np.arange(NUM, dtype=np.float32))


def test_output_of_varying_shape_is_correct(tmp_path):
    """The first surprise is run again without buffers; after it none is offered for that output any more."""
    session = session_for(
        tmp_path,
        [node("NonZero", ["x"], ["where"]), node("Neg", ["x"], ["y"])],
        [value("x", TensorProto.FLOAT, ["N"])],
        [value("where", TensorProto.INT64, None), value("y", TensorProto.FLOAT, None)],
    )
    buffers = Buffers()
    for num_zeros in (0, 0, 7, 0, 7):
        x = np.ones(NUM, np.float32)
        x[:num_zeros] = 0
        answer = session.run({"x": from_array("x", x)}, None, buffers)
        assert np.array_equal(to_array(answer["where"]), np.array(np.nonzero(x)))
        assert np.array_equal(to_array(answer["y"]), -x)
    assert buffers.hold(answer["y"])
    assert not buffers.hold(answer["where"])


def test_refused_inputs_are_reported_with_buffers_too(tmp_path):
    """The error is the one that it would be anywhere; the buffers are free again."""
    session = session_for(
        tmp_path,
        [node("Reshape", ["x", "shape"], ["y"])],
        [value("x", TensorProto.FLOAT, ["N"]), value("shape", TensorProto.INT64, ["R"])],
        [value("y", TensorProto.FLOAT, None)],
    )
    buffers = Buffers()
    x = from_array("x", np.zeros(NUM, np.float32))

    def run(*shape):
        feeds = {"x": x, "shape": from_array("shape", np.array(shape))}
        return session.run(feeds, None, buffers)["y"]

    assert run(2, NUM // 2).shape == run(2, NUM // 2).shape == (2, NUM // 2)
    with pytest.raises(ModelRunFailed):
        run(3, NUM)
    assert run(NUM // 2, 2).shape == (NUM // 2, 2)
    gc.collect()
    assert buffers.num_seen == 0


def test_buffers_are_disabled_after_an_unexplained_refusal():
    """If shapes do not explain why a run with buffers failed, requests are not run twice for ever."""
    y = from_array("y", np.zeros(NUM, np.float32))
    for other, still in ((from_array("y", np.zeros(2 * NUM, np.float32)), True), (y, False)):
        buffers = OutputBuffers({"y": Datatype.FP32, "z": Datatype.FP32})
        buffers.observe("form", {"y": y, "z": y.renamed("z")})
        found = buffers.allocate("form", ["y", "z"], Buffers())
        assert found.keys() == {"y", "z"}
        without = {"y": other, "z": y.renamed("z")}
        buffers.handle_refusal(found, without)
        buffers.observe("form", without)
        assert buffers.allocate("form", ["y", "z"], Buffers()).keys() == ({"z"} if still else set())


@pytest.mark.parametrize("datatype", [kind for kind in Datatype if kind.bits >= 8])
def test_buffers_keep_the_bits_of_every_datatype(tmp_path, datatype):
    """Bound or not."""
    code, num = ELEMENT_TYPE_OF[datatype], 8 * NUM // datatype.bits
    session = session_for(
        tmp_path,
        [node("Identity", ["x"], ["y"])],
        [value("x", code, ["N"])],
        [value("y", code, ["N"])],
    )
    content = np.random.default_rng(3).integers(0, 2, NUM, dtype=np.uint8).tobytes()
    buffers = Buffers()
    for _ in range(2):
        answer = session.run({"x": Tensor("x", datatype, (num,), content)}, None, buffers)["y"]
        assert bytes(answer.data) == content
    assert buffers.hold(answer)


@pytest.mark.parametrize("name", sorted(ZOO))
def test_zoo_has_equal_outputs_with_buffers(tmp_path, monkeypatch, name):
    """Every kind of output there is, at any size: inputs passed on, constants, empties, strings, branches and loops."""
    monkeypatch.setattr("onnxmesh.graph.runtime.output_buffers.MIN_BOUND_BYTES", 1)
    zoo = ZOO[name]
    session = StageSession(zoo.build(tmp_path))
    for seed in (1, 2):
        feeds = zoo.tensors(seed)
        expected = session.run(feeds)
        for _ in range(2):
            answer = session.run(feeds, None, Buffers())
            assert answer.keys() == expected.keys()
            for each, tensor in expected.items():
                assert (answer[each].shape, bytes(answer[each].data)) == (tensor.shape, bytes(tensor.data))
