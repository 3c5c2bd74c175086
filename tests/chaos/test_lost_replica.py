"""A worker that is down or frozen for some time, on real processes, under traffic from Triton's client."""

from __future__ import annotations

import signal
import threading

import pytest

from tests.chaos.consul_mesh import request
from tests.fakes.service_processes import ServiceProcesses, call_mesh, deploy, until
from tests.zoo import ZOO

pytestmark = pytest.mark.timeout(1200)

OUTAGE_S = 12.0
"""Longer than a link to a worker that sends nothing is kept (3 s) and than the scheduler waits before it moves stages (10 s)."""


@pytest.mark.parametrize("fault", ["killed", "frozen"])
def test_traffic_survives_the_outage_of_one_of_two_replicas(fault, clients, tmp_path):
    """The other replica serves alone; a frozen worker keeps its streams, but no request."""
    with ServiceProcesses(tmp_path) as mesh:
        scheduler = mesh.start("scheduler-1")

        def start(name):
            mesh.start(name, "--threads=1", "--no-measure", f"--scheduler={scheduler}")

        def served(address):
            (model,) = call_mesh(address, lambda client: client.status(timeout=300)).models
            return sum(replica.state == "READY" for replica in model.replicas) == 4

        start("worker-1")
        start("worker-2")
        address = mesh.start("gateway-1", "--listen=127.0.0.1:0", f"--scheduler={scheduler}")
        until(lambda: len(call_mesh(address, lambda client: client.status(timeout=300)).workers) == 2)
        deploy(address, ZOO["mlp"].build(tmp_path), name="mlp", stages=2, replicas=2)
        until(lambda: call_mesh(address, lambda client: client.model_ready("mlp", timeout=10)))
        with clients(address, 4, "mlp", request, "probabilities") as traffic:
            traffic.wait_for(200)
            mesh.kill("worker-2") if fault == "killed" else mesh.signal("worker-2", signal.SIGSTOP)
            traffic.wait_for(200)
            with traffic.at_ease():
                threading.Event().wait(OUTAGE_S)
            start("worker-2") if fault == "killed" else mesh.signal("worker-2", signal.SIGCONT)
            until(lambda: served(address))
            traffic.wait_for(200)
        assert traffic.failures == []
        assert len(traffic.different) == 1
