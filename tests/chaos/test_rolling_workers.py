"""Real processes: workers leave in order under traffic, one after the other, and no request fails."""

from __future__ import annotations

import pytest

from tests.chaos.small_mesh import small_mesh
from tests.fakes.service_processes import deploy, until
from tests.zoo import ZOO

pytestmark = pytest.mark.timeout(1200)

WORKERS = ("worker-1", "worker-2", "worker-3")


@pytest.fixture
def model(tmp_path):
    return ZOO["mlp"].build(tmp_path)


@pytest.mark.parametrize("replicas", [1, 2])
def test_every_worker_is_rolled_one_by_one(model, tmp_path, replicas):
    """Drained, stopped, started anew, then the next: with one replica of each stage and with two."""
    with small_mesh(tmp_path, *WORKERS) as mesh:
        deploy(mesh.gateway, model, name="mlp", stages=2, replicas=replicas)
        with mesh.traffic() as traffic:
            traffic.wait_for(50)
            for name in WORKERS:
                mesh.ask(lambda client, name=name: client.drain(name, timeout=120))
                assert all(name not in holders for holders in mesh.holders())
                assert mesh.processes.stop(name) == 0
                traffic.wait_for(20)
                with traffic.at_ease():
                    mesh.start_worker(name)
                    until(lambda: [len(each) for each in mesh.holders()] == [replicas] * 2)
                traffic.wait_for(20)
        assert traffic.failures == []
        assert len(traffic.different) == 1


def test_a_worker_that_is_told_to_stop_is_emptied_first(model, tmp_path):
    """SIGTERM to the worker with the only replica of both stages: it serves on until another one has them."""
    with small_mesh(tmp_path, "worker-1") as mesh:
        deploy(mesh.gateway, model, name="mlp", stages=2)
        with mesh.traffic() as traffic:
            traffic.wait_for(50)
            mesh.start_worker("worker-2")
            assert mesh.processes.stop("worker-1") == 0
            assert mesh.holders() == [{"worker-2"}] * 2
            traffic.wait_for(50)
        assert traffic.failures == []


def test_the_last_worker_waits_for_nobody(model, tmp_path):
    """Where nothing can be moved, a worker that is told to stop ends long before its time is over."""
    with small_mesh(tmp_path, "worker-1") as mesh:
        deploy(mesh.gateway, model, name="mlp", stages=2)
        assert mesh.processes.stop("worker-1") == 0
        assert '"why": "dismissed"' in mesh.processes.log("worker-1")


def test_without_a_scheduler_a_worker_waits_for_nobody(model, tmp_path):
    """Nobody would move anything: it drains and ends."""
    with small_mesh(tmp_path, "worker-1") as mesh:
        deploy(mesh.gateway, model, name="mlp", stages=2)
        mesh.processes.kill("scheduler-1")
        assert mesh.processes.stop("worker-1") == 0
        assert '"why": "no_scheduler"' in mesh.processes.log("worker-1")
