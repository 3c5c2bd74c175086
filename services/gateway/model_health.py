"""gRPC health of the gateway and of every model."""

from __future__ import annotations

from grpc_health.v1.health import aio as health_aio
from grpc_health.v1.health_pb2 import HealthCheckResponse

from onnxmesh.routing.table import RoutingTable

PREFIX = "mesh.model/"
"""A model's health has its name after this; `""` is the gateway itself."""


class ModelHealth:
    """Keeps health in step with the route table.

    A model is SERVING while one of its versions has a complete route, NOT_SERVING while none has, and
    SERVICE_UNKNOWN once it is gone. The gateway is NOT_SERVING until it has a table.

    Args:
        health: The server's health.
    """

    def __init__(self, health: health_aio.HealthServicer) -> None:
        self._health = health
        self._known: dict[str, int] = {}

    async def begin(self) -> None:
        """Says that the gateway cannot answer yet."""
        await self._health.set("", HealthCheckResponse.NOT_SERVING)

    async def update(self, table: RoutingTable) -> None:
        """Takes a new route table."""
        now = {
            PREFIX + name: HealthCheckResponse.SERVING
            if any(model.is_complete for model in table.versions(name))
            else HealthCheckResponse.NOT_SERVING
            for name in table.names
        }
        now[""] = HealthCheckResponse.SERVING
        for service in self._known.keys() - now.keys():
            await self._health.set(service, HealthCheckResponse.SERVICE_UNKNOWN)
        for service, status in now.items():
            if self._known.get(service) != status:
                await self._health.set(service, status)
        self._known = dict(now)
