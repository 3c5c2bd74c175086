"""Peers whose heartbeats are overdue."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from onnxmesh.errors import Unavailable
from onnxmesh.rpc.link.failure_detector import FailureDetector
from onnxmesh.rpc.link_policy.heartbeat import Heartbeat
from onnxmesh.rpc.link_policy.link_limits import LinkLimits
from tests.eventually import eventually

LIMITS = LinkLimits(heartbeat_s=0.01, idle_heartbeat_s=0.02, suspect_after_s=1.0, dead_after_s=3.0)


class Watched:
    """A failure detector whose time moves by `step_s` with every reading."""

    def __init__(self, limits=LIMITS):
        self.now_s = 0.0
        self.step_s = 0.0
        self.num_calls = 0
        self.changes = []
        self.heartbeat = Heartbeat(limits, 0.0)
        self.detector = FailureDetector("b", self.heartbeat, self.clock)

    def clock(self):
        self.num_calls += 1
        self.now_s += self.step_s
        return self.now_s

    @asynccontextmanager
    async def running(self):
        task = asyncio.ensure_future(self.detector.run(lambda: self.changes.append(self.detector.is_suspect)))
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.wait([task])


async def test_failure_detector_suspects_a_quiet_peer_and_then_considers_it_dead():
    """The change is reported once; death ends the run, with the time since the last message."""
    peer = Watched()
    peer.step_s = 0.015
    async with peer.running() as task, asyncio.timeout(60):
        with pytest.raises(Unavailable, match=r"^b has sent nothing for 3\.\d s$"):
            await task
    assert peer.changes == [True]


async def test_failure_detector_clears_suspicion_with_a_message():
    """The first message reports that the peer was suspect."""
    peer = Watched()
    peer.step_s = 0.015
    async with peer.running():
        await eventually(lambda: peer.detector.is_suspect)
        peer.step_s = 0.0
        assert peer.detector.observe_message()
        assert not peer.detector.is_suspect
        assert not peer.detector.observe_message()


async def test_failure_detector_ignores_stalls_of_this_process():
    """A clock that jumps past the limit makes no peer suspect."""
    peer = Watched()
    async with peer.running() as task:
        await asyncio.sleep(0)
        peer.now_s = 60.0
        await eventually(lambda: peer.num_calls >= 10)
        assert not task.done()
    assert peer.changes == []


async def test_failure_detector_applies_a_shorter_interval_at_once():
    """However long the interval of the idle link is."""
    peer = Watched(
        LinkLimits(heartbeat_s=0.01, idle_heartbeat_s=3600.0, suspect_after_s=1.0, dead_after_s=3.0)
    )
    async with peer.running():
        await asyncio.sleep(0)
        peer.now_s = 0.5
        assert peer.heartbeat.observe_use(0.5)
        peer.detector.wake()
        peer.step_s = 0.01
        await eventually(lambda: peer.detector.is_suspect)
