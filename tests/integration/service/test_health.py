"""`python -m onnxmesh.service.health`, as a container's health check runs it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio

from onnxmesh.service.health import reachable
from tests.fakes.service_program import free_ports

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture
async def address():
    server = grpc.aio.server()
    servicer = health_aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    await servicer.set("", SERVING)
    await servicer.set("ill", NOT_SERVING)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"127.0.0.1:{port}"
    await server.stop(None)


async def probe(*arguments, listen=None):
    environment = {name: value for name, value in os.environ.items() if name != "ONNXMESH_LISTEN"}
    if listen:
        environment["ONNXMESH_LISTEN"] = listen
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "onnxmesh.service.health",
        *arguments,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, error = await process.communicate()
    return process.returncode, (out + error).decode().strip()


async def test_health_probe_prints_the_health_of_a_service(address):
    """Status 0 is for SERVING alone."""
    assert await probe(address) == (0, "SERVING")
    assert await probe(address, "ill") == (1, "NOT_SERVING")
    assert await probe(address, "unknown") == (1, "NOT_FOUND")


async def test_health_probe_uses_the_address_of_its_container(address):
    """Without arguments it uses the setting of the service's listening address."""
    port = address.rpartition(":")[2]
    assert await probe(listen=f"0.0.0.0:{port}") == (0, "SERVING")


async def test_health_probe_fails_without_a_server():
    """A process that does not answer does not serve."""
    (port,) = free_ports(1)
    assert await probe(f"127.0.0.1:{port}") == (1, "UNAVAILABLE")


async def test_health_probe_without_an_address_prints_its_usage():
    """Status 2 is for what trying again will not help."""
    code, output = await probe()
    assert code == 2
    assert output.startswith("usage: ")


@pytest.mark.parametrize(
    ("listened", "dialled"),
    [
        ("0.0.0.0:8001", "127.0.0.1:8001"),
        ("[::]:8001", "[::1]:8001"),
        ("10.0.0.7:8001", "10.0.0.7:8001"),
    ],
)
def test_reachable_replaces_every_address_by_loopback(listened, dialled):
    """A service that listens on every address is reached through the loopback address."""
    assert reachable(listened) == dialled
