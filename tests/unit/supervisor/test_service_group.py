"""Services of a group stop together."""

from __future__ import annotations

import sys

import psutil
import pytest

from onnxmesh.errors import Unavailable
from onnxmesh.supervisor.events import ServiceReady
from onnxmesh.supervisor.restart_policy import RestartPolicy
from onnxmesh.supervisor.service_group import ServiceGroup
from onnxmesh.supervisor.service_manager import SERVICE_GRACE_S, ServiceManager, ServiceSpec

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


async def test_group_stops_all_services_before_it_raises_the_error_of_one(manager_of, sink):
    """Also one that ignores SIGTERM: when the error comes, nothing runs any more."""
    with pytest.raises(Unavailable, match="the setting is wrong"):
        async with ServiceGroup() as group:
            deaf, broken = manager_of("deaf", grace_s=0.2), manager_of("broken")
            group.start(deaf)
            await deaf.ready()
            group.start(broken)
            await broken.ready()
    (ready,) = sink.of(ServiceReady)
    assert not psutil.pid_exists(ready.pid)
