"""The WorkerControl service, which schedulers call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc.aio

from onnxmesh.errors import InvalidRequest
from onnxmesh.v1.worker_pb2 import (
    CutRequest,
    CutResponse,
    EchoRequest,
    EchoResponse,
    Holding,
    MeasureLinksRequest,
    MeasureLinksResponse,
    PrepareRequest,
    PrepareResponse,
    WorkerCommand,
    WorkerEvent,
)
from onnxmesh.v1.worker_pb2_grpc import WorkerControlServicer
from services.worker.control import control_messages
from services.worker.control.link_probe import MAX_ADDRESSES, LinkProbe
from services.worker.control.scheduler_connections import EventFeed, SchedulerConnections
from services.worker.control.stage_manager import StageManager
from services.worker.control.worker_drain import WorkerDrain
from services.worker.models.preparations import LackingRequirement, Preparations
from services.worker.stages.stage_table import StageTable

Context = grpc.aio.ServicerContext[Any, Any]


class ControlServicer(WorkerControlServicer):
    """Serves `WorkerControl`.

    Args:
        stages: The stages held.
        manager: Carries out the commands for stages.
        drain: Carries out the commands to drain.
        schedulers: The connected schedulers.
        preparations: Prepares and cuts models.
        probe: Measures links.
    """

    def __init__(
        self,
        stages: StageTable,
        manager: StageManager,
        drain: WorkerDrain,
        *,
        schedulers: SchedulerConnections,
        preparations: Preparations,
        probe: LinkProbe,
    ) -> None:
        self._stages = stages
        self._manager = manager
        self._drain = drain
        self._schedulers = schedulers
        self._preparations = preparations
        self._probe = probe

    # A coroutine that writes, not a generator: its `finally` runs at once when the client disconnects.
    async def Manage(  # type: ignore[override]  # noqa: N802 - the protocol's name
        self, request_iterator: AsyncIterator[WorkerCommand], context: Context
    ) -> None:
        """Carries out a scheduler's commands and sends it the events, for as long as it is connected."""
        holding = Holding(stages=self._stages.holding(), leaving=self._schedulers.leaving)
        first = WorkerEvent(holding=holding)
        with self._schedulers.connect(first) as feed:
            async with asyncio.TaskGroup() as tasks:
                reading = tasks.create_task(self._handle(request_iterator, feed))
                while (event := await feed.next()) is not None:
                    await context.write(event)
                reading.cancel()

    async def Prepare(self, request: PrepareRequest, context: Context) -> PrepareResponse:  # noqa: N802 - the protocol's name
        """Fetches, checks and describes a model, and measures it if requested.

        Raises:
            InvalidModel: It cannot be served (INVALID_ARGUMENT).
            InvalidRequest: Mode, level or shapes are invalid, or do not fit the model (INVALID_ARGUMENT).
        """
        options = control_messages.prepare_options(request)
        try:
            prepared = await self._preparations.prepare(request.model, request.sources, options)
        except LackingRequirement as lacking:
            return PrepareResponse(require=lacking.require, lacking=lacking.message)
        return control_messages.prepare_response(prepared)

    async def Cut(self, request: CutRequest, context: Context) -> CutResponse:  # noqa: N802 - the protocol's name
        """Cuts a prepared model.

        Raises:
            NotFound: It is no longer kept here (NOT_FOUND).
            InvalidPlan: It cannot be cut there (INVALID_ARGUMENT).
            InvalidRequest: The batching mode is invalid (INVALID_ARGUMENT).
        """
        options = control_messages.cut_options(request)
        return control_messages.cut_response(await self._preparations.cut(request.prepared, options))

    async def MeasureLinks(self, request: MeasureLinksRequest, context: Context) -> MeasureLinksResponse:  # noqa: N802 - the protocol's name
        """Measures the links from this worker to others.

        Raises:
            InvalidRequest: There are too many addresses (INVALID_ARGUMENT).
        """
        if len(request.addresses) > MAX_ADDRESSES:
            raise InvalidRequest(f"expected at most {MAX_ADDRESSES} addresses; got {len(request.addresses)}")
        return MeasureLinksResponse(links=await self._probe.measure(request.addresses))

    async def Echo(self, request: EchoRequest, context: Context) -> EchoResponse:  # noqa: N802 - the protocol's name
        """Answers at once: the far end of a link probe."""
        return EchoResponse()

    async def _handle(self, commands: AsyncIterator[WorkerCommand], feed: EventFeed) -> None:
        async for command in commands:
            if command.WhichOneof("kind") in {"drain", "depart"}:
                self._drain.handle(command)
            else:
                self._manager.handle(command, feed)
        feed.end()
