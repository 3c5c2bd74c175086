"""Links over real sockets are measured."""

from __future__ import annotations

import asyncio

from onnxmesh.rpc.link_policy.link_limits import LinkLimits
from tests.eventually import eventually
from tests.fakes.delaying_proxy import delaying_proxy
from tests.integration.rpc.link.test_links import activation
from tests.integration.rpc.link.test_links import grpc_peer as peer

FAST = LinkLimits(heartbeat_s=0.05, idle_heartbeat_s=0.05, dead_after_s=30.0)


async def test_links_are_measured_by_both_sides():
    """Soon after the link is up; pings and pongs are no frames of the application."""
    async with peer("a", serve=False, limits=FAST) as a, peer("b", limits=FAST) as b:
        link = await a.links.connect("b", b.address)
        await eventually(lambda: b.links.get("a"))
        for side in (link, b.links.get("a")):
            await eventually(lambda side=side: side.estimate is not None and side.estimate.bytes_per_s)
            assert 0 < side.estimate.rtt_s < 5
        assert not a.frames
        assert not b.frames


async def test_links_over_a_delaying_proxy_have_a_longer_round_trip():
    """At both ends, by about twice the delay."""
    async with (
        peer("a", serve=False, limits=FAST) as a,
        peer("near", limits=FAST) as near,
        peer("far", limits=FAST) as far,
        delaying_proxy(far.address, 0.03) as proxy,
    ):
        one = await a.links.connect("near", near.address)
        other = await a.links.connect("far", proxy.address)
        await eventually(lambda: one.estimate is not None and other.estimate is not None)
        assert other.estimate.rtt_s >= 0.06
        await eventually(lambda: one.estimate.rtt_s < other.estimate.rtt_s)
        await eventually(lambda: far.links.get("a").estimate)
        assert far.links.get("a").estimate.rtt_s >= 0.06


async def test_links_connect_to_a_far_peer():
    """Connecting takes several round trips, each of which may be long."""
    async with (
        peer("a", serve=False) as a,
        peer("b") as b,
        delaying_proxy(b.address, 0.12) as proxy,
    ):
        a.links.keep({"b": proxy.address})
        await eventually(lambda: (link := a.links.get("b")) and link.estimate)
        assert a.links.get("b").estimate.rtt_s >= 0.24


async def test_links_send_pings_past_queued_frames():
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
