"""Scheduler connections: terms, events, overflow."""

from __future__ import annotations

import asyncio

import pytest

from onnxmesh.errors import Conflict
from onnxmesh.v1.frame_pb2 import Load
from onnxmesh.v1.worker_pb2 import Holding, WorkerEvent
from services.worker.control.scheduler_connections import MAX_EVENTS, SchedulerConnections

HOLDING = WorkerEvent(holding=Holding())


async def taken(feed):
    events = []
    while (event := await feed.next()) is not None:
        events.append(event.WhichOneof("kind"))
    return events


def test_scheduler_connections_refuse_commands_of_older_terms():
    """Equal terms are accepted."""
    schedulers = SchedulerConnections()
    for epoch in (3, 3, 5):
        schedulers.check_epoch(epoch)
    with pytest.raises(Conflict, match="epoch 4; epoch 5 has begun"):
        schedulers.check_epoch(4)


async def test_scheduler_connections_publish_to_all_with_holding_first():
    """Not to disconnected ones; queued events are delivered before the end."""
    schedulers = SchedulerConnections()
    with schedulers.connect(HOLDING) as one:
        with schedulers.connect(HOLDING) as two:
            schedulers.publish_load(Load())
        schedulers.publish_draining()
        schedulers.close()
        two.end()
        assert await taken(one) == ["holding", "load", "draining"]
        assert await taken(two) == ["holding", "load"]


async def test_scheduler_connections_send_draining_to_later_ones():
    """After the holding; the stream of one that was closed then ends."""
    schedulers = SchedulerConnections()
    schedulers.publish_draining()
    schedulers.close()
    with schedulers.connect(HOLDING) as feed:
        assert await taken(feed) == ["holding", "draining"]


async def test_scheduler_connections_close_the_stream_of_a_scheduler_that_does_not_read():
    """Memory stays bounded, and the others get every event."""
    schedulers = SchedulerConnections()
    with schedulers.connect(HOLDING) as slow, schedulers.connect(HOLDING) as quick:
        for _ in range(MAX_EVENTS + 10):
            schedulers.publish_load(Load())
            await quick.next()
        assert await slow.next() is None
        quick.end()
        assert await taken(quick) == ["load"]


async def test_scheduler_connections_report_the_first_and_the_last():
    """A worker is found while at least one scheduler is connected."""
    schedulers = SchedulerConnections()
    await schedulers.wait_disconnected()
    waiting = asyncio.ensure_future(schedulers.wait_connected())
    await asyncio.sleep(0)
    assert not waiting.done()
    with schedulers.connect(HOLDING):
        await waiting
        with schedulers.connect(HOLDING):
            pass
        await schedulers.wait_connected()
    await schedulers.wait_disconnected()
