"""What a scheduler has while it leads: one term of office."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from onnxmesh.discovery.base import Directory
from onnxmesh.live.base import LiveState
from onnxmesh.state.base import DeploymentStore
from onnxmesh.store.blobs import BlobFolder
from services.scheduler.deployments.catalogue import Catalogue
from services.scheduler.deployments.retention import Retention
from services.scheduler.deployments.traffic_splits import TrafficSplits
from services.scheduler.fleet.fleet import Fleet
from services.scheduler.fleet.link_table import LinkTable
from services.scheduler.operations.deployer import Deployer
from services.scheduler.operations.drainer import Drainer
from services.scheduler.operations.gateway_views import GatewayViews
from services.scheduler.operations.scaler import Scaler
from services.scheduler.operations.servicer import SchedulerServicer
from services.scheduler.planning.preparation import Preparation
from services.scheduler.planning.replanner import Replanner
from services.scheduler.plans.survey import Surveyor
from services.scheduler.publishing.publisher import Publisher
from services.scheduler.reconciliation.reconciler import Reconciler
from services.scheduler.settings import SchedulerSettings


@dataclass(frozen=True, slots=True)
class SharedResources:
    """What outlives a term of office.

    Attributes:
        settings: What an operator has set.
        store: What is to be served.
        directory: Who is in the mesh.
        blobs: Files of models.
        retention: Keeps them.
        address: Where this scheduler is reached.
        live: What gateways and other schedulers share.
    """

    settings: SchedulerSettings
    store: DeploymentStore
    directory: Directory
    blobs: BlobFolder
    retention: Retention
    address: str
    live: LiveState


@dataclass(frozen=True, slots=True)
class LeaderContext:
    """A term of office under way.

    Attributes:
        servicer: Serves `Mesh`.
        publisher: Has the route table.
        catalogue: What is to be served.
        fleet: The workers.
    """

    servicer: SchedulerServicer
    publisher: Publisher
    catalogue: Catalogue
    fleet: Fleet


@asynccontextmanager
async def leader_context(
    shared: SharedResources, term: int, first_epoch: int
) -> AsyncIterator[LeaderContext]:
    """Decides for the mesh for the time of the context.

    Args:
        shared: What it builds on.
        term: Goes with every command; greater than that of any leader before.
        first_epoch: Epochs of route tables begin here; greater than those of any leader before.

    Raises:
        CorruptData: What is deployed cannot be read (DATA_LOSS).
        Unavailable: It cannot be had (UNAVAILABLE).
    """
    settings, retention = shared.settings, shared.retention
    catalogue = Catalogue(shared.store, retention)
    await catalogue.restore()
    try:
        fleet = Fleet(shared.directory, term)
        publisher = Publisher(first_epoch)
        splits = TrafficSplits(shared.store, catalogue.versions)
        await splits.restore()
        reconciler = Reconciler(
            catalogue,
            fleet,
            publisher,
            splits,
            shared.address,
            settle_s=settings.settle_s,
            move_after_s=settings.move_after_s,
        )
        surveyor = Surveyor(fleet, catalogue, LinkTable(live=shared.live))
        preparation = Preparation(fleet, surveyor, shared.blobs, shared.address, settings.profile_s)
        replanner = Replanner(
            catalogue,
            fleet,
            surveyor,
            preparation,
            reconciler,
            retention,
            after_s=settings.replan_after_s,
            linger_s=settings.linger_s,
            timeout_s=settings.deploy_timeout_s,
        )
        deployer = Deployer(catalogue, retention, preparation, reconciler, splits, settings.deploy_timeout_s)
        servicer = SchedulerServicer(
            deployer,
            Drainer(fleet, catalogue, reconciler),
            Scaler(catalogue, fleet, reconciler, settings.deploy_timeout_s),
            splits,
            catalogue,
            fleet,
            shared.directory,
            reconciler,
            replanner,
            publisher,
            shared.blobs,
            settings.max_upload_bytes,
            GatewayViews(shared.live),
        )
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(each.run()) for each in (fleet, reconciler, replanner, deployer)]
            try:
                yield LeaderContext(servicer, publisher, catalogue, fleet)
            finally:
                for task in running:
                    task.cancel()
                await asyncio.wait(running)
    finally:
        catalogue.close()
