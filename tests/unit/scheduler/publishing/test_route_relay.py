"""The leader's route table at a follower."""

from __future__ import annotations

import asyncio

import pytest

from onnxmesh.errors import Unavailable
from services.scheduler.publishing.route_relay import RouteRelay
from services.scheduler.route_table.published_table import PublishedTable


async def test_relay_accepts_only_newer_tables():
    """A leader that was deposed cannot replace the routes by older ones."""
    relay = RouteRelay("s")
    for epoch in (5, 4, 5):
        relay.accept(PublishedTable(epoch, {}, {}))
    tables = relay.tables()
    assert (await anext(tables)).epoch == 5
    relay.accept(PublishedTable(3, {}, {}))
    relay.accept(PublishedTable(6, {}, {}))
    assert (await anext(tables)).epoch == 6


@pytest.mark.parametrize("led_before", [True, False])
async def test_relay_sends_watchers_elsewhere_when_no_leader_is_followed_for_long(led_before):
    """Not at once: another leader may be elected soon."""
    now_s = 100.0
    relay = RouteRelay("s", orphan_s=0.02, clock=lambda: now_s)
    tables = relay.tables()
    if led_before:
        relay.accept(PublishedTable(1, {}, {}))
        assert (await anext(tables)).epoch == 1
        relay.mark_orphaned()
    now_s = 100.5
    with pytest.raises(Unavailable, match="follows no leader"):
        await anext(tables)


async def test_relay_keeps_watchers_of_a_leader_without_changes():
    """A table that does not change for hours is still the leader's."""
    now_s = 0.0
    relay = RouteRelay("s", orphan_s=0.02, clock=lambda: now_s)
    relay.accept(PublishedTable(1, {}, {}))
    tables = relay.tables()
    await anext(tables)
    now_s = 10_000.0
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(tables), 0.2)
