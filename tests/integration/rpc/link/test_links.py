"""Links over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial

import grpc.aio
import numpy as np
import pytest

from onnxmesh.errors import Unavailable
from onnxmesh.rpc.frames.frames import Frame, encode_envelope
from onnxmesh.rpc.grpc.channel import server_options
from onnxmesh.rpc.grpc.interceptor import ErrorInterceptor
from onnxmesh.rpc.link.grpc_pipe import AcceptedPipe
from onnxmesh.rpc.link.links import LinkEvents, Links
from onnxmesh.rpc.link.stage_stream import EXCHANGE
from onnxmesh.rpc.link_policy.link_limits import LinkLimits
from onnxmesh.v1.frame_pb2 import Activation, Cancel, FrameHeader, Hello, RequestKey, Tensor
from tests.eventually import eventually
from tests.fakes.abort_links import abort_links


class Peer:
    """A process's end: its links, its server, and all that happened to it."""

    def __init__(self, name, limits, same_host):
        self.frames = []
        self.lost = []
        self.suspicions = []
        self.links = Links(
            name,
            generation=7,
            on_frame=lambda link, frame: self.frames.append((link.peer, frame)),
            events=LinkEvents(
                on_lost=lambda link: self.lost.append(link.peer),
                on_suspicion=lambda link: self.suspicions.append((link.peer, link.is_suspect)),
            ),
            limits=limits,
            same_host=same_host,
        )
        self.address = ""
        self.server = None

    async def serve(self, port=0):
        self.server = grpc.aio.server(interceptors=[ErrorInterceptor()], options=server_options())
        self.server.add_generic_rpc_handlers((self.links.handler(),))
        self.address = f"127.0.0.1:{self.server.add_insecure_port(f'127.0.0.1:{port}')}"
        await self.server.start()

    async def vanish(self):
        """Ends every stream without a Goodbye, like the end of the process."""
        await self.server.stop(None)
        abort_links(self.links)


@contextlib.asynccontextmanager
async def grpc_peer(name, serve=True, limits=LinkLimits(), same_host=False):  # noqa: B008 - frozen
    """A peer that is reached through gRPC alone."""
    it = Peer(name, limits, same_host)
    try:
        async with it.links:
            if serve:
                await it.serve()
            yield it
    finally:
        if it.server is not None:
            await it.server.stop(None)


@pytest.fixture(params=[True, False], ids=["same-host", "grpc"])
def peer(request):
    """Returns what starts a peer; peers of one host reach each other with or without gRPC."""
    return partial(grpc_peer, same_host=request.param)


def activation(size, number=1):
    payload = np.random.default_rng(number).bytes(size)
    body = Activation(key=RequestKey(origin="a", number=number), tensors=[Tensor(name="x", byte_size=size)])
    return Frame(FrameHeader(activation=body), (payload,))


@pytest.mark.parametrize("size", [0, 1, 100_000, 4 << 20, 50_000_001])
async def test_links_deliver_frames_of_any_size_whole(peer, size):
    """Any size arrives as it was sent, in one piece, larger than a chunk or not."""
    async with peer("a", serve=False) as a, peer("b") as b:
        link = await a.links.connect("b", b.address)
        sent = activation(size)
        await link.send(sent)
        await eventually(lambda: b.frames)
        who, got = b.frames[0]
        assert who == "a"
        assert got.header == sent.header
        assert bytes(got.payloads[0]) == sent.payloads[0]


async def test_links_keep_the_order_of_frames(peer):
    """What one side queues in a row arrives in a row."""
    async with peer("a", serve=False) as a, peer("b") as b:
        link = await a.links.connect("b", b.address)
        for number in range(500):
            await link.send(activation(number * 10, number))
        await eventually(lambda: len(b.frames) == 500)
        assert [frame.header.activation.key.number for _, frame in b.frames] == list(range(500))


async def test_links_are_measured_by_large_frames():
    """Larger than any payload of a ping; a frame that is sent while a ping is in flight is not measured."""
    async with grpc_peer("a", serve=False) as a, grpc_peer("b") as b:
        link = await a.links.connect("b", b.address)
        assert not link.same_host
        async with asyncio.timeout(60):
            number = 0
            while not any(rate.num_bytes > 1 << 20 for rate in link._estimator._rates):
                await link.send(activation(1 << 20, number))
                number += 1
                await eventually(lambda: len(b.frames) == number)  # noqa: B023 - called before the next one
        assert link.estimate.bytes_per_s > 0


async def test_links_accepted_by_one_side_serve_both(peer):
    """A peer that was dialled answers on that stream and need not dial back."""
    async with peer("a", serve=False) as a, peer("b") as b:
        await a.links.connect("b", b.address)
        await eventually(lambda: b.links.get("a"))
        back = await b.links.connect("a", "127.0.0.1:1")
        assert back.generation == 7
        back.send_soon(FrameHeader(cancel=Cancel()))
        await eventually(lambda: a.frames)


async def test_links_connect_once_for_concurrent_callers(peer):
    """Concurrent callers share one stream."""
    async with peer("a", serve=False) as a, peer("b") as b:
        first = await a.links.connect("b", b.address)
        assert await a.links.connect("b", b.address) is first


async def test_links_refuse_another_process_at_the_address(peer):
    """A worker that took over a dead one's port is not mistaken for it."""
    async with peer("a", serve=False) as a, peer("b") as b:
        with pytest.raises(Unavailable, match=r"expected c at .*, found b"):
            await a.links.connect("c", b.address)


async def test_links_report_an_address_without_a_server(peer):
    """A refused connection fails at once."""
    async with peer("a", serve=False) as a:
        with pytest.raises(Unavailable, match=r"b at 127.0.0.1:1 cannot be reached"):
            await a.links.connect("b", "127.0.0.1:1")


async def test_links_keep_reconnects_a_lost_peer(peer):
    """`keep` holds a link: when the peer dies it is reported lost, and it is there again with the peer."""
    async with peer("a", serve=False) as a, peer("b") as b:
        a.links.keep({"b": b.address})
        await eventually(lambda: a.links.get("b"))
        port = int(b.address.rpartition(":")[2])
        await b.vanish()
        await eventually(lambda: a.lost == ["b"])
        assert a.links.get("b") is None
        await b.serve(port)
        await eventually(lambda: a.links.get("b"))
        a.links.keep({}, ["b"])
        await eventually(lambda: a.links.get("b") is None)


async def test_links_send_a_goodbye_when_they_are_closed(peer):
    """A peer that disconnects in order is not logged as lost."""
    async with peer("b") as b:
        async with peer("a", serve=False) as a:
            link = await a.links.connect("b", b.address)
            await link.send(activation(5_000_000))
        await eventually(lambda: b.lost == ["a"])
        assert len(b.frames) == 1
        with pytest.raises(Unavailable, match="closed"):
            await link.send(activation(1))


async def test_links_end_where_a_peer_is_considered_dead(peer):
    """A peer that keeps its socket open but sends nothing is lost after the limit."""
    async with (
        peer("b", limits=LinkLimits(heartbeat_s=0.05, idle_heartbeat_s=0.05, dead_after_s=0.3)) as b,
        grpc.aio.insecure_channel(b.address) as channel,
    ):
        call = channel.stream_stream(EXCHANGE)()

        await call.write(encode_envelope([Frame(FrameHeader(hello=Hello(node="mute")))]))
        await call.read()
        await eventually(lambda: b.lost == ["mute"])
        call.cancel()


async def test_links_report_suspicion_and_its_end(peer):
    """A quiet peer is suspect long before it is considered dead, and no longer with its next message."""
    async with (
        peer(
            "b",
            limits=LinkLimits(heartbeat_s=0.05, idle_heartbeat_s=0.05, suspect_after_s=0.1, dead_after_s=300),
        ) as b,
        grpc.aio.insecure_channel(b.address) as channel,
    ):
        call = channel.stream_stream(EXCHANGE)()
        await call.write(encode_envelope([Frame(FrameHeader(hello=Hello(node="mute")))]))
        await call.read()
        await eventually(lambda: b.suspicions == [("mute", True)])
        assert b.links.get("mute").is_suspect
        await call.write(b"")
        await eventually(lambda: b.suspicions[:2] == [("mute", True), ("mute", False)])
        assert b.lost == []
        call.cancel()


@pytest.mark.parametrize("first", [b"garbage that is no frame", b"", b"\x0a\x02\x0a\x00"])
async def test_links_refuse_a_stream_without_a_hello(peer, first):
    """The client gets a clear status; other peers are served."""
    async with peer("b") as b:
        async with grpc.aio.insecure_channel(b.address) as channel:
            call = channel.stream_stream(EXCHANGE)()
            await call.write(first)
            assert await call.code() == grpc.StatusCode.DATA_LOSS
        async with peer("a", serve=False) as a:
            await a.links.connect("b", b.address)


async def test_links_end_only_the_stream_that_is_corrupt(peer):
    """A corrupt frame loses its own link; another peer's stays."""
    async with peer("a", serve=False) as a, peer("b") as b, peer("c", serve=False) as c:
        good = await c.links.connect("b", b.address)
        bad = await a.links.connect("b", b.address)
        await bad._pipe.write(b"\xff\xff\xff")
        await eventually(lambda: a.lost == ["b"])
        assert b.lost == ["a"]
        await good.send(activation(10))
        await eventually(lambda: b.frames)


async def test_links_register_an_accepted_peer_before_it_is_answered():
    """The peer may count on replies as soon as it has the Hello; where it has disconnected by then, nothing stays."""
    lost = []
    async with Links(
        "b", 1, lambda *_: None, events=LinkEvents(on_lost=lambda link: lost.append(link.peer))
    ) as b:

        async def answer():
            assert b.get("a") is not None
            raise Unavailable("the peer disconnected")

        await b._serve_accepted(AcceptedPipe(None), Hello(node="a", generation=1), answer)
        assert b.get("a") is None
        assert lost == ["a"]
