"""Calls of gRPC's own clients."""

from __future__ import annotations

import asyncio
import gzip
import random

import grpc
import grpc.aio
import pytest
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from grpc_status import rpc_status

from onnxmesh.errors import Overloaded
from onnxmesh.http2.protocol.frames import ACK, FrameType
from onnxmesh.http2.server.decompressor import Decompressor
from onnxmesh.rpc.grpc.status import from_rpc_error
from tests.eventually import eventually
from tests.integration.http2.server.raw_client import raw_client
from tests.integration.http2.server.running_server import BEHIND, NO_CAP, channel_to, method, running_server


async def test_concurrent_calls_get_their_own_responses():
    """From an asyncio client and from one with threads."""
    async with running_server() as server, channel_to(server) as channel:
        echo = channel.unary_unary(method("Echo"))
        messages = [str(number).encode() * (number % 50) for number in range(2_000)]
        assert await asyncio.gather(*(echo(message, timeout=60) for message in messages)) == messages

        def with_threads():
            with grpc.insecure_channel(server.address) as sync:
                calls = [sync.unary_unary(method("Echo")).future(message, timeout=60) for message in messages]
                assert [call.result() for call in calls] == messages

        await asyncio.to_thread(with_threads)
        assert server.http2.num_connections >= 1


@pytest.mark.parametrize("compression", list(grpc.Compression))
async def test_calls_carry_messages_of_any_size_and_compression(compression):
    """From empty ones to megabytes, over many frames and windows."""
    async with running_server() as server, channel_to(server) as channel:
        echo = channel.unary_unary(method("Echo"))
        for size in (0, 1, 16_379, 16_384, 70_000, 5_000_000):
            message = bytes(range(256)) * (size // 256) + bytes(size % 256)
            assert await echo(message, timeout=60, compression=compression) == message


async def test_calls_are_served_while_large_messages_are_decompressed():
    """Each large message is decompressed, or refused, for unary handlers and for streams."""
    gate = asyncio.Event()

    class Gated(Decompressor):
        async def decompress(self, message):
            await gate.wait()
            return await super().decompress(message)

    async with running_server(1_000_000, decompressor=Gated()) as server, channel_to(server) as channel:
        echo, behind = channel.unary_unary(method("Echo")), channel.stream_stream(BEHIND)
        packed = {"timeout": 60, "compression": grpc.Compression.Gzip}
        long = [asyncio.ensure_future(echo(bytes(size), **packed)) for size in (1_000_000, 1_000_001)]
        streams = [behind(iter((bytes(size), b"last")), **packed) for size in (1_000_000, 1_000_001)]
        assert await echo(b"small", **packed) == b"small"
        gate.set()
        assert await long[0] == bytes(1_000_000)
        assert [message async for message in streams[0]] == [bytes(1_000_000), b"last"]
        for refused in (long[1], streams[1].read()):
            with pytest.raises(grpc.aio.AioRpcError, match="larger than max") as caught:
                await refused
            assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        await eventually(lambda: not server.streamed or b"last" in server.streamed)


async def test_large_responses_are_compressed_for_clients_that_accept_it():
    """By gzip, from the size of the setting on, unless they do not become shorter; every response says what requests may be compressed by."""
    async with running_server(min_gzip_bytes=1_000) as server, channel_to(server) as channel:
        noise = random.Random(1).randbytes(5_000)
        for message in (bytes(999), bytes(1_000), bytes(3 << 20), noise):
            assert await channel.unary_unary(method("Echo"))(message, timeout=60) == message
        async with raw_client(server.address) as client:
            cases = [
                ("identity, deflate, gzip", bytes(1_000), True),
                ("identity, deflate, gzip", bytes(999), False),
                ("identity, deflate, gzip", noise, False),
                ("identity", bytes(1_000), False),
                (None, bytes(1_000), False),
            ]
            for number, (accepted, message, is_compressed) in enumerate(cases):
                stream = 2 * number + 1
                client.send(
                    client.headers(stream, grpc_accept_encoding=accepted), client.data(stream, message)
                )
                fields = await client.status(stream)
                assert fields["grpc-accept-encoding"] == "identity, deflate, gzip"
                assert fields.get("grpc-encoding") == ("gzip" if is_compressed else None)
                data = b"".join(
                    got[3] for got in client.received if (got[0], got[2]) == (FrameType.DATA, stream)
                )
                assert data[0] == is_compressed
                assert (gzip.decompress(data[5:]) if is_compressed else data[5:]) == message


async def test_metadata_that_grpc_does_not_allow_fail_no_call():
    """They are passed over, at the handlers here and at those of gRPC's server behind."""
    async with running_server() as server, raw_client(server.address) as client:
        odd = {"name": "zw\u00f6lf", "wro$ng": "a", "wrong-bin": "$", "right": "1"}
        client.send(client.headers(1, **odd), client.data(1))
        client.send(client.headers(3, BEHIND, **odd), client.data(3))
        for stream in (1, 3):
            assert (await client.status(stream))["grpc-status"] == "0"
        for context in server.contexts:
            metadata = {key: value for key, value in context.invocation_metadata() if key != "user-agent"}
            assert metadata == {"right": "1"}


async def test_large_messages_in_both_directions_at_once():
    """64 MB in each, and small ones between them."""
    async with running_server() as server, channel_to(server) as channel:
        echo = channel.unary_unary(method("Echo"))
        large = bytes(64 << 20)
        calls = [
            echo(large, timeout=100),
            *(echo(b"small", timeout=100) for _ in range(50)),
            echo(large, timeout=100),
        ]
        assert await asyncio.gather(*calls) == [large, *[b"small"] * 50, large]


async def test_call_context_has_metadata_peer_and_remaining_time():
    """Binary metadata are decoded."""
    async with running_server() as server, channel_to(server) as channel:
        echo = channel.unary_unary(method("Echo"))
        metadata = (
            ("traceparent", "00-ab-cd-01"),
            ("some-bin", b"\x00\xff\x01"),
            ("twice", "a"),
            ("twice", "b"),
        )
        await echo(b"", timeout=50, metadata=metadata)
        await echo(b"")
        with_time, without = server.contexts
        assert [entry for entry in with_time.invocation_metadata() if entry[0] != "user-agent"] == list(
            metadata
        )
        assert 0 < with_time.time_remaining() <= 50
        assert without.time_remaining() is None
        assert with_time.peer.startswith("127.0.0.1:")


async def test_failures_of_handlers_become_statuses_as_at_grpcs_server():
    """Status, message in any language, and details; defects are masked."""
    async with running_server() as server, channel_to(server) as channel:
        fail = channel.unary_unary(method("Fail"))
        text = "zu voll: 100 % \u2013 \u00e4\n\u2603"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await fail(text.encode(), timeout=20)
        assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.RESOURCE_EXHAUSTED, text)
        entries = rpc_status.from_call(caught.value).details
        info, retry = ErrorInfo(), RetryInfo()
        assert entries[0].Unpack(info)
        assert entries[1].Unpack(retry)
        assert (info.reason, retry.retry_delay.ToMilliseconds()) == ("OVERLOADED", 250)
        assert isinstance(from_rpc_error(caught.value), Overloaded)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await fail(b"", timeout=20)
        assert caught.value.code() is grpc.StatusCode.INTERNAL
        assert "hush" not in caught.value.details()


async def test_message_over_the_limit_is_refused():
    """Before the rest of it is received; the connection serves on."""
    async with running_server(max_message_bytes=1_000_000) as server, channel_to(server) as channel:
        echo = channel.unary_unary(method("Echo"))
        for compression in (grpc.Compression.NoCompression, grpc.Compression.Gzip):
            with pytest.raises(grpc.aio.AioRpcError, match="larger than max") as caught:
                await echo(bytes(30_000_000), timeout=60, compression=compression)
            assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert len(await echo(bytes(1_000_000), timeout=60)) == 1_000_000
        assert len(server.contexts) == 1


async def test_unary_calls_with_other_than_one_message_are_refused():
    """As INTERNAL; no handler runs."""
    async with running_server() as server, channel_to(server) as channel:
        for messages, match in (([], "got none"), ([b"a", b"b"], "got two")):
            call = channel.stream_unary(method("Echo"))(iter(messages), timeout=20)
            with pytest.raises(grpc.aio.AioRpcError, match=match) as caught:
                await call
            assert caught.value.code() is grpc.StatusCode.INTERNAL
        assert not server.contexts


async def test_call_that_the_client_cancels_cancels_its_handler():
    """Other calls of the same connection go on."""
    async with running_server() as server, channel_to(server) as channel:
        hold = channel.unary_unary(method("Hold"))
        calls = [hold(b"a", timeout=60) for _ in range(3)]
        await eventually(lambda: server.begun == 3)
        calls[1].cancel()
        await eventually(lambda: server.cancelled == 1)
        server.go_on.set()
        assert [await calls[0], await calls[2]] == [b"a", b"a"]


async def test_calls_of_a_client_that_disconnects_are_cancelled():
    """All of them, and the connection is removed."""
    async with running_server() as server:
        async with channel_to(server) as channel:
            calls = [channel.unary_unary(method("Hold"))(b"", timeout=60) for _ in range(5)]
            await eventually(lambda: server.begun == 5)
        for call in calls:
            with pytest.raises((grpc.aio.AioRpcError, asyncio.CancelledError)):
                await call
        await eventually(lambda: server.cancelled == 5)
        del calls, call, channel  # gRPC keeps the connection for as long as there is one of them
        await eventually(lambda: server.http2.num_connections == 0)


async def test_call_whose_deadline_passes_is_cancelled():
    """It ends as DEADLINE_EXCEEDED; calls with later deadlines go on."""
    async with running_server() as server, channel_to(server) as channel:
        hold = channel.unary_unary(method("Hold"))
        late = hold(b"late", timeout=60)
        await eventually(lambda: server.begun == 1)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await hold(b"", timeout=0.2)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await eventually(lambda: server.cancelled == 1)
        server.go_on.set()
        assert await late == b"late"


class AckCounter:
    """Output of a connection that counts acknowledged PINGs."""

    def __init__(self, output):
        self._output = output
        self.num_acks = 0

    def write(self, part):
        self.num_acks += part[3:5] == bytes((FrameType.PING, ACK))
        self._output.write(part)


async def test_keepalive_pings_are_acknowledged_while_a_call_runs():
    """gRPC's client sends the next PING once the last one was acknowledged with its own payload."""
    options = (
        ("grpc.keepalive_time_ms", 20),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
    )
    async with running_server() as server, channel_to(server, *options) as channel:
        call = channel.unary_unary(method("Hold"))(b"a", timeout=60)
        await eventually(lambda: server.begun)
        (connection,) = server.http2._connections
        counter = connection._session._output = AckCounter(connection._session._output)
        await eventually(lambda: counter.num_acks >= 2)
        server.go_on.set()
        assert await call == b"a"


async def test_responses_wait_for_the_windows_of_the_client():
    """Frame by frame in turn, and all arrive."""
    async with (
        running_server() as server,
        grpc.aio.insecure_channel(
            server.address, [*NO_CAP, ("grpc.http2.lookahead_bytes", 1024), ("grpc.http2.bdp_probe", 0)]
        ) as channel,
    ):
        large = channel.unary_unary(method("Large"))
        sizes = [3_000_000 + number for number in range(8)]
        answers = await asyncio.gather(*(large(str(size).encode(), timeout=100) for size in sizes))
        assert [len(answer) for answer in answers] == sizes
