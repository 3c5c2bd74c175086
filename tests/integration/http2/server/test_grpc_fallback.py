"""Calls that are proxied to gRPC's server."""

from __future__ import annotations

import asyncio

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from onnxmesh.errors import Overloaded
from onnxmesh.rpc.grpc.status import from_rpc_error
from tests.eventually import eventually
from tests.integration.http2.server.running_server import BEHIND, channel_to, running_server


async def test_grpc_fallback_proxies_a_bidirectional_stream():
    """Messages one by one in both directions, and initial and trailing metadata, binary values included."""
    async with running_server() as server, channel_to(server) as channel:
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
        assert dict(await call.trailing_metadata()) == {"trailing-bin": b"\x01", "trailing": "bye"}
        metadata = dict(server.contexts[0].invocation_metadata())
        assert metadata["raw-bin"] == b"\xfe\x00"
        assert 0 < server.contexts[0].time_remaining() < 61  # gRPC rounds up


async def test_grpc_fallback_returns_status_and_details_of_a_failure():
    """After the messages before it."""
    async with running_server() as server, channel_to(server) as channel:
        call = channel.stream_stream(BEHIND)(iter([b"a"]), timeout=60, metadata=(("fail", "too much"),))
        assert await call.read() == b"a"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            while await call.read() is not grpc.aio.EOF:
                pass
        error = from_rpc_error(caught.value)
        assert (type(error), error.message) == (Overloaded, "too much")


async def test_grpc_fallback_returns_unimplemented_for_unknown_methods():
    """As gRPC's server does."""
    async with running_server() as server, channel_to(server) as channel:
        for path in ("/unimplemented.Has/It", "/", "/test.Edge/Other"):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await channel.unary_unary(path)(b"", timeout=60)
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_grpc_fallback_cancels_upstream_calls_when_the_client_resets_or_disconnects():
    """The handler at gRPC's server is cancelled."""
    async with running_server() as server:
        async with channel_to(server) as channel:
            reset, lost = (channel.stream_stream(BEHIND)(timeout=60) for _ in range(2))
            for call in (reset, lost):
                await call.write(b"hold")
            await eventually(lambda: len(server.streamed) == 2)
            reset.cancel()
            await eventually(lambda: server.cancelled == 1)
        await eventually(lambda: server.cancelled == 2)


async def test_grpc_fallback_passes_the_deadline_on():
    """The call ends as DEADLINE_EXCEEDED, and the handler at gRPC's server is cancelled."""
    async with running_server() as server, channel_to(server) as channel:
        call = channel.stream_stream(BEHIND)(timeout=0.5)
        await call.write(b"hold")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await eventually(lambda: server.cancelled == 1)


async def test_grpc_fallback_bounds_request_data_that_the_server_does_not_read():
    """By the flow control windows, while other calls are served."""
    async with running_server() as server, channel_to(server) as channel:
        call = channel.stream_stream(BEHIND)(timeout=100)
        await call.write(b"hold")
        await eventually(lambda: server.streamed)
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
        server.go_on.set()
        assert await call.read() == b"hold"
        for _ in range(100):
            assert len(await call.read()) == 1_000_000
        await uploading
        assert await call.read() is grpc.aio.EOF


async def test_grpc_fallback_bounds_response_data_that_the_client_does_not_read():
    """The handler at gRPC's server waits for the windows."""
    async with running_server() as server, channel_to(server) as channel:
        call = channel.stream_stream(BEHIND)(timeout=100)

        async def upload():
            for _ in range(100):
                await call.write(bytes(1_000_000))
            await call.done_writing()

        uploading = asyncio.ensure_future(upload())
        seen = -1
        while seen != len(server.streamed):
            seen = len(server.streamed)
            for _ in range(20):
                await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=60)
        assert len(server.streamed) < 80
        for _ in range(100):
            assert len(await call.read()) == 1_000_000
        await uploading
