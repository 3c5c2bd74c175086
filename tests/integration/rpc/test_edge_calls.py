"""gRPC's own clients against the edge."""

from __future__ import annotations

import asyncio

import grpc
import grpc.aio
import pytest
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from grpc_status import rpc_status

from onnxmesh.errors import Overloaded
from onnxmesh.http2.server.decompressor import Decompressor
from onnxmesh.rpc.grpc.status import from_rpc_error
from tests.eventually import eventually
from tests.integration.rpc.running_edge import BEHIND, NO_CAP, channel_to, method, running_edge


async def test_many_calls_at_once():
    """Each gets its own answer, from an asyncio client and from one with threads."""
    async with running_edge() as edge, channel_to(edge) as channel:
        echo = channel.unary_unary(method("Echo"))
        messages = [str(number).encode() * (number % 50) for number in range(2_000)]
        assert await asyncio.gather(*(echo(message, timeout=60) for message in messages)) == messages

        def with_threads():
            with grpc.insecure_channel(edge.address) as sync:
                calls = [sync.unary_unary(method("Echo")).future(message, timeout=60) for message in messages]
                assert [call.result() for call in calls] == messages

        await asyncio.to_thread(with_threads)
        assert edge.edge.num_connections >= 1


@pytest.mark.parametrize("compression", list(grpc.Compression))
async def test_sizes_and_compressions(compression):
    """From nothing to tens of megabytes, over many frames and windows, compressed or not."""
    async with running_edge() as edge, channel_to(edge) as channel:
        echo = channel.unary_unary(method("Echo"))
        for size in (0, 1, 16_379, 16_384, 70_000, 5_000_000):
            message = bytes(range(256)) * (size // 256) + bytes(size % 256)
            assert await echo(message, timeout=60, compression=compression) == message


async def test_what_takes_long_to_uncompress_holds_nobody_up():
    """Calls of others are answered meanwhile; each large message becomes what it was, or a status, on either way to a handler."""
    gate = asyncio.Event()

    class Gated(Decompressor):
        async def plain(self, message):
            await gate.wait()
            return await super().plain(message)

    async with running_edge(1_000_000, inflater=Gated()) as edge, channel_to(edge) as channel:
        echo, behind = channel.unary_unary(method("Echo")), channel.stream_stream(BEHIND)
        gzip = {"timeout": 60, "compression": grpc.Compression.Gzip}
        long = [asyncio.ensure_future(echo(bytes(size), **gzip)) for size in (1_000_000, 1_000_001)]
        streams = [behind(iter((bytes(size), b"last")), **gzip) for size in (1_000_000, 1_000_001)]
        assert await echo(b"small", **gzip) == b"small"
        gate.set()
        assert await long[0] == bytes(1_000_000)
        assert [message async for message in streams[0]] == [bytes(1_000_000), b"last"]
        for refused in (long[1], streams[1].read()):
            with pytest.raises(grpc.aio.AioRpcError, match="larger than max") as caught:
                await refused
            assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        await eventually(lambda: not edge.streamed or b"last" in edge.streamed)


async def test_large_messages_both_ways_at_once():
    """64 MB each way, and small ones between them."""
    async with running_edge() as edge, channel_to(edge) as channel:
        echo = channel.unary_unary(method("Echo"))
        large = bytes(64 << 20)
        calls = [
            echo(large, timeout=100),
            *(echo(b"small", timeout=100) for _ in range(50)),
            echo(large, timeout=100),
        ]
        assert await asyncio.gather(*calls) == [large, *[b"small"] * 50, large]


async def test_metadata_and_time():
    """A handler sees what the client said, decoded, and how long it has."""
    async with running_edge() as edge, channel_to(edge) as channel:
        echo = channel.unary_unary(method("Echo"))
        metadata = (
            ("traceparent", "00-ab-cd-01"),
            ("some-bin", b"\x00\xff\x01"),
            ("twice", "a"),
            ("twice", "b"),
        )
        await echo(b"", timeout=50, metadata=metadata)
        await echo(b"")
        with_time, without = edge.contexts
        assert [entry for entry in with_time.invocation_metadata() if entry[0] != "user-agent"] == list(
            metadata
        )
        assert 0 < with_time.time_remaining() <= 50
        assert without.time_remaining() is None
        assert with_time.peer.startswith("127.0.0.1:")


async def test_failures_come_as_they_do_from_grpcs_server():
    """Status, message in any language, and details; what is not expected is masked."""
    async with running_edge() as edge, channel_to(edge) as channel:
        fail = channel.unary_unary(method("Fail"))
        said = "zu voll: 100 % \u2013 \u00e4\n\u2603"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await fail(said.encode(), timeout=20)
        assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.RESOURCE_EXHAUSTED, said)
        details = rpc_status.from_call(caught.value).details
        info, retry = ErrorInfo(), RetryInfo()
        assert details[0].Unpack(info)
        assert details[1].Unpack(retry)
        assert (info.reason, retry.retry_delay.ToMilliseconds()) == ("OVERLOADED", 250)
        assert isinstance(from_rpc_error(caught.value), Overloaded)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await fail(b"", timeout=20)
        assert caught.value.code() is grpc.StatusCode.INTERNAL
        assert "hush" not in caught.value.details()


async def test_a_message_over_the_limit_is_refused():
    """The rest of it is not waited for; the connection serves on."""
    async with running_edge(max_message_bytes=1_000_000) as edge, channel_to(edge) as channel:
        echo = channel.unary_unary(method("Echo"))
        for compression in (grpc.Compression.NoCompression, grpc.Compression.Gzip):
            with pytest.raises(grpc.aio.AioRpcError, match="larger than max") as caught:
                await echo(bytes(30_000_000), timeout=60, compression=compression)
            assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert len(await echo(bytes(1_000_000), timeout=60)) == 1_000_000
        assert len(edge.contexts) == 1


async def test_calls_with_other_than_one_message():
    """INTERNAL, and the handler is not asked."""
    async with running_edge() as edge, channel_to(edge) as channel:
        for messages, says in (([], "got none"), ([b"a", b"b"], "got two")):
            call = channel.stream_unary(method("Echo"))(iter(messages), timeout=20)
            with pytest.raises(grpc.aio.AioRpcError, match=says) as caught:
                await call
            assert caught.value.code() is grpc.StatusCode.INTERNAL
        assert not edge.contexts


async def test_a_client_that_gives_up():
    """Its handler is cancelled; others on the same connection go on."""
    async with running_edge() as edge, channel_to(edge) as channel:
        hold = channel.unary_unary(method("Hold"))
        calls = [hold(b"a", timeout=60) for _ in range(3)]
        await eventually(lambda: edge.begun == 3)
        calls[1].cancel()
        await eventually(lambda: edge.cancelled == 1)
        edge.go_on.set()
        assert [await calls[0], await calls[2]] == [b"a", b"a"]


async def test_a_client_that_is_gone():
    """All its handlers are cancelled, and nothing is kept of it."""
    async with running_edge() as edge:
        async with channel_to(edge) as channel:
            calls = [channel.unary_unary(method("Hold"))(b"", timeout=60) for _ in range(5)]
            await eventually(lambda: edge.begun == 5)
        for call in calls:
            with pytest.raises((grpc.aio.AioRpcError, asyncio.CancelledError)):
                await call
        await eventually(lambda: edge.cancelled == 5)
        del calls, call, channel  # gRPC keeps the connection for as long as there is one of them
        await eventually(lambda: edge.edge.num_connections == 0)


async def test_a_deadline_that_passes():
    """The call ends as DEADLINE_EXCEEDED and its handler is cancelled, those with later deadlines go on."""
    async with running_edge() as edge, channel_to(edge) as channel:
        hold = channel.unary_unary(method("Hold"))
        late = hold(b"late", timeout=60)
        await eventually(lambda: edge.begun == 1)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await hold(b"", timeout=0.2)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await eventually(lambda: edge.cancelled == 1)
        edge.go_on.set()
        assert await late == b"late"


async def test_a_client_that_pings():
    """Keepalive finds the server alive while a call takes long."""
    options = (
        ("grpc.keepalive_time_ms", 100),
        ("grpc.keepalive_timeout_ms", 60_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
    )
    async with running_edge() as edge, channel_to(edge, *options) as channel:
        call = channel.unary_unary(method("Hold"))(b"a", timeout=60)
        await eventually(lambda: edge.begun)
        await asyncio.sleep(0.5)  # pings are by time alone
        edge.go_on.set()
        assert await call == b"a"


async def test_clients_that_read_slowly():
    """Answers wait for the client's window, in turns, and all arrive."""
    async with (
        running_edge() as edge,
        grpc.aio.insecure_channel(
            edge.address, [*NO_CAP, ("grpc.http2.lookahead_bytes", 1024), ("grpc.http2.bdp_probe", 0)]
        ) as channel,
    ):
        large = channel.unary_unary(method("Large"))
        sizes = [3_000_000 + number for number in range(8)]
        answers = await asyncio.gather(*(large(str(size).encode(), timeout=100) for size in sizes))
        assert [len(answer) for answer in answers] == sizes


async def test_a_server_that_stops_under_load_fails_no_call():
    """Whatever was sent before the client knew is answered; a client that asks again finds nobody."""
    async with running_edge() as edge, channel_to(edge) as channel:
        echo = channel.unary_unary(method("Echo"))
        ended = []

        async def ask_on():
            while True:
                try:
                    assert await echo(b"a", timeout=60) == b"a"
                except grpc.aio.AioRpcError as error:
                    ended.append(error)
                    return

        async with asyncio.TaskGroup() as tasks:
            for _ in range(50):
                tasks.create_task(ask_on())
            await eventually(lambda: len(edge.contexts) > 500)
            await edge.serving.leave(30)
        assert {error.code() for error in ended} == {grpc.StatusCode.UNAVAILABLE}
        # Refused at the door: no call was lost on its way.
        assert all("connect" in error.details().lower() for error in ended), {e.details() for e in ended}


async def test_a_server_that_stops_waits_for_what_runs():
    """And not longer than it is given: what runs then ends as UNAVAILABLE."""
    for is_done in (True, False):
        async with running_edge() as edge, channel_to(edge) as channel:
            call = channel.unary_unary(method("Hold"))(b"a", timeout=60)
            await eventually(lambda edge=edge: edge.begun)
            stopping = asyncio.ensure_future(edge.serving.leave(60))
            await asyncio.sleep(0)
            if is_done:
                edge.go_on.set()
                assert await call == b"a"
            else:
                await edge.serving.leave(0)
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await call
                assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
            await stopping
            await eventually(lambda edge=edge: edge.edge.num_connections == 0)
