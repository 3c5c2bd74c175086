"""Two schedulers in one group: one leads, the other relays its route table and takes over."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest

from onnxmesh.rpc.grpc.channel import open_channel
from onnxmesh.v1.mesh_pb2 import WatchRoutesRequest
from onnxmesh.v1.mesh_pb2_grpc import MeshStub
from services.scheduler.app import scheduler_app
from services.scheduler.settings import SchedulerSettings

pytestmark = pytest.mark.services


async def first_epoch(address):
    """The epoch of the first table that a watcher of a scheduler gets."""
    async with open_channel(address) as channel:
        call = MeshStub(channel).WatchRoutes(WatchRoutesRequest(gateway="g"), wait_for_ready=True)
        update = await call.read()
        call.cancel()
        return update.whole.epoch


async def test_highly_available_scheduler_relays_the_leader_and_takes_over(consul_program, prefix, tmp_path):
    """A watcher of either gets the leader's table; the next leader's epochs are greater."""

    def settings(name):
        return SchedulerSettings(
            id=name,
            state=tmp_path / name,
            consul=f"127.0.0.1:{consul_program.port}",
            consul_prefix=prefix,
            drain_s=0.0,
        )

    async with AsyncExitStack() as first, AsyncExitStack() as second:
        one = await first.enter_async_context(scheduler_app(settings("one")))
        epoch = await first_epoch(one.address)
        two = await second.enter_async_context(scheduler_app(settings("two")))
        assert await first_epoch(two.address) == epoch
        await first.aclose()
        after = epoch
        while after <= epoch:
            after = await first_epoch(two.address)
