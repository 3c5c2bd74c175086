"""A gateway, assembled from its parts: data path, routing, servers, life cycle."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from time import time_ns

import structlog

from onnxmesh.discovery.instance import Instance
from onnxmesh.discovery.mesh_membership import join_mesh
from onnxmesh.http2.server.service import ADDRESS
from onnxmesh.routing.table.table import RoutingTable
from onnxmesh.routing.table.table_difference import TableDifference
from onnxmesh.rpc.grpc.channels import Channels
from onnxmesh.rpc.grpc.mesh_proxy import MeshProxy
from onnxmesh.rpc.link.compression_metrics import CompressionMetrics
from onnxmesh.service.serving import Serving
from onnxmesh.v1.mesh_pb2_grpc import add_RoutingServicer_to_server
from services.gateway.data_path import DataPath
from services.gateway.inference.admission import Admission
from services.gateway.inference.request_metrics import RequestMetrics
from services.gateway.inference.servicer import MODEL_INFER, InferenceServicer
from services.gateway.metrics import GatewayMetrics
from services.gateway.reflection import enable_reflection
from services.gateway.routes.model_health import AS_HEALTHY_AS_THE_GATEWAY, ModelHealth
from services.gateway.routes.route_watch import RouteWatch
from services.gateway.routes.routing_servicer import GatewayRoutingServicer
from services.gateway.routes.table_freshness import TableFreshness
from services.gateway.settings import GatewaySettings

SPOKEN = (
    "This port of an onnxmesh gateway speaks the Open Inference Protocol over gRPC, without TLS. Use a client of gRPC, for example "
    f"tritonclient.grpc.InferenceServerClient('{ADDRESS}'), or grpcurl -plaintext {ADDRESS} list."
)
"""What clients that do not speak gRPC are answered."""

STOP_GRACE_S = 0.2
"""Time for finished responses to be sent; open streams are then closed."""

_log = structlog.get_logger(__name__)


@asynccontextmanager
async def gateway_app(settings: GatewaySettings) -> AsyncIterator[Serving]:
    """Serves for the time of the context; leaving it drains.

    The end: health becomes NOT_SERVING, the registration ends, clients get GOAWAY and connect elsewhere, requests in flight get
    `drain_s`, the links to workers are closed with a Goodbye, the server stops.
    """
    generation = time_ns()
    serving = Serving(
        settings,
        settings.max_message_bytes,
        shared=settings.shared_listen,
        with_http2=settings.edge == "http2",
        services=AS_HEALTHY_AS_THE_GATEWAY,
        spoken=SPOKEN,
        min_gzip_bytes=settings.gzip_from_bytes or math.inf,
    )
    data_path = DataPath(settings, generation)
    admission = Admission(settings.max_in_flight)
    requests = RequestMetrics(serving.registry)
    health = ModelHealth(serving.health)

    async def on_table(table: RoutingTable, changes: TableDifference) -> None:
        data_path.update(table, changes)
        await health.update(table, {name for name, _ in changes.models})
        requests.remove(changes.removed_models)

    async with (
        join_mesh(settings.schedulers, settings.consul_access(), settings.consul_check) as mesh,
        Channels() as channels,
        data_path.links,
        asyncio.TaskGroup() as tasks,
    ):
        freshness = TableFreshness(health.set_fresh)
        watch = RouteWatch(
            settings.id, mesh.schedulers, freshness=freshness, search=mesh.search, on_table=on_table
        )
        inference = InferenceServicer(
            lambda: watch.table,
            data_path.requests,
            admission,
            metrics=requests,
            default_timeout_s=settings.default_timeout_s,
            max_message_bytes=settings.max_message_bytes,
            rng=Random(),
        )
        routing = GatewayRoutingServicer(
            settings.id, watch, data_path.router, freshness=freshness, compressor=data_path.compressor
        )
        _add_services(serving, inference, routing, MeshProxy(channels, lambda: watch.scheduler))
        CompressionMetrics(serving.registry, data_path.compressor)
        GatewayMetrics(
            serving.registry,
            admission=admission,
            dispatcher=data_path.dispatcher,
            router=data_path.router,
            watch=watch,
            freshness=freshness,
        )
        await serving.start()
        await health.begin()
        background = [
            tasks.create_task(each.run()) for each in (watch, freshness, data_path.sharing, mesh.search)
        ]
        background.append(tasks.create_task(serving.ready_after(mesh.search.wait_found)))
        try:
            instance = Instance(
                settings.id, "gateway", serving.address, generation, attributes=settings.place()
            )
            async with mesh.registrar.register(instance):
                yield serving
                await serving.announce_stop()
            # By GOAWAY clients connect elsewhere, and what they have sent is answered. To refuse their requests
            # would fail those of clients that have another gateway.
            tasks.create_task(serving.disconnect_clients(settings.drain_s))
            if not await admission.idle(settings.drain_s):
                _log.warning("drain_too_short", num_in_flight=data_path.dispatcher.num_in_flight)
        finally:
            for task in background:
                task.cancel()
            await serving.stop(STOP_GRACE_S)


def _add_services(
    serving: Serving, inference: InferenceServicer, routing: GatewayRoutingServicer, mesh: MeshProxy
) -> None:
    """Adds the services of a gateway to its servers: Open Inference, Routing, Mesh of the scheduler, reflection."""
    serving.server.add_generic_rpc_handlers((inference.handler(), mesh))
    if serving.http2 is not None:
        serving.http2.add(MODEL_INFER, inference.model_infer)
    add_RoutingServicer_to_server(routing, serving.server)
    enable_reflection(serving.server)
