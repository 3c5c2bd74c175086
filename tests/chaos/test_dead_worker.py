"""Workers that die under traffic."""

from __future__ import annotations

import pytest
from tritonclient import grpc as triton

from tests.e2e.mesh_process import running_mesh
from tests.fakes.service_processes import until
from tests.zoo import ZOO


def request():
    return [
        triton.InferInput(name, list(array.shape), "FP32").set_data_from_numpy(array)
        for name, array in ZOO["mlp"].inputs(1, 1).items()
    ]


@pytest.fixture
def model(tmp_path):
    return ZOO["mlp"].build(tmp_path)


def test_another_replica_takes_over(clients, model):
    """With two replicas of each stage, killing a worker under traffic fails no request."""
    with running_mesh("--workers=2") as mesh:
        mesh.deploy(model, name="mlp", stages=2, replicas=2)
        with clients(mesh.address, 4, "mlp", request, "probabilities") as traffic:
            traffic.wait_for(200)
            for name in ("worker-0", "worker-1"):
                mesh.kill(name)
                traffic.wait_for(500)
                with traffic.at_ease():  # so that the next kill leaves one
                    until(lambda: num_ready(mesh) == 4)
        assert traffic.failures == []


def num_ready(mesh):
    """Returns how many replicas serve."""
    (model,) = mesh.status().models
    return sum(replica.state == "READY" for replica in model.replicas)


def test_without_another_replica_the_client_is_told_at_once(clients, model):
    """With one replica, requests fail as UNAVAILABLE, never hang, and work again by themselves."""
    with running_mesh("--workers=1") as mesh:
        mesh.deploy(model, name="mlp", stages=2)
        with clients(mesh.address, 4, "mlp", request, "probabilities") as traffic:
            traffic.wait_for(100)
            mesh.kill("worker-0")
            traffic.wait_for(200)
        assert traffic.failures
        assert {status for status, _ in traffic.failures} == {"StatusCode.UNAVAILABLE"}


def test_the_mesh_answers_without_its_scheduler(clients, model):
    """The scheduler is on no request's path: killing it fails nothing, and its successor takes over."""
    with running_mesh("--workers=2") as mesh:
        mesh.deploy(model, name="mlp", stages=2)
        with clients(mesh.address, 2, "mlp", request, "probabilities") as traffic:
            traffic.wait_for(100)
            mesh.kill("scheduler")
            traffic.wait_for(1000)
        assert traffic.failures == []
