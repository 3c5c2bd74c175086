"""A gateway from its parts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from time import time_ns

import structlog

from onnxmesh.discovery.instance import Instance
from onnxmesh.discovery.mesh_membership import join_mesh
from onnxmesh.ids import WorkerId
from onnxmesh.routing.network import MeasuredLink
from onnxmesh.routing.selectors.labels import labels_of
from onnxmesh.routing.table.locality import Locality
from onnxmesh.routing.table.table import RoutingTable
from onnxmesh.routing.table.table_difference import TableDifference
from onnxmesh.rpc.frames.frames import Frame
from onnxmesh.rpc.grpc.channels import Channels
from onnxmesh.rpc.grpc.mesh_proxy import MeshProxy
from onnxmesh.rpc.link.compression_metrics import CompressionMetrics
from onnxmesh.rpc.link.compressor import Compressor
from onnxmesh.rpc.link.link import Link
from onnxmesh.rpc.link.links import LinkEvents, Links
from onnxmesh.service.serving import Serving
from onnxmesh.v1.mesh_pb2_grpc import add_RoutingServicer_to_server
from services.gateway.batching.request_coalescer import RequestCoalescer
from services.gateway.dispatch.dispatcher import Dispatcher
from services.gateway.inference.admission import Admission
from services.gateway.inference.request_metrics import RequestMetrics
from services.gateway.inference.servicer import MODEL_INFER, InferenceServicer
from services.gateway.metrics import GatewayMetrics
from services.gateway.reflection import enable_reflection
from services.gateway.routes.model_health import ModelHealth
from services.gateway.routes.route_watch import RouteWatch
from services.gateway.routes.router import Router
from services.gateway.routes.routing_servicer import GatewayRoutingServicer
from services.gateway.routes.scheduler_contact import SchedulerContact
from services.gateway.routes.sessions import Sessions
from services.gateway.settings import GatewaySettings
from services.gateway.sharing.sharing import Sharing

STOP_GRACE_S = 0.2
"""What answers that are done get to leave; calls that stream on are cut off."""

_log = structlog.get_logger(__name__)


@asynccontextmanager
async def gateway_app(settings: GatewaySettings) -> AsyncIterator[Serving]:  # noqa: PLR0915 - the parts, one after another
    """Serves for the time of the context; leaving it drains.

    The end: health says NOT_SERVING, the registration ends, clients are sent elsewhere, running requests get
    `drain_s`, the links to workers end with a Goodbye, the server stops.
    """
    generation = time_ns()
    serving = Serving(
        settings,
        settings.max_message_bytes,
        shared=settings.shared_listen,
        with_http2=settings.edge == "http2",
    )
    admission = Admission(settings.max_in_flight)
    health = ModelHealth(serving.health)
    requests = RequestMetrics(serving.registry)
    compressor = Compressor(enabled=settings.compression == "auto")
    CompressionMetrics(serving.registry, compressor)

    def on_frame(link: Link, frame: Frame) -> None:
        worker = WorkerId(link.peer)
        if frame.header.WhichOneof("kind") == "load":
            sharing.said(worker, frame.header.load)
            if (estimate := link.estimate) is not None:
                router.observe_link(settings.id, worker, MeasuredLink(estimate.rtt_s, estimate.bytes_per_s))
        dispatcher.on_frame(worker, frame)

    def on_lost(link: Link) -> None:
        dispatcher.on_lost(WorkerId(link.peer), link)
        if links.get(link.peer) is None:
            compressor.remove_peer(link.peer)

    def on_suspicion(link: Link) -> None:
        dispatcher.on_suspicion(WorkerId(link.peer), link)

    async def on_table(table: RoutingTable, news: TableDifference) -> None:
        dispatcher.update(table, news)
        await health.update(table, {name for name, _ in news.models})
        requests.forget(news.removed_models)
        gathering.forget(news.removed_models)

    links = Links(
        settings.id,
        generation,
        on_frame,
        events=LinkEvents(on_lost=on_lost, on_suspicion=on_suspicion),
        same_host=settings.same_host,
    )
    live = settings.live_state(settings.id)
    place = settings.place()
    router = Router(
        settings.id,
        links,
        rng=Random(),
        locality=Locality.of(labels_of((), place)),
        sessions=Sessions(live, settings.session_ttl_s),
    )
    dispatcher = Dispatcher(
        settings.id,
        links,
        router,
        max_attempts=settings.max_attempts,
        micro_batches=settings.micro_batches,
        compressor=compressor,
        # Workers may still know requests of the process that had this name before.
        first_number=generation,
    )
    gathering = RequestCoalescer(dispatcher.infer, enabled=settings.gathering)
    sharing = Sharing(settings.id, live, router)
    instance = Instance(settings.id, "gateway", serving.address, generation, attributes=place)
    async with (
        join_mesh(settings.schedulers, settings.consul_access(), settings.consul_check) as mesh,
        Channels() as channels,
        links,
        asyncio.TaskGroup() as tasks,
    ):
        contact = SchedulerContact(health.followed)
        watch = RouteWatch(settings.id, mesh.schedulers, contact, on_table)
        servicer = InferenceServicer(
            lambda: watch.table,
            dispatcher,
            gathering,
            admission,
            requests,
            default_timeout_s=settings.default_timeout_s,
            max_message_bytes=settings.max_message_bytes,
            rng=Random(),
        )
        GatewayMetrics(serving.registry, admission, dispatcher, router, watch, contact)
        proxy = MeshProxy(channels, lambda: watch.scheduler)
        serving.server.add_generic_rpc_handlers((servicer.handler(), proxy))
        if serving.http2 is not None:
            serving.http2.add(MODEL_INFER, servicer.model_infer)
        routing = GatewayRoutingServicer(settings.id, watch, contact, router, compressor)
        add_RoutingServicer_to_server(routing, serving.server)
        enable_reflection(serving.server)
        await serving.start()
        await health.begin()
        background = [tasks.create_task(each.run()) for each in (watch, contact, sharing)]
        try:
            async with mesh.registrar.register(instance):
                yield serving
                await serving.announce_stop()
            # Clients are told at once to go elsewhere, in the way of HTTP/2, and what they have sent is answered. To
            # refuse requests would fail those of clients that have another gateway.
            tasks.create_task(serving.disconnect_clients(settings.drain_s))
            if not await admission.idle(settings.drain_s):
                _log.warning("drain_too_short", num_in_flight=dispatcher.num_in_flight)
        finally:
            for task in background:
                task.cancel()
            await serving.stop(STOP_GRACE_S)
