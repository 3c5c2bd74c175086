"""A Consul that is away, on real processes, under traffic from Triton's client."""

from __future__ import annotations

import shutil

import pytest

from tests.chaos.consul_mesh import (
    SCHEDULERS,
    all_served,
    leader_of,
    passes,
    request,
    running,
    start_worker,
    status,
)
from tests.chaos.traffic import require
from tests.fakes.service_processes import ask, deploy, until

pytestmark = [pytest.mark.services, pytest.mark.timeout(1200)]

OUTAGE_S = 30.0


def test_consul_is_killed_and_comes_back(clients, tmp_path):
    """Traffic needs no Consul, a worker that dies meanwhile is got over, and afterwards all is as before."""
    with running(tmp_path) as (consul, mesh, address):
        with clients(address, 4, "mlp", request, "probabilities") as traffic:
            traffic.wait_for(200)
            consul.kill()
            with traffic.at_ease():
                passes(OUTAGE_S / 2)
            mesh.kill("worker-2")
            # Nobody says that it is gone; the gateway's own stream to it does.
            require(address, "worker-1", "mlp", request)
            with traffic.at_ease():
                passes(OUTAGE_S / 2)
                consul.start()
                start_worker(mesh, "worker-2")
                until(lambda: all_served(address))
            traffic.wait_for(200)
            deploy(address, tmp_path / "mlp.onnx", name="another", stages=2, replicas=2)
            until(lambda: ask(address, lambda client: client.model_ready("another", timeout=10)))
        assert traffic.failures == []
        assert len(traffic.different) == 1


def test_consul_comes_back_without_its_memory(clients, tmp_path):
    """Everyone registers again, a leader is elected anew, and what is deployed is served all the time."""
    with running(tmp_path) as (consul, mesh, address):
        with clients(address, 4, "mlp", request, "probabilities") as traffic:
            traffic.wait_for(200)
            consul.kill()
            shutil.rmtree(tmp_path / "consul" / "data")
            consul.start()
            with traffic.at_ease():
                until(lambda: sum(mesh.log(name).count('"term_started"') for name in SCHEDULERS) >= 2)
                until(lambda: all_served(address))
            traffic.wait_for(200)
        assert traffic.failures == []
        deploy(address, tmp_path / "mlp.onnx", name="another", stages=2, replicas=2)
        mesh.stop(leader_of(mesh))
        until(lambda: all_served(address) and len(status(address).models) == 2)


def test_consul_stands_still(clients, tmp_path):
    """A Consul that takes connections and answers nothing is as good as away, and no worse."""
    with running(tmp_path) as (consul, mesh, address):
        with clients(address, 4, "mlp", request, "probabilities") as traffic:
            traffic.wait_for(200)
            consul.freeze()
            with traffic.at_ease():
                passes(OUTAGE_S / 2)
            mesh.kill("worker-1")
            require(address, "worker-2", "mlp", request)
            with traffic.at_ease():
                passes(OUTAGE_S / 2)
            consul.thaw()
            with traffic.at_ease():
                start_worker(mesh, "worker-1")
                until(lambda: all_served(address))
            traffic.wait_for(200)
        assert traffic.failures == []
