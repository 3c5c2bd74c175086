"""A mesh with Consul: two schedulers, two workers that hold a replica of each of two stages, a gateway."""

from __future__ import annotations

import json
import threading
import urllib.request
from contextlib import contextmanager

from tritonclient import grpc as triton

from tests.fakes.service_processes import ServiceProcesses, call_mesh, deploy, until
from tests.fakes.service_program import ConsulProgram
from tests.zoo import ZOO

SCHEDULERS = ("scheduler-1", "scheduler-2")
WORKERS = ("worker-1", "worker-2")


def request():
    return [
        triton.InferInput(name, list(array.shape), "FP32").set_data_from_numpy(array)
        for name, array in ZOO["mlp"].inputs(1, 1).items()
    ]


@contextmanager
def running(folder):
    """Yields Consul, the processes and the gateway's address, once the model is served by two replicas a stage."""
    model = ZOO["mlp"].build(folder)
    with (
        ConsulProgram(folder / "consul") as consul,
        ServiceProcesses(folder, f"--consul={consul.address}") as mesh,
    ):
        for name in SCHEDULERS:
            mesh.start(name)
        for name in WORKERS:
            start_worker(mesh, name)
        address = mesh.start("gateway-1", "--listen=127.0.0.1:0")
        until(lambda: len(status(address).workers) == len(WORKERS))
        deploy(address, model, name="mlp", stages=2, replicas=2)
        until(lambda: call_mesh(address, lambda client: client.model_ready("mlp", timeout=10)))
        yield consul, mesh, address


def start_worker(mesh, name):
    """Starts a worker with its name as a tag."""
    mesh.start(name, "--threads=1", "--no-measure", f"--tags={name}")


def status(address):
    return call_mesh(address, lambda client: client.status(timeout=300))


def all_served(address, num_replicas=4):
    """Whether a scheduler leads and reports every replica as ready."""
    found = status(address)
    ready = [[each for each in model.replicas if each.state == "READY"] for model in found.models]
    return bool(ready) and all(len(replicas) == num_replicas for replicas in ready)


def sessions(consul):
    """Returns the names of the sessions in Consul, which can hold locks."""
    with urllib.request.urlopen(f"http://{consul.address}/v1/session/list", timeout=300) as answer:
        return {session["Name"] for session in json.load(answer)}


def leader_of(mesh):
    """Returns the scheduler whose term started last."""
    terms = {
        name: mesh.log(name).count('"term_started"') and _last_term(mesh.log(name)) for name in SCHEDULERS
    }
    return max(terms, key=terms.__getitem__)


def _last_term(log):
    line = [line for line in log.splitlines() if '"term_started"' in line][-1]
    return int(line.partition('"term": ')[2].partition(",")[0])


def passes(seconds):
    threading.Event().wait(seconds)
