"""A scheduler in a highly available group: Consul has the registry, the deployments and the leader election."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import structlog

from onnxmesh.consul.access import ConsulAccess
from onnxmesh.consul.agent import ConsulAgent
from onnxmesh.discovery.consul_directory import ConsulDirectory
from onnxmesh.discovery.consul_registrar import ConsulRegistrar
from onnxmesh.discovery.consul_service import service_id
from onnxmesh.discovery.instance import Instance
from onnxmesh.errors import MeshError
from onnxmesh.leadership.base import Candidate
from onnxmesh.leadership.consul import ConsulLeaderElection
from onnxmesh.rpc.grpc.channels import Channels
from onnxmesh.rpc.grpc.mesh_proxy import MeshProxy
from onnxmesh.service.serving import Serving
from onnxmesh.state.consul import ConsulDeployments, open_consul_deployments
from onnxmesh.store.blobs import BlobFolder
from onnxmesh.store.servicer import BlobFolderServicer
from onnxmesh.store.threads import in_thread
from onnxmesh.v1.blobs_pb2_grpc import add_BlobsServicer_to_server
from services.scheduler.deployments.retention import Retention
from services.scheduler.leadership.blob_mirror import BlobMirror, BlobSources
from services.scheduler.leadership.leader_loop import LeaderLoop
from services.scheduler.leadership.shared_resources import SharedResources
from services.scheduler.leadership.state_folder import locked
from services.scheduler.metrics import SchedulerMetrics
from services.scheduler.publishing.mesh_switch import PASSED_ON, MeshSwitch
from services.scheduler.publishing.route_relay import RouteRelay
from services.scheduler.settings import SchedulerSettings

_log = structlog.get_logger(__name__)


@asynccontextmanager
async def highly_available_scheduler(
    settings: SchedulerSettings, access: ConsulAccess
) -> AsyncIterator[Serving]:
    """Serves for the time of the context, and leads while it is elected.

    The end, in order: health reports NOT_SERVING; the term ends, the lock is released, the registration is removed;
    the server stops. Another scheduler leads by then.

    Raises:
        Conflict: Another scheduler uses the state folder (ALREADY_EXISTS).
    """
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(locked(settings.state))
        agent = ConsulAgent(access)
        stack.callback(agent.close)
        serving = Serving(settings, services=("onnxmesh.v1.Mesh", "onnxmesh.v1.Blobs"))
        stack.push_async_callback(serving.stop, settings.stop_grace_s())
        channels = await stack.enter_async_context(Channels())
        blobs = BlobFolder(folder / "blobs")
        await in_thread(blobs.remove_leftovers)
        candidate = Candidate()
        store = await stack.enter_async_context(
            open_consul_deployments(agent, lambda: candidate.status.fence)
        )
        directory = ConsulDirectory(agent)
        live = settings.live_state(settings.id)
        shared = SharedResources(
            settings=settings.for_leader(),
            store=store,
            directory=directory,
            blobs=blobs,
            retention=Retention(blobs),
            address=serving.address,
            live=live,
        )
        sources = BlobSources(directory, candidate, settings.id)
        mirror = BlobMirror(store, blobs, shared.retention, sources=sources.addresses)
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        background = [tasks.create_task(each.run()) for each in (directory, mirror, live)]
        background.append(tasks.create_task(_sweep(store, candidate)))
        relay = RouteRelay(settings.id)
        leader_loop = LeaderLoop(shared, candidate, relay, channels=channels)
        SchedulerMetrics(
            serving.registry,
            lambda: candidate.status,
            lambda: leader_loop.context,
            epoch=lambda: relay.epoch,
        )
        proxy = MeshProxy(channels, leader_loop.leader, [PASSED_ON])
        serving.server.add_generic_rpc_handlers((MeshSwitch(relay, leader_loop.servicer, proxy),))
        add_BlobsServicer_to_server(BlobFolderServicer(blobs), serving.server)
        await serving.start()
        instance = Instance(
            settings.id, "scheduler", serving.address, time.time_ns(), attributes=settings.place()
        )
        async with (
            ConsulRegistrar(agent, check=settings.consul_check).register(instance) as registration,
            ConsulLeaderElection(
                agent,
                [f"service:{service_id(access.prefix, instance)}"],
                has_checks=lambda: registration.held,
            ).campaign(settings.id, serving.address, candidate),
            asyncio.TaskGroup() as group,
        ):
            acting = group.create_task(leader_loop.run())
            background.append(group.create_task(serving.ready_after(registration.wait)))
            try:
                yield serving
            finally:
                await serving.announce_stop()
                # Decisions end first, then the lock is released, then the registration is removed.
                acting.cancel()
                for task in background:
                    task.cancel()


async def _sweep(store: ConsulDeployments, candidate: Candidate) -> None:
    """Removes records that an earlier leader left incomplete, each time that this scheduler is elected."""
    revision = 0
    while True:
        revision, status = await candidate.after(revision)
        if status.is_leader:
            try:
                await store.sweep()
            except MeshError as error:
                _log.warning("records_not_swept", error=error.message)
