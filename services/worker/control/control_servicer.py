"""The gRPC edge for schedulers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc.aio

from onnxmesh.errors import InvalidRequest
from onnxmesh.model import activation_errors, batching, tensor_spec
from onnxmesh.model.batching import BatchingSpec, BatchMode
from onnxmesh.model.cut_mode import CutMode
from onnxmesh.model.input_shapes import InputShapes
from onnxmesh.v1.model_pb2 import (
    ActivationError,
    ActivationErrors,
    Batching,
    Partition,
    Shapes,
    Signature,
    StageBatching,
    TensorSpec,
)
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
from services.worker.control.link_probe import MAX_ADDRESSES, LinkProbe
from services.worker.control.scheduler_connections import EventFeed, SchedulerConnections
from services.worker.control.stage_manager import StageManager
from services.worker.control.worker_drain import WorkerDrain
from services.worker.models.preparations import CutPartition, Preparations, PrepareOptions
from services.worker.stages.stage_table import StageTable

Context = grpc.aio.ServicerContext[Any, Any]


class ControlServicer(WorkerControlServicer):
    """Serves `WorkerControl`.

    Args:
        stages: What is held.
        keeper: Carries commands out.
        schedulers: Who is connected.
        preparations: Models on their way to partitions.
        probe: Measures links.
        departure: Whether this worker is to be emptied.
    """

    def __init__(
        self,
        stages: StageTable,
        keeper: StageManager,
        schedulers: SchedulerConnections,
        preparations: Preparations,
        probe: LinkProbe,
        departure: WorkerDrain,
    ) -> None:
        self._stages = stages
        self._keeper = keeper
        self._schedulers = schedulers
        self._preparations = preparations
        self._probe = probe
        self._departure = departure

    # A coroutine that writes, not a generator: its `finally` then runs at once when the client is gone.
    async def Manage(  # type: ignore[override]  # noqa: N802 - the protocol's name
        self, request_iterator: AsyncIterator[WorkerCommand], context: Context
    ) -> None:
        """Takes a scheduler's commands and tells it what happens, for as long as it is connected."""
        holding = Holding(stages=self._stages.holding(), leaving=self._schedulers.leaving)
        first = WorkerEvent(holding=holding)
        with self._schedulers.connected(first) as feed:
            async with asyncio.TaskGroup() as tasks:
                reading = tasks.create_task(self._obey(request_iterator, feed))
                while (event := await feed.next()) is not None:
                    await context.write(event)
                reading.cancel()

    async def Prepare(self, request: PrepareRequest, context: Context) -> PrepareResponse:  # noqa: N802 - the protocol's name
        """Fetches, checks and describes a model, and measures it where that is asked for.

        Raises:
            InvalidModel: It cannot be served (INVALID_ARGUMENT).
            InvalidRequest: Mode, level or shapes are none, or do not fit the model (INVALID_ARGUMENT).
        """
        wish = PrepareOptions(
            optimisation=request.optimisation,
            mode=request.mode or CutMode.EXACT,
            shapes=_shapes(request.shapes),
            profile_s=request.profile_s,
        )
        prepared = await self._preparations.prepare(request.model, request.sources, wish)
        signature = Signature(
            inputs=map(_spec, prepared.signature.inputs), outputs=map(_spec, prepared.signature.outputs)
        )
        return PrepareResponse(
            prepared=prepared.name,
            signature=signature,
            costs=prepared.costs.encode(),
            profile=prepared.profile.encode(),
        )

    async def Cut(self, request: CutRequest, context: Context) -> CutResponse:  # noqa: N802 - the protocol's name
        """Cuts a prepared model.

        Raises:
            NotFound: It is not here any more (NOT_FOUND).
            InvalidPlan: It cannot be cut there (INVALID_ARGUMENT).
            InvalidRequest: The way to batch is none (INVALID_ARGUMENT).
        """
        direct = [list(inputs.names) for inputs in request.direct]
        wish = _batching(request.batching) if request.HasField("batching") else None
        made = await self._preparations.cut(
            request.prepared,
            request.cuts,
            direct,
            wish,
            activation_errors=request.measure_activation_errors,
        )
        return CutResponse(
            partitions=map(_partition, made.partitions),
            largest_difference=made.largest_difference,
            activation_errors=_errors(made.activation_errors),
        )

    async def MeasureLinks(self, request: MeasureLinksRequest, context: Context) -> MeasureLinksResponse:  # noqa: N802 - the protocol's name
        """Measures the way from here to other workers.

        Raises:
            InvalidRequest: They are too many (INVALID_ARGUMENT).
        """
        if len(request.addresses) > MAX_ADDRESSES:
            raise InvalidRequest(
                f"at most {MAX_ADDRESSES} links are measured at once; {len(request.addresses)} were asked for"
            )
        return MeasureLinksResponse(links=await self._probe.measure(request.addresses))

    async def Echo(self, request: EchoRequest, context: Context) -> EchoResponse:  # noqa: N802 - the protocol's name
        """Answers at once, whatever came."""
        return EchoResponse()

    async def _obey(self, commands: AsyncIterator[WorkerCommand], feed: EventFeed) -> None:
        async for command in commands:
            if command.WhichOneof("kind") in {"drain", "depart"}:
                self._departure.obey(command)
            else:
                self._keeper.obey(command, feed)
        feed.end()


def _partition(made: CutPartition) -> Partition:
    partition = made.partition
    return Partition(
        index=partition.index,
        artefact=made.artefact,
        inputs=map(_spec, partition.inputs),
        outputs=map(_spec, partition.outputs),
        live_out=partition.live_out,
        num_nodes=partition.num_nodes,
        weight_bytes=partition.weight_bytes,
        direct_inputs=partition.direct_inputs,
        batching=_found(made.batching),
    )


def _batching(wish: Batching) -> BatchingSpec:
    if wish.mode not in set(BatchMode):
        raise InvalidRequest(f"expected batching of {', '.join(BatchMode)}; got '{wish.mode[:40]}'")
    return BatchingSpec(BatchMode(wish.mode), wish.max_rows)


def _found(found: batching.StageBatching | None) -> StageBatching | None:
    if found is None:
        return None
    return StageBatching(
        max_rows=found.max_rows,
        shared=found.shared,
        largest_difference=found.largest_difference,
        cpu_class=found.cpu_class,
        why_not=found.why_not,
        max_split_rows=found.max_split_rows,
    )


def _errors(found: activation_errors.ActivationErrors | None) -> ActivationErrors | None:
    if found is None:
        return None
    measured = [ActivationError(encoding=encoding, largest_error=error) for encoding, error in found.measured]
    return ActivationErrors(measured=measured, why_not=found.why_not)


def _shapes(shapes: Shapes) -> InputShapes:
    inputs = {name: tuple(shape.dims) for name, shape in shapes.inputs.items()}
    return InputShapes(shapes.batch or 1, inputs)


def _spec(spec: tensor_spec.TensorSpec) -> TensorSpec:
    return TensorSpec(name=spec.name, datatype=spec.datatype, shape=spec.shape or ())
