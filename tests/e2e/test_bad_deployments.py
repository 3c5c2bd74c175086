"""Models that cannot be served: each has its error, and the models before are still served."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from tritonclient import grpc as triton

from tests.e2e.mesh_process import running_mesh
from tests.zoo import ZOO


@pytest.fixture(scope="module")
def mesh(tmp_path_factory):
    with running_mesh("--workers=2") as running:
        running.deploy(ZOO["mlp"].build(tmp_path_factory.mktemp("models")), name="mlp", stages=2)
        yield running


def save(folder, nodes, opsets=(("", 17),), weights=()):
    floats = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 4]) for name in ("x", "y")]
    graph = helper.make_graph(list(nodes), "bad", floats[:1], floats[1:], list(weights))
    imports = [helper.make_opsetid(*opset) for opset in opsets]
    path = folder / "bad.onnx"
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=8), path)
    return path


def not_onnx(folder):
    path = folder / "bad.onnx"
    path.write_bytes(b"PK\x03\x04 this is something else " * 50)
    return path


def truncated(folder):
    whole = ZOO["mlp"].build(folder)
    path = folder / "bad.onnx"
    path.write_bytes(whole.read_bytes()[:-100])
    return path


def invalid_graph(folder):
    return save(folder, [helper.make_node("Relu", ["nowhere"], ["y"], name="lost")])


def unknown_op(folder):
    node = helper.make_node("Frobnicate", ["x"], ["y"], name="strange", domain="org.example")
    return save(folder, [node], (("", 17), ("org.example", 1)))


def missing_external_data(folder):
    weight = onnx.numpy_helper.from_array(np.ones((4, 4), np.float32), "w")
    path = save(folder, [helper.make_node("MatMul", ["x", "w"], ["y"])], weights=[weight])
    model = onnx.load(path)
    onnx.save(model, path, save_as_external_data=True, location="missing.data", size_threshold=0)
    (folder / "missing.data").unlink()
    return path


def too_many_stages(folder):
    return save(folder, [helper.make_node("Relu", ["x"], ["y"])])


CASES = {
    "not onnx": (not_onnx, [], "not"),
    "truncated": (truncated, [], "bad.onnx"),
    "invalid graph": (invalid_graph, [], "nowhere"),
    "unknown op": (unknown_op, [], "Frobnicate"),
    "missing external data": (missing_external_data, [], "missing.data"),
    "too many stages": (too_many_stages, ["--stages=5"], "5"),
    "no such tag": (too_many_stages, ["--require=fpga"], "fpga"),
    "too many replicas": (too_many_stages, ["--replicas=7"], "7"),
    "bad name": (too_many_stages, ["--name=a/b"], "a/b"),
}


def test_refused_spec_costs_no_upload(mesh, tmp_path):
    """An error in the spec is reported before any file of 3 GB is sent."""
    path = tmp_path / "large.onnx"
    with path.open("wb") as file:
        file.truncate(3 << 30)
    done = mesh.run("deploy", str(path), "--require=fpga", check=False)
    assert done.returncode in (1, 2)
    assert "fpga" in done.stderr


@pytest.mark.parametrize("case", CASES)
def test_bad_model_is_refused_by_name(mesh, tmp_path, case):
    """One line names the error, the exit code is not 0, no version is created, and the other model is served."""
    build, options, text = CASES[case]
    done = mesh.run("deploy", str(build(tmp_path)), *options, check=False)
    assert done.returncode in (1, 2)
    assert text in done.stderr
    assert "Traceback" not in done.stderr
    assert [model.name for model in mesh.status().models] == ["mlp"]
    feeds = ZOO["mlp"].inputs(1, 1)
    with triton.InferenceServerClient(mesh.address) as client:
        inputs = [
            triton.InferInput(name, list(array.shape), "FP32").set_data_from_numpy(array)
            for name, array in feeds.items()
        ]
        assert client.infer("mlp", inputs).get_response().model_version == "1"
