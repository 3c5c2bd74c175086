"""Schedulers, workers and gateways as processes."""

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
    """Processes that a test starts by role and name, stops and kills. A context manager.

    Args:
        folder: Their files and logs.
        options: Options of all of them, such as `--consul=…`.
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
        """Starts a service and returns its address once it is ready; `scheduler-1` is a scheduler.

        `within` is a prefix of the command, which runs it in another namespace.
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
        """Returns the log of a service."""
        return (self.folder / f"{name}.log").read_text()

    def signal(self, name, number):
        """Sends a signal to a service."""
        os.kill(self._processes[name].pid, number)

    def kill(self, name):
        """Kills a service with SIGKILL."""
        self.signal(name, signal.SIGKILL)
        self._end(name)

    def stop(self, name):
        """Stops a service with SIGTERM and waits; returns its exit code."""
        self.signal(name, signal.SIGTERM)
        return self._end(name)

    def _end(self, name):
        process = self._processes.pop(name)
        code = process.wait(300)
        process.stdout.close()
        return code


def call_mesh(address, call):
    """Calls `call` with a client of the mesh at an address, and returns its result."""

    async def called():
        async with MeshClient(address) as client:
            return await call(client)

    return asyncio.run(called())


def deploy(address, model, **spec):
    """Deploys a model through any service of a mesh that proxies calls."""
    deployment = DeploymentSpec(**({"name": model.stem, "replicas": 1} | spec))
    return call_mesh(address, lambda client: client.deploy(model, deployment))


def until(condition, timeout_s=300.0):
    """Waits until `condition()` is True and returns the seconds; fails with its last value or error."""
    began = monotonic()
    while True:
        try:
            value = condition()
        except Exception as error:  # noqa: BLE001 - it may fail until then
            value = error
        if value is True:
            return monotonic() - began
        assert monotonic() < began + timeout_s, f"still {value!r} after {timeout_s:g} s"
        threading.Event().wait(0.05)
