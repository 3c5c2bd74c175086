"""Workers that are drained and stopped one after the other, on real processes under traffic."""

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
def test_rolling_restart_of_every_worker_fails_no_request(model, tmp_path, replicas):
    """Drain, stop, start, then the next: with one replica of each stage and with two."""
    with small_mesh(tmp_path, *WORKERS) as mesh:
        deploy(mesh.gateway, model, name="mlp", stages=2, replicas=replicas)
        with mesh.traffic() as traffic:
            traffic.wait_for(50)
            for name in WORKERS:
                mesh.call(lambda client, name=name: client.drain(name, timeout=120))
                assert all(name not in holders for holders in mesh.holders())
                assert mesh.processes.stop(name) == 0
                traffic.wait_for(20)
                with traffic.at_ease():
                    mesh.start_worker(name)
                    until(lambda: [len(each) for each in mesh.holders()] == [replicas] * 2)
                traffic.wait_for(20)
        assert traffic.failures == []
        assert len(traffic.different) == 1


def test_sigterm_drains_a_worker_first(model, tmp_path):
    """The worker with the only replica of both stages serves until another one holds them."""
    with small_mesh(tmp_path, "worker-1") as mesh:
        deploy(mesh.gateway, model, name="mlp", stages=2)
        with mesh.traffic() as traffic:
            traffic.wait_for(50)
            mesh.start_worker("worker-2")
            assert mesh.processes.stop("worker-1") == 0
            assert mesh.holders() == [{"worker-2"}] * 2
            traffic.wait_for(50)
        assert traffic.failures == []


def test_sigterm_ends_the_last_worker_at_once(model, tmp_path):
    """Without another worker there is nothing to wait for: it ends long before its time limit."""
    with small_mesh(tmp_path, "worker-1") as mesh:
        deploy(mesh.gateway, model, name="mlp", stages=2)
        assert mesh.processes.stop("worker-1") == 0
        assert '"why": "released"' in mesh.processes.log("worker-1")


def test_sigterm_without_a_scheduler_ends_a_worker_at_once(model, tmp_path):
    """No scheduler would move its stages: it finishes its requests and ends."""
    with small_mesh(tmp_path, "worker-1") as mesh:
        deploy(mesh.gateway, model, name="mlp", stages=2)
        mesh.processes.kill("scheduler-1")
        assert mesh.processes.stop("worker-1") == 0
        assert '"why": "no_scheduler"' in mesh.processes.log("worker-1")
