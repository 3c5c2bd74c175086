"""Addresses of a service process, its health and its metrics."""

from __future__ import annotations

import asyncio
import socket

import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from onnxmesh.service.serving import Serving
from onnxmesh.service.settings.service import ServiceSettings


@pytest.mark.parametrize(
    ("settings", "address"),
    [
        ({"listen": "127.0.0.1:0"}, "127.0.0.1:{port}"),
        ({"listen": "0.0.0.0:0"}, socket.gethostname() + ":{port}"),
        ({"listen": "127.0.0.1:0", "advertise": "mesh.example:0"}, "mesh.example:{port}"),
        ({"listen": "127.0.0.1:0", "advertise": "mesh.example:80"}, "mesh.example:80"),
    ],
)
async def test_serving_advertises_an_address_that_peers_can_dial(settings, address):
    serving = Serving(ServiceSettings(**settings))
    port = serving.listens.rpartition(":")[2]
    assert int(port) > 0
    assert serving.address == address.format(port=port)
    assert serving.metrics_address is None
    await serving.stop(0)


@pytest.mark.parametrize("with_http2", [False, True])
async def test_serving_is_healthy_until_its_stop_is_announced(with_http2):
    serving = Serving(ServiceSettings(metrics="127.0.0.1:0"), with_http2=with_http2)
    assert serving.metrics_address is not None
    await serving.start()
    async with grpc.aio.insecure_channel(serving.listens) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        request = health_pb2.HealthCheckRequest()
        assert (await health.Check(request)).status == health_pb2.HealthCheckResponse.SERVING
        await serving.announce_stop()
        assert (await health.Check(request)).status == health_pb2.HealthCheckResponse.NOT_SERVING
    await serving.stop(0)


async def test_serving_is_ready_after_its_condition():
    serving = Serving(ServiceSettings())
    condition = asyncio.Event()
    declaring = asyncio.ensure_future(serving.ready_after(condition.wait))
    waiting = asyncio.ensure_future(serving.wait_ready())
    await asyncio.sleep(0)
    assert not waiting.done()
    condition.set()
    await asyncio.gather(declaring, waiting)
    await serving.stop(0)


async def test_serving_names_an_address_in_use():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(SystemExit, match=f"cannot listen on {address}"):
            Serving(ServiceSettings(listen=address))
