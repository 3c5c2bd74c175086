"""The scheduler's command stream to one worker."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from math import inf
from time import monotonic

import grpc.aio
import structlog

from onnxmesh.deadline import Clock
from onnxmesh.discovery.instance import Instance
from onnxmesh.ids import Digest, StageKey, WorkerId
from onnxmesh.rpc.grpc.channel import open_channel
from onnxmesh.v1.frame_pb2 import Load
from onnxmesh.v1.model_pb2 import Partition
from onnxmesh.v1.worker_pb2 import Depart, Drain, EvictStage, PlaceStage, WorkerCommand, WorkerEvent
from onnxmesh.v1.worker_pb2_grpc import WorkerControlStub
from services.scheduler.workers.holdings import Holdings, HoldingState

MAX_COMMANDS = 1024
"""Commands that may wait to be sent; those that do not fit are decided again later."""

_RETRY_S = 0.2
_MAX_RETRY_S = 2.0

_log = structlog.get_logger(__name__)


class CommandStream:
    """Commands one worker and knows what it holds, for as long as it is registered.

    Args:
        instance: The worker.
        term: Sent with every command.
        on_change: Called after each event that may change a decision; must not block.
        clock: Seconds, monotonic.
        num_commands: Counter of the commands sent, by kind; None: they are not counted.

    Attributes:
        instance: The worker, as it is registered now.
        holdings: What it holds.
        load: The load that it reported last.
        draining: Whether it is shutting down: it accepts no new work.
        leaving: Whether it is to be drained of its stages.
        connected: Whether the stream is open and the worker has reported what it holds.
        since_s: When it connected; `-inf` before.
        deregistered: Set once it is no longer registered.
    """

    def __init__(
        self,
        instance: Instance,
        term: int,
        on_change: Callable[[], None],
        *,
        clock: Clock = monotonic,
        num_commands: Counter[str] | None = None,
    ) -> None:
        self.instance = instance
        self.holdings = Holdings()
        self.load = Load()
        self.draining = False
        self.leaving = False
        self.connected = False
        self.since_s = -inf
        self.deregistered = asyncio.Event()
        self._requested_leaving: bool | None = None
        self._departed = False
        self._term = term
        self._on_change = on_change
        self._clock = clock
        self._num_commands = Counter() if num_commands is None else num_commands
        self._commands: asyncio.Queue[WorkerCommand] = asyncio.Queue(MAX_COMMANDS)

    @property
    def id(self) -> WorkerId:
        """The worker's name."""
        return WorkerId(self.instance.id)

    def place(self, stage: StageKey, partition: Partition, sources: list[str]) -> None:
        """Commands the worker to load a stage."""
        placed = PlaceStage(stage=stage, partition=partition, sources=sources)
        if self._send(WorkerCommand(epoch=self._term, place_stage=placed)):
            self.holdings.placing(stage, Digest(partition.artefact.digest))

    def evict(self, stage: StageKey) -> None:
        """Commands the worker to evict a stage."""
        if self._send(WorkerCommand(epoch=self._term, evict_stage=EvictStage(stage=stage))):
            self.holdings.evicting(stage)

    def drain(self, *, undo: bool) -> None:
        """Commands the worker to be drained, or not any more; repeated after a lost stream until it has confirmed."""
        self._requested_leaving = not undo
        self._send(WorkerCommand(epoch=self._term, drain=Drain(undo=undo)))

    def depart(self) -> None:
        """Notifies a leaving worker, once, that nothing more will be moved off it; evictions under way end first."""
        if self._departed or any(
            held.state is HoldingState.EVICTING for held in self.holdings.stages.values()
        ):
            return
        self._departed = self._send(WorkerCommand(epoch=self._term, depart=Depart()))

    async def run(self) -> None:
        """Keeps the stream open, reopening it when it ends, until it is cancelled."""
        retry_s = _RETRY_S
        async with open_channel(self.instance.address) as channel:
            while True:
                try:
                    await self._session(WorkerControlStub(channel))
                except* grpc.aio.AioRpcError as group:
                    first = group.exceptions[0]
                    why = first.details() if isinstance(first, grpc.aio.AioRpcError) else str(first)
                    _log.warning("worker_stream_lost", worker=self.id, error=why)
                except* asyncio.InvalidStateError:  # a command was written after the call had ended
                    _log.warning("worker_stream_lost", worker=self.id)
                # Up to Python 3.12 a TaskGroup in which a task fails swallows a cancellation from outside.
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise asyncio.CancelledError
                retry_s = _RETRY_S if self.connected else min(_MAX_RETRY_S, 2 * retry_s)
                self._disconnected()
                await asyncio.sleep(retry_s)

    def deregister(self) -> None:
        """Marks the worker as no longer registered; the caller cancels `run`."""
        self.deregistered.set()
        self.connected = False

    async def _session(self, stub: WorkerControlStub) -> None:
        call = stub.Manage()
        try:
            async with asyncio.TaskGroup() as group:
                writing = group.create_task(self._write(call))
                async for event in call:
                    self._apply(event)
                writing.cancel()
        finally:
            call.cancel()

    async def _write(self, call: grpc.aio.StreamStreamCall[WorkerCommand, WorkerEvent]) -> None:
        while True:
            await call.write(await self._commands.get())

    def _apply(self, event: WorkerEvent) -> None:
        kind = event.WhichOneof("kind")
        if kind == "load":
            self.load = event.load
            return
        if kind == "holding":
            self.holdings.rebuild(event.holding.stages)
            self.connected = True
            self.since_s = self._clock()
            self._set_leaving(event.holding.leaving)
            if self._requested_leaving not in {None, self.leaving}:
                self.drain(undo=self.leaving)
            _log.info("worker_joined", worker=self.id, stages=len(event.holding.stages))
        elif kind == "stage_loaded":
            self.holdings.loaded(event.stage_loaded)
            _log.info("stage_loaded", worker=self.id, stage=event.stage_loaded.stage)
        elif kind == "stage_failed":
            failed = event.stage_failed
            self.holdings.failed(failed, self._clock())
            _log.warning(
                "stage_failed", worker=self.id, stage=failed.stage, reason=failed.reason, error=failed.message
            )
        elif kind == "stage_evicted":
            self.holdings.evicted(StageKey(event.stage_evicted.stage))
            _log.info("stage_evicted", worker=self.id, stage=event.stage_evicted.stage)
        elif kind == "leaving":
            self._requested_leaving = None
            self._set_leaving(not event.leaving.undone)
        elif kind == "draining":
            self.draining = True
            _log.info("worker_draining", worker=self.id)
        else:
            return
        self._on_change()

    def _set_leaving(self, leaving: bool) -> None:
        """Records whether the worker is to be drained; another Depart is due then."""
        if leaving != self.leaving:
            _log.info("worker_leaving" if leaving else "worker_staying", worker=self.id)
        self.leaving, self._departed = leaving, False

    def _send(self, command: WorkerCommand) -> bool:
        try:
            self._commands.put_nowait(command)
        except asyncio.QueueFull:
            _log.warning("worker_commands_full", worker=self.id)
            return False
        self._num_commands[command.WhichOneof("kind") or ""] += 1
        return True

    def _disconnected(self) -> None:
        while not self._commands.empty():
            self._commands.get_nowait()
        if self.connected:
            self.connected = False
            self._on_change()
