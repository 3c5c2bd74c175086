"""What a worker measures: the ways to others, and itself."""

from __future__ import annotations

import socket

import grpc.aio
import pytest

from onnxmesh.discovery.embedded_registry import EmbeddedRegistry
from onnxmesh.model.device_speed import DeviceSpeed
from onnxmesh.rpc.grpc.status import from_rpc_error
from onnxmesh.v1.registry_pb2_grpc import add_RegistryServicer_to_server
from onnxmesh.v1.worker_pb2 import MeasureLinksRequest
from services.worker.control.link_probe import LinkProbe
from services.worker.machine.speed import speed_attributes
from tests.eventually import eventually


async def test_link_probe_measures_latency_and_bandwidth(bench):
    """In the order of the addresses; one that cannot be reached has no bandwidth."""
    b = await bench.worker("b")
    nowhere, link = await LinkProbe(timeout_s=60).measure(["127.0.0.1:9", b.address])
    assert nowhere.bytes_per_s == nowhere.latency_s == 0
    assert link.latency_s > 0
    assert link.bytes_per_s > 0


async def test_measure_links_answers_in_the_order_of_the_addresses(bench):
    """Also for those that cannot be reached."""
    a = await bench.worker("a")
    request = MeasureLinksRequest(addresses=["127.0.0.1:9", "127.0.0.1:9"])
    links = (await a.scheduler.stub.MeasureLinks(request)).links
    assert [link.bytes_per_s for link in links] == [0, 0]


async def test_too_many_addresses_are_refused(bench):
    """The message says how many may be asked for."""
    a = await bench.worker("a")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await a.scheduler.stub.MeasureLinks(MeasureLinksRequest(addresses=["h:1"] * 65))
    assert "expected at most 64 addresses; got 65" in from_rpc_error(caught.value).message


async def test_who_does_not_answer_ends_at_the_timeout():
    """A listener that never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        (link,) = await LinkProbe(timeout_s=0.1).measure([f"127.0.0.1:{silent.getsockname()[1]}"])
    assert link.bytes_per_s == 0


async def test_a_worker_says_how_fast_it_is(bench, monkeypatch):
    """Its kind of device, threads and speed are in its registration, at once or soon after."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(bench.folder / "cache"))
    server = grpc.aio.server()
    registry = EmbeddedRegistry()
    add_RegistryServicer_to_server(registry, server)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        await bench.worker("a", scheduler=address, measure=True)
        await eventually(
            lambda: "a" in registry.instances and "speed.flops_per_s" in registry.instances["a"].attributes
        )
        facts = registry.instances["a"].attributes
        assert facts["device.kind"].startswith("cpu-")
        assert facts["device.kind"].endswith("-1t")
        assert facts["threads"] == "1"
        figures = DeviceSpeed().to_plain()
        assert all(float(facts[f"speed.{name}"]) > 0 for name in figures)
    finally:
        await server.stop(None)


def test_speed_is_said_figure_by_figure():
    """What is not known is not said."""
    assert speed_attributes(None) == {}
    assert speed_attributes(DeviceSpeed(1e9, 2e9, 0.5)) == {
        "speed.flops_per_s": "1000000000.0",
        "speed.bytes_per_s": "2000000000.0",
        "speed.node_overhead_s": "0.5",
    }
