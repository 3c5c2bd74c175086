"""The scheduler service: alone, with a registry, deployments and files of its own, or in a highly available group."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from onnxmesh.discovery.embedded_registry import EmbeddedRegistry
from onnxmesh.leadership.embedded import FileLeaderElection
from onnxmesh.service.serving import Serving
from onnxmesh.state.embedded import open_deployments
from onnxmesh.store.blobs import BlobFolder
from onnxmesh.store.servicer import BlobFolderServicer
from onnxmesh.store.threads import in_thread
from onnxmesh.v1.blobs_pb2_grpc import add_BlobsServicer_to_server
from onnxmesh.v1.mesh_pb2_grpc import add_MeshServicer_to_server
from onnxmesh.v1.registry_pb2_grpc import add_RegistryServicer_to_server
from services.scheduler.deployments.retention import Retention, remove_unheld
from services.scheduler.leadership.leader_context import leader_context
from services.scheduler.leadership.shared_resources import SharedResources
from services.scheduler.leadership.state_folder import locked
from services.scheduler.metrics import SchedulerMetrics
from services.scheduler.settings import SchedulerSettings


@asynccontextmanager
async def scheduler_app(settings: SchedulerSettings) -> AsyncIterator[Serving]:
    """Serves for the time of the context: in Consul's group of schedulers where one is configured, else alone.

    Raises:
        Conflict: Another scheduler uses the state folder (ALREADY_EXISTS).
        CorruptData: The state folder cannot be read (DATA_LOSS).
    """
    access = settings.consul_access()
    if access is None:
        running = standalone_scheduler(settings)
    else:
        # Consul's client library is a large part of a service's start.
        from services.scheduler.high_availability import (  # noqa: PLC0415 - imported only where Consul is used
            highly_available_scheduler,
        )

        running = highly_available_scheduler(settings, access)
    async with running as serving:
        yield serving


@asynccontextmanager
async def standalone_scheduler(settings: SchedulerSettings) -> AsyncIterator[Serving]:
    """Serves for the time of the context; it always leads, as the state folder is locked.

    Raises:
        Conflict: Another scheduler uses the state folder (ALREADY_EXISTS).
        CorruptData: The state folder cannot be read (DATA_LOSS).
    """
    with locked(settings.state) as folder:
        async with open_deployments(folder) as store:
            serving = Serving(
                settings, services=("onnxmesh.v1.Mesh", "onnxmesh.v1.Registry", "onnxmesh.v1.Blobs")
            )
            blobs = BlobFolder(folder / "blobs")
            await in_thread(blobs.remove_leftovers)
            registry = EmbeddedRegistry(ttl_s=settings.registration_silence_s)
            live = settings.live_state(settings.id)
            shared = SharedResources(
                settings=settings.for_leader(),
                store=store,
                directory=registry,
                blobs=blobs,
                retention=Retention(blobs),
                address=serving.address,
                live=live,
            )
            async with (
                FileLeaderElection(folder).campaign(settings.id, serving.address) as candidate,
                asyncio.TaskGroup() as group,
            ):
                background = [group.create_task(each.run()) for each in (registry, live)]
                term = candidate.status.term
                async with leader_context(shared, term, term) as context:
                    await remove_unheld(blobs, shared.retention)
                    SchedulerMetrics(
                        serving.registry,
                        lambda: candidate.status,
                        lambda: context,
                        epoch=lambda: context.publisher.table.epoch,
                    )
                    add_MeshServicer_to_server(context.servicer, serving.server)
                    add_RegistryServicer_to_server(registry, serving.server)
                    add_BlobsServicer_to_server(BlobFolderServicer(blobs), serving.server)
                    await serving.start()
                    serving.set_ready()
                    try:
                        yield serving
                    finally:
                        await serving.announce_stop()
                # Decisions end first: registrations that end with this server are no change of the fleet, and
                # gateways must not receive a table without its workers.
                for task in background:
                    task.cancel()
                await serving.stop(settings.stop_grace_s())
