"""Outages of Consul, on real processes, under traffic from Triton's client."""

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
from tests.fakes.service_processes import call_mesh, deploy, until

pytestmark = [pytest.mark.services, pytest.mark.timeout(1200)]

OUTAGE_S = 24.0
"""Longer than a leader's session lasts in Consul: twice its TTL of 10 s."""


def test_traffic_survives_a_consul_that_is_killed_and_restarted(clients, tmp_path):
    """A worker that dies meanwhile fails no request, and afterwards everything is as before."""
    with running(tmp_path) as (consul, mesh, address):
        with clients(address, 4, "mlp", request, "probabilities") as traffic:
            traffic.wait_for(200)
            consul.kill()
            with traffic.at_ease():
                passes(OUTAGE_S / 2)
            mesh.kill("worker-2")
            # Only the gateway's own stream to the worker shows its death.
            require(address, "worker-1", "mlp", request)
            with traffic.at_ease():
                passes(OUTAGE_S / 2)
                consul.start()
                start_worker(mesh, "worker-2")
                until(lambda: all_served(address))
            traffic.wait_for(200)
            deploy(address, tmp_path / "mlp.onnx", name="another", stages=2, replicas=2)
            until(lambda: call_mesh(address, lambda client: client.model_ready("another", timeout=10)))
        assert traffic.failures == []
        assert len(traffic.different) == 1


def test_traffic_survives_a_consul_that_is_restarted_without_its_data(clients, tmp_path):
    """Every service registers again, a leader is elected, and deployed models are served all the time."""
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


def test_traffic_survives_a_frozen_consul(clients, tmp_path):
    """A Consul that accepts connections and does not answer is like one that is down."""
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
