"""Links over real sockets measure the way to their peers."""

from __future__ import annotations

import asyncio

from onnxmesh.rpc.link_policy.link_limits import LinkLimits
from tests.eventually import eventually
from tests.fakes.slow_way import slow_way
from tests.integration.rpc.test_links import activation
from tests.integration.rpc.test_links import grpc_peer as peer

FAST = LinkLimits(heartbeat_s=0.05, idle_heartbeat_s=0.05, dead_after_s=30.0)


async def test_both_sides_measure_round_trip_and_width():
    """Soon after the link is up; those who get frames see nothing of it."""
    async with peer("a", serve=False, limits=FAST) as a, peer("b", limits=FAST) as b:
        link = await a.links.connect("b", b.address)
        await eventually(lambda: b.links.get("a"))
        for side in (link, b.links.get("a")):
            await eventually(lambda side=side: side.estimate is not None and side.estimate.bytes_per_s)
            assert 0 < side.estimate.rtt_s < 5
        assert not a.frames
        assert not b.frames


async def test_a_slower_way_is_seen_as_slower():
    """By both its ends, by about what it adds."""
    async with (
        peer("a", serve=False, limits=FAST) as a,
        peer("near", limits=FAST) as near,
        peer("far", limits=FAST) as far,
        slow_way(far.address, 0.03) as way,
    ):
        one = await a.links.connect("near", near.address)
        other = await a.links.connect("far", way.address)
        await eventually(lambda: one.estimate is not None and other.estimate is not None)
        assert other.estimate.rtt_s >= 0.06
        await eventually(lambda: one.estimate.rtt_s < other.estimate.rtt_s)
        await eventually(lambda: far.links.get("a").estimate)
        assert far.links.get("a").estimate.rtt_s >= 0.06


async def test_a_far_peer_is_reached():
    """Connecting takes several round trips, each of which may be long."""
    async with (
        peer("a", serve=False) as a,
        peer("b") as b,
        slow_way(b.address, 0.12) as way,
    ):
        a.links.keep({"b": way.address})
        await eventually(lambda: (link := a.links.get("b")) and link.estimate)
        assert a.links.get("b").estimate.rtt_s >= 0.24


async def test_a_ping_goes_past_what_is_queued():
    """A link full of tensors is measured all the while, and everything on it arrives."""
    async with peer("a", serve=False, limits=FAST) as a, peer("b", limits=FAST) as b:
        link = await a.links.connect("b", b.address)
        sending = asyncio.ensure_future(_send_all(link, [activation(500_000, each) for each in range(100)]))
        await eventually(lambda: link.estimate is not None)
        await sending
        await eventually(lambda: len(b.frames) == 100)
        assert [frame.header.activation.key.number for _, frame in b.frames] == list(range(100))


async def _send_all(link, frames):
    for frame in frames:
        await link.send(frame)
