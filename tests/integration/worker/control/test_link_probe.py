"""Link probes between real workers."""

from __future__ import annotations

import socket

import grpc.aio
import pytest

from onnxmesh.rpc.grpc.status import from_rpc_error
from onnxmesh.v1.worker_pb2 import MeasureLinksRequest
from services.worker.control.link_probe import LinkProbe


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


async def test_measure_links_refuses_too_many_addresses(bench):
    """The message has the limit."""
    a = await bench.worker("a")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await a.scheduler.stub.MeasureLinks(MeasureLinksRequest(addresses=["h:1"] * 65))
    assert "expected at most 64 addresses; got 65" in from_rpc_error(caught.value).message


async def test_link_probe_times_out():
    """Here: a listener that never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        (link,) = await LinkProbe(timeout_s=0.1).measure([f"127.0.0.1:{listener.getsockname()[1]}"])
    assert link.bytes_per_s == 0
