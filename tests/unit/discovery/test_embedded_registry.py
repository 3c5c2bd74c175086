"""The embedded registry and its registrar, over real gRPC."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace

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


async def test_a_process_is_registered_for_the_time_of_its_context():
    registry = EmbeddedRegistry()
    async with served(registry) as address:
        async with EmbeddedRegistrar(address).register(instance()) as registration:
            await registration.wait()
            assert dict(registry.instances) == {"a": instance()}
        await eventually(lambda: not registry.instances)


async def test_followers_are_woken_by_each_change():
    registry = EmbeddedRegistry()
    async with served(registry) as address:
        revision, everyone = await registry.after(0)
        assert not everyone
        async with EmbeddedRegistrar(address).register(instance()):
            revision, everyone = await registry.after(revision)
            assert list(everyone) == ["a"]
        _, everyone = await registry.after(revision)
        assert not everyone


async def test_a_process_is_registered_again_when_the_registry_comes_back():
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


async def test_heartbeats_keep_a_registration_longer_than_silence_would():
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


async def test_a_stream_that_is_silent_is_dropped_and_told():
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


async def test_a_registrar_gets_over_a_stream_that_the_registry_dropped():
    registry = EmbeddedRegistry(ttl_s=0.2)
    async with served(registry) as address:
        registrar = EmbeddedRegistrar(address, heartbeat_s=0.6)
        async with registrar.register(instance()) as registration:
            await registration.wait()
            await eventually(lambda: not registry.instances)
            await eventually(lambda: registry.instances)


async def test_the_newer_generation_wins_and_the_older_keeps_trying():
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


async def test_a_stream_that_does_not_say_who_it_is_is_refused():
    async with served(EmbeddedRegistry()) as address, open_channel(address) as channel:
        call = RegistryStub(channel).Register()
        await call.write(RegisterRequest())
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_process_may_describe_itself_anew_but_not_as_another():
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
