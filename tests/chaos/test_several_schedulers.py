"""A mesh that meets in Consul, on real processes, under traffic from Triton's client."""

from __future__ import annotations

import shutil
import threading
from contextlib import contextmanager

import pytest
from tritonclient import grpc as triton

from tests.chaos.traffic import Traffic
from tests.fakes.service_processes import ServiceProcesses, ask, deploy, until
from tests.fakes.service_program import ConsulProgram
from tests.zoo import ZOO

pytestmark = [pytest.mark.services, pytest.mark.timeout(300)]

SCHEDULERS = ("scheduler-1", "scheduler-2", "scheduler-3")
WORKERS = ("worker-1", "worker-2")
OUTAGE_S = 10.0


def request():
    return [
        triton.InferInput(name, list(array.shape), "FP32").set_data_from_numpy(array)
        for name, array in ZOO["mlp"].inputs(1, 1).items()
    ]


@pytest.fixture
def model(tmp_path):
    return ZOO["mlp"].build(tmp_path)


@contextmanager
def running(folder, model, schedulers=SCHEDULERS[:2]):
    """Yields Consul, the processes and the gateway's address, once the model is served by two replicas a stage."""
    with (
        ConsulProgram(folder / "consul") as consul,
        ServiceProcesses(folder, f"--consul={consul.address}") as mesh,
    ):
        for name in schedulers:
            mesh.start(name)
        for name in WORKERS:
            mesh.start(name, "--threads=1", "--no-measure")
        address = mesh.start("gateway-1", "--listen=127.0.0.1:0")
        until(lambda: len(status(address).workers) == len(WORKERS))
        deploy(address, model, name="mlp", stages=2, replicas=2)
        until(lambda: ask(address, lambda client: client.model_ready("mlp", timeout=1)))
        yield consul, mesh, address


def status(address):
    return ask(address, lambda client: client.status(timeout=2))


def all_served(address, num_replicas=4):
    """Whether some scheduler leads and knows every replica to serve."""
    found = status(address)
    ready = [[each for each in model.replicas if each.state == "READY"] for model in found.models]
    return bool(ready) and all(len(replicas) == num_replicas for replicas in ready)


def leader_of(mesh, schedulers=SCHEDULERS[:2]):
    """Returns who took office last."""
    terms = {name: mesh.log(name).count('"in_office"') and _last_term(mesh.log(name)) for name in schedulers}
    return max(terms, key=terms.__getitem__)


def _last_term(log):
    line = [line for line in log.splitlines() if '"in_office"' in line][-1]
    return int(line.partition('"term": ')[2].partition(",")[0])


def passes(seconds):
    threading.Event().wait(seconds)


def test_a_follower_takes_over_from_a_leader_that_is_killed(model, tmp_path):
    """Within 15 s of the leader's death another leads, with everything it needs, and no request has failed."""
    with running(tmp_path, model) as (_, mesh, address):
        leader = leader_of(mesh)
        (follower,) = {*SCHEDULERS[:2]} - {leader}
        epoch = status(address).epoch
        with Traffic(address, 4, "mlp", request, "probabilities") as traffic:
            traffic.wait_for(200)
            mesh.kill(leader)
            until(lambda: '"in_office"' in mesh.log(follower), timeout_s=15)
            until(lambda: all_served(address), timeout_s=15)
            traffic.wait_for(200)
            # What only the dead leader was given is here: a worker with nothing gets it from the new one.
            mesh.kill("worker-1")
            mesh.start("worker-1", "--threads=1", "--no-measure")
            until(lambda: all_served(address))
            deploy(address, model, name="another", stages=2, replicas=2)
            traffic.wait_for(200)
            # And the old one comes back as a follower, through which everything can be asked as well.
            mesh.start(leader)
            until(lambda: len(status(mesh.addresses[leader]).models) == 2)
        assert traffic.failures == []
        assert len(traffic.different) == 1
        assert status(address).epoch > epoch


def test_a_leader_that_is_stopped_hands_over_at_once(model, tmp_path):
    with running(tmp_path, model) as (_, mesh, address):
        leader = leader_of(mesh)
        (follower,) = {*SCHEDULERS[:2]} - {leader}
        with Traffic(address, 4, "mlp", request, "probabilities") as traffic:
            traffic.wait_for(200)
            assert mesh.stop(leader) == 0
            until(lambda: '"in_office"' in mesh.log(follower), timeout_s=5)
            until(lambda: all_served(address), timeout_s=15)
            traffic.wait_for(200)
        assert traffic.failures == []


def test_consul_is_killed_and_comes_back(model, tmp_path):
    """Traffic needs no Consul, a worker that dies meanwhile is got over, and afterwards all is as before."""
    with running(tmp_path, model) as (consul, mesh, address):
        with Traffic(address, 4, "mlp", request, "probabilities") as traffic:
            traffic.wait_for(200)
            consul.kill()
            passes(OUTAGE_S / 2)
            mesh.kill("worker-2")
            passes(OUTAGE_S / 2)
            consul.start()
            mesh.start("worker-2", "--threads=1", "--no-measure")
            until(lambda: all_served(address), timeout_s=60)
            traffic.wait_for(200)
            deploy(address, model, name="another", stages=2, replicas=2)
            until(lambda: ask(address, lambda client: client.model_ready("another", timeout=1)))
        assert traffic.failures == []
        assert len(traffic.different) == 1


def test_consul_comes_back_without_its_memory(model, tmp_path):
    """Everyone registers again, a leader is elected anew, and what is deployed is served all the time."""
    with running(tmp_path, model) as (consul, mesh, address):
        with Traffic(address, 4, "mlp", request, "probabilities") as traffic:
            traffic.wait_for(200)
            consul.kill()
            shutil.rmtree(tmp_path / "consul" / "data")
            consul.start()
            until(lambda: sum(mesh.log(name).count('"in_office"') for name in SCHEDULERS[:2]) >= 2)
            until(lambda: all_served(address), timeout_s=60)
            traffic.wait_for(200)
        assert traffic.failures == []
        deploy(address, model, name="another", stages=2, replicas=2)
        mesh.stop(leader_of(mesh))
        until(lambda: all_served(address) and len(status(address).models) == 2)


def test_consul_stands_still(model, tmp_path):
    """A Consul that takes connections and answers nothing is as good as away, and no worse."""
    with running(tmp_path, model) as (consul, _, address):
        with Traffic(address, 4, "mlp", request, "probabilities") as traffic:
            traffic.wait_for(200)
            consul.freeze()
            passes(OUTAGE_S)
            consul.thaw()
            until(lambda: all_served(address), timeout_s=60)
            traffic.wait_for(200)
        assert traffic.failures == []
