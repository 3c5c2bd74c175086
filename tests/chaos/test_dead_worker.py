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


def test_dead_worker_with_another_replica_fails_no_request(clients, model):
    """Two replicas of each stage, and each worker killed in turn under traffic."""
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
    """Returns the number of ready replicas."""
    (model,) = mesh.status().models
    return sum(replica.state == "READY" for replica in model.replicas)


def test_dead_worker_without_another_replica_is_unavailable(clients, model):
    """Requests fail as UNAVAILABLE, do not hang, and succeed again once the worker is restarted."""
    with running_mesh("--workers=1") as mesh:
        mesh.deploy(model, name="mlp", stages=2)
        with clients(mesh.address, 4, "mlp", request, "probabilities") as traffic:
            traffic.wait_for(100)
            mesh.kill("worker-0")
            traffic.wait_for(200)
        assert traffic.failures
        assert {status for status, _ in traffic.failures} == {"StatusCode.UNAVAILABLE"}


def test_dead_scheduler_fails_no_request(clients, model):
    """The scheduler is not on the path of requests."""
    with running_mesh("--workers=2") as mesh:
        mesh.deploy(model, name="mlp", stages=2)
        with clients(mesh.address, 2, "mlp", request, "probabilities") as traffic:
            traffic.wait_for(100)
            mesh.kill("scheduler")
            traffic.wait_for(1000)
        assert traffic.failures == []
