"""The gRPC edge of the scheduler: what people, programs and gateways ask of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc.aio

from onnxmesh.discovery.base import Directory
from onnxmesh.errors import InvalidRequest
from onnxmesh.ids import ModelName, Version, WorkerId
from onnxmesh.state.base import Deployment
from onnxmesh.store.blobs import BlobFolder
from onnxmesh.v1.mesh_pb2 import (
    DeployProgress,
    DeployRequest,
    DrainProgress,
    DrainRequest,
    GatewayStatus,
    ModelStatus,
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
    WorkerStatus,
)
from onnxmesh.v1.mesh_pb2_grpc import MeshServicer
from onnxmesh.v1.model_pb2 import DeploymentSpec
from services.scheduler.deployments.catalogue import Catalogue
from services.scheduler.deployments.traffic_splits import TrafficSplits
from services.scheduler.desired.traffic import ALL
from services.scheduler.fleet.fleet import Fleet
from services.scheduler.fleet.worker_link import WorkerLink
from services.scheduler.operations.deployer import Deployer
from services.scheduler.operations.drainer import Drainer
from services.scheduler.operations.gateway_views import GatewayViews
from services.scheduler.operations.scaler import Scaler
from services.scheduler.operations.status import model_status
from services.scheduler.operations.upload import receive
from services.scheduler.planning.preparation import Report
from services.scheduler.planning.replanner import Replanner
from services.scheduler.publishing.publisher import Publisher
from services.scheduler.reconciliation.reconciler import Reconciler

Context = grpc.aio.ServicerContext[Any, Any]


class SchedulerServicer(MeshServicer):
    """Serves `Mesh`.

    Args:
        deployer: Deploys and undeploys.
        drainer: Empties workers.
        scaler: Changes numbers of replicas.
        splits: How versions share traffic.
        catalogue: What is deployed.
        fleet: The workers.
        directory: Everyone registered.
        reconciler: Who serves what.
        replanner: What came of plans made anew.
        publisher: The route table.
        blobs: Where uploads are written.
        max_upload_bytes: The most that one deploy may send.
        gateway_views: What gateways say of workers.
    """

    def __init__(
        self,
        deployer: Deployer,
        drainer: Drainer,
        scaler: Scaler,
        splits: TrafficSplits,
        catalogue: Catalogue,
        fleet: Fleet,
        directory: Directory,
        reconciler: Reconciler,
        replanner: Replanner,
        publisher: Publisher,
        blobs: BlobFolder,
        max_upload_bytes: int,
        gateway_views: GatewayViews,
    ) -> None:
        self._deployer = deployer
        self._drainer = drainer
        self._scaler = scaler
        self._splits = splits
        self._catalogue = catalogue
        self._fleet = fleet
        self._directory = directory
        self._reconciler = reconciler
        self._replanner = replanner
        self._publisher = publisher
        self._blobs = blobs
        self._max_upload_bytes = max_upload_bytes
        self._gateway_views = gateway_views

    # A coroutine that writes, not a generator: its `finally`s then run at once when the client is gone.
    async def Deploy(  # type: ignore[override]  # noqa: N802 - the protocol's name
        self, request_iterator: AsyncIterator[DeployRequest], context: Context
    ) -> None:
        """Receives a model and answers with progress until it is served.

        Raises:
            InvalidRequest: The upload breaks the protocol (INVALID_ARGUMENT).
            MeshError: See `Deployer.deploy`.
        """
        report = _reporting(context)

        async def accept(spec: DeploymentSpec) -> None:
            self._deployer.check(spec)
            await report(DeployProgress.ACCEPTED, f"'{spec.name}' can be deployed here: send its files")

        async with receive(request_iterator, self._blobs, self._max_upload_bytes, accept) as upload:
            await report(
                DeployProgress.RECEIVED, f"{len(upload.artefact.files)} file(s), {upload.byte_size} bytes"
            )
            deployment = await self._deployer.deploy(upload, report)
        await context.write(
            DeployProgress(
                phase=DeployProgress.READY,
                message=f"model '{deployment.name}' version {deployment.version} is served",
                model=self._model(deployment),
            )
        )

    async def Undeploy(  # noqa: N802 - the protocol's name
        self, request: UndeployRequest, context: Context
    ) -> UndeployResponse:
        """Ends the service of one version of a model, or with 0 of all.

        Raises:
            NotFound: There is none (NOT_FOUND).
        """
        versions = await self._deployer.undeploy(ModelName(request.name), request.version)
        return UndeployResponse(versions=versions)

    async def Drain(self, request: DrainRequest, context: Context) -> None:  # type: ignore[override]  # noqa: N802 - the protocol's name
        """Empties a worker, or takes that back, and answers with progress until it is done.

        Raises:
            MeshError: See `Drainer.drain`.
        """

        async def report(progress: DrainProgress) -> None:
            await context.write(progress)

        await self._drainer.drain(WorkerId(request.worker), report, undo=request.undo)

    async def Scale(self, request: ScaleRequest, context: Context) -> None:  # type: ignore[override]  # noqa: N802 - the protocol's name
        """Changes how many replicas a model's stages have, and answers with progress until they are there.

        Raises:
            MeshError: See `Scaler.scale`.
        """
        name, replicas = ModelName(request.name), request.replicas
        scaled = await self._scaler.scale(name, request.version, replicas, _reporting(context))
        await context.write(
            DeployProgress(
                phase=DeployProgress.READY,
                message=f"model '{name}' has {replicas} replica{'s' if replicas > 1 else ''} of each stage",
                model=self._model(scaled),
            )
        )

    async def Rebalance(self, request: RebalanceRequest, context: Context) -> RebalanceResponse:  # noqa: N802 - the protocol's name
        """Moves stages to where they would be placed today, or only says what would be moved."""
        moves = self._reconciler.moves()
        if not request.dry_run:
            self._reconciler.rebalance()
            await self._reconciler.rebalanced()
        return RebalanceResponse(
            moves=[
                StageMove(stage=move.stage, from_worker=move.source, to_worker=move.target, why=move.why)
                for move in moves
            ]
        )

    async def Rollout(self, request: RolloutRequest, context: Context) -> RolloutResponse:  # noqa: N802 - the protocol's name
        """Splits requests that name no version among the versions of a model.

        Raises:
            NotFound: There is no such model or version (NOT_FOUND).
            InvalidRequest: The percentage cannot be (INVALID_ARGUMENT).
            Unsatisfiable: There is no rollout to take back (FAILED_PRECONDITION).
        """
        name = ModelName(request.name)
        versions = [each.version for each in self._catalogue.find(name, 0)]
        if request.back:
            await self._splits.roll_back(name)
        elif not request.to:
            raise InvalidRequest("a rollout names the version that gets a part of the traffic")
        else:
            self._catalogue.find(name, request.to)
            await self._splits.roll_out(name, Version(request.to), request.percent)
        self._reconciler.reconcile()
        # Without a split, the newest version gets all.
        percents = self._splits.percents(name) or dict.fromkeys(versions, 0) | {versions[-1]: ALL}
        return RolloutResponse(
            versions=[VersionTraffic(version=each, percent=percents.get(each, 0)) for each in versions]
        )

    async def Status(  # noqa: N802 - the protocol's name
        self, request: StatusRequest, context: Context
    ) -> StatusResponse:
        """Returns every model, worker and gateway."""
        status = StatusResponse(
            models=[self._model(each) for _, each in sorted(self._catalogue.deployments.items())],
            workers=[_worker(link) for _, link in sorted(self._fleet.links.items())],
            gateways=[
                GatewayStatus(id=id_, address=instance.address)
                for id_, instance in sorted(self._directory.instances.items())
                if instance.role == "gateway"
            ],
            epoch=self._publisher.table.epoch,
        )
        self._gateway_views.add_to(status.workers)
        return status

    async def WatchRoutes(  # noqa: N802 - the protocol's name
        self, request: WatchRoutesRequest, context: Context
    ) -> AsyncIterator[RouteUpdate]:
        """Yields the whole route table at once, then what changes."""
        async for update in self._publisher.watch():
            yield update

    def _model(self, deployment: Deployment) -> ModelStatus:
        outcome = self._reconciler.outcome.value
        note = self._replanner.failures.get((deployment.name, deployment.version), "")
        percent = self._splits.percents(deployment.name).get(deployment.version)
        return model_status(
            deployment, self._fleet.views(), outcome.placement, outcome.published, note, percent
        )


def _reporting(context: Context) -> Report:
    async def report(phase: DeployProgress.Phase.ValueType, message: str) -> None:
        await context.write(DeployProgress(phase=phase, message=message))

    return report


def _worker(link: WorkerLink) -> WorkerStatus:
    return WorkerStatus(
        id=link.id,
        address=link.instance.address,
        generation=link.instance.generation,
        tags=link.instance.tags,
        attributes=link.instance.attributes,
        load=link.load,
        draining=link.draining,
        leaving=link.leaving,
    )
