"""Peers that fall silent."""

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
    """A watch whose time moves by `step_s` each time it is asked for."""

    def __init__(self, limits=LIMITS):
        self.now_s = 0.0
        self.step_s = 0.0
        self.num_asked = 0
        self.changes = []
        self.pulse = Heartbeat(limits, 0.0)
        self.watch = FailureDetector("b", self.pulse, self.clock)

    def clock(self):
        self.num_asked += 1
        self.now_s += self.step_s
        return self.now_s

    @asynccontextmanager
    async def running(self):
        task = asyncio.ensure_future(self.watch.run(lambda: self.changes.append(self.watch.is_suspect)))
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.wait([task])


async def test_a_peer_that_says_nothing_is_suspect_and_then_dead():
    """It is told once that it is suspect; being dead ends the watch, with the time that it took."""
    peer = Watched()
    peer.step_s = 0.015
    async with peer.running() as task, asyncio.timeout(60):
        with pytest.raises(Unavailable, match=r"^b has sent nothing for 3\.\d s$"):
            await task
    assert peer.changes == [True]


async def test_a_suspect_peer_that_is_heard_is_well_again():
    """Whoever hears it learns that it was silent, once."""
    peer = Watched()
    peer.step_s = 0.015
    async with peer.running():
        await eventually(lambda: peer.watch.is_suspect)
        peer.step_s = 0.0
        assert peer.watch.observe_message()
        assert not peer.watch.is_suspect
        assert not peer.watch.observe_message()


async def test_what_was_not_heard_while_this_process_stood_still_is_no_silence():
    """A clock that leaps over the limit makes nobody suspect."""
    peer = Watched()
    async with peer.running() as task:
        await asyncio.sleep(0)
        peer.now_s = 60.0
        await eventually(lambda: peer.num_asked >= 10)
        assert not task.done()
    assert peer.changes == []


async def test_a_link_that_comes_into_use_is_watched_closely_at_once():
    """However long the idle link would have been left alone."""
    peer = Watched(
        LinkLimits(heartbeat_s=0.01, idle_heartbeat_s=3600.0, suspect_after_s=1.0, dead_after_s=3.0)
    )
    async with peer.running():
        await asyncio.sleep(0)
        peer.now_s = 0.5
        assert peer.pulse.observe_use(0.5)
        peer.watch.wake()
        peer.step_s = 0.01
        await eventually(lambda: peer.watch.is_suspect)
