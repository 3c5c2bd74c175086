"""A scheduler, workers and a gateway as processes, with clients of a small model."""

from __future__ import annotations

from contextlib import contextmanager

from tritonclient import grpc as triton

from tests.chaos.traffic import Traffic
from tests.fakes.service_processes import ServiceProcesses, call_mesh, until
from tests.zoo import ZOO

WORKER = ("--threads=1", "--no-measure", "--drain-s=30")
"""Options of workers; a slow machine needs a long time to drain them."""


class SmallMesh:
    """The processes, with the calls that tests make."""

    def __init__(self, processes, joining, gateway):
        self.processes = processes
        self.gateway = gateway
        self._joining = joining

    def start_worker(self, name):
        """Starts a worker and waits until it has joined."""
        self.processes.start(name, *self._joining, *WORKER)
        until(lambda: name in {worker.id for worker in self.status().workers})

    def call(self, call):
        """Calls the mesh through the gateway."""
        return call_mesh(self.gateway, call)

    def status(self):
        return self.call(lambda client: client.status(timeout=300))

    def holders(self, name="mlp", version=1):
        """Returns for each stage of a model the workers that are ready to serve it."""
        (model,) = [each for each in self.status().models if (each.name, each.version) == (name, version)]
        return [
            {r.worker for r in model.replicas if r.stage == partition.index and r.state == "READY"}
            for partition in model.plan.partitions
        ]

    def traffic(self, name="mlp"):
        """Returns clients that send requests without a version."""
        return Traffic(self.gateway, 3, name, request, "probabilities")


def request():
    """One request of the small model."""
    return [
        triton.InferInput(name, list(array.shape), "FP32").set_data_from_numpy(array)
        for name, array in ZOO["mlp"].inputs(1, 1).items()
    ]


@contextmanager
def small_mesh(folder, *workers, consul=None):
    """Runs a scheduler, a gateway and the workers of these names; with Consul if its address is given."""
    everyone = () if consul is None else (f"--consul={consul}",)
    with ServiceProcesses(folder, *everyone) as processes:
        scheduler = processes.start("scheduler-1", "--replan-after-s=3600")
        joining = () if consul else (f"--scheduler={scheduler}",)
        mesh = SmallMesh(processes, joining, processes.start("gateway-1", *joining))
        for name in workers:
            mesh.start_worker(name)
        yield mesh
