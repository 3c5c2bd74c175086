"""Clients over their limits: concurrent calls, windows, and work without progress."""

from __future__ import annotations

import asyncio
import socket

import pytest

from onnxmesh.http2.protocol.error_codes import ErrorCode
from onnxmesh.http2.protocol.frames import PREFACE, FrameType, frame, settings_frame, uint32
from tests.eventually import eventually
from tests.integration.http2.server.raw_client import END_HEADERS, raw_client
from tests.integration.http2.server.running_server import method, running_server


async def test_calls_over_the_limit_are_refused():
    """As REFUSED_STREAM, so that a client may retry; calls that were reset count until their handlers end."""
    async with running_server(max_calls=2) as server, raw_client(server.address) as client:
        for stream in (1, 3, 5):
            client.send(client.headers(stream, method("Hold")), client.data(stream))
        assert await client.error(FrameType.RST_STREAM) == ErrorCode.REFUSED_STREAM
        server.go_on.set()
        await client.status(3)
        client.send(client.headers(7, method("Hold")), client.data(7))
        assert (await client.status(7))["grpc-status"] == "0"


async def test_data_over_the_window_is_refused():
    """As FLOW_CONTROL_ERROR, of the stream or of the connection."""
    limits = {"stream_window_bytes": 70_000, "connection_window_bytes": 100_000}
    async with running_server(**limits) as server:
        async with raw_client(server.address) as client:
            client.send(client.headers(1, "/test.Behind/Stream"))
            # The handler holds at the first message, so that nothing is consumed.
            client.send(client.data(1, b"hold", end=False))
            await eventually(lambda: server.streamed)
            for _ in range(8):
                client.send(client.data(1, bytes(10_000), end=False))
            assert await client.error(FrameType.RST_STREAM) == ErrorCode.FLOW_CONTROL_ERROR
        async with raw_client(server.address) as client:
            for stream in (1, 3):
                client.send(
                    client.headers(stream, "/test.Behind/Stream"), client.data(stream, b"hold", end=False)
                )
            await eventually(lambda: len(server.streamed) >= 3)
            for stream in (1, 3):
                for _ in range(6):
                    client.send(client.data(stream, bytes(9_000), end=False))
            assert await client.error() == ErrorCode.FLOW_CONTROL_ERROR


@pytest.mark.parametrize(
    "flood", ["ping", "settings", "empty data", "priority", "late data", "unknown", "window"]
)
async def test_floods_of_idle_frames_end_the_connection(flood):
    """Unless calls between them make progress."""
    async with running_server(max_idle_frames=100, max_calls=10_000) as server:
        floods = {
            "ping": frame(FrameType.PING, 0, 0, b"12345678"),
            "settings": settings_frame({}),
            "empty data": frame(FrameType.DATA, 0, 1),
            "priority": frame(FrameType.PRIORITY, 0, 1, bytes(5)),
            "late data": frame(FrameType.DATA, 0, 3, b"a"),
            "unknown": b"\0\0\0\xbb\0\0\0\0\0",
            "window": frame(FrameType.WINDOW_UPDATE, 0, 0, uint32(1)),
        }
        async with raw_client(server.address) as client:
            client.send(client.headers(1, method("Hold")), client.headers(3, end=True))
            for number in range(30):
                stream = 2 * number + 5
                client.send(*[floods[flood]] * 50, client.headers(stream), client.data(stream))
            assert (await client.status(63))["grpc-status"] == "0"
            client.send(*[floods[flood]] * 200)
            assert await client.error() == ErrorCode.ENHANCE_YOUR_CALM
            await client.closed()


async def test_connection_ends_after_a_flood_of_resets():
    """Calls that are reset at once (CVE-2023-44487); no handler is left."""
    async with running_server(max_resets_per_s=100) as server, raw_client(server.address) as client:
        for number in range(300):
            stream = 2 * number + 1
            client.send(
                client.headers(stream, method("Hold")),
                client.data(stream),
                frame(FrameType.RST_STREAM, 0, stream, uint32(8)),
            )
        assert await client.error() == ErrorCode.ENHANCE_YOUR_CALM
        await client.closed()
        await eventually(lambda: server.cancelled == server.begun)


async def test_floods_of_headers_end_the_connection():
    """Blocks without end, of long frames or of empty ones, and blocks that are long once they are decoded."""
    async with running_server(max_headers_bytes=10_000) as server:
        for parts in (
            [
                frame(FrameType.HEADERS, 0, 1, b"\x82"),
                *[frame(FrameType.CONTINUATION, 0, 1, bytes(16_000))] * 11,
            ],
            [frame(FrameType.HEADERS, 0, 1, b"\x82"), *[frame(FrameType.CONTINUATION, 0, 1)] * 100],
            [frame(FrameType.HEADERS, END_HEADERS, 1, bytes(160_001))],
        ):
            async with raw_client(server.address) as client:
                client.send(*parts)
                assert await client.error() == ErrorCode.ENHANCE_YOUR_CALM
        async with raw_client(server.address) as client:
            client.send(client.headers(1, long="y" * 3_000))
            reference = client.block(long="y" * 3_000)[-1:]
            client.send(frame(FrameType.HEADERS, END_HEADERS, 3, client.block() + reference * 100))
            assert await client.error() == ErrorCode.ENHANCE_YOUR_CALM


async def test_connection_ends_after_a_flood_of_requests_with_long_headers():
    """Some fail alone, which is what a mistake costs."""
    async with (
        running_server(max_headers_bytes=10_000, max_long_headers_bytes=200_000) as server,
        raw_client(server.address) as client,
    ):
        # 12,000 times "y" are 10,500 bytes in Huffman's code.
        for number in range(21):
            client.send(client.headers(2 * number + 1, end=True, long="y" * 12_000))
        assert (await client.status(35))["grpc-status"] == "8"
        assert await client.error() == ErrorCode.ENHANCE_YOUR_CALM
        await client.closed()
        assert not server.contexts


@pytest.mark.parametrize("size", [12_000, 70_000, 150_000])
async def test_request_with_long_headers_fails_alone(size):
    """As RESOURCE_EXHAUSTED, over HTTP as 431; calls under way and later ones are served, with the metadata that they have."""
    async with running_server(max_headers_bytes=10_000) as server, raw_client(server.address) as client:
        client.send(client.headers(1, method("Hold"), number="1"), client.data(1))
        many = {f"x-{number}": "y" * 100 for number in range(size // 100)}
        for stream, changes in ((3, {"long": "y" * size}), (5, many)):
            block = client.block(number="2", **changes)
            # Frames of the size that every client may send.
            pieces = [block[begin : begin + 16_384] for begin in range(0, len(block), 16_384)]
            kinds = [FrameType.HEADERS, *[FrameType.CONTINUATION] * len(pieces)]
            for number, piece in enumerate(pieces):
                flags = END_HEADERS if number == len(pieces) - 1 else 0
                client.send(frame(kinds[number], flags, stream, piece))
            client.send(client.data(stream))
        client.send(client.headers(7, end=True, content_type="text/html", long="y" * size))
        client.send(client.headers(9, number="2"), client.data(9))
        assert (await client.status(9))["grpc-status"] == "0"
        server.go_on.set()
        assert (await client.status(1))["grpc-status"] == "0"
        assert [dict(context.invocation_metadata())["number"] for context in server.contexts] == ["1", "2"]
        statuses = client.statuses()
        assert {statuses[stream]["grpc-status"] for stream in (3, 5)} == {"8"}
        assert "more than 10000 bytes" in statuses[3]["grpc-message"]
        assert statuses[7][":status"] == "431"


async def test_replies_that_a_client_does_not_read_are_bounded(monkeypatch):
    """A client that sends PING and does not read ends its connection; all buffers are small, to be full soon."""
    monkeypatch.setattr("onnxmesh.http2.server.connection.WRITE_BUFFER_BYTES", 1_000)
    async with (
        running_server(max_unread_replies=1_000, max_idle_frames=10**9, settle_s=0.1) as server,
        raw_client(server.address) as client,
    ):
        await client.until(FrameType.SETTINGS)
        (connection,) = server.http2._connections
        client._writer.transport.pause_reading()
        for transport, option in (
            (client._writer.transport, socket.SO_RCVBUF),
            (connection._transport, socket.SO_SNDBUF),
        ):
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, option, 4_096)
        ping = frame(FrameType.PING, 0, 0, b"12345678") * 1_000
        for _ in range(20_000):
            client.send(ping)
            if server.http2.num_connections == 0 or client._writer.transport.is_closing():
                break
            await asyncio.sleep(0)
        await eventually(lambda: server.http2.num_connections == 0)


async def test_connection_ends_when_the_client_blocks_its_responses():
    """One that only waits for a response is not."""
    async with running_server(stall_s=0.1) as server, raw_client(server.address) as other:
        other.send(other.headers(1, method("Hold")), other.data(1))
        async with raw_client(server.address, PREFACE + settings_frame({4: 0})) as client:
            client.send(client.headers(1, method("Large")), client.data(1, b"1000000"))
            assert await client.error() == ErrorCode.ENHANCE_YOUR_CALM
            await client.closed()
        await eventually(lambda: server.http2.num_connections == 1)
        server.go_on.set()
        assert (await other.status(1))["grpc-status"] == "0"


async def test_calls_that_are_reset_before_their_handlers_began_are_removed():
    """Headers, data and reset in one packet."""
    async with running_server(max_calls=2) as server, raw_client(server.address) as client:
        for number in range(10):
            for path in (method("Hold"), "/test.Behind/Stream"):
                stream = 4 * number + (1 if path == method("Hold") else 3)
                client.send(
                    client.headers(stream, path),
                    client.data(stream),
                    frame(FrameType.RST_STREAM, 0, stream, uint32(8)),
                )
        client.send(client.headers(99), client.data(99))
        assert (await client.status(99))["grpc-status"] == "0"
