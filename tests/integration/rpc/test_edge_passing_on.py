"""Calls that the edge passes on to gRPC's server."""

from __future__ import annotations

import asyncio

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from onnxmesh.errors import Overloaded
from onnxmesh.rpc.grpc.status import from_rpc_error
from tests.eventually import eventually
from tests.integration.rpc.running_edge import BEHIND, channel_to, running_edge


async def test_a_conversation():
    """Messages go both ways one by one; headers and trailers come along, binary ones included."""
    async with running_edge() as edge, channel_to(edge) as channel:
        call = channel.stream_stream(BEHIND)(
            timeout=60, metadata=(("greet", "hello"), ("raw-bin", b"\xfe\x00"))
        )
        assert dict(await call.initial_metadata()) == {"greeting": "hello", "data-bin": b"\x00\xff"}
        for message in (b"a", b"", bytes(10_000_000)):
            await call.write(message)
            assert await call.read() == message
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF
        assert await call.code() is grpc.StatusCode.OK
        assert dict(await call.trailing_metadata()) == {"said-bin": b"\x01", "said": "bye"}
        metadata = dict(edge.contexts[0].invocation_metadata())
        assert metadata["raw-bin"] == b"\xfe\x00"
        assert 0 < edge.contexts[0].time_remaining() < 61  # gRPC rounds up


async def test_a_failure_with_details():
    """After the messages that came before it."""
    async with running_edge() as edge, channel_to(edge) as channel:
        call = channel.stream_stream(BEHIND)(iter([b"a"]), timeout=60, metadata=(("fail", "too much"),))
        assert await call.read() == b"a"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            while await call.read() is not grpc.aio.EOF:
                pass
        error = from_rpc_error(caught.value)
        assert (type(error), error.message) == (Overloaded, "too much")


async def test_methods_that_nobody_has():
    """UNIMPLEMENTED, as gRPC's server says it."""
    async with running_edge() as edge, channel_to(edge) as channel:
        for path in ("/nobody.Has/It", "/", "/test.Edge/Other"):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await channel.unary_unary(path)(b"", timeout=60)
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_client_that_gives_up_or_is_gone():
    """The server's handler is cancelled."""
    async with running_edge() as edge:
        async with channel_to(edge) as channel:
            given_up, lost = (channel.stream_stream(BEHIND)(timeout=60) for _ in range(2))
            for call in (given_up, lost):
                await call.write(b"hold")
            await eventually(lambda: len(edge.streamed) == 2)
            given_up.cancel()
            await eventually(lambda: edge.cancelled == 1)
        await eventually(lambda: edge.cancelled == 2)


async def test_a_deadline_that_passes():
    """On both sides."""
    async with running_edge() as edge, channel_to(edge) as channel:
        call = channel.stream_stream(BEHIND)(timeout=0.5)
        await call.write(b"hold")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await eventually(lambda: edge.cancelled == 1)


async def test_a_server_that_reads_slowly_holds_its_client_back():
    """What waits at the edge is bounded by the windows, while other calls go on."""
    async with running_edge() as edge, channel_to(edge) as channel:
        call = channel.stream_stream(BEHIND)(timeout=100)
        await call.write(b"hold")
        await eventually(lambda: edge.streamed)
        written = 0

        async def upload():
            nonlocal written
            for _ in range(100):
                await call.write(bytes(1_000_000))
                written += 1
            await call.done_writing()

        uploading = asyncio.ensure_future(upload())
        seen = -1
        while seen != written:  # until it stands still
            seen = written
            for _ in range(20):
                await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=60)
        assert written < 60
        edge.go_on.set()
        assert await call.read() == b"hold"
        for _ in range(100):
            assert len(await call.read()) == 1_000_000
        await uploading
        assert await call.read() is grpc.aio.EOF


async def test_a_client_that_reads_slowly_holds_the_server_back():
    """The server waits, however much it has to say."""
    async with running_edge() as edge, channel_to(edge) as channel:
        call = channel.stream_stream(BEHIND)(timeout=100)

        async def upload():
            for _ in range(100):
                await call.write(bytes(1_000_000))
            await call.done_writing()

        uploading = asyncio.ensure_future(upload())
        seen = -1
        while seen != len(edge.streamed):
            seen = len(edge.streamed)
            for _ in range(20):
                await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=60)
        assert len(edge.streamed) < 80
        for _ in range(100):
            assert len(await call.read()) == 1_000_000
        await uploading
