"""gRPC health of the gateway, of every model and of the route table."""

from __future__ import annotations

from collections.abc import Iterable

from grpc_health.v1.health import aio as health_aio
from grpc_health.v1.health_pb2 import HealthCheckResponse

from onnxmesh.errors import NotFound
from onnxmesh.routing.table.table import RoutingTable

PREFIX = "mesh.model/"
"""A model's health has its name after this; `""` is the gateway itself."""

ROUTES = "mesh.routes"
"""Health of the route table: NOT_SERVING while no scheduler tells of changes to it."""


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
        await self._say("", HealthCheckResponse.NOT_SERVING)
        await self.followed(False)

    async def update(self, table: RoutingTable, names: Iterable[str]) -> None:
        """Takes a new route table.

        Args:
            table: Is in force from now on.
            names: The models that may be served otherwise than before.
        """
        for name in names:
            await self._say(PREFIX + name, _status(table, name))
        await self._say("", HealthCheckResponse.SERVING)

    async def followed(self, followed: bool) -> None:
        """Says whether a scheduler tells this gateway of changes to its route table."""
        await self._say(ROUTES, HealthCheckResponse.SERVING if followed else HealthCheckResponse.NOT_SERVING)

    async def _say(self, service: str, status: int) -> None:
        if self._known.get(service) != status:
            self._known[service] = status
            await self._health.set(service, status)


def _status(table: RoutingTable, name: str) -> int:
    try:
        complete = any(model.is_complete for model in table.versions(name))
    except NotFound:
        return int(HealthCheckResponse.SERVICE_UNKNOWN)
    return int(HealthCheckResponse.SERVING if complete else HealthCheckResponse.NOT_SERVING)
