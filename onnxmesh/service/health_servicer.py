"""gRPC health service: Check and Watch of the process and its services.

Source: https://github.com/grpc/grpc/blob/master/doc/health-checking.md
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable

from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthServicer as HealthMethods

from onnxmesh.error_text import did_you_mean, listed
from onnxmesh.errors import NotFound
from onnxmesh.rpc.grpc.interceptor import Context

PROCESS = ""
"""The service that stands for the whole process."""


class HealthServicer(HealthMethods):  # type: ignore[misc]
    """Health by service name. Belongs to one event loop.

    The servicer of `grpcio-health-checking` forgets the other watchers of a service when one leaves, and answers Check with
    SERVICE_UNKNOWN, a status of Watch alone.

    Args:
        services: gRPC services that are as healthy as the process, by their full names.
    """

    def __init__(self, services: Iterable[str] = ()) -> None:
        self._like_process = frozenset(services)
        self._statuses: dict[str, int] = {PROCESS: HealthCheckResponse.SERVING}
        self._watchers: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._is_stopping = False

    async def set(self, service: str, status: int) -> None:
        """Sets the status of a service; SERVICE_UNKNOWN removes it. Has no effect once the process stops."""
        if not self._is_stopping:
            self._set(service, status)

    async def enter_graceful_shutdown(self) -> None:
        """Sets every service to NOT_SERVING for good."""
        self._is_stopping = True
        for service in tuple(self._statuses):
            self._set(service, HealthCheckResponse.NOT_SERVING)

    async def Check(self, request: HealthCheckRequest, _: Context) -> HealthCheckResponse:  # noqa: N802 - gRPC's name
        """Returns the status of a service.

        Raises:
            NotFound: There is no such service (NOT_FOUND).
        """
        status = self._status(request.service)
        if status == HealthCheckResponse.SERVICE_UNKNOWN:
            known = sorted({*self._statuses, *self._like_process} - {PROCESS})
            raise NotFound(
                f"unknown service '{request.service}': the services are {listed(known)}"
                f"{did_you_mean(request.service, known)}"
            )
        return HealthCheckResponse(status=status)

    async def Watch(self, request: HealthCheckRequest, _: Context) -> AsyncIterator[HealthCheckResponse]:  # noqa: N802 - gRPC's name
        """Yields the status of a service at once and after each change; SERVICE_UNKNOWN while there is none."""
        changed = asyncio.Event()
        key = PROCESS if request.service in self._like_process else request.service
        self._watchers[key].add(changed)
        sent = None
        try:
            while True:
                changed.clear()
                status = self._status(request.service)
                if status != sent:
                    sent = status
                    yield HealthCheckResponse(status=status)
                else:
                    await changed.wait()
        finally:
            self._watchers[key].discard(changed)
            if not self._watchers[key]:
                del self._watchers[key]

    def _status(self, service: str) -> int:
        key = PROCESS if service in self._like_process else service
        return self._statuses.get(key, int(HealthCheckResponse.SERVICE_UNKNOWN))

    def _set(self, service: str, status: int) -> None:
        if status == HealthCheckResponse.SERVICE_UNKNOWN:
            self._statuses.pop(service, None)
        else:
            self._statuses[service] = status
        for changed in self._watchers.get(service, ()):
            changed.set()
