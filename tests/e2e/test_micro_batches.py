"""Requests with many rows on a real mesh, whole and in micro-batches."""

from __future__ import annotations

import threading
from time import monotonic

import numpy as np
import pytest
from tritonclient import grpc as triton

from onnxmesh.client import RouteTrace
from onnxmesh.v1.model_pb2 import Shapes
from tests.e2e.mesh_process import running_mesh
from tests.e2e.test_zoo import whole
from tests.zoo.zoo_model import floats, model, node, normal

NUM_ROWS = 64
WIDTH = 1024
WAIT_S = 600


def wide_mlp(folder, *, gated=False):
    """Twelve dense layers: enough work that overlapping stages is faster, whatever a frame costs.

    With a gate the whole request is scaled where one of its rows is out of range, as some is in all that are sent.
    """
    rng = np.random.default_rng(1)
    nodes, weights, last = [], {}, "x"
    if gated:
        weights |= {"limit": np.float32(3.5), "small": np.float32(0.1), "one": np.float32(1)}
        nodes += [
            node("ReduceMax", ["x"], ["most"], keepdims=0),
            node("Greater", ["most", "limit"], ["over"]),
            node("Where", ["over", "small", "one"], ["factor"]),
            node("Mul", ["x", "factor"], ["scaled"]),
        ]
        last = "scaled"
    for layer in range(12):
        weights[f"w{layer}"] = normal(rng, WIDTH, WIDTH)
        nodes += [
            node("MatMul", [last, f"w{layer}"], [f"dense{layer}"]),
            node("Tanh", [f"dense{layer}"], [f"act{layer}"]),
        ]
        last = f"act{layer}"
    nodes.append(node("Neg", [last], ["y"]))
    path = folder / ("gated.onnx" if gated else "wide.onnx")
    made = model(nodes, [floats("x", "N", WIDTH)], [floats("y", "N", WIDTH)], weights)
    path.write_bytes(made.SerializeToString())
    return path


def feeds(seed):
    return {"x": np.random.default_rng(seed).standard_normal((NUM_ROWS, WIDTH)).astype(np.float32)}


def infer(client, given, name="wide"):
    x = triton.InferInput("x", list(given["x"].shape), "FP32").set_data_from_numpy(given["x"])
    answer = client.infer(name, [x], client_timeout=WAIT_S, parameters={"mesh.trace": True})
    text = answer.get_response().parameters["mesh.trace"].string_param
    return answer.as_numpy("y"), RouteTrace.from_json(text)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return wide_mlp(tmp_path_factory.mktemp("wide"))


def pieces_of(mesh, path, *, enough, name="wide"):
    """Sends requests until the numbers of their micro-batches are enough; each answer is that of the uncut model."""
    end_s = monotonic() + WAIT_S
    pieces = []
    with triton.InferenceServerClient(mesh.address) as client:
        while not enough(pieces) and monotonic() < end_s:
            given = feeds(len(pieces))
            answer, trace = infer(client, given, name)
            assert answer.tobytes() == whole(path, given)["y"].tobytes()
            assert len(trace.hops) == 3
            pieces.append(trace.pieces)
    return pieces


def test_micro_batches_can_be_turned_off(path, monkeypatch):
    """No request is split."""
    monkeypatch.setenv("ONNXMESH_MICRO_BATCHES", "False")
    with running_mesh("--workers=3") as mesh:
        mesh.deploy(path, name="wide", stages=3, shapes=Shapes(batch=NUM_ROWS))
        assert set(pieces_of(mesh, path, enough=lambda pieces: len(pieces) >= 5)) == {1}


def test_micro_batches_give_the_output_of_the_uncut_model(path, tmp_path):
    """Bit for bit; requests are split once the stages were measured, and never where rows meet in a gate.

    When a worker dies, with two replicas of each stage, every request is answered, whichever micro-batches were lost.
    """
    with running_mesh("--workers=3") as mesh:
        mesh.deploy(path, name="wide", stages=3, replicas=2, shapes=Shapes(batch=NUM_ROWS))
        pieces = pieces_of(mesh, path, enough=lambda pieces: max(pieces, default=0) > 1)
        assert pieces[0] == 1, "nothing was measured yet"
        assert max(pieces) > 1
        gated = wide_mlp(tmp_path, gated=True)
        mesh.deploy(gated, name="gated", stages=3, shapes=Shapes(batch=NUM_ROWS))
        num = max(5, len(pieces))
        assert set(pieces_of(mesh, gated, enough=lambda seen: len(seen) >= num, name="gated")) == {1}
        mesh.undeploy("gated")
        given = feeds(1)
        expected = whole(path, given)["y"].tobytes()
        seen, failures, stop = [], [], threading.Event()

        def send_requests():
            with triton.InferenceServerClient(mesh.address) as client:
                while not stop.is_set():
                    try:
                        answer, trace = infer(client, given)
                    except Exception as error:  # noqa: BLE001 - reported by the assertion below
                        failures.append(error)
                        return
                    seen.append((answer.tobytes() == expected, trace.pieces))

        clients = [threading.Thread(target=send_requests) for _ in range(2)]
        for client in clients:
            client.start()
        try:
            wait_for(lambda: failures or len(seen) > 5)
            mesh.kill("worker-1")
            already = len(seen)
            wait_for(lambda: failures or len(seen) > already + 20)
        finally:
            stop.set()
            for client in clients:
                client.join()
        assert not failures
        assert all(right for right, _ in seen)


def wait_for(condition):
    end_s = monotonic() + WAIT_S
    while not condition():
        assert monotonic() < end_s
        threading.Event().wait(0.05)
