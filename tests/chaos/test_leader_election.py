"""Schedulers that stop or die, on real processes, under traffic from Triton's client."""

from __future__ import annotations

import pytest

from tests.chaos.consul_mesh import (
    SCHEDULERS,
    all_served,
    leader_of,
    request,
    running,
    sessions,
    start_worker,
    status,
)
from tests.fakes.service_processes import deploy, until

pytestmark = [pytest.mark.services, pytest.mark.timeout(1200)]


def test_follower_takes_over_from_a_killed_leader(clients, tmp_path):
    """The new leader has the whole state, and no request fails."""
    with running(tmp_path) as (_, mesh, address):
        leader = leader_of(mesh)
        (follower,) = {*SCHEDULERS} - {leader}
        epoch = status(address).epoch
        with clients(address, 4, "mlp", request, "probabilities") as traffic:
            traffic.wait_for(200)
            mesh.kill(leader)
            with traffic.at_ease():
                until(lambda: '"term_started"' in mesh.log(follower))
                until(lambda: all_served(address))
            traffic.wait_for(200)
            # Blobs that only the dead leader received are here: an empty worker fetches them from the new one.
            mesh.kill("worker-1")
            with traffic.at_ease():
                start_worker(mesh, "worker-1")
                until(lambda: all_served(address))
            deploy(address, tmp_path / "mlp.onnx", name="another", stages=2, replicas=2)
            traffic.wait_for(200)
            # The old one returns as a follower, which answers the same calls.
            with traffic.at_ease():
                mesh.start(leader)
                until(lambda: len(status(mesh.addresses[leader]).models) == 2)
        assert traffic.failures == []
        assert len(traffic.different) == 1
        assert status(address).epoch > epoch


def test_stopped_leader_releases_its_session(clients, tmp_path):
    """Its session in Consul is destroyed when it exits, so that a follower leads at once."""
    with running(tmp_path) as (consul, mesh, address):
        assert {f"onnxmesh-scheduler-{name}" for name in SCHEDULERS} >= sessions(consul) != set()
        leader = leader_of(mesh)
        (follower,) = {*SCHEDULERS} - {leader}
        with clients(address, 4, "mlp", request, "probabilities") as traffic:
            traffic.wait_for(200)
            assert mesh.stop(leader) == 0
            # Otherwise the other one would wait until the session expires.
            assert f"onnxmesh-scheduler-{leader}" not in sessions(consul)
            until(lambda: '"term_started"' in mesh.log(follower))
            until(lambda: all_served(address))
            traffic.wait_for(200)
        assert traffic.failures == []


def test_rolling_restart_of_schedulers_fails_no_request(clients, tmp_path):
    """Every scheduler has the deployments after it."""
    with running(tmp_path) as (_, mesh, address):
        with clients(address, 4, "mlp", request, "probabilities") as traffic:
            traffic.wait_for(200)
            for name in SCHEDULERS:
                assert mesh.stop(name) == 0
                traffic.wait_for(200)
                with traffic.at_ease():
                    mesh.start(name)
                    until(lambda: all_served(address))
                    until(lambda name=name: len(status(mesh.addresses[name]).models) == 1)
            traffic.wait_for(200)
        assert traffic.failures == []
        assert len(traffic.different) == 1
