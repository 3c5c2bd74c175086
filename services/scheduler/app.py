"""The scheduler, wired."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from onnxmesh.discovery.embedded import EmbeddedRegistry
from onnxmesh.service import Serving
from onnxmesh.state.embedded import open_deployments
from onnxmesh.store.blobs import BlobFolder
from onnxmesh.store.servicer import BlobFolderServicer
from onnxmesh.store.threads import in_thread
from onnxmesh.v1.blobs_pb2_grpc import add_BlobsServicer_to_server
from onnxmesh.v1.mesh_pb2_grpc import add_MeshServicer_to_server
from onnxmesh.v1.registry_pb2_grpc import add_RegistryServicer_to_server
from services.scheduler.catalogue import Catalogue
from services.scheduler.deployer import Deployer
from services.scheduler.fleet import Fleet
from services.scheduler.link_table import LinkTable
from services.scheduler.preparation import Preparation
from services.scheduler.publisher import Publisher
from services.scheduler.reconciler import Reconciler
from services.scheduler.replanner import Replanner
from services.scheduler.retention import Retention
from services.scheduler.servicer import SchedulerServicer
from services.scheduler.settings import SchedulerSettings
from services.scheduler.state_folder import locked
from services.scheduler.survey import Surveyor

STOP_GRACE_S = 0.5
"""Its streams never end by themselves, and nothing on them is lost: peers open them again elsewhere."""


@asynccontextmanager
async def scheduler(settings: SchedulerSettings) -> AsyncIterator[Serving]:
    """Starts a scheduler, and stops it at the end of the context.

    Raises:
        Conflict: Another scheduler uses the state folder (ALREADY_EXISTS).
        CorruptData: What is in the state folder cannot be read (DATA_LOSS).
    """
    # The term of office: later ones are greater, on this machine and on others with a clock.
    term = time.time_ns() // 1_000_000
    with locked(settings.state) as folder:
        async with open_deployments(folder) as store:
            blobs = BlobFolder(folder / "blobs")
            await in_thread(blobs.remove_leftovers)
            retention = Retention(blobs)
            catalogue = Catalogue(store, retention)
            await catalogue.restore()
            for digest in await in_thread(retention.unheld):
                blobs.remove(digest)
            serving = Serving(settings)
            registry = EmbeddedRegistry(silence_s=settings.registration_silence_s)
            fleet = Fleet(registry, term)
            publisher = Publisher(term)
            reconciler = Reconciler(catalogue, fleet, publisher, serving.address, settle_s=settings.settle_s)
            surveyor = Surveyor(fleet, catalogue, LinkTable())
            preparation = Preparation(fleet, surveyor, blobs, serving.address, settings.profile_s)
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
            deployer = Deployer(catalogue, retention, preparation, reconciler, settings.deploy_timeout_s)
            servicer = SchedulerServicer(
                deployer,
                catalogue,
                fleet,
                registry,
                reconciler,
                replanner,
                publisher,
                blobs,
                settings.max_upload_bytes,
            )
            add_MeshServicer_to_server(servicer, serving.server)
            add_RegistryServicer_to_server(registry, serving.server)
            add_BlobsServicer_to_server(BlobFolderServicer(blobs), serving.server)
            parts = (registry, fleet, reconciler, replanner, deployer)
            async with asyncio.TaskGroup() as group:
                running = [group.create_task(each.run()) for each in parts]
                try:
                    await serving.start()
                    yield serving
                finally:
                    await serving.announce_end()
                    # Decisions end first: registrations that end with this server are no news of workers,
                    # and no gateway may be told that they were.
                    for task in running:
                        task.cancel()
                    await asyncio.wait(running)
                    await serving.server.stop(min(STOP_GRACE_S, settings.drain_s))
