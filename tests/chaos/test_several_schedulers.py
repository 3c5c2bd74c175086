"""Schedulers that end, on real processes, under traffic from Triton's client."""

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


def test_a_follower_takes_over_from_a_leader_that_is_killed(clients, tmp_path):
    """After the leader's death another leads, with everything it needs, and no request has failed."""
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
            # What only the dead leader was given is here: a worker with nothing gets it from the new one.
            mesh.kill("worker-1")
            with traffic.at_ease():
                start_worker(mesh, "worker-1")
                until(lambda: all_served(address))
            deploy(address, tmp_path / "mlp.onnx", name="another", stages=2, replicas=2)
            traffic.wait_for(200)
            # And the old one comes back as a follower, through which everything can be asked as well.
            with traffic.at_ease():
                mesh.start(leader)
                until(lambda: len(status(mesh.addresses[leader]).models) == 2)
        assert traffic.failures == []
        assert len(traffic.different) == 1
        assert status(address).epoch > epoch


def test_a_leader_that_is_stopped_hands_over_at_once(clients, tmp_path):
    """It has given up its session in Consul when it ends."""
    with running(tmp_path) as (consul, mesh, address):
        assert {f"onnxmesh-scheduler-{name}" for name in SCHEDULERS} >= sessions(consul) != set()
        leader = leader_of(mesh)
        (follower,) = {*SCHEDULERS} - {leader}
        with clients(address, 4, "mlp", request, "probabilities") as traffic:
            traffic.wait_for(200)
            assert mesh.stop(leader) == 0
            # Else the other one would wait until it has run out.
            assert f"onnxmesh-scheduler-{leader}" not in sessions(consul)
            until(lambda: '"term_started"' in mesh.log(follower))
            until(lambda: all_served(address))
            traffic.wait_for(200)
        assert traffic.failures == []


def test_schedulers_are_restarted_one_after_the_other(clients, tmp_path):
    """A new release of the schedulers costs no request; what is deployed is known to the last of them."""
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
