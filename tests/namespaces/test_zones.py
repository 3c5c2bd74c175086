"""Two zones on hosts of their own: real gateways, workers and a scheduler, under traffic from Triton's client."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.fakes.service_processes import until
from tests.namespaces.clients import ran_by
from tests.namespaces.zone_mesh import WORKER_PORT, hosts, zones

pytestmark = [pytest.mark.services, pytest.mark.timeout(1200)]


def test_zone_keeps_its_requests(tmp_path):
    """With the same load in both zones, below their capacity, at least 95 % of the requests are answered in their zone."""
    with zones(tmp_path, "mlp") as mesh:
        until(lambda: serving_is_known(mesh))
        with mesh.clients("a", "mlp", 1) as in_a, mesh.clients("b", "mlp", 1) as in_b:
            in_a.wait_for(400)
            in_b.wait_for(400)
    assert in_a.failures == in_b.failures == []
    assert len(ran_by(in_a.answers, "worker-a")) >= 0.95 * len(in_a.answers)
    assert len(ran_by(in_b.answers, "worker-b")) >= 0.95 * len(in_b.answers)


def test_zone_beyond_its_capacity_spills(tmp_path):
    """Requests beyond the near zone's capacity go to the other one; with a lower load they stay."""
    with zones(tmp_path, "resnet50") as mesh:
        with mesh.clients("a", "resnet50", 8) as clients:
            clients.wait_until(lambda answers: len(ran_by(answers, "worker-b")) >= 20)
        assert clients.failures == []
        assert ran_by(clients.answers, "worker-a")
        with mesh.clients("a", "resnet50", 1) as clients:
            clients.wait_until(lambda answers: len(ran_by(answers, "worker-a")) >= 20)
        assert clients.failures == []


def test_zone_that_is_disconnected_fails_no_request(tmp_path):
    """When the near worker is disconnected, which closes no connection, the other zone answers.

    Once it is connected again it is used again.
    """
    with zones(tmp_path, "mlp") as mesh, mesh.clients("a", "mlp", 4) as clients:
        clients.wait_until(lambda answers: len(ran_by(answers, "worker-a")) >= 100)
        mesh.network.cut("worker-a")
        num_before = len(ran_by(clients.answers, "worker-b"))
        clients.wait_until(lambda answers: len(ran_by(answers, "worker-b")) >= num_before + 200)
        until(lambda: "worker-a" not in mesh.status())
        mesh.network.mend("worker-a")
        num_before = len(ran_by(clients.answers, "worker-a"))
        clients.wait_until(lambda answers: len(ran_by(answers, "worker-a")) >= num_before + 200)
    assert clients.failures == []


def test_distant_worker_gets_only_requests_that_require_it(tmp_path):
    """A worker 20 ms away serves requests that require it, and no others while the near one has capacity."""
    with hosts(tmp_path, "proxy") as mesh:
        here, there = (f"{mesh.network.addresses[host]}:{WORKER_PORT}" for host in ("proxy", "worker-b"))
        delaying = [sys.executable, "-m", "tests.namespaces.delaying_program", here, there, "0.020"]
        with subprocess.Popen(
            [*mesh.network.on("proxy"), *delaying], stdout=subprocess.PIPE, text=True
        ) as proxy:
            try:
                assert proxy.stdout.readline() == "ready\n"
                mesh.start_worker("a")
                mesh.start_worker("b", f"--advertise={here}")
                mesh.start_gateway("a")
                mesh.deploy("mlp")
                until(lambda: serving_is_known(mesh))
                with mesh.clients("a", "mlp", 1) as clients:
                    clients.wait_for(400)
                with mesh.clients("a", "mlp", 1, "mesh.require=zone=b") as far:
                    far.wait_for(10)
            finally:
                proxy.kill()
    assert clients.failures == far.failures == []
    assert len(ran_by(clients.answers, "worker-a")) >= 0.95 * len(clients.answers)
    assert ran_by(far.answers, "worker-b") == far.answers
    assert min(answer["took_s"] for answer in far.answers) >= 0.040


def serving_is_known(mesh):
    """Whether the status lists both workers."""
    status = mesh.status()
    return "worker-a" in status and "worker-b" in status
