"""A scheduler's side of one worker: its command stream, and calls to prepare and cut."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import grpc.aio

from onnxmesh.rpc.grpc.channel import open_channel
from onnxmesh.v1.model_pb2 import Partition
from onnxmesh.v1.worker_pb2 import Depart, Drain, EvictStage, PlaceStage, WorkerCommand, WorkerEvent
from onnxmesh.v1.worker_pb2_grpc import WorkerControlStub
from tests.eventually import eventually


class CommandingScheduler:
    """Commands a worker and keeps every event that it receives; made by `commanding`.

    Attributes:
        events: The events of the worker, in order.
        ended: Set once the worker has ended the stream.
        lets_depart: Whether a worker that announces its shutdown is released at once, without moving its stages.
    """

    def __init__(self, stub, call, epoch):
        self.stub = stub
        self.events: list[WorkerEvent] = []
        self.ended = asyncio.Event()
        self.lets_depart = True
        self._call = call
        self._epoch = epoch

    async def place(self, stage: str, partition: Partition, sources: list[str], epoch: int | None = None):
        await self._command(epoch, place_stage=PlaceStage(stage=stage, partition=partition, sources=sources))

    async def evict(self, stage: str, epoch: int | None = None):
        await self._command(epoch, evict_stage=EvictStage(stage=stage))

    async def drain(self, *, undo: bool = False, epoch: int | None = None):
        await self._command(epoch, drain=Drain(undo=undo))

    async def depart(self, epoch: int | None = None):
        await self._command(epoch, depart=Depart())

    async def _command(self, epoch: int | None, **command):
        self._epoch = max(self._epoch, epoch or 0)
        await self._call.write(WorkerCommand(epoch=epoch or self._epoch, **command))

    async def end_stream(self):
        await self._call.done_writing()

    def of(self, kind: str) -> list:
        """Returns every event of a kind so far."""
        return [getattr(event, kind) for event in self.events if event.WhichOneof("kind") == kind]

    async def wait_for(self, kind: str, count: int = 1):
        """Waits for the `count`th event of a kind and returns it."""
        await eventually(lambda: len(self.of(kind)) >= count or self.of_trouble(kind))
        assert len(self.of(kind)) >= count, self.of("stage_failed")
        return self.of(kind)[count - 1]

    def of_trouble(self, kind: str) -> list:
        return [] if kind == "stage_failed" else self.of("stage_failed")

    async def follow(self):
        with suppress(grpc.aio.AioRpcError):  # a killed worker ends the stream
            async for event in self._call:
                self.events.append(event)
                if event.HasField("leaving") and not event.leaving.undone and self.lets_depart:
                    await self.depart()
        self.ended.set()


@asynccontextmanager
async def commanding(address: str, epoch: int = 1) -> AsyncIterator[CommandingScheduler]:
    """Connects to the worker at `address`."""
    async with open_channel(address) as channel:
        stub = WorkerControlStub(channel)
        call = stub.Manage()
        scheduler = CommandingScheduler(stub, call, epoch)
        async with asyncio.TaskGroup() as group:
            following = group.create_task(scheduler.follow())
            try:
                yield scheduler
            finally:
                following.cancel()
                call.cancel()
