"""Models of the zoo on a real mesh; in every number of stages they are tested in process (`tests/unit/graph/cutting`)."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest
from tritonclient import grpc as triton
from tritonclient.utils import np_to_triton_dtype

from tests.data_planes import OFF, ON
from tests.e2e.mesh_process import running_mesh
from tests.zoo import ZOO

MODELS = [
    *("mlp", "branching_cnn", "if_loop", "tied_weights", "strings", "resnet50", "magika"),
    *("decoder", "qdq_cnn", "optional_inside", "weights_beside"),
]
CASES = [(name, stages) for name in MODELS for stages in sorted({2, ZOO[name].max_stages})]


@pytest.fixture(scope="module")
def mesh(request):
    with running_mesh("--workers=4", plane=request.param) as running:
        yield running


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("zoo")


def whole(path, feeds):
    """Returns the outputs of plain ONNX Runtime with default settings, on one thread."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


def through(mesh, name, feeds):
    inputs = []
    for key, array in feeds.items():
        tensor = triton.InferInput(key, list(array.shape), np_to_triton_dtype(array.dtype))
        inputs.append(tensor.set_data_from_numpy(array))
    with triton.InferenceServerClient(mesh.address) as client:
        return client.infer(name, inputs, client_timeout=600)


def bits(array):
    if array.dtype == np.object_:
        return [element.encode() if isinstance(element, str) else element for element in array.ravel()]
    return array.tobytes()


@pytest.mark.parametrize("mesh", [ON], indirect=True, ids=str)
@pytest.mark.parametrize(("name", "stages"), CASES)
def test_cut_model_equals_the_uncut_model(mesh, folder, name, stages):
    """Bit for bit, in two and in as many stages as possible, over as many worker processes."""
    check_equal_to_uncut(mesh, folder, name, stages)


@pytest.mark.parametrize("mesh", [OFF], indirect=True, ids=str)
@pytest.mark.parametrize("name", MODELS)
def test_cut_model_equals_the_uncut_model_on_the_plain_data_plane(mesh, folder, name):
    """In as many stages as possible, with every tensor through gRPC and every request alone."""
    check_equal_to_uncut(mesh, folder, name, ZOO[name].max_stages)


def check_equal_to_uncut(mesh, folder, name, stages):
    model = ZOO[name]
    path = folder / f"{name}.onnx"
    if not path.exists():
        path = model.build(folder)
    deployed = mesh.deploy(path, name=name, stages=stages)
    try:
        workers = {replica.worker for replica in deployed.replicas}
        assert len(workers) == stages
        for seed in (1, 2):
            feeds = model.inputs(seed, 1)
            expected = whole(path, feeds)
            answer = through(mesh, name, feeds)
            for output, array in expected.items():
                got = answer.as_numpy(output)
                assert got.shape == array.shape
                assert bits(got) == bits(array), output
    finally:
        mesh.undeploy(name)
