"""The registry inside a scheduler, over real gRPC."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import grpc
import grpc.aio
import pytest

from onnxmesh.discovery.embedded_registrar import EmbeddedRegistrar
from onnxmesh.discovery.embedded_registry import EmbeddedRegistry
from onnxmesh.discovery.instance import Instance
from onnxmesh.rpc.grpc.channel import open_channel, server_options
from onnxmesh.rpc.grpc.interceptor import ErrorInterceptor
from onnxmesh.v1.registry_pb2 import RegisterRequest
from onnxmesh.v1.registry_pb2_grpc import RegistryStub, add_RegistryServicer_to_server
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


async def test_registry_lists_a_process_while_its_context_is_open():
    registry = EmbeddedRegistry()
    async with served(registry) as address:
        async with EmbeddedRegistrar(address).register(instance()) as registration:
            await registration.wait()
            assert dict(registry.instances) == {"a": instance()}
        await eventually(lambda: not registry.instances)


async def test_registry_wakes_followers_with_each_change():
    registry = EmbeddedRegistry()
    async with served(registry) as address:
        revision, everyone = await registry.after(0)
        assert not everyone
        async with EmbeddedRegistrar(address).register(instance()):
            revision, everyone = await registry.after(revision)
            assert list(everyone) == ["a"]
        _, everyone = await registry.after(revision)
        assert not everyone


async def test_registry_keeps_a_registration_with_heartbeats():
    registry = EmbeddedRegistry(ttl_s=0.4)
    async with (
        served(registry) as address,
        EmbeddedRegistrar(address, heartbeat_s=0.05).register(instance()) as registration,
    ):
        await registration.wait()
        revision, _ = await registry.after(0)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.0):
                await registry.after(revision)
        assert registration.held


async def test_registry_expires_a_stream_without_heartbeats():
    registry = EmbeddedRegistry(ttl_s=0.2)
    async with served(registry) as address, open_channel(address) as channel:
        call = RegistryStub(channel).Register()
        await call.write(RegisterRequest(instance=instance().to_proto()))
        await call.read()
        assert registry.instances
        await eventually(lambda: not registry.instances)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_registry_prefers_the_newer_generation():
    registry = EmbeddedRegistry()
    async with served(registry) as address:
        registrar = EmbeddedRegistrar(address, heartbeat_s=0.05)
        async with registrar.register(instance(generation=1)) as old:
            await old.wait()
            async with registrar.register(instance(generation=2)) as new:
                await new.wait()
                await eventually(lambda: not old.held)
                assert registry.instances["a"].generation == 2
                assert new.held
            await eventually(lambda: old.held)


async def test_registry_refuses_a_stream_without_an_instance():
    async with served(EmbeddedRegistry()) as address, open_channel(address) as channel:
        call = RegistryStub(channel).Register()
        await call.write(RegisterRequest())
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
