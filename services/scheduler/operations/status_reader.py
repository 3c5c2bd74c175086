"""Status of the mesh: every model, worker and gateway, as one message."""

from __future__ import annotations

from onnxmesh.discovery.base import Directory
from onnxmesh.state.base import Deployment
from onnxmesh.v1.mesh_pb2 import GatewayStatus, ModelStatus, StatusResponse, WorkerStatus
from services.scheduler.deployments.catalogue import Catalogue
from services.scheduler.deployments.traffic_splits import TrafficSplits
from services.scheduler.fleet.command_stream import CommandStream
from services.scheduler.fleet.fleet import Fleet
from services.scheduler.operations.gateway_views import GatewayViews
from services.scheduler.operations.model_status import model_status
from services.scheduler.planning.replanner import Replanner
from services.scheduler.publishing.publisher import Publisher
from services.scheduler.reconciliation.reconciler import Reconciler


class StatusReader:
    """Reads the status of the mesh from the parts that know it.

    Args:
        catalogue: What is deployed.
        fleet: The workers.
        directory: Every registered instance, gateways included.
        splits: How versions share traffic.
        reconciler: Which workers serve each stage.
        replanner: Why replanning failed, where it did.
        publisher: The route table in force.
        gateway_views: Ejections and loads that gateways observed.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        fleet: Fleet,
        directory: Directory,
        *,
        splits: TrafficSplits,
        reconciler: Reconciler,
        replanner: Replanner,
        publisher: Publisher,
        gateway_views: GatewayViews,
    ) -> None:
        self._catalogue = catalogue
        self._fleet = fleet
        self._directory = directory
        self._splits = splits
        self._reconciler = reconciler
        self._replanner = replanner
        self._publisher = publisher
        self._gateway_views = gateway_views

    def read(self) -> StatusResponse:
        """Returns the status of every model, worker and gateway, each sorted by name."""
        status = StatusResponse(
            models=[self.model(each) for _, each in sorted(self._catalogue.deployments.items())],
            workers=[_worker_status(stream) for _, stream in sorted(self._fleet.streams.items())],
            gateways=[
                GatewayStatus(id=id_, address=instance.address)
                for id_, instance in sorted(self._directory.instances.items())
                if instance.role == "gateway"
            ],
            epoch=self._publisher.table.epoch,
        )
        self._gateway_views.add_to(status.workers)
        return status

    def model(self, deployment: Deployment) -> ModelStatus:
        """Returns the status of one deployment."""
        outcome = self._reconciler.outcome.value
        return model_status(
            deployment,
            self._fleet.views(),
            outcome.placement,
            outcome.published,
            note=self._replanner.failures.get((deployment.name, deployment.version), ""),
            traffic_percent=self._splits.percents(deployment.name).get(deployment.version),
        )


def _worker_status(stream: CommandStream) -> WorkerStatus:
    return WorkerStatus(
        id=stream.id,
        address=stream.instance.address,
        generation=stream.instance.generation,
        tags=stream.instance.tags,
        attributes=stream.instance.attributes,
        load=stream.load,
        draining=stream.draining,
        leaving=stream.leaving,
    )
