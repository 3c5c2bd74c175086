"""Registration with the registry inside a scheduler, over real gRPC."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace

import grpc
import grpc.aio

from onnxmesh.discovery.embedded_registrar import EmbeddedRegistrar
from onnxmesh.discovery.embedded_registry import EmbeddedRegistry
from onnxmesh.discovery.instance import Instance
from onnxmesh.errors import Internal, Unavailable
from onnxmesh.rpc.grpc.channel import server_options
from onnxmesh.rpc.grpc.interceptor import ErrorInterceptor
from onnxmesh.v1.registry_pb2_grpc import add_RegistryServicer_to_server
from tests.eventually import eventually


def instance(id_="a", generation=1):
    return Instance(id_, "worker", "127.0.0.1:1", generation, ("gpu",), {"cores": "2"})


@asynccontextmanager
async def served(registry, address="127.0.0.1:0"):
    server = grpc.aio.server(interceptors=[ErrorInterceptor()], options=server_options())
    port = server.add_insecure_port(address)
    add_RegistryServicer_to_server(registry, server)
    await server.start()
    running = asyncio.ensure_future(registry.run())
    try:
        yield f"127.0.0.1:{port}"
    finally:
        running.cancel()
        await asyncio.wait([running])
        await server.stop(None)


async def test_registrar_registers_again_after_an_outage():
    first = EmbeddedRegistry()
    async with served(first) as address:
        registrar = EmbeddedRegistrar(address, heartbeat_s=0.05)
        context = registrar.register(instance())
        registration = await context.__aenter__()
        await registration.wait()
    await eventually(lambda: not registration.held)
    second = EmbeddedRegistry()
    async with served(second, address):
        await eventually(lambda: "a" in second.instances and registration.held)
        await context.__aexit__(None, None, None)


async def test_registrar_survives_a_dropped_stream():
    registry = EmbeddedRegistry(ttl_s=0.2)
    async with served(registry) as address:
        registrar = EmbeddedRegistrar(address, heartbeat_s=0.6)
        async with registrar.register(instance()) as registration:
            await registration.wait()
            await eventually(lambda: not registry.instances)
            await eventually(lambda: registry.instances)


async def test_registrar_updates_attributes_of_the_same_process_only():
    """Attributes change with a heartbeat; address and generation do not."""
    registry = EmbeddedRegistry()
    async with (
        served(registry) as address,
        EmbeddedRegistrar(address, heartbeat_s=0.02).register(instance()) as registration,
    ):
        await registration.wait()
        better = replace(instance(), attributes={"cores": "2", "speed": "9"})
        registration.update(better)
        await eventually(lambda: registry.instances["a"] == better)
        registration.update(replace(better, address="127.0.0.1:2", attributes={}))
        revision, _ = await registry.after(0)
        registration.update(replace(better, attributes={"cores": "4"}))
        await eventually(lambda: registry.instances["a"].attributes == {"cores": "4"})
        assert registry.instances["a"].address == better.address
        assert (await registry.after(revision))[0] == revision + 1


async def test_registrar_reports_why_each_attempt_failed():
    """By address: one where nothing listens, one that lacks the registry."""
    server = grpc.aio.server(options=server_options())
    other = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    failures = {}
    registrar = EmbeddedRegistrar(["127.0.0.1:9", other], on_failure=failures.__setitem__)
    async with registrar.register(instance()) as registration:
        await eventually(lambda: len(failures) == 2)
        assert not registration.held
    await server.stop(None)
    assert isinstance(failures["127.0.0.1:9"], Unavailable)
    assert "Connection refused" in failures["127.0.0.1:9"].message
    assert isinstance(failures[other], Internal)
