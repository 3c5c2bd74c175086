"""Graceful shutdown of the HTTP/2 server, with gRPC's own clients."""

from __future__ import annotations

import asyncio

import grpc
import grpc.aio
import pytest

from tests.eventually import eventually
from tests.integration.http2.server.running_server import channel_to, method, running_server


async def test_server_that_stops_under_load_fails_no_call():
    """Requests that were sent before the client received GOAWAY are served; its next connection is refused."""
    async with running_server() as server, channel_to(server) as channel:
        echo = channel.unary_unary(method("Echo"))
        ended = []

        async def call_until_refused():
            while True:
                try:
                    assert await echo(b"a", timeout=60) == b"a"
                except grpc.aio.AioRpcError as error:
                    ended.append(error)
                    return

        async with asyncio.TaskGroup() as tasks:
            for _ in range(50):
                tasks.create_task(call_until_refused())
            await eventually(lambda: len(server.contexts) > 500)
            await server.serving.disconnect_clients(30)
        assert {error.code() for error in ended} == {grpc.StatusCode.UNAVAILABLE}
        # No connection could be opened: no call was lost on one.
        assert all("connect" in error.details().lower() for error in ended), {e.details() for e in ended}


async def test_server_that_stops_waits_for_running_calls():
    """For the grace period: calls that still run then end as UNAVAILABLE."""
    for is_done in (True, False):
        async with running_server() as server, channel_to(server) as channel:
            call = channel.unary_unary(method("Hold"))(b"a", timeout=60)
            await eventually(lambda server=server: server.begun)
            stopping = asyncio.ensure_future(server.serving.disconnect_clients(60))
            await asyncio.sleep(0)
            if is_done:
                server.go_on.set()
                assert await call == b"a"
            else:
                await server.serving.disconnect_clients(0)
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await call
                assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
            await stopping
            await eventually(lambda server=server: server.http2.num_connections == 0)
