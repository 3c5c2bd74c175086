"""The scheduler, wired."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from onnxmesh.discovery.embedded import EmbeddedRegistry
from onnxmesh.leadership.embedded import FileLeadership
from onnxmesh.service.serving import Serving
from onnxmesh.state.embedded import open_deployments
from onnxmesh.store.blobs import BlobFolder
from onnxmesh.store.servicer import BlobFolderServicer
from onnxmesh.store.threads import in_thread
from onnxmesh.v1.blobs_pb2_grpc import add_BlobsServicer_to_server
from onnxmesh.v1.mesh_pb2_grpc import add_MeshServicer_to_server
from onnxmesh.v1.registry_pb2_grpc import add_RegistryServicer_to_server
from services.scheduler.deployments.retention import Retention, remove_unheld
from services.scheduler.high_availability import STOP_GRACE_S, highly_available_scheduler
from services.scheduler.leadership.leader_context import SharedResources, leader_context
from services.scheduler.leadership.state_folder import locked
from services.scheduler.metrics import SchedulerMetrics
from services.scheduler.settings import SchedulerSettings


@asynccontextmanager
async def scheduler_app(settings: SchedulerSettings) -> AsyncIterator[Serving]:
    """Starts a scheduler, alone or one of several, and stops it at the end of the context.

    Raises:
        Conflict: Another scheduler uses the state folder (ALREADY_EXISTS).
        CorruptData: What is in the state folder cannot be read (DATA_LOSS).
    """
    access = settings.consul_access()
    async with (
        highly_available_scheduler(settings, access) if access is not None else _alone(settings) as serving
    ):
        yield serving


@asynccontextmanager
async def _alone(settings: SchedulerSettings) -> AsyncIterator[Serving]:
    with locked(settings.state) as folder:
        async with open_deployments(folder) as store:
            blobs = BlobFolder(folder / "blobs")
            await in_thread(blobs.remove_leftovers)
            retention = Retention(blobs)
            serving = Serving(settings)
            registry = EmbeddedRegistry(silence_s=settings.registration_silence_s)
            live = settings.live_state(settings.id)
            shared = SharedResources(settings, store, registry, blobs, retention, serving.address, live)
            async with FileLeadership(folder).campaign(settings.id, serving.address) as candidacy:
                # Nobody else can have the folder, so this scheduler leads.
                term = candidacy.standing.term
                async with asyncio.TaskGroup() as group:
                    sharing = group.create_task(live.run())
                    registering = group.create_task(registry.run())
                    async with leader_context(shared, term, term) as office:
                        await remove_unheld(blobs, retention)
                        SchedulerMetrics(
                            serving.registry,
                            lambda: candidacy.standing,
                            lambda: office,
                            lambda: office.publisher.table.epoch,
                        )
                        add_MeshServicer_to_server(office.servicer, serving.server)
                        add_RegistryServicer_to_server(registry, serving.server)
                        add_BlobsServicer_to_server(BlobFolderServicer(blobs), serving.server)
                        await serving.start()
                        try:
                            yield serving
                        finally:
                            await serving.announce_end()
                    # Decisions have ended first: registrations that end with this server are no news of
                    # workers, and no gateway may be told that they were.
                    registering.cancel()
                    sharing.cancel()
                    await serving.stop(min(STOP_GRACE_S, settings.drain_s))
