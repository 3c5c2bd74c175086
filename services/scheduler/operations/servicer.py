"""The gRPC service `Mesh`: operations of users, and the route table for gateways."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc.aio

from onnxmesh.ids import ModelName, WorkerId
from onnxmesh.quantities import bytes_text, count_text
from onnxmesh.v1.mesh_pb2 import (
    DeployProgress,
    DeployRequest,
    DrainProgress,
    DrainRequest,
    RebalanceRequest,
    RebalanceResponse,
    RolloutRequest,
    RolloutResponse,
    RouteUpdate,
    ScaleRequest,
    StageMove,
    StatusRequest,
    StatusResponse,
    UndeployRequest,
    UndeployResponse,
    VersionTraffic,
    WatchRoutesRequest,
)
from onnxmesh.v1.mesh_pb2_grpc import MeshServicer
from onnxmesh.v1.model_pb2 import DeploymentSpec
from services.scheduler.operations.deployer import Deployer
from services.scheduler.operations.drainer import Drainer
from services.scheduler.operations.scaler import Scaler
from services.scheduler.operations.status_reader import StatusReader
from services.scheduler.operations.traffic_rollout import TrafficRollout
from services.scheduler.operations.upload import UploadReceiver
from services.scheduler.planning.preparation import ReportPhase
from services.scheduler.publishing.publisher import Publisher
from services.scheduler.reconciliation.goal import RebalanceGoal
from services.scheduler.reconciliation.reconciler import Reconciler

Context = grpc.aio.ServicerContext[Any, Any]


class SchedulerServicer(MeshServicer):
    """Serves `Mesh` while this scheduler leads.

    Args:
        deployer: Deploys and undeploys.
        drainer: Drains workers.
        scaler: Changes numbers of replicas.
        uploads: Receives the files of models.
        rollout: Changes how versions share traffic.
        reconciler: Rebalances.
        status: Reads the status of the mesh.
        publisher: The route table in force.
    """

    def __init__(
        self,
        deployer: Deployer,
        drainer: Drainer,
        scaler: Scaler,
        *,
        uploads: UploadReceiver,
        rollout: TrafficRollout,
        reconciler: Reconciler,
        status: StatusReader,
        publisher: Publisher,
    ) -> None:
        self._deployer = deployer
        self._drainer = drainer
        self._scaler = scaler
        self._uploads = uploads
        self._rollout = rollout
        self._reconciler = reconciler
        self._status = status
        self._publisher = publisher

    # A coroutine that writes, not a generator: its `finally` blocks then run at once when the client disconnects.
    async def Deploy(  # type: ignore[override]  # noqa: N802 - the protocol's name
        self, request_iterator: AsyncIterator[DeployRequest], context: Context
    ) -> None:
        """Receives a model and answers with progress until it is ready.

        Raises:
            InvalidRequest: The upload breaks the protocol (INVALID_ARGUMENT).
            MeshError: See `Deployer.deploy`.
        """
        report = _phase_reporter(context)

        async def accept(spec: DeploymentSpec) -> None:
            self._deployer.check(spec)
            await report(DeployProgress.ACCEPTED, f"'{spec.name}' can be deployed: send its files")

        async with self._uploads.receive(request_iterator, accept) as upload:
            await report(
                DeployProgress.RECEIVED,
                f"received {count_text(len(upload.artefact.files), 'file')}, {bytes_text(upload.byte_size)}",
            )
            deployment = await self._deployer.deploy(upload, report)
        await context.write(
            DeployProgress(
                phase=DeployProgress.READY,
                message=f"model '{deployment.name}' version {deployment.version} is ready",
                model=self._status.model(deployment),
            )
        )

    async def Undeploy(  # noqa: N802 - the protocol's name
        self, request: UndeployRequest, context: Context
    ) -> UndeployResponse:
        """Undeploys one version of a model, or with 0 all of them.

        Raises:
            NotFound: There is none (NOT_FOUND).
        """
        versions = await self._deployer.undeploy(ModelName(request.name), request.version)
        return UndeployResponse(versions=versions)

    async def Drain(self, request: DrainRequest, context: Context) -> None:  # type: ignore[override]  # noqa: N802 - the protocol's name
        """Drains a worker, or takes that back, and answers with progress until it is done.

        Raises:
            MeshError: See `Drainer.drain`.
        """

        async def report(progress: DrainProgress) -> None:
            await context.write(progress)

        await self._drainer.drain(WorkerId(request.worker), report, undo=request.undo)

    async def Scale(self, request: ScaleRequest, context: Context) -> None:  # type: ignore[override]  # noqa: N802 - the protocol's name
        """Changes how many replicas a model's stages have, and answers with progress until they are ready.

        Raises:
            MeshError: See `Scaler.scale`.
        """
        name, replicas = ModelName(request.name), request.replicas
        scaled = await self._scaler.scale(name, request.version, replicas, _phase_reporter(context))
        await context.write(
            DeployProgress(
                phase=DeployProgress.READY,
                message=f"model '{name}' has {count_text(replicas, 'replica')} of each stage",
                model=self._status.model(scaled),
            )
        )

    async def Rebalance(self, request: RebalanceRequest, context: Context) -> RebalanceResponse:  # noqa: N802 - the protocol's name
        """Moves stages to where they would be placed today; with `dry_run` only answers what would be moved."""
        moves = self._reconciler.moves()
        if not request.dry_run:
            self._reconciler.rebalance()
            await self._reconciler.until(RebalanceGoal())
        return RebalanceResponse(
            moves=[
                StageMove(stage=move.stage, from_worker=move.source, to_worker=move.target, why=move.why)
                for move in moves
            ]
        )

    async def Rollout(self, request: RolloutRequest, context: Context) -> RolloutResponse:  # noqa: N802 - the protocol's name
        """Splits requests that name no version among the versions of a model.

        Raises:
            MeshError: See `TrafficRollout`.
        """
        name = ModelName(request.name)
        if request.back:
            percents = await self._rollout.roll_back(name)
        else:
            percents = await self._rollout.roll_out(name, request.to, request.percent)
        return RolloutResponse(
            versions=[VersionTraffic(version=version, percent=each) for version, each in percents.items()]
        )

    async def Status(  # noqa: N802 - the protocol's name
        self, request: StatusRequest, context: Context
    ) -> StatusResponse:
        """Returns the status of every model, worker and gateway."""
        return self._status.read()

    async def WatchRoutes(  # noqa: N802 - the protocol's name
        self, request: WatchRoutesRequest, context: Context
    ) -> AsyncIterator[RouteUpdate]:
        """Yields the whole route table at once, then each change."""
        async for update in self._publisher.watch():
            yield update


def _phase_reporter(context: Context) -> ReportPhase:
    async def report(phase: DeployProgress.Phase.ValueType, message: str) -> None:
        await context.write(DeployProgress(phase=phase, message=message))

    return report
