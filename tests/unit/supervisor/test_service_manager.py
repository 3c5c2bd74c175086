"""Services are restarted when they die; with real processes that misbehave."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import asynccontextmanager, suppress

import psutil
import pytest

from onnxmesh.errors import Unavailable
from onnxmesh.supervisor.events import ServiceDied, ServiceReady, ServiceWarned
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


async def test_manager_reports_a_ready_service_and_leaves_no_process(manager_of, sink, tmp_path):
    """The ready line gives the address; log lines of warnings are reported, all are kept; a cancelled manager ends the process."""
    async with running(manager_of("good")):
        (ready,) = sink.of(ServiceReady)
        assert (ready.address, ready.again) == ("127.0.0.1:7001", False)
        await eventually(lambda: sink.of(ServiceWarned))
        assert psutil.pid_exists(ready.pid)
    assert not psutil.pid_exists(ready.pid)
    assert sink.of(ServiceWarned) == [ServiceWarned("worker-0", "warning", "hot celsius=90")]
    assert "starting up" in (tmp_path / "worker-0.log").read_text()


async def test_manager_restarts_a_killed_service_at_the_same_address(manager_of, sink):
    """A SIGKILL is reported with its cause, and the next process gets the port that the first one took."""
    async with running(manager_of("good")):
        (first,) = sink.of(ServiceReady)
        os.kill(first.pid, signal.SIGKILL)
        await eventually(lambda: len(sink.of(ServiceReady)) == 2)
        _, second = sink.of(ServiceReady)
        assert (second.address, second.again) == (first.address, True)
        assert second.pid != first.pid
        (died,) = sink.of(ServiceDied)
        assert (died.pid, died.cause) == (first.pid, "was killed by SIGKILL")


async def test_manager_does_not_restart_a_service_that_never_became_ready(manager_of, sink):
    """The error has the service's last words."""
    with pytest.raises(Unavailable, match=r"worker-0 ended with exit code 1 .*: the setting is wrong"):
        await manager_of("broken").run()
    assert sink.events == []


async def test_manager_gives_up_on_a_service_that_keeps_dying(manager_of, sink):
    """After three deaths within the window it reports them, with the process's last output."""
    with pytest.raises(Unavailable, match="death number 3 within 30 s: giving up: hot celsius=90"):
        await manager_of("dying", max_deaths=3).run()
    assert len(sink.of(ServiceDied)) == 2


async def test_manager_kills_a_service_that_ignores_sigterm_on_a_second_cancel(manager_of, sink):
    """A service that ignores SIGTERM is ended by kill() while the manager still waits for it."""
    manager = manager_of("deaf")
    async with asyncio.TaskGroup() as group:
        task = group.create_task(manager.run())
        await manager.ready()
        (ready,) = sink.of(ServiceReady)
        task.cancel()
        await asyncio.sleep(0)
        assert psutil.pid_exists(ready.pid)
        async with asyncio.timeout(3.0):
            manager.kill()
            with suppress(asyncio.CancelledError):
                await task
    assert not psutil.pid_exists(ready.pid)
