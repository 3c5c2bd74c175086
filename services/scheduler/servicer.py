"""The gRPC edge of the scheduler: what people, programs and gateways ask of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc.aio

from onnxmesh.discovery.base import Directory
from onnxmesh.ids import ModelName
from onnxmesh.state.base import Deployment
from onnxmesh.store.blobs import BlobFolder
from onnxmesh.v1.mesh_pb2 import (
    DeployProgress,
    DeployRequest,
    GatewayStatus,
    ModelStatus,
    RouteTable,
    StatusRequest,
    StatusResponse,
    UndeployRequest,
    UndeployResponse,
    WatchRoutesRequest,
    WorkerStatus,
)
from onnxmesh.v1.mesh_pb2_grpc import MeshServicer
from onnxmesh.v1.model_pb2 import DeploymentSpec
from services.scheduler.catalogue import Catalogue
from services.scheduler.deployer import Deployer
from services.scheduler.fleet import Fleet
from services.scheduler.gateway_views import GatewayViews
from services.scheduler.publisher import Publisher
from services.scheduler.reconciler import Reconciler
from services.scheduler.replanner import Replanner
from services.scheduler.status import model_status
from services.scheduler.upload import receive
from services.scheduler.worker_link import WorkerLink

Context = grpc.aio.ServicerContext[Any, Any]


class SchedulerServicer(MeshServicer):
    """Serves `Mesh`.

    Args:
        deployer: Deploys and undeploys.
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

        async def report(phase: DeployProgress.Phase.ValueType, message: str) -> None:
            await context.write(DeployProgress(phase=phase, message=message))

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
    ) -> AsyncIterator[RouteTable]:
        """Yields the route table at once, and again whenever it changes."""
        async for table in self._publisher.watch():
            yield table

    def _model(self, deployment: Deployment) -> ModelStatus:
        outcome = self._reconciler.outcome.value
        note = self._replanner.failures.get((deployment.name, deployment.version), "")
        return model_status(deployment, self._fleet.views(), outcome.placement, outcome.appeared, note)


def _worker(link: WorkerLink) -> WorkerStatus:
    return WorkerStatus(
        id=link.id,
        address=link.instance.address,
        generation=link.instance.generation,
        tags=link.instance.tags,
        attributes=link.instance.attributes,
        load=link.load,
        draining=link.draining,
    )
