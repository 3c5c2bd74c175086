"""Links over real sockets measure the way to their peers."""

from __future__ import annotations

import asyncio

from onnxmesh.rpc.link_policy.link_limits import LinkLimits
from tests.eventually import eventually
from tests.fakes.slow_way import slow_way
from tests.integration.rpc.test_links import activation
from tests.integration.rpc.test_links import grpc_peer as peer

FAST = LinkLimits(heartbeat_s=0.05, idle_heartbeat_s=0.05, silence_s=30.0)


async def test_both_sides_measure_round_trip_and_width():
    """Soon after the link is up; those who get frames see nothing of it."""
    async with peer("a", serve=False, limits=FAST) as a, peer("b", limits=FAST) as b:
        link = await a.links.connect("b", b.address)
        await eventually(lambda: b.links.get("a"))
        for side in (link, b.links.get("a")):
            await eventually(lambda side=side: side.way is not None and side.way.bytes_per_s)
            assert 0 < side.way.round_trip_s < 5
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
        await eventually(lambda: one.way is not None and other.way is not None)
        assert other.way.round_trip_s >= 0.06
        await eventually(lambda: one.way.round_trip_s < other.way.round_trip_s)
        await eventually(lambda: far.links.get("a").way)
        assert far.links.get("a").way.round_trip_s >= 0.06


async def test_a_far_peer_is_reached():
    """Connecting takes several round trips, each of which may be long."""
    async with (
        peer("a", serve=False) as a,
        peer("b") as b,
        slow_way(b.address, 0.12) as way,
    ):
        a.links.keep({"b": way.address})
        await eventually(lambda: (link := a.links.get("b")) and link.way)
        assert a.links.get("b").way.round_trip_s >= 0.24


async def test_a_ping_goes_past_what_is_queued():
    """A link full of tensors is measured all the while, and everything on it arrives."""
    async with peer("a", serve=False, limits=FAST) as a, peer("b", limits=FAST) as b:
        link = await a.links.connect("b", b.address)
        sending = asyncio.ensure_future(_send_all(link, [activation(500_000, each) for each in range(100)]))
        await eventually(lambda: link.way is not None)
        await sending
        await eventually(lambda: len(b.frames) == 100)
        assert [frame.header.activation.key.number for _, frame in b.frames] == list(range(100))


async def _send_all(link, frames):
    for frame in frames:
        await link.send(frame)
