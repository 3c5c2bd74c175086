"""gRPC health: Check and Watch."""

from __future__ import annotations

from contextlib import aclosing

import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from onnxmesh.errors import NotFound
from onnxmesh.service.health_servicer import HealthServicer

SERVING, NOT_SERVING, UNKNOWN = (
    HealthCheckResponse.SERVING,
    HealthCheckResponse.NOT_SERVING,
    HealthCheckResponse.SERVICE_UNKNOWN,
)
OWN = "inference.GRPCInferenceService"


async def check(health, service):
    return (await health.Check(HealthCheckRequest(service=service), None)).status


def watch(health, service):
    return aclosing(health.Watch(HealthCheckRequest(service=service), None))


async def next_status(watching):
    return (await anext(watching)).status


async def test_health_servicer_gives_a_process_and_its_services_one_health():
    """Check and Watch of the service's own name follow the process."""
    health = HealthServicer([OWN])
    assert await check(health, OWN) == SERVING
    async with watch(health, OWN) as watching:
        assert await next_status(watching) == SERVING
        await health.set("", NOT_SERVING)
        assert await next_status(watching) == NOT_SERVING
    assert await check(health, OWN) == NOT_SERVING


async def test_health_servicer_knows_no_service_that_was_never_set_or_was_removed():
    """Check fails as NOT_FOUND and names what there is; Watch goes on with SERVICE_UNKNOWN until there is one."""
    health = HealthServicer([OWN])
    async with watch(health, "mesh.model/m") as watching:
        assert await next_status(watching) == UNKNOWN
        await health.set("mesh.model/m", SERVING)
        assert await next_status(watching) == SERVING
        with pytest.raises(NotFound, match=f"'{OWN}', 'mesh.model/m'; did you mean 'mesh.model/m'?"):
            await check(health, "mesh.model/n")
        await health.set("mesh.model/m", UNKNOWN)
        assert await next_status(watching) == UNKNOWN
    with pytest.raises(NotFound):
        await check(health, "mesh.model/m")


async def test_health_servicer_keeps_a_watcher_when_another_leaves():
    """Each watcher of a service sees each change, however many there are; none is kept after its call ended."""
    health = HealthServicer()
    async with watch(health, "") as first:
        assert await next_status(first) == SERVING
        async with watch(health, "") as second:
            assert await next_status(second) == SERVING
        await health.set("", NOT_SERVING)
        assert await next_status(first) == NOT_SERVING
    assert not health._watchers


async def test_health_servicer_serves_nothing_once_it_stops():
    """Whatever is set afterwards."""
    health = HealthServicer([OWN])
    await health.set("mesh.routes", SERVING)
    await health.enter_graceful_shutdown()
    await health.set("mesh.routes", SERVING)
    assert [await check(health, service) for service in ("", OWN, "mesh.routes")] == [NOT_SERVING] * 3
