"""Sessions whose outputs stay in the memory of their device."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from onnxmesh.device.execution_provider import CPU, CUDA
from onnxmesh.errors import ModelRunFailed
from onnxmesh.graph.runtime.session import MIN_STAGED_BYTES, StageSession
from onnxmesh.memory.shared_memory import OwnMemory
from onnxmesh.tensors.arrays import from_array, to_array
from onnxmesh.tensors.datatype import Datatype
from onnxmesh.tensors.device_tensor import DeviceTensor
from onnxmesh.tensors.rows import concat_rows, split_rows
from onnxmesh.tensors.tensor import Tensor
from tests.devices import DEVICES
from tests.zoo.zoo_model import model, node, value

PROVIDERS = {"cpu": (CPU,), "cuda": (CUDA, CPU)}

MEGABYTE = 1 << 20

FLOAT = TensorProto.FLOAT


@pytest.fixture(params=DEVICES)
def load(request, tmp_path):
    """Returns what loads a model on a device."""

    def loaded(nodes, inputs, outputs, **more):
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.onnx"
        onnx.save(model(nodes, inputs, outputs, opsets={"": 21}), path)
        return StageSession(path, providers=PROVIDERS[request.param], device=request.param, **more)

    return loaded


def doubling(load, **more):
    return load(
        [node("Add", ["x", "x"], ["y"])], [value("x", FLOAT, ["N", 4])], [value("y", FLOAT, ["N", 4])], **more
    )


def negating(load, **more):
    return load(
        [node("Neg", ["y"], ["z"])], [value("y", FLOAT, ["N", 4])], [value("z", FLOAT, ["N", 4])], **more
    )


X = np.arange(24, dtype=np.float32).reshape(6, 4)


def test_device_outputs_are_inputs_of_the_next_stage(load):
    """Whole, in pieces, and in pieces put together again: with the bits that go through the host."""
    first, second = doubling(load), negating(load)
    y = first.run({"x": from_array("x", X)}, keep_on_device=True)["y"]
    assert isinstance(y, DeviceTensor)
    assert (y.memory.device, y.shape) == (first.device, (6, 4))
    assert np.array_equal(to_array(second.run({"y": y})["z"]), -2 * X)
    one, two, three = split_rows(y, [1, 3, 2])
    assert np.array_equal(to_array(second.run({"y": two})["z"]), -2 * X[1:4])
    assert np.array_equal(to_array(second.run({"y": concat_rows([two, three])})["z"]), -2 * X[1:])
    assert np.array_equal(to_array(second.run({"y": concat_rows([three, one])})["z"]), -2 * X[[4, 5, 0]])
    assert np.array_equal(to_array(y), 2 * X)


def test_device_outputs_outlive_their_session(load):
    """It is released with its last reference."""
    first, second = doubling(load), negating(load)
    y = first.run({"x": from_array("x", X)}, keep_on_device=True)["y"]
    memory = weakref.ref(y.memory)
    del first
    gc.collect()
    assert np.array_equal(to_array(second.run({"y": y})["z"]), -2 * X)
    del y
    assert memory() is None


def test_device_outputs_are_copied_to_other_devices(load, tmp_path):
    """A session on another device, too."""
    y = doubling(load).run({"x": from_array("x", X)}, keep_on_device=True)["y"]
    elsewhere = negating(load)
    elsewhere.device = "another"
    assert np.array_equal(to_array(elsewhere.run({"y": y})["z"]), -2 * X)


def test_device_outputs_that_cannot_stay_are_on_the_host(load):
    """Types that NumPy lacks, packed elements, strings, nothing at all, and inputs that are outputs."""
    nodes = [
        node("Cast", ["x"], ["b"], to=TensorProto.BFLOAT16),
        node("Identity", ["x"], ["same"]),
        node("Shape", ["x"], ["s"]),
    ]
    outputs = [
        value("b", TensorProto.BFLOAT16, ["N", 4]),
        value("same", FLOAT, ["N", 4]),
        value("s", TensorProto.INT64, [2]),
    ]
    session = load(nodes, [value("x", FLOAT, ["N", 4])], outputs)
    answer = session.run({"x": from_array("x", X)}, keep_on_device=True)
    assert not isinstance(answer["b"], DeviceTensor)
    assert np.array_equal(to_array(answer["b"]), X)
    assert isinstance(answer["same"], DeviceTensor)
    assert to_array(answer["s"]).tolist() == [6, 4]
    empty = session.run({"x": Tensor("x", Datatype.FP32, (0, 4), b"")}, keep_on_device=True)
    assert (empty["same"].shape, empty["same"].byte_size) == ((0, 4), 0)


def test_device_run_reports_its_failure(load):
    """A tensor of another shape than the stage takes is refused by ONNX Runtime, wherever it is."""
    y = doubling(load).run({"x": from_array("x", X)}, keep_on_device=True)["y"]
    narrow = load([node("Neg", ["y"], ["z"])], [value("y", FLOAT, ["N", 3])], [value("z", FLOAT, ["N", 3])])
    with pytest.raises(ModelRunFailed, match="y"):
        narrow.run({"y": y})


def test_large_tensors_pass_through_staging_memory(load):
    """Inputs are brought there, outputs are computed there once their shape is known, and it is free again afterwards."""
    memory = OwnMemory(8 * MEGABYTE)
    session = load(
        [node("Neg", ["x"], ["y"])], [value("x", FLOAT, ["N"])], [value("y", FLOAT, ["N"])], staging=memory
    )
    assert session.feed_allocator is not None
    x = np.arange(MEGABYTE // 4, dtype=np.float32)
    for index in range(3):
        y = session.run({"x": from_array("x", x)})["y"]
        assert np.array_equal(to_array(y), -x)
        assert memory.contains(y.data) == (index > 0)
        del y
        gc.collect()
        assert memory.used_bytes == 0
    small = np.zeros(MIN_STAGED_BYTES // 4 - 1, np.float32)
    assert np.array_equal(to_array(session.run({"x": from_array("x", small)})["y"]), -small)


def test_full_staging_memory_is_bypassed(load):
    """Tensors that do not fit are copied from unpinned memory."""
    session = load(
        [node("Neg", ["x"], ["y"])],
        [value("x", FLOAT, ["N"])],
        [value("y", FLOAT, ["N"])],
        staging=OwnMemory(MEGABYTE),
    )
    x = np.arange(MEGABYTE, dtype=np.float32)
    for _ in range(2):
        assert np.array_equal(to_array(session.run({"x": from_array("x", x)})["y"]), -x)
