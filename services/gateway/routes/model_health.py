"""gRPC health of the gateway, of every model and of the route table."""

from __future__ import annotations

from collections.abc import Iterable

from grpc_health.v1.health_pb2 import HealthCheckResponse

from onnxmesh.errors import NotFound
from onnxmesh.routing.table.table import RoutingTable
from onnxmesh.service.health_servicer import PROCESS, HealthServicer

PREFIX = "mesh.model/"
"""Prefix of the health service of a model, followed by its name; the service `""` is the gateway itself."""

ROUTES = "mesh.routes"
"""Health service of the route table: NOT_SERVING while no scheduler sends changes to it."""

MESH = "onnxmesh.v1.Mesh"
"""The service that a scheduler answers: as healthy as the connection to it."""

AS_HEALTHY_AS_THE_GATEWAY = ("inference.GRPCInferenceService", "onnxmesh.v1.Routing")
"""The services that the gateway itself answers."""


class ModelHealth:
    """Sets the health services by the route table.

    A model is SERVING while one of its versions has a complete route, NOT_SERVING while none has, and
    SERVICE_UNKNOWN once it is undeployed. The gateway is NOT_SERVING until it has a table.

    Args:
        health: The server's health servicer.
    """

    def __init__(self, health: HealthServicer) -> None:
        self._health = health
        self._known: dict[str, int] = {}

    async def begin(self) -> None:
        """Sets gateway and route table to NOT_SERVING."""
        await self._set(PROCESS, HealthCheckResponse.NOT_SERVING)
        await self.set_fresh(False)

    async def update(self, table: RoutingTable, names: Iterable[str]) -> None:
        """Applies a new route table.

        Args:
            table: The table in force.
            names: The models that have changed.
        """
        for name in names:
            await self._set(PREFIX + name, _status(table, name))
        await self._set(PROCESS, HealthCheckResponse.SERVING)

    async def set_fresh(self, fresh: bool) -> None:
        """Sets the health of the route table, and of the scheduler's service."""
        for service in (ROUTES, MESH):
            await self._set(
                service, HealthCheckResponse.SERVING if fresh else HealthCheckResponse.NOT_SERVING
            )

    async def _set(self, service: str, status: int) -> None:
        if self._known.get(service) != status:
            self._known[service] = status
            await self._health.set(service, status)


def _status(table: RoutingTable, name: str) -> int:
    try:
        complete = any(model.is_complete for model in table.versions(name))
    except NotFound:
        return int(HealthCheckResponse.SERVICE_UNKNOWN)
    return int(HealthCheckResponse.SERVING if complete else HealthCheckResponse.NOT_SERVING)
