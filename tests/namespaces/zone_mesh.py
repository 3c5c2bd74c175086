"""A mesh in two zones: each has a host with a gateway and a host with a worker; the scheduler has its own host."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager

from tests.fakes.service_processes import ServiceProcesses
from tests.namespaces.clients import Clients
from tests.namespaces.network import Network
from tests.zoo import ZOO

ZONES = "ab"
RATE = "1gbit"

GATEWAY_PORT, SCHEDULER_PORT, WORKER_PORT = 8001, 8010, 8020


class ZoneMesh:
    """A running mesh and the hosts it runs on: `scheduler`, and for each zone `gateway-a` and `worker-a`.

    Args:
        network: The hosts.
        services: The processes, named like their hosts.
    """

    def __init__(self, network, services):
        self.network = network
        self.services = services

    def start(self, host, port, *options, core=None):
        """Starts the service with the name of its host; on one core of the machine if `core` is given."""
        address = f"{self.network.addresses[host]}:{port}"
        pinned = () if core is None else ("taskset", "--cpu-list", str(core))
        self.services.start(host, f"--listen={address}", *options, within=(*self.network.on(host), *pinned))

    def start_worker(self, zone, *options, core=None):
        """Starts the worker of a zone."""
        scheduler = f"--scheduler={self.services.addresses['scheduler']}"
        tagged = ("--threads=1", "--no-measure", f"--tags=zone={zone}")
        self.start(f"worker-{zone}", WORKER_PORT, scheduler, *tagged, *options, core=core)

    def start_gateway(self, zone):
        """Starts the gateway of a zone."""
        scheduler = f"--scheduler={self.services.addresses['scheduler']}"
        self.start(f"gateway-{zone}", GATEWAY_PORT, scheduler, f"--zone={zone}")

    def clients(self, zone, model, num_clients, *options):
        """Returns clients on the host of a zone's gateway, which they call."""
        host = f"gateway-{zone}"
        return Clients(self.network.on(host), self.services.addresses[host], model, num_clients, *options)

    def deploy(self, name, replicas=2):
        """Deploys a model of the zoo in one stage, and returns once it is served."""
        model = ZOO[name].build(self.services.folder)
        self._onnxmesh("deploy", str(model), "--name", name, "--stages", "1", "--replicas", str(replicas))

    def status(self):
        """Returns the output of `onnxmesh status`."""
        return self._onnxmesh("status")

    def _onnxmesh(self, *words):
        address = self.services.addresses["gateway-a"]
        command = [*self.network.on("gateway-a"), sys.executable, "-m", "onnxmesh.cli", *words]
        done = subprocess.run([*command, "--mesh", address], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@contextmanager
def hosts(folder, *more):
    """Yields the hosts, with further ones, and only the scheduler running."""
    with Network() as network, ServiceProcesses(folder) as services:
        for host in (
            "scheduler",
            *(f"{role}-{zone}" for zone in ZONES for role in ("gateway", "worker")),
            *more,
        ):
            network.add(host, rate=RATE)
        mesh = ZoneMesh(network, services)
        mesh.start("scheduler", SCHEDULER_PORT)
        yield mesh


@contextmanager
def zones(folder, *models, cores=(None, None)):
    """Yields the whole mesh, once it serves models of the zoo in both zones; workers are pinned to `cores`."""
    with hosts(folder) as mesh:
        for zone, core in zip(ZONES, cores, strict=True):
            mesh.start_worker(zone, core=core)
            mesh.start_gateway(zone)
        for name in models:
            mesh.deploy(name)
        yield mesh
