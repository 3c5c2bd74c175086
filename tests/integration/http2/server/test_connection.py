"""Connections of clients that break the rules of HTTP/2, or stretch them."""

from __future__ import annotations

import asyncio

import h2.config
import h2.connection
import h2.events
import pytest

from onnxmesh.http2.protocol.error_codes import ErrorCode
from onnxmesh.http2.protocol.frames import PREFACE, FrameType, frame, settings_frame, uint32
from tests.eventually import eventually
from tests.integration.http2.server.raw_client import END_HEADERS, END_STREAM, raw_client
from tests.integration.http2.server.running_server import channel_to, method, running_server

OPEN = object()
"""Stands for HEADERS of the stream 1."""


def violations():
    """What a client sends after its settings, and the code of the GOAWAY that it gets."""
    return {
        "data of no stream": ([frame(FrameType.DATA, 0, 0, b"a")], ErrorCode.PROTOCOL_ERROR),
        "data of a stream that is not open": ([frame(FrameType.DATA, 0, 5, b"a")], ErrorCode.PROTOCOL_ERROR),
        "headers of no stream": ([frame(FrameType.HEADERS, END_HEADERS, 0, b"")], ErrorCode.PROTOCOL_ERROR),
        "headers of a server's stream": (
            [frame(FrameType.HEADERS, END_HEADERS, 2, b"\x82")],
            ErrorCode.PROTOCOL_ERROR,
        ),
        "headers that cannot be read": (
            [frame(FrameType.HEADERS, END_HEADERS, 1, b"\xff\xff\xff")],
            ErrorCode.COMPRESSION_ERROR,
        ),
        "headers without their priority": (
            [frame(FrameType.HEADERS, END_HEADERS | 0x20, 1, b"ab")],
            ErrorCode.FRAME_SIZE_ERROR,
        ),
        "a second opening": (
            [OPEN, frame(FrameType.HEADERS, END_HEADERS, 1, b"\x82")],
            ErrorCode.PROTOCOL_ERROR,
        ),
        "continuation of nothing": (
            [frame(FrameType.CONTINUATION, END_HEADERS, 1, b"\x82")],
            ErrorCode.PROTOCOL_ERROR,
        ),
        "something amid headers": (
            [frame(FrameType.HEADERS, 0, 1, b"\x82"), frame(FrameType.PING, 0, 0, b"12345678")],
            ErrorCode.PROTOCOL_ERROR,
        ),
        "continuation of another stream": (
            [frame(FrameType.HEADERS, 0, 1, b"\x82"), frame(FrameType.CONTINUATION, 0, 3, b"\x82")],
            ErrorCode.PROTOCOL_ERROR,
        ),
        "padding that is too long": (
            [OPEN, frame(FrameType.DATA, 8, 1, b"\x09ab")],
            ErrorCode.PROTOCOL_ERROR,
        ),
        "a frame that is too long": (
            [frame(FrameType.DATA, 0, 1, bytes((1 << 20) + 1))],
            ErrorCode.FRAME_SIZE_ERROR,
        ),
        "settings of a stream": ([frame(FrameType.SETTINGS, 0, 1)], ErrorCode.PROTOCOL_ERROR),
        "settings cut short": ([frame(FrameType.SETTINGS, 0, 0, b"abc")], ErrorCode.FRAME_SIZE_ERROR),
        "settings that are acknowledged": (
            [frame(FrameType.SETTINGS, 1, 0, bytes(6))],
            ErrorCode.FRAME_SIZE_ERROR,
        ),
        "a window that is too wide": ([settings_frame({4: 2**31})], ErrorCode.FLOW_CONTROL_ERROR),
        "frames that are too small": ([settings_frame({5: 100})], ErrorCode.PROTOCOL_ERROR),
        "push that is neither on nor off": ([settings_frame({2: 2})], ErrorCode.PROTOCOL_ERROR),
        "a ping of a stream": ([frame(FrameType.PING, 0, 1, b"12345678")], ErrorCode.PROTOCOL_ERROR),
        "a ping cut short": ([frame(FrameType.PING, 0, 0, b"1234")], ErrorCode.FRAME_SIZE_ERROR),
        "a reset of what is not open": (
            [frame(FrameType.RST_STREAM, 0, 9, uint32(8))],
            ErrorCode.PROTOCOL_ERROR,
        ),
        "a reset of no stream": ([frame(FrameType.RST_STREAM, 0, 0, uint32(8))], ErrorCode.PROTOCOL_ERROR),
        "a reset cut short": ([OPEN, frame(FrameType.RST_STREAM, 0, 1, b"ab")], ErrorCode.FRAME_SIZE_ERROR),
        "priority of no stream": ([frame(FrameType.PRIORITY, 0, 0, bytes(5))], ErrorCode.PROTOCOL_ERROR),
        "a promise": ([frame(FrameType.PUSH_PROMISE, END_HEADERS, 1, bytes(4))], ErrorCode.PROTOCOL_ERROR),
        "goaway of a stream": ([frame(FrameType.GOAWAY, 0, 1, bytes(8))], ErrorCode.PROTOCOL_ERROR),
        "a window that grows by nothing": (
            [frame(FrameType.WINDOW_UPDATE, 0, 0, uint32(0))],
            ErrorCode.PROTOCOL_ERROR,
        ),
        "a window that grows too wide": (
            [frame(FrameType.WINDOW_UPDATE, 0, 0, uint32(2**31 - 1))],
            ErrorCode.FLOW_CONTROL_ERROR,
        ),
        "a window of what is not open": (
            [frame(FrameType.WINDOW_UPDATE, 0, 7, uint32(1))],
            ErrorCode.PROTOCOL_ERROR,
        ),
        "a window update cut short": (
            [frame(FrameType.WINDOW_UPDATE, 0, 0, b"a")],
            ErrorCode.FRAME_SIZE_ERROR,
        ),
    }


@pytest.mark.parametrize("what", violations())
async def test_connection_errors_end_their_connection_alone(what):
    """GOAWAY with the code that HTTP/2 has for it; other clients are served."""
    sent, code = violations()[what]
    async with (
        running_server() as server,
        channel_to(server) as channel,
        raw_client(server.address) as client,
    ):
        client.send(*(client.headers(1) if part is OPEN else part for part in sent))
        assert await client.error() == code
        await client.closed()
        assert await channel.unary_unary(method("Echo"))(b"a", timeout=30) == b"a"


STREAM_VIOLATIONS = {
    "data after the end": (
        lambda client: [hold(client), client.data(1), client.data(1)],
        ErrorCode.STREAM_CLOSED,
    ),
    "trailers after the end": (
        lambda client: [hold(client), client.data(1), frame(FrameType.HEADERS, 5, 1, b"")],
        ErrorCode.STREAM_CLOSED,
    ),
    "a window that grows by nothing": (
        lambda client: [hold(client), frame(FrameType.WINDOW_UPDATE, 0, 1, uint32(0))],
        ErrorCode.PROTOCOL_ERROR,
    ),
    "a window that grows too wide": (
        lambda client: [hold(client), frame(FrameType.WINDOW_UPDATE, 0, 1, uint32(2**31 - 1))],
        ErrorCode.FLOW_CONTROL_ERROR,
    ),
    "priority of another size": (
        lambda client: [hold(client), frame(FrameType.PRIORITY, 0, 1, b"a")],
        ErrorCode.FRAME_SIZE_ERROR,
    ),
    "no path": (lambda client: [client.headers(1, None)], ErrorCode.PROTOCOL_ERROR),
    "a header in capitals": (lambda client: [client.headers(1, Upper="a")], ErrorCode.PROTOCOL_ERROR),
    "a header of HTTP/1": (lambda client: [client.headers(1, connection="close")], ErrorCode.PROTOCOL_ERROR),
}


def hold(client):
    """Opens the stream 1."""
    return client.headers(1, method("Hold"))


@pytest.mark.parametrize("what", STREAM_VIOLATIONS)
async def test_stream_errors_end_their_stream_alone(what):
    """RST_STREAM with its code; the connection's next call is served."""
    sent, code = STREAM_VIOLATIONS[what]
    async with running_server() as server, raw_client(server.address) as client:
        client.send(*sent(client))
        assert await client.error(FrameType.RST_STREAM) == code
        client.send(client.headers(3), client.data(3))
        assert (await client.status(3))["grpc-status"] == "0"


@pytest.mark.parametrize("begin", [b"SSH-2.0-OpenSSH_9.2\r\n", b"*1\r\n$4\r\nPING\r\n", PREFACE[:-1] + b"?"])
async def test_connection_of_another_protocol_is_closed(begin):
    """At once: no answer in another protocol is possible."""
    async with running_server() as server, raw_client(server.address, begin) as client:
        await client.closed()
        assert not client.received
        await eventually(lambda: server.http2.num_connections == 0)


async def test_connection_without_settings_is_closed():
    """After `preface_s`, or with the first request before SETTINGS."""
    async with running_server(preface_s=0.1) as server:
        async with raw_client(server.address, b"") as client:
            await client.closed()
        async with raw_client(server.address, PREFACE) as client:
            client.send(client.headers(1), client.data(1))
            assert await client.error() == ErrorCode.PROTOCOL_ERROR


async def test_connection_accepts_everything_that_http_allows():
    """Byte by byte, padding, priorities, continuations, trailers, unknown frames and settings: all one call."""
    async with running_server() as server, raw_client(server.address) as client:
        block = client.block()
        parts = [
            frame(FrameType.PRIORITY, 0, 1, bytes(5)),
            frame(FrameType.PRIORITY, 0, 99, bytes(5)),
            frame(FrameType.HEADERS, 0x20 | 0x8, 1, b"\x02" + bytes(5) + block[:7] + bytes(2)),
            frame(FrameType.CONTINUATION, 0, 1, block[7:9]),
            frame(FrameType.CONTINUATION, END_HEADERS, 1, block[9:]),
            frame(FrameType.DATA, 0x8, 1, b"\x03" + b"\0\0\0" + bytes(3)),
            frame(FrameType.DATA, 0, 1),
            settings_frame({0x99: 7, 3: 0}),
            b"\0\0\x02\xbb\x04\0\0\0\x01xx",
            frame(FrameType.DATA, 0, 1, b"\0\x05hel"),
            frame(FrameType.PING, 1, 0, b"draining"),
            frame(FrameType.DATA, 0, 1, b"lo"),
            frame(FrameType.HEADERS, END_STREAM | END_HEADERS, 1, b"\x00\x01a\x01b"),
        ]
        for byte in b"".join(parts):
            client.send(bytes((byte,)))
        fields = await client.status(1)
        assert (fields[":status"], fields["grpc-status"]) == ("200", "0")
        assert [got[3] for got in client.received if got[0] == FrameType.DATA] == [b"\0\0\0\0\x05hello"]


async def test_requests_that_are_not_grpc_get_an_http_status_or_a_grpc_status():
    """By what is wrong with them; no handler runs."""
    async with running_server() as server, raw_client(server.address) as client:
        cases = [
            ({":method": "GET", "content_type": None, "te": None}, (":status", "415")),
            ({"content_type": "application/json"}, (":status", "415")),
            ({":method": "GET"}, (":status", "405")),
            ({"te": None}, ("grpc-status", "13")),
            ({"grpc_timeout": "soon"}, ("grpc-status", "13")),
            ({"grpc_encoding": "snappy"}, ("grpc-status", "12")),
        ]
        for number, (changes, (name, value)) in enumerate(cases):
            stream = 2 * number + 1
            client.send(client.headers(stream, end=True, **changes))
            fields = await client.status(stream)
            assert fields[name] == value
            if name == ":status":
                body = (await client.until(FrameType.DATA, stream))[3].decode()
                assert body.endswith("This port speaks gRPC over HTTP/2 without TLS: use a client of gRPC.\n")
            if "grpc_encoding" in changes:
                assert fields["grpc-accept-encoding"] == "identity, deflate, gzip"
        assert not server.contexts


async def test_connection_lost_within_a_message_removes_the_call():
    """No handler runs."""
    async with running_server() as server:
        async with raw_client(server.address) as client:
            client.send(client.headers(1), frame(FrameType.DATA, 0, 1, b"\0\0\0\0\x09abc"))
            await eventually(lambda: any(connection._calls.by_id for connection in server.http2._connections))
        await eventually(lambda: server.http2.num_connections == 0)
        assert not server.contexts


async def test_request_that_ends_within_a_message_is_refused():
    """As INTERNAL; no handler runs."""
    async with running_server() as server, raw_client(server.address) as client:
        client.send(client.headers(1), frame(FrameType.DATA, END_STREAM, 1, b"\0\0\0\0\x09abc"))
        assert (await client.status(1))["grpc-status"] == "13"
        assert not server.contexts


async def test_connection_drains_by_two_goaways():
    """A request that crosses the first GOAWAY is served; the second names the last one, and then the connection is closed."""
    async with running_server() as server, raw_client(server.address) as client:
        client.send(client.headers(1), client.data(1))
        await client.status(1)
        stopping = asyncio.ensure_future(server.serving.disconnect_clients(60))
        warning = await client.until(FrameType.GOAWAY)
        assert warning[3] == uint32(2**31 - 1) + uint32(ErrorCode.NO_ERROR)
        ping = await client.until(FrameType.PING)
        client.send(client.headers(3), client.data(3), frame(FrameType.PING, 1, 0, ping[3]))
        assert (await client.status(3))["grpc-status"] == "0"
        await client.closed()
        await stopping
        goaways = [payload for kind, _, _, payload in client.received if kind == FrameType.GOAWAY]
        assert goaways == [warning[3], uint32(3) + uint32(ErrorCode.NO_ERROR)]


async def test_send_window_that_settings_reduce_below_zero():
    """Nothing is sent until it is positive again, and nothing is lost."""
    async with (
        running_server() as server,
        raw_client(server.address, PREFACE + settings_frame({4: 30_000})) as client,
    ):
        client.send(client.headers(1, method("Large")), client.data(1, b"50000"))
        await client.until(FrameType.DATA)
        client.send(settings_frame({4: 10}), frame(FrameType.PING, 0, 0, b"12345678"))
        await client.until(FrameType.PING)
        got = sum(len(each[3]) for each in client.received if each[0] == FrameType.DATA)
        assert got == 30_000
        client.send(settings_frame({4: 50_005}))
        assert (await client.status(1))["grpc-status"] == "0"
        assert sum(len(each[3]) for each in client.received if each[0] == FrameType.DATA) == 50_005


async def test_connection_serves_a_client_of_the_library_h2_with_small_windows():
    """The library finds nothing wrong with what it receives."""
    async with running_server() as server:
        host, _, port = server.address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        client = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=True, header_encoding="utf-8")
        )
        client.initiate_connection()
        client.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 1_000})
        sizes = {1: 100_000, 3: 200_000, 5: 0}
        headers = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", method("Large")),
            (":authority", "here"),
            ("te", "trailers"),
            ("content-type", "application/grpc+proto"),
        ]
        for stream, size in sizes.items():
            message = str(size).encode()
            client.send_headers(stream, headers)
            client.send_data(stream, b"\0" + len(message).to_bytes(4, "big") + message, end_stream=True)
        got = dict.fromkeys(sizes, 0)
        trailers = {}
        while len(trailers) < len(sizes):
            writer.write(client.data_to_send())
            async with asyncio.timeout(60):
                events = client.receive_data(await reader.read(65_536))
            for event in events:
                if isinstance(event, h2.events.DataReceived):
                    got[event.stream_id] += len(event.data)
                    client.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, h2.events.TrailersReceived):
                    trailers[event.stream_id] = dict(event.headers)
                else:
                    assert not isinstance(event, h2.events.ConnectionTerminated | h2.events.StreamReset)
        assert got == {stream: size + 5 for stream, size in sizes.items()}
        assert all(fields == {"grpc-status": "0"} for fields in trailers.values())
        writer.transport.abort()
