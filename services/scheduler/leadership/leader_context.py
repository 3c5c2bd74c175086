"""The parts of a scheduler that exist while it leads, for one term."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from services.scheduler.deployments.catalogue import Catalogue
from services.scheduler.deployments.traffic_splits import TrafficSplits
from services.scheduler.fleet.fleet import Fleet
from services.scheduler.fleet.link_table import LinkTable
from services.scheduler.leadership.shared_resources import SharedResources
from services.scheduler.operations.deployer import Deployer
from services.scheduler.operations.drainer import Drainer
from services.scheduler.operations.gateway_views import GatewayViews
from services.scheduler.operations.scaler import Scaler
from services.scheduler.operations.servicer import SchedulerServicer
from services.scheduler.operations.status_reader import StatusReader
from services.scheduler.operations.traffic_rollout import TrafficRollout
from services.scheduler.operations.upload import UploadReceiver
from services.scheduler.planning.plan_rollover import PlanRollover
from services.scheduler.planning.preparation import Preparation
from services.scheduler.planning.replanner import Replanner
from services.scheduler.planning.surveyor import Surveyor
from services.scheduler.publishing.publisher import Publisher
from services.scheduler.reconciliation.reconciler import Reconciler


@dataclass(frozen=True, slots=True)
class LeaderContext:
    """A term under way.

    Attributes:
        servicer: Serves `Mesh`.
        publisher: The route table in force.
        catalogue: All deployments.
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
    """Leads the mesh for the time of the context.

    Args:
        shared: What outlives the term.
        term: Sent with every command; greater than that of any leader before.
        first_epoch: Epochs of route tables begin here; greater than those of any leader before.

    Raises:
        CorruptData: The saved deployments cannot be read (DATA_LOSS).
        Unavailable: The store cannot be reached (UNAVAILABLE).
    """
    settings, retention = shared.settings, shared.retention
    catalogue = Catalogue(shared.store, retention)
    await catalogue.restore()
    try:
        splits = TrafficSplits(shared.store, catalogue.versions)
        await splits.restore()
        fleet = Fleet(shared.directory, term)
        publisher = Publisher(first_epoch)
        reconciler = Reconciler(
            catalogue,
            fleet,
            publisher,
            splits=splits,
            address=shared.address,
            settle_s=settings.settle_s,
            move_after_s=settings.move_after_s,
        )
        surveyor = Surveyor(fleet, catalogue, LinkTable(live=shared.live))
        preparation = Preparation(
            fleet, surveyor, shared.blobs, address=shared.address, profile_s=settings.profile_s
        )
        rollover = PlanRollover(
            catalogue,
            preparation,
            reconciler,
            retention=retention,
            linger_s=settings.linger_s,
            timeout_s=settings.deploy_timeout_s,
        )
        replanner = Replanner(
            catalogue,
            fleet,
            surveyor,
            reconciler=reconciler,
            rollover=rollover,
            after_s=settings.replan_after_s,
        )
        deployer = Deployer(
            catalogue,
            reconciler,
            preparation,
            retention=retention,
            splits=splits,
            timeout_s=settings.deploy_timeout_s,
        )
        status = StatusReader(
            catalogue,
            fleet,
            shared.directory,
            splits=splits,
            reconciler=reconciler,
            replanner=replanner,
            publisher=publisher,
            gateway_views=GatewayViews(shared.live),
        )
        servicer = SchedulerServicer(
            deployer,
            Drainer(fleet, catalogue, reconciler),
            Scaler(catalogue, fleet, reconciler, timeout_s=settings.deploy_timeout_s),
            uploads=UploadReceiver(shared.blobs, settings.max_upload_bytes),
            rollout=TrafficRollout(catalogue, splits, reconciler),
            reconciler=reconciler,
            status=status,
            publisher=publisher,
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
