"""Clients that break the rules of HTTP/2, stretch them, or only make work."""

from __future__ import annotations

import asyncio

import h2.config
import h2.connection
import h2.events
import pytest

from onnxmesh.rpc.edge.faults import Code
from onnxmesh.rpc.edge.framing import PREFACE, Kind, frame, settings_frame, word
from tests.eventually import eventually
from tests.integration.rpc.raw_client import END_HEADERS, END_STREAM, raw_client
from tests.integration.rpc.running_edge import channel_to, method, running_edge

OPEN = object()
"""Stands for HEADERS of the stream 1."""


def violations():
    """What a client sends after its settings, and the code of the GOAWAY that it gets."""
    return {
        "data of no stream": ([frame(Kind.DATA, 0, 0, b"a")], Code.PROTOCOL_ERROR),
        "data of a stream that is not open": ([frame(Kind.DATA, 0, 5, b"a")], Code.PROTOCOL_ERROR),
        "headers of no stream": ([frame(Kind.HEADERS, END_HEADERS, 0, b"")], Code.PROTOCOL_ERROR),
        "headers of a server's stream": ([frame(Kind.HEADERS, END_HEADERS, 2, b"\x82")], Code.PROTOCOL_ERROR),
        "headers that cannot be read": (
            [frame(Kind.HEADERS, END_HEADERS, 1, b"\xff\xff\xff")],
            Code.COMPRESSION_ERROR,
        ),
        "headers without their priority": (
            [frame(Kind.HEADERS, END_HEADERS | 0x20, 1, b"ab")],
            Code.FRAME_SIZE_ERROR,
        ),
        "a second opening": ([OPEN, frame(Kind.HEADERS, END_HEADERS, 1, b"\x82")], Code.PROTOCOL_ERROR),
        "continuation of nothing": ([frame(Kind.CONTINUATION, END_HEADERS, 1, b"\x82")], Code.PROTOCOL_ERROR),
        "something amid headers": (
            [frame(Kind.HEADERS, 0, 1, b"\x82"), frame(Kind.PING, 0, 0, b"12345678")],
            Code.PROTOCOL_ERROR,
        ),
        "continuation of another stream": (
            [frame(Kind.HEADERS, 0, 1, b"\x82"), frame(Kind.CONTINUATION, 0, 3, b"\x82")],
            Code.PROTOCOL_ERROR,
        ),
        "padding that is too long": ([OPEN, frame(Kind.DATA, 8, 1, b"\x09ab")], Code.PROTOCOL_ERROR),
        "a frame that is too long": ([frame(Kind.DATA, 0, 1, bytes((1 << 20) + 1))], Code.FRAME_SIZE_ERROR),
        "settings of a stream": ([frame(Kind.SETTINGS, 0, 1)], Code.PROTOCOL_ERROR),
        "settings cut short": ([frame(Kind.SETTINGS, 0, 0, b"abc")], Code.FRAME_SIZE_ERROR),
        "settings that are acknowledged": ([frame(Kind.SETTINGS, 1, 0, bytes(6))], Code.FRAME_SIZE_ERROR),
        "a window that is too wide": ([settings_frame({4: 2**31})], Code.FLOW_CONTROL_ERROR),
        "frames that are too small": ([settings_frame({5: 100})], Code.PROTOCOL_ERROR),
        "push that is neither on nor off": ([settings_frame({2: 2})], Code.PROTOCOL_ERROR),
        "a ping of a stream": ([frame(Kind.PING, 0, 1, b"12345678")], Code.PROTOCOL_ERROR),
        "a ping cut short": ([frame(Kind.PING, 0, 0, b"1234")], Code.FRAME_SIZE_ERROR),
        "a reset of what is not open": ([frame(Kind.RST_STREAM, 0, 9, word(8))], Code.PROTOCOL_ERROR),
        "a reset of no stream": ([frame(Kind.RST_STREAM, 0, 0, word(8))], Code.PROTOCOL_ERROR),
        "a reset cut short": ([OPEN, frame(Kind.RST_STREAM, 0, 1, b"ab")], Code.FRAME_SIZE_ERROR),
        "priority of no stream": ([frame(Kind.PRIORITY, 0, 0, bytes(5))], Code.PROTOCOL_ERROR),
        "a promise": ([frame(Kind.PUSH_PROMISE, END_HEADERS, 1, bytes(4))], Code.PROTOCOL_ERROR),
        "goaway of a stream": ([frame(Kind.GOAWAY, 0, 1, bytes(8))], Code.PROTOCOL_ERROR),
        "a window that grows by nothing": ([frame(Kind.WINDOW_UPDATE, 0, 0, word(0))], Code.PROTOCOL_ERROR),
        "a window that grows too wide": (
            [frame(Kind.WINDOW_UPDATE, 0, 0, word(2**31 - 1))],
            Code.FLOW_CONTROL_ERROR,
        ),
        "a window of what is not open": ([frame(Kind.WINDOW_UPDATE, 0, 7, word(1))], Code.PROTOCOL_ERROR),
        "a window update cut short": ([frame(Kind.WINDOW_UPDATE, 0, 0, b"a")], Code.FRAME_SIZE_ERROR),
    }


@pytest.mark.parametrize("what", violations())
async def test_a_violation_ends_its_connection_alone(what):
    """GOAWAY with the code that HTTP/2 has for it; other clients notice nothing."""
    sent, code = violations()[what]
    async with running_edge() as edge, channel_to(edge) as channel, raw_client(edge.address) as client:
        client.send(*(client.headers(1) if part is OPEN else part for part in sent))
        assert await client.error() == code
        await client.closed()
        assert await channel.unary_unary(method("Echo"))(b"a", timeout=30) == b"a"


STREAM_VIOLATIONS = {
    "data after the end": (lambda client: [hold(client), client.data(1), client.data(1)], Code.STREAM_CLOSED),
    "trailers after the end": (
        lambda client: [hold(client), client.data(1), frame(Kind.HEADERS, 5, 1, b"")],
        Code.STREAM_CLOSED,
    ),
    "a window that grows by nothing": (
        lambda client: [hold(client), frame(Kind.WINDOW_UPDATE, 0, 1, word(0))],
        Code.PROTOCOL_ERROR,
    ),
    "a window that grows too wide": (
        lambda client: [hold(client), frame(Kind.WINDOW_UPDATE, 0, 1, word(2**31 - 1))],
        Code.FLOW_CONTROL_ERROR,
    ),
    "priority of another size": (
        lambda client: [hold(client), frame(Kind.PRIORITY, 0, 1, b"a")],
        Code.FRAME_SIZE_ERROR,
    ),
    "no path": (lambda client: [client.headers(1, None)], Code.PROTOCOL_ERROR),
    "a header in capitals": (lambda client: [client.headers(1, Upper="a")], Code.PROTOCOL_ERROR),
    "a header of HTTP/1": (lambda client: [client.headers(1, connection="close")], Code.PROTOCOL_ERROR),
}


def hold(client):
    """Opens the stream 1."""
    return client.headers(1, method("Hold"))


@pytest.mark.parametrize("what", STREAM_VIOLATIONS)
async def test_a_violation_of_one_stream_ends_that_stream_alone(what):
    """RST_STREAM with its code; the connection's next call is answered."""
    sent, code = STREAM_VIOLATIONS[what]
    async with running_edge() as edge, raw_client(edge.address) as client:
        client.send(*sent(client))
        assert await client.error(Kind.RST_STREAM) == code
        client.send(client.headers(3), client.data(3))
        assert (await client.status(3))["grpc-status"] == "0"


@pytest.mark.parametrize(
    "begin",
    [
        b"GET / HTTP/1.1\r\nhost: here\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        PREFACE[:-1] + b"?",
    ],
)
async def test_a_client_of_another_protocol(begin):
    """HTTP/1.1 and TLS: the connection is closed at once."""
    async with running_edge() as edge, raw_client(edge.address, begin) as client:
        await client.closed()
        await eventually(lambda: edge.edge.num_connections == 0)


async def test_a_client_that_says_nothing():
    """It is not waited for forever; nor one that sends a call before its settings."""
    async with running_edge(preface_s=0.1) as edge:
        async with raw_client(edge.address, b"") as client:
            await client.closed()
        async with raw_client(edge.address, PREFACE) as client:
            client.send(client.headers(1), client.data(1))
            assert await client.error() == Code.PROTOCOL_ERROR


async def test_what_http_allows():
    """Byte by byte, padding, priorities, continuations, trailers, unknown frames and settings: all one call."""
    async with running_edge() as edge, raw_client(edge.address) as client:
        block = client.block()
        parts = [
            frame(Kind.PRIORITY, 0, 1, bytes(5)),
            frame(Kind.PRIORITY, 0, 99, bytes(5)),
            frame(Kind.HEADERS, 0x20 | 0x8, 1, b"\x02" + bytes(5) + block[:7] + bytes(2)),
            frame(Kind.CONTINUATION, 0, 1, block[7:9]),
            frame(Kind.CONTINUATION, END_HEADERS, 1, block[9:]),
            frame(Kind.DATA, 0x8, 1, b"\x03" + b"\0\0\0" + bytes(3)),
            frame(Kind.DATA, 0, 1),
            settings_frame({0x99: 7, 3: 0}),
            b"\0\0\x02\xbb\x04\0\0\0\x01xx",
            frame(Kind.DATA, 0, 1, b"\0\x05hel"),
            frame(Kind.PING, 1, 0, b"draining"),
            frame(Kind.DATA, 0, 1, b"lo"),
            frame(Kind.HEADERS, END_STREAM | END_HEADERS, 1, b"\x00\x01a\x01b"),
        ]
        for byte in b"".join(parts):
            client.send(bytes((byte,)))
        fields = await client.status(1)
        assert (fields[":status"], fields["grpc-status"]) == ("200", "0")
        assert [got[3] for got in client.seen if got[0] == Kind.DATA] == [b"\0\0\0\0\x05hello"]


async def test_clients_that_are_no_clients_of_grpc():
    """They are answered in the way of HTTP, or told by a status what is wrong."""
    async with running_edge() as edge, raw_client(edge.address) as client:
        cases = [
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
            if "grpc_encoding" in changes:
                assert fields["grpc-accept-encoding"] == "identity, deflate, gzip"
        assert not edge.contexts


async def test_more_calls_than_are_allowed():
    """They are refused as not begun, so that a client may ask again; those that were given up count until they end."""
    async with running_edge(max_calls=2) as edge, raw_client(edge.address) as client:
        for stream in (1, 3, 5):
            client.send(client.headers(stream, method("Hold")), client.data(stream))
        assert await client.error(Kind.RST_STREAM) == Code.REFUSED_STREAM
        edge.go_on.set()
        await client.status(3)
        client.send(client.headers(7, method("Hold")), client.data(7))
        assert (await client.status(7))["grpc-status"] == "0"


async def test_more_data_than_was_allowed():
    """FLOW_CONTROL_ERROR, of a stream or of the connection."""
    limits = {"stream_window_bytes": 70_000, "connection_window_bytes": 100_000}
    async with running_edge(**limits) as edge:
        async with raw_client(edge.address) as client:
            client.send(client.headers(1, "/test.Behind/Stream"))
            # The server behind holds at the first message, so nothing is taken.
            client.send(client.data(1, b"hold", end=False))
            await eventually(lambda: edge.streamed)
            for _ in range(8):
                client.send(client.data(1, bytes(10_000), end=False))
            assert await client.error(Kind.RST_STREAM) == Code.FLOW_CONTROL_ERROR
        async with raw_client(edge.address) as client:
            for stream in (1, 3):
                client.send(
                    client.headers(stream, "/test.Behind/Stream"), client.data(stream, b"hold", end=False)
                )
            await eventually(lambda: len(edge.streamed) >= 3)
            for stream in (1, 3):
                for _ in range(6):
                    client.send(client.data(stream, bytes(9_000), end=False))
            assert await client.error() == Code.FLOW_CONTROL_ERROR


@pytest.mark.parametrize(
    "flood", ["ping", "settings", "empty data", "priority", "late data", "unknown", "window"]
)
async def test_floods_of_frames(flood):
    """A client that only makes work is sent away; one with calls between its frames is not."""
    async with running_edge(max_idle_frames=100, max_calls=10_000) as edge:
        floods = {
            "ping": frame(Kind.PING, 0, 0, b"12345678"),
            "settings": settings_frame({}),
            "empty data": frame(Kind.DATA, 0, 1),
            "priority": frame(Kind.PRIORITY, 0, 1, bytes(5)),
            "late data": frame(Kind.DATA, 0, 3, b"a"),
            "unknown": b"\0\0\0\xbb\0\0\0\0\0",
            "window": frame(Kind.WINDOW_UPDATE, 0, 0, word(1)),
        }
        async with raw_client(edge.address) as client:
            client.send(client.headers(1, method("Hold")), client.headers(3, end=True))
            for number in range(30):
                stream = 2 * number + 5
                client.send(*[floods[flood]] * 50, client.headers(stream), client.data(stream))
            assert (await client.status(63))["grpc-status"] == "0"
            client.send(*[floods[flood]] * 200)
            assert await client.error() == Code.ENHANCE_YOUR_CALM
            await client.closed()


async def test_a_flood_of_resets():
    """Calls that are given up at once (CVE-2023-44487): the client is sent away, and no handler is left."""
    async with running_edge(max_resets_per_s=100) as edge, raw_client(edge.address) as client:
        for number in range(300):
            stream = 2 * number + 1
            client.send(
                client.headers(stream, method("Hold")),
                client.data(stream),
                frame(Kind.RST_STREAM, 0, stream, word(8)),
            )
        assert await client.error() == Code.ENHANCE_YOUR_CALM
        await client.closed()
        await eventually(lambda: edge.cancelled == edge.begun)


async def test_floods_of_headers():
    """Headers without an end, in long frames or in empty ones, and headers that are long once they are read."""
    async with running_edge(max_headers_bytes=10_000) as edge:
        for parts in (
            [frame(Kind.HEADERS, 0, 1, b"\x82"), *[frame(Kind.CONTINUATION, 0, 1, bytes(3_000))] * 5],
            [frame(Kind.HEADERS, 0, 1, b"\x82"), *[frame(Kind.CONTINUATION, 0, 1)] * 100],
            [frame(Kind.HEADERS, END_HEADERS, 1, bytes(10_001))],
        ):
            async with raw_client(edge.address) as client:
                client.send(*parts)
                assert await client.error() == Code.ENHANCE_YOUR_CALM
        async with raw_client(edge.address) as client:
            client.send(client.headers(1, **{f"x{number}": "y" * 3_000 for number in range(4)}))
            assert await client.error() == Code.ENHANCE_YOUR_CALM


async def test_a_client_that_does_not_read_what_it_asks_for():
    """Answers to its pings do not pile up."""
    async with (
        running_edge(max_unread=1_000, max_idle_frames=10**9) as edge,
        raw_client(edge.address) as client,
    ):
        ping = frame(Kind.PING, 0, 0, b"12345678") * 1_000
        client._writer.transport.pause_reading()
        for _ in range(20_000):
            client.send(ping)
            if edge.edge.num_connections == 0 or client._writer.transport.is_closing():
                break
            await asyncio.sleep(0)
        await eventually(lambda: edge.edge.num_connections == 0)


async def test_a_client_that_never_takes_its_answers():
    """It is left, and nothing is kept for it; one that only waits for an answer is not."""
    async with running_edge(untaken_s=0.1) as edge, raw_client(edge.address) as other:
        other.send(other.headers(1, method("Hold")), other.data(1))
        async with raw_client(edge.address, PREFACE + settings_frame({4: 0})) as client:
            client.send(client.headers(1, method("Large")), client.data(1, b"1000000"))
            assert await client.error() == Code.ENHANCE_YOUR_CALM
            await client.closed()
        await eventually(lambda: edge.edge.num_connections == 1)
        edge.go_on.set()
        assert (await other.status(1))["grpc-status"] == "0"


async def test_calls_that_are_given_up_before_they_began():
    """In one packet with their beginning: nothing is left of them."""
    async with running_edge(max_calls=2) as edge, raw_client(edge.address) as client:
        for number in range(10):
            for path in (method("Hold"), "/test.Behind/Stream"):
                stream = 4 * number + (1 if path == method("Hold") else 3)
                client.send(
                    client.headers(stream, path),
                    client.data(stream),
                    frame(Kind.RST_STREAM, 0, stream, word(8)),
                )
        client.send(client.headers(99), client.data(99))
        assert (await client.status(99))["grpc-status"] == "0"


async def test_a_client_that_is_gone_amid_a_message():
    """Nothing is left of it, and the handler is not asked."""
    async with running_edge() as edge:
        async with raw_client(edge.address) as client:
            client.send(client.headers(1), frame(Kind.DATA, 0, 1, b"\0\0\0\0\x09abc"))
            await eventually(lambda: any(connection._calls for connection in edge.edge._connections))
        await eventually(lambda: edge.edge.num_connections == 0)
        assert not edge.contexts


async def test_an_end_amid_a_message():
    """INTERNAL, and the handler is not asked."""
    async with running_edge() as edge, raw_client(edge.address) as client:
        client.send(client.headers(1), frame(Kind.DATA, END_STREAM, 1, b"\0\0\0\0\x09abc"))
        assert (await client.status(1))["grpc-status"] == "13"
        assert not edge.contexts


async def test_a_stopping_server_warns_first():
    """A call that crosses the first GOAWAY is answered; after the second nothing is taken, and then it closes."""
    async with running_edge() as edge, raw_client(edge.address) as client:
        client.send(client.headers(1), client.data(1))
        await client.status(1)
        stopping = asyncio.ensure_future(edge.serving.leave(60))
        warning = await client.until(Kind.GOAWAY)
        assert warning[3] == word(2**31 - 1) + word(Code.NO_ERROR)
        ping = await client.until(Kind.PING)
        client.send(client.headers(3), client.data(3), frame(Kind.PING, 1, 0, ping[3]))
        assert (await client.status(3))["grpc-status"] == "0"
        await client.closed()
        await stopping
        said = [payload for kind, _, _, payload in client.seen if kind == Kind.GOAWAY]
        assert said == [warning[3], word(3) + word(Code.NO_ERROR)]


async def test_a_client_that_takes_a_window_back():
    """The client's window may shrink below what is under way: nothing is sent until it is wide again, and nothing is lost."""
    async with (
        running_edge() as edge,
        raw_client(edge.address, PREFACE + settings_frame({4: 30_000})) as client,
    ):
        client.send(client.headers(1, method("Large")), client.data(1, b"50000"))
        await client.until(Kind.DATA)
        client.send(settings_frame({4: 10}), frame(Kind.PING, 0, 0, b"12345678"))
        await client.until(Kind.PING)
        got = sum(len(each[3]) for each in client.seen if each[0] == Kind.DATA)
        assert got == 30_000
        client.send(settings_frame({4: 50_005}))
        assert (await client.status(1))["grpc-status"] == "0"
        assert sum(len(each[3]) for each in client.seen if each[0] == Kind.DATA) == 50_005


async def test_a_client_of_another_make_with_small_windows():
    """The library h2 finds nothing wrong with what it gets, however little it takes at once."""
    async with running_edge() as edge:
        host, _, port = edge.address.rpartition(":")
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
