"""Tensors of many megabytes on a real mesh, with shared memory and without."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from tritonclient import grpc as triton

from tests.e2e.mesh_process import running_mesh
from tests.zoo.zoo_model import model, node, value

ROW = 1 << 18
"""Numbers of a row: 1 MB."""


@pytest.fixture(params=["same_host", "grpc"])
def mesh(request, monkeypatch):
    monkeypatch.setenv("ONNXMESH_SAME_HOST", str(request.param == "same_host"))
    with running_mesh("--workers=3") as running:
        yield running


def skipping(folder):
    """Three stages of arithmetic; an output of the first one is also an input of the last one, and an output of the model."""
    nodes = [
        node("Sin", ["x"], ["early"]),
        node("Neg", ["early"], ["a"]),
        node("Exp", ["a"], ["b"]),
        node("Cos", ["b"], ["c"]),
        node("Add", ["c", "early"], ["y"]),
    ]
    made = model(
        nodes,
        [value("x", TensorProto.FLOAT, ["N", ROW])],
        [value("y", TensorProto.FLOAT, ["N", ROW]), value("early", TensorProto.FLOAT, ["N", ROW])],
    )
    path = folder / "skipping.onnx"
    onnx.save(made, path)
    return path


def test_large_tensors_are_equal_bit_for_bit(mesh, tmp_path):
    """From 1 to 20 MB, several at once, over three workers, against the uncut model on one worker."""
    path = skipping(tmp_path)
    mesh.deploy(path, name="whole", stages=1)
    mesh.deploy(path, name="cut", stages=3)
    with triton.InferenceServerClient(mesh.address) as client:

        def infer_seeded(name, rows, seed):
            x = np.random.default_rng(seed).standard_normal((rows, ROW)).astype(np.float32)
            sent = triton.InferInput("x", list(x.shape), "FP32").set_data_from_numpy(x)
            answer = client.infer(name, [sent], client_timeout=600)
            return [answer.as_numpy(output).tobytes() for output in ("y", "early")]

        with ThreadPoolExecutor(4) as clients:
            for rows, num_requests in ((1, 4), (4, 4), (20, 2), (3, 4)):
                expected = infer_seeded("whole", rows, rows)
                for answer in clients.map(
                    lambda _, rows=rows: infer_seeded("cut", rows, rows), range(num_requests)
                ):
                    assert answer == expected
