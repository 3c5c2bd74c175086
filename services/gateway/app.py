"""A gateway from its parts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from socket import gethostname
from time import time_ns

import structlog

from onnxmesh.discovery.base import Instance
from onnxmesh.discovery.joining import joining
from onnxmesh.ids import WorkerId
from onnxmesh.live.embedded import OwnLiveState
from onnxmesh.live.redis import RedisLiveState
from onnxmesh.routing.locality import Locality
from onnxmesh.routing.table import RoutingTable
from onnxmesh.rpc.channels import Channels
from onnxmesh.rpc.frames import Frame
from onnxmesh.rpc.link import Link
from onnxmesh.rpc.links import Links
from onnxmesh.rpc.mesh_proxy import MeshProxy
from onnxmesh.service import Serving
from onnxmesh.v1.mesh_pb2_grpc import add_RoutingServicer_to_server
from services.gateway.admission import Admission
from services.gateway.dispatcher import Dispatcher
from services.gateway.explain import ExplainServicer
from services.gateway.model_health import ModelHealth
from services.gateway.reflection import enable_reflection
from services.gateway.route_watch import RouteWatch
from services.gateway.servicer import InferenceServicer
from services.gateway.settings import GatewaySettings
from services.gateway.shared_loads import SharedLoads

STOP_GRACE_S = 0.2
"""What answers that are done get to leave; calls that stream on are cut off."""

_log = structlog.get_logger(__name__)


@asynccontextmanager
async def gateway_app(settings: GatewaySettings) -> AsyncIterator[Serving]:
    """Serves for the time of the context; leaving it drains.

    The end: health says NOT_SERVING, the registration ends, clients are sent elsewhere, running requests get
    `drain_s`, the links to workers end with a Goodbye, the server stops.
    """
    generation = time_ns()
    serving = Serving(settings, settings.max_message_bytes, shared=settings.shared_listen)
    admission = Admission(settings.max_in_flight)
    health = ModelHealth(serving.health)

    def on_frame(link: Link, frame: Frame) -> None:
        if frame.header.WhichOneof("kind") == "load":
            loads.said(WorkerId(link.peer), frame.header.load)
        dispatcher.on_frame(WorkerId(link.peer), frame)

    def on_lost(link: Link) -> None:
        dispatcher.on_lost(WorkerId(link.peer), link)

    async def on_table(table: RoutingTable) -> None:
        dispatcher.update(table)
        await health.update(table)

    links = Links(settings.id, generation, on_frame, on_lost=on_lost)
    dispatcher = Dispatcher(
        settings.id,
        links,
        max_attempts=settings.max_attempts,
        rng=Random(),
        locality=Locality(settings.region, settings.zone, gethostname()),
    )
    live = live_state(settings)
    loads = SharedLoads(settings.id, live, dispatcher.hear_load)
    instance = Instance(settings.id, "gateway", serving.address, generation)
    async with (
        joining(settings.schedulers, settings.consul_access(), settings.consul_check) as mesh,
        Channels() as channels,
        links,
        asyncio.TaskGroup() as tasks,
    ):
        watch = RouteWatch(settings.id, mesh.schedulers, on_table)
        servicer = InferenceServicer(
            lambda: watch.table,
            dispatcher,
            admission,
            default_timeout_s=settings.default_timeout_s,
            max_message_bytes=settings.max_message_bytes,
        )
        proxy = MeshProxy(channels, lambda: watch.scheduler)
        serving.server.add_generic_rpc_handlers((servicer.handler(), proxy))
        explaining = ExplainServicer(settings.id, lambda: watch.table, dispatcher)
        add_RoutingServicer_to_server(explaining, serving.server)
        enable_reflection(serving.server)
        await serving.start()
        await health.begin()
        background = [tasks.create_task(watch.run())]
        if isinstance(live, RedisLiveState):
            background += [tasks.create_task(each.run()) for each in (live, loads)]
        try:
            async with mesh.registrar.register(instance):
                yield serving
                await serving.announce_end()
            # Clients are told at once to go elsewhere, in the way of HTTP/2, and what they have sent is answered. To
            # refuse requests would fail those of clients that have another gateway.
            tasks.create_task(serving.server.stop(settings.drain_s))
            if not await admission.idle(settings.drain_s):
                _log.warning("drain_too_short", num_in_flight=dispatcher.num_in_flight)
        finally:
            for task in background:
                task.cancel()
            await serving.server.stop(STOP_GRACE_S)


def live_state(settings: GatewaySettings) -> OwnLiveState | RedisLiveState:
    """Returns where this gateway shares what it knows right now.

    Raises:
        InvalidRequest: The setting is no URL of a Redis (INVALID_ARGUMENT).
    """
    own = OwnLiveState(settings.id)
    if settings.redis is None:
        return own
    return RedisLiveState(settings.redis.get_secret_value(), own, prefix=settings.consul_prefix)
