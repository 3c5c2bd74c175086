"""The commands of `docs/several-machines.md`, on hosts of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes.service_processes import until
from tests.fakes.service_program import program
from tests.namespaces.clients import Clients
from tests.namespaces.documented_commands import blocks
from tests.namespaces.network import Network
from tests.zoo import ZOO

pytestmark = [pytest.mark.services, pytest.mark.timeout(1200)]

REPOSITORY = Path(__file__).parents[2]
HOSTS = ("one", "two", "three", "four", "client")


class Machines:
    """The hosts of the document with their processes. A context manager.

    Args:
        folder: Holds the home folder of each host.
    """

    def __init__(self, folder):
        self.folder = folder
        self.network = Network()
        self._started = []

    def __enter__(self):
        self.network.__enter__()
        try:
            for host in HOSTS:
                self.network.add(host)
                (self.folder / host).mkdir()
        except BaseException:
            self.network.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for _, process in self._started:
            process.kill()
            process.wait()
        self.network.__exit__()

    def run(self, block):
        """Runs a block: returns its output, or, for a long-running process, returns once it is ready."""
        if block.once:
            done = subprocess.run(
                self._command(block), capture_output=True, text=True, check=False, **self._where(block.host)
            )
            assert done.returncode == 0, f"{block.text}{done.stdout}{done.stderr}"
            return done.stdout
        log = self.folder / block.host / f"log{len(self._started)}"
        with log.open("wb") as file:
            process = subprocess.Popen(
                self._command(block), stdout=file, stderr=subprocess.STDOUT, **self._where(block.host)
            )
        self._started.append((block.host, process))

        def is_ready():
            assert process.poll() is None, log.read_text()[-3000:]
            if block.text.startswith("consul"):
                return self._succeeds(block.host, "consul", "catalog", "nodes")
            return "ready" in log.read_text().lower()

        until(is_ready)
        return ""

    def remove(self, host):
        """Disconnects a host, then kills its processes, so that no connection is closed."""
        self.network.cut(host)
        for where, process in self._started:
            if where == host:
                process.kill()
                process.wait()

    def _succeeds(self, host, *command):
        """Whether a command succeeds on a host."""
        where = self._where(host)
        return (
            subprocess.run(
                [*self.network.on(host), *command], capture_output=True, check=False, **where
            ).returncode
            == 0
        )

    def _command(self, block):
        # `exec`, so that the service is killed, not its shell.
        text = block.text if block.once else f"exec {block.text}"
        shell = ("sh", "-ec") if block.language == "sh" else ("python", "-c")
        return [*self.network.on(block.host), *shell, text]

    def _where(self, host):
        paths = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        home = self.folder / host
        environment = os.environ | {"HOME": str(home), "PATH": paths, "PYTHONPATH": str(REPOSITORY)}
        return {"cwd": home, "env": environment}


def test_documented_commands_start_a_mesh(tmp_path):
    """A model on two hosts answers a client on another one, also after one of the two is removed."""
    for name in ("consul", "redis-server"):
        program(name)
    document = (REPOSITORY / "docs" / "several-machines.md").read_text()
    services = [block for block in blocks(document) if not block.once]
    deploy, infer = (block for block in blocks(document) if block.once)
    with Machines(tmp_path) as machines:
        ZOO["mlp"].build(tmp_path / "client").rename(tmp_path / "client" / "model.onnx")
        for block in services:
            machines.run(block)
        deployed = machines.run(deploy)
        assert "worker-three" in deployed
        assert "worker-four" in deployed
        assert machines.run(infer).startswith("[[")
        gateway = f"{machines.network.addresses['two']}:8001"
        with Clients(machines.network.on("client"), gateway, "mlp:model", 2) as clients:
            clients.wait_for(100)
            machines.remove("four")
            clients.wait_for(200)
        assert clients.failures == []
        assert {worker for answer in clients.answers[-50:] for worker in answer["workers"]} == {
            "worker-three"
        }
