"""A process is killed with its child processes."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import asynccontextmanager

import psutil
import pytest

from onnxmesh.supervisor.events import ServiceDied, ServiceReady
from onnxmesh.supervisor.restart_policy import RestartPolicy
from onnxmesh.supervisor.service_manager import SERVICE_GRACE_S, ServiceManager, ServiceSpec
from tests.eventually import eventually

SERVICE = """
import subprocess, sys, time
mode, listen = sys.argv[1:]
print("starting up", file=sys.stderr, flush=True)
if mode == "broken":
    sys.exit("the setting is wrong")
if mode == "family":
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
if mode == "deaf":
    import signal
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
port = listen.rpartition(":")[2]
print("ready worker 127.0.0.1:" + ("7001" if port == "0" else port), flush=True)
print('{"level": "warning", "event": "hot", "celsius": 90}', file=sys.stderr, flush=True)
if mode == "dying":
    sys.exit(3)
sys.stdin.read()
"""


class RecordingSink:
    """A sink that remembers."""

    def __init__(self):
        self.events = []

    def record(self, event):
        self.events.append(event)

    def of(self, kind):
        return [event for event in self.events if isinstance(event, kind)]


@pytest.fixture
def sink():
    return RecordingSink()


@pytest.fixture
def manager_of(sink, tmp_path):
    def make(mode, grace_s=SERVICE_GRACE_S, **policy):
        return ServiceManager(
            ServiceSpec(
                name="worker-0",
                listen="127.0.0.1:0",
                command_at=lambda listen: [sys.executable, "-c", SERVICE, mode, listen],
                log=tmp_path / "worker-0.log",
                grace_s=grace_s,
            ),
            sink,
            policy=RestartPolicy(first_delay_s=0.01, **policy),
        )

    return make


@asynccontextmanager
async def running(manager):
    async with asyncio.TaskGroup() as group:
        task = group.create_task(manager.run())
        await manager.ready()
        yield
        task.cancel()


async def test_process_is_killed_with_its_children(manager_of, sink):
    """A child that a killed service leaves behind is ended too, and does not delay the report of the death."""
    async with running(manager_of("family")):
        (ready,) = sink.of(ServiceReady)
        (child,) = psutil.Process(ready.pid).children()
        os.kill(ready.pid, signal.SIGKILL)
        await eventually(lambda: sink.of(ServiceDied))
        await eventually(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)
