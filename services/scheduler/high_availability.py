"""A scheduler among several, which meet in Consul, wired."""

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
from onnxmesh.leadership.base import Candidacy
from onnxmesh.leadership.consul import ConsulLeadership
from onnxmesh.rpc.grpc.channels import Channels
from onnxmesh.rpc.grpc.mesh_proxy import MeshProxy
from onnxmesh.service.serving import Serving
from onnxmesh.state.consul import ConsulDeployments, open_consul_deployments
from onnxmesh.store.blobs import BlobFolder
from onnxmesh.store.servicer import BlobFolderServicer
from onnxmesh.store.threads import in_thread
from onnxmesh.v1.blobs_pb2_grpc import add_BlobsServicer_to_server
from services.scheduler.deployments.retention import Retention
from services.scheduler.leadership.blob_mirror import BlobMirror
from services.scheduler.leadership.leader_context import SharedResources
from services.scheduler.leadership.leader_loop import LeaderLoop
from services.scheduler.leadership.state_folder import locked
from services.scheduler.metrics import SchedulerMetrics
from services.scheduler.publishing.mesh_switch import PASSED_ON, MeshSwitch
from services.scheduler.publishing.route_relay import RouteRelay
from services.scheduler.settings import SchedulerSettings

STOP_GRACE_S = 0.5
"""Its streams never end by themselves, and nothing on them is lost: peers open them again elsewhere."""

_log = structlog.get_logger(__name__)


@asynccontextmanager
async def highly_available_scheduler(
    settings: SchedulerSettings, access: ConsulAccess
) -> AsyncIterator[Serving]:
    """Starts a scheduler that stands for election, and stops it at the end of the context.

    The end, in order: health says NOT_SERVING; the office is left, the lock released, the registration given up;
    the server stops. Another scheduler leads by then.

    Raises:
        Conflict: Another scheduler uses the state folder (ALREADY_EXISTS).
    """
    instance_id = settings.id
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(locked(settings.state))
        agent = ConsulAgent(access)
        stack.callback(agent.close)
        serving = Serving(settings)
        stack.push_async_callback(serving.stop, min(STOP_GRACE_S, settings.drain_s))
        channels = await stack.enter_async_context(Channels())
        blobs = BlobFolder(folder / "blobs")
        await in_thread(blobs.remove_leftovers)
        candidacy = Candidacy()
        store = await stack.enter_async_context(
            open_consul_deployments(agent, lambda: candidacy.standing.fence)
        )
        directory = ConsulDirectory(agent)
        live = settings.live_state(instance_id)
        shared = SharedResources(settings, store, directory, blobs, Retention(blobs), serving.address, live)
        relay = RouteRelay(instance_id)
        instance = Instance(
            instance_id, "scheduler", serving.address, time.time_ns(), attributes=settings.place()
        )

        def sources() -> list[str]:
            """Other schedulers, the leader first; then workers, who have the partitions that they serve."""
            leader = candidacy.standing.leader
            others = [each for each in directory.instances.values() if each.id != instance_id]
            found = [each.address for each in others if each.role == "scheduler"]
            found.sort(key=lambda address: leader is None or address != leader.address)
            return found + [each.address for each in others if each.role == "worker"]

        mirror = BlobMirror(store, blobs, shared.retention, sources)
        background = await stack.enter_async_context(asyncio.TaskGroup())
        running = [background.create_task(each.run()) for each in (directory, mirror, live)]
        running.append(background.create_task(_sweep(store, candidacy)))
        leader_loop = LeaderLoop(shared, candidacy, relay, channels)
        SchedulerMetrics(
            serving.registry, lambda: candidacy.standing, lambda: leader_loop.office, lambda: relay.epoch
        )
        switch = MeshSwitch(relay, leader_loop.leading, MeshProxy(channels, leader_loop.leader, [PASSED_ON]))
        serving.server.add_generic_rpc_handlers((switch,))
        add_BlobsServicer_to_server(BlobFolderServicer(blobs), serving.server)
        await serving.start()
        check = f"service:{service_id(access.prefix, instance)}"
        leadership = ConsulLeadership(agent, [check])
        async with (
            ConsulRegistrar(agent, check=settings.consul_check).register(instance),
            leadership.campaign(instance_id, serving.address, candidacy),
            asyncio.TaskGroup() as group,
        ):
            acting = group.create_task(leader_loop.run())
            try:
                yield serving
            finally:
                await serving.announce_end()
                # Decisions end first, then the lock is released, then the registration is given up.
                acting.cancel()
                for task in running:
                    task.cancel()


async def _sweep(store: ConsulDeployments, candidacy: Candidacy) -> None:
    """Removes what an earlier leader left half done, each time that this scheduler is elected."""
    revision = 0
    while True:
        revision, standing = await candidacy.after(revision)
        if standing.leads:
            try:
                await store.sweep()
            except MeshError as error:
                _log.warning("records_not_swept", error=error.message)
