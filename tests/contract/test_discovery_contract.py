"""Registrar and Directory keep what they promise, whatever stands behind them."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager

import grpc.aio
import pytest

from onnxmesh.discovery.consul_directory import ConsulDirectory
from onnxmesh.discovery.consul_registrar import ConsulRegistrar
from onnxmesh.discovery.embedded_registrar import EmbeddedRegistrar
from onnxmesh.discovery.embedded_registry import EmbeddedRegistry
from onnxmesh.discovery.instance import Instance
from onnxmesh.rpc.grpc.channel import server_options
from onnxmesh.rpc.grpc.interceptor import ErrorInterceptor
from onnxmesh.v1.registry_pb2_grpc import add_RegistryServicer_to_server
from tests.contract.running import healthy_server, running
from tests.eventually import eventually

ODD_ATTRIBUTES = {
    "cpu.class": "x86-64 v4",
    "memory.bytes": str(2**40),
    "_under__score-": "=;,{}\"'\\",
    "größe µ": "日本語 \n\t",
    "long": "x" * 2000,
    "empty": "",
    "k" * 200: "v",
}


@asynccontextmanager
async def embedded(request):
    server = grpc.aio.server(interceptors=[ErrorInterceptor()], options=server_options())
    port = server.add_insecure_port("127.0.0.1:0")
    registry = EmbeddedRegistry(ttl_s=1.5)
    add_RegistryServicer_to_server(registry, server)
    await server.start()
    try:
        async with running(registry.run()):
            yield lambda: EmbeddedRegistrar(f"127.0.0.1:{port}", heartbeat_s=0.3), registry
    finally:
        await server.stop(None)


@asynccontextmanager
async def in_consul(request, check):
    open_agent, program = request.getfixturevalue("open_agent"), request.getfixturevalue("consul_program")
    directory = ConsulDirectory(open_agent(program))
    async with running(directory.run()):
        await directory.wait_known()
        yield lambda: ConsulRegistrar(open_agent(program), check=check), directory


ADAPTERS = {
    "embedded": embedded,
    "consul": lambda request: in_consul(request, "grpc"),
    "consul-ttl": lambda request: in_consul(request, "ttl"),
}


@pytest.fixture(
    params=[
        "embedded",
        *(pytest.param(name, marks=pytest.mark.services) for name in ("consul", "consul-ttl")),
    ]
)
async def mesh(request):
    """A factory of registrars, and the directory that they are seen in."""
    async with ADAPTERS[request.param](request) as (registrar, directory):
        yield registrar, directory


async def test_directory_has_an_instance_while_it_is_registered(mesh):
    """An instance is read from the registry as it was registered, and is removed when its context ends."""
    registrar, directory = mesh
    async with healthy_server() as address:
        full = Instance("a", "worker", address, 2**62, ("gpu", "zone=eu", "ü b"), ODD_ATTRIBUTES)
        async with registrar().register(full) as registration:
            await registration.wait()
            await eventually(lambda: "a" in directory.instances)
            assert directory.instances["a"] == full
        await eventually(lambda: not directory.instances)


async def test_directory_has_updated_attributes(mesh):
    """A process that has learnt something about itself, such as its speed, stays and is seen as it is."""
    registrar, directory = mesh
    async with healthy_server() as address:
        before = Instance("a", "worker", address, 1, ("t",), {"device": "cpu"})
        async with registrar().register(before) as registration:
            await eventually(lambda: directory.instances.get("a") == before)
            after = Instance("a", "worker", address, 1, ("t", "fast"), {"device": "cpu", "speed": "9"})
            registration.update(after)
            await eventually(lambda: directory.instances["a"] != before)
            assert directory.instances["a"] == after
            assert registration.held


async def test_directory_has_every_role_and_wakes_followers(mesh):
    """Workers, gateways and schedulers are all followed, by id."""
    registrar, directory = mesh
    async with AsyncExitStack() as stack:
        for role in ("worker", "gateway", "scheduler"):
            address = await stack.enter_async_context(healthy_server())
            await stack.enter_async_context(registrar().register(Instance(f"the-{role}", role, address, 1)))
        revision = 0
        async with asyncio.timeout(60):
            while len(directory.instances) < 3:
                revision, _ = await directory.after(revision)
        assert [each.role for each in directory.instances.values()] == ["gateway", "scheduler", "worker"]


async def test_registry_keeps_the_newer_generation(mesh):
    """Of two processes under one id the newer stands; the end of the older changes nothing."""
    registrar, directory = mesh
    async with AsyncExitStack() as stack:
        old, new = [await stack.enter_async_context(healthy_server()) for _ in range(2)]
        async with registrar().register(Instance("a", "worker", old, 1)) as older:
            await older.wait()
            await stack.enter_async_context(registrar().register(Instance("a", "worker", new, 2)))
            await eventually(lambda: directory.instances.get("a") == Instance("a", "worker", new, 2))
            await eventually(lambda: not older.held)
        revision, everyone = await directory.after(0)
        assert everyone["a"].generation == 2
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.0):
                await directory.after(revision)


async def test_directory_hides_a_stale_entry_at_the_address_of_a_newer_process(mesh):
    """A process that came back at an address under another name replaces the entry of the one before."""
    registrar, directory = mesh
    async with healthy_server() as address, AsyncExitStack() as stack:
        before = Instance("worker-1", "worker", address, 10)
        after = Instance("worker-2", "worker", address, 11)
        await stack.enter_async_context(registrar().register(before))
        await eventually(lambda: "worker-1" in directory.instances)
        await stack.enter_async_context(registrar().register(after))
        await eventually(lambda: dict(directory.instances) == {"worker-2": after})


async def test_directory_removes_a_dead_process(mesh):
    """A registration whose process ended without deregistering expires."""
    registrar, directory = mesh
    stack = AsyncExitStack()
    address = await stack.enter_async_context(healthy_server())
    made = registrar()
    # A dead process neither deregisters nor renews its lease.
    made._leave = _send_nothing
    keeping = asyncio.ensure_future(_hold(made.register(Instance("a", "worker", address, 1))))
    await eventually(lambda: "a" in directory.instances)
    keeping.cancel()
    await asyncio.wait([keeping])
    await stack.aclose()
    await eventually(lambda: not directory.instances)


async def _send_nothing(instance):
    return None


async def _hold(context):
    async with context:
        await asyncio.Event().wait()
