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
from onnxmesh.discovery.embedded_registrar import EmbeddedRegistrar
from onnxmesh.ids import WorkerId
from onnxmesh.routing.locality import Locality
from onnxmesh.routing.table import RoutingTable
from onnxmesh.rpc.channel import open_channel
from onnxmesh.rpc.frames import Frame
from onnxmesh.rpc.link import Link
from onnxmesh.rpc.links import Links
from onnxmesh.service import Serving
from onnxmesh.v1.mesh_pb2_grpc import add_RoutingServicer_to_server
from services.gateway.admission import Admission
from services.gateway.dispatcher import Dispatcher
from services.gateway.explain import ExplainServicer
from services.gateway.mesh_proxy import MeshProxy
from services.gateway.model_health import ModelHealth
from services.gateway.reflection import enable_reflection
from services.gateway.route_watch import RouteWatch
from services.gateway.servicer import InferenceServicer
from services.gateway.settings import GatewaySettings

STOP_GRACE_S = 0.2
"""What answers that are done get to leave; calls that stream on are cut off."""

_log = structlog.get_logger(__name__)


@asynccontextmanager
async def gateway_app(settings: GatewaySettings) -> AsyncIterator[Serving]:
    """Serves for the time of the context; leaving it drains.

    The end: health says NOT_SERVING and new requests are refused, the registration ends, running requests
    get `drain_s`, the links to workers end with a Goodbye, the server stops.
    """
    generation = time_ns()
    serving = Serving(settings, settings.max_message_bytes)
    admission = Admission(settings.max_in_flight)
    health = ModelHealth(serving.health)

    def on_frame(link: Link, frame: Frame) -> None:
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
    watch = RouteWatch(settings.id, settings.scheduler, on_table)
    servicer = InferenceServicer(
        lambda: watch.table,
        dispatcher,
        admission,
        default_timeout_s=settings.default_timeout_s,
        max_message_bytes=settings.max_message_bytes,
    )
    instance = Instance(settings.id, "gateway", serving.address, generation)
    async with open_channel(settings.scheduler) as channel, links, asyncio.TaskGroup() as tasks:
        serving.server.add_generic_rpc_handlers((servicer.handler(), MeshProxy(channel, settings.scheduler)))
        explaining = ExplainServicer(settings.id, lambda: watch.table, dispatcher)
        add_RoutingServicer_to_server(explaining, serving.server)
        enable_reflection(serving.server)
        await serving.start()
        await health.begin()
        watching = tasks.create_task(watch.run())
        try:
            async with EmbeddedRegistrar(settings.scheduler).register(instance):
                yield serving
                await serving.announce_end()
                draining = tasks.create_task(admission.drain(settings.drain_s))
            if not await draining:
                _log.warning("drain_too_short", num_in_flight=dispatcher.num_in_flight)
        finally:
            watching.cancel()
            await serving.server.stop(STOP_GRACE_S)
