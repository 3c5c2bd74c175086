"""Schedulers, workers and gateways as processes of their own, which meet in a real Consul."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from time import monotonic

from onnxmesh.client import MeshClient
from onnxmesh.v1.model_pb2 import DeploymentSpec


class ServiceProcesses:
    """Processes that a test starts by role and name, and ends as it likes. A context manager.

    Args:
        folder: Where they keep their files and logs.
        options: Given to all of them, such as `--consul=…`.
    """

    def __init__(self, folder, *options):
        self.folder = folder
        self.options = options
        self.addresses = {}
        self._processes = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self._processes.values():
            process.kill()
        for process in self._processes.values():
            process.wait()
            process.stdout.close()

    def start(self, name, *options, role=None, within=()):
        """Starts a service and returns its address once it serves; `scheduler-1` is a scheduler.

        The words `within` come before the command: they run it somewhere else.
        """
        role = role or name.partition("-")[0]
        listen = self.addresses.get(name, "127.0.0.1:0")
        command = [*within, sys.executable, "-m", f"services.{role}", f"--id={name}", f"--listen={listen}"]
        command += ["--log-format=json", "--drain-s=2", *self.options, *options]
        if role == "scheduler":
            command += [f"--state={self.folder / name}"]
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        self._processes[name] = process
        line = process.stdout.readline()
        assert line.startswith(f"ready {role} "), (line, self.log(name)[-3000:])
        self.addresses[name] = line.split()[-1]
        return self.addresses[name]

    def log(self, name):
        """Returns what a service has logged."""
        return (self.folder / f"{name}.log").read_text()

    def signal(self, name, number):
        """Sends a signal to a service."""
        os.kill(self._processes[name].pid, number)

    def kill(self, name):
        """Ends a service as its machine's death would."""
        self.signal(name, signal.SIGKILL)
        self._end(name)

    def stop(self, name):
        """Asks a service to end, and waits until it has."""
        self.signal(name, signal.SIGTERM)
        return self._end(name)

    def _end(self, name):
        process = self._processes.pop(name)
        code = process.wait(300)
        process.stdout.close()
        return code


def ask(address, question):
    """Returns what `question`, given a client of the mesh at an address, returns."""

    async def asked():
        async with MeshClient(address) as client:
            return await question(client)

    return asyncio.run(asked())


def deploy(address, model, **spec):
    """Deploys a model through any service of a mesh that passes calls on."""
    wish = DeploymentSpec(**({"name": model.stem, "replicas": 1} | spec))
    return ask(address, lambda client: client.deploy(model, wish))


def until(condition, timeout_s=300.0):
    """Returns how long it took until `condition()` held; fails with what it said last if it never does."""
    began = monotonic()
    while True:
        try:
            value = condition()
        except Exception as error:  # noqa: BLE001 - it may well fail until it holds
            value = error
        if value is True:
            return monotonic() - began
        assert monotonic() < began + timeout_s, f"still {value!r} after {timeout_s:g} s"
        threading.Event().wait(0.05)
