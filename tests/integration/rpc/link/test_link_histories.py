"""Whatever two processes send, hold, cancel and break off: what arrives is what was sent, and nothing is left in the end."""

from __future__ import annotations

import asyncio
import gc
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import grpc.aio
import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from onnxmesh.errors import Unavailable
from onnxmesh.rpc.frames.frames import Frame
from onnxmesh.rpc.grpc.channel import server_options
from onnxmesh.rpc.link.links import Links
from onnxmesh.rpc.link_policy.link_limits import LinkLimits
from onnxmesh.rpc.same_host.socket_pipe import MIN_SHARED_BYTES
from onnxmesh.tensors.datatype import Datatype
from onnxmesh.v1.frame_pb2 import Activation, Cancel, FrameHeader, RequestKey, Result, Tensor
from tests.eventually import eventually
from tests.fakes.abort_links import abort_links
from tests.fakes.service_processes import until

CHUNK_BYTES = 1 << 20
LIMITS = LinkLimits(
    chunk_bytes=CHUNK_BYTES, high_water_bytes=CHUNK_BYTES, dead_after_s=60.0, suspect_after_s=30.0
)
SIZES = [
    *(0, 1, 5_000),
    *(MIN_SHARED_BYTES + more for more in (-1, 0, 1)),
    *(CHUNK_BYTES + more for more in (-1, 0, 1)),
    2 * CHUNK_BYTES + 7,
]
PATTERN = bytes(range(256)) * (max(SIZES) // 256 + 2)
LONG_S = 60.0


@dataclass(frozen=True)
class Send:
    """A side sends a frame with tensors of these types and sizes."""

    side: str
    make: type[Activation] | type[Result]
    tensors: tuple[tuple[Datatype, int], ...]


@dataclass(frozen=True)
class GiveUp:
    """A side cancels its last frame, which may still be in the queue."""

    side: str


@dataclass(frozen=True)
class Hold:
    """A side keeps what it receives from now on, or releases everything that it kept."""

    side: str
    keeps: bool


@dataclass(frozen=True)
class LoopIterations:
    """The event loop runs some iterations."""

    count: int


sides = st.sampled_from("ab")
tensors = st.lists(st.tuples(st.sampled_from(list(Datatype)), st.sampled_from(SIZES)), max_size=3)
steps = st.one_of(
    st.builds(Send, sides, st.sampled_from([Activation, Result]), tensors.map(tuple)),
    st.builds(GiveUp, sides),
    st.builds(Hold, sides, st.booleans()),
    st.builds(LoopIterations, st.integers(1, 30)),
)
ends = st.sampled_from(["a leaves", "b leaves", "both leave", "a vanishes", "b vanishes"])


@dataclass
class Side:
    """One process: what it sent, in order, what came, and how much of that it holds.

    Attributes:
        sent: Frames, by the order in which they were sent.
        given_up: Numbers of those that were cancelled.
        got: Numbers of what came, each checked bit for bit when it came.
        held: What came and is kept, with what it has to be.
    """

    name: str
    other: Side | None = None
    links: Links | None = None
    keeps: bool = False
    last: asyncio.Task[None] | None = None
    current: int | None = None
    num_queued: int = 0
    sent: list[Frame] = field(default_factory=list)
    given_up: set[int] = field(default_factory=set)
    got: list[int] = field(default_factory=list)
    held: list[tuple[Frame, Frame]] = field(default_factory=list)

    def link(self):
        return self.links.get(self.other.name)

    def send(self, make, described):
        """Sends a frame after all before it."""
        number = len(self.sent)
        tensors = [
            Tensor(name=f"t{i}", datatype=datatype, shape=[size], byte_size=size)
            for i, (datatype, size) in enumerate(described)
        ]
        body = make(key=RequestKey(origin=self.name, number=number), tensors=tensors)
        header = FrameHeader(activation=body) if make is Activation else FrameHeader(result=body)
        begin = number % 256
        frame = Frame(header, tuple(PATTERN[begin : begin + size] for _, size in described))
        self.sent.append(frame)
        before, link = self.last, self.link()

        async def send():
            if before is not None:
                await asyncio.wait([before])
            if number not in self.given_up:
                self.current = number
                with suppress(Unavailable):
                    await link.send(frame)
                    self.num_queued += 1

        self.last = asyncio.ensure_future(send())

    def give_up(self):
        """Cancels the last frame: stops sending it, and sends a Cancel."""
        if self.last is not None:
            number = len(self.sent) - 1
            self.given_up.add(number)
            if self.current == number:
                self.last.cancel()
            cancel = Cancel(key=RequestKey(origin=self.name, number=number))
            self.link().send_soon(FrameHeader(cancel=cancel))

    def take(self, frame):
        """Checks what came, on the spot."""
        kind = frame.header.WhichOneof("kind")
        if kind not in ("activation", "result"):
            return
        number = getattr(frame.header, kind).key.number
        sent = self.other.sent[number]
        assert_same(frame, sent)
        self.got.append(number)
        if self.keeps:
            self.held.append((frame, sent))

    def let_go(self):
        """Drops what is held, which still has to be what was sent."""
        for frame, sent in self.held:
            assert_same(frame, sent)
        self.held.clear()

    async def has_sent(self):
        """Waits until all frames are queued that the link accepts; returns whether those were all that were not cancelled."""
        if self.last is not None:
            await asyncio.wait([self.last], timeout=LONG_S)
            assert self.last.done()
        return self.num_queued + len(self.given_up) >= len(self.sent)

    def check_got(self, *, everything):
        """What came is what was sent, in order, once, up to some point; only what was cancelled may be left out."""
        sent = self.other.sent
        expected = [n for n in range(len(sent)) if n in self.got or n not in self.other.given_up]
        assert self.got == (expected if everything else expected[: len(self.got)])


def assert_same(frame, sent):
    assert frame.header == sent.header
    assert [bytes(payload) for payload in frame.payloads] == list(sent.payloads)


def taken_bytes(link):
    """Memory shared with the peer that is in use; 0 where none is shared."""
    own = getattr(link._pipe, "_own", None)
    return 0 if own is None else own.used_bytes


async def play(history, end, same_host):
    """Lets two processes live through a history, and checks what each of them saw."""
    a, b = pair = Side("a"), Side("b")
    a.other, b.other = b, a
    for side in pair:
        side.links = Links(
            side.name, 1, lambda _, frame, side=side: side.take(frame), limits=LIMITS, same_host=same_host
        )
    server = grpc.aio.server(options=server_options())
    server.add_generic_rpc_handlers((b.links.handler(),))
    port = server.add_insecure_port("127.0.0.1:0")
    try:
        async with a.links, b.links:
            await server.start()
            await a.links.connect("b", f"127.0.0.1:{port}")
            await eventually(b.link, LONG_S)
            links = a.link(), b.link()
            for step in history:
                await go(pair, step)
            if end.endswith("vanishes"):
                vanish(pair[end.startswith("b")], links, same_host)
            else:
                await rest(pair, links)
                for side, link in zip(pair, links, strict=True):
                    if end.startswith((side.name, "both")):
                        link.disconnect()
            async with asyncio.timeout(LONG_S):
                for link in links:
                    await link.closed.wait()
            for side in pair:
                await side.has_sent()
                side.check_got(everything=False)
    finally:
        await server.stop(None)
    # Of links that have ended.
    for side in pair:
        side.let_go()
    await eventually(lambda: len(asyncio.all_tasks()) == 1, LONG_S)


async def go(pair, step):
    """Does one step."""
    a, b = pair
    of = {"a": a, "b": b}
    match step:
        case Send(side, make, described):
            of[side].send(make, described)
        case GiveUp(side):
            of[side].give_up()
        case Hold(side, keeps):
            of[side].keeps = keeps
            if not keeps:
                of[side].let_go()
        case LoopIterations(count):
            for _ in range(count):
                await asyncio.sleep(0)


def vanish(side, links, same_host):
    """Ends the stream from one side at once, in the middle of whatever it is at."""
    if same_host:
        abort_links(side.links)
    else:
        links[0]._pipe._call.cancel()


async def rest(pair, links):
    """Waits until everything was received; once no frame is held, no memory is in use."""
    for side in pair:
        assert await side.has_sent()
    for side in pair:
        await eventually(lambda side=side: has_all(side), LONG_S)
        side.check_got(everything=True)
        side.keeps = False
        side.let_go()
    gc.collect()
    await eventually(lambda: not any(map(taken_bytes, links)), LONG_S)


def has_all(side):
    """Whether every frame that was not cancelled was received, and what follows it."""
    return {n for n in range(len(side.other.sent)) if n not in side.other.given_up} <= set(side.got)


def open_descriptors():
    gc.collect()
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize(
    ("run", "same_host"),
    [(uvloop.run, True), (asyncio.run, True), (uvloop.run, False)],
    ids=["same-host", "same-host-asyncio", "grpc"],
)
def test_links_deliver_every_history_and_free_everything(run, same_host):
    """Frames of any types and sizes, both ways at once, kept for a while, given up at any moment, and a link that ends
    in order or not: each side gets a beginning of what the other sent, in order, bit for bit; payloads outlive the
    link; then no memory, no descriptor and no task is left, and no stream ended for an unexpected reason.
    """
    run(play([], "a leaves", same_host))
    before = open_descriptors()

    @settings(max_examples=20, deadline=None)
    @given(st.lists(steps, max_size=12), ends)
    def check(history, end):
        with capture_logs() as logs:
            run(play(history, end, same_host))
        assert not [line for line in logs if line["log_level"] == "error"]
        until(lambda: open_descriptors() <= before or open_descriptors(), LONG_S)

    check()
