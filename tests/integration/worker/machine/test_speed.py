"""The measured speed of a real worker."""

from __future__ import annotations

import grpc.aio

from onnxmesh.discovery.embedded_registry import EmbeddedRegistry
from onnxmesh.model.device_speed import DeviceSpeed
from onnxmesh.v1.registry_pb2_grpc import add_RegistryServicer_to_server
from tests.eventually import eventually


async def test_speed_is_in_the_registration_of_a_worker(bench, monkeypatch):
    """With its kind of device and threads; at once or by a later update."""
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
        attributes = registry.instances["a"].attributes
        assert attributes["device.kind"].startswith("cpu-")
        assert attributes["device.kind"].endswith("-1t")
        assert attributes["threads"] == "1"
        names = DeviceSpeed().to_plain()
        assert all(float(attributes[f"speed.{name}"]) > 0 for name in names)
    finally:
        await server.stop(None)
