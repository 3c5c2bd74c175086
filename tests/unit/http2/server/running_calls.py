"""Calls of one connection, with handlers of a test and an output that is recorded."""

from __future__ import annotations

import asyncio

import grpc

from onnxmesh.errors import Overloaded
from onnxmesh.http2.protocol.abuse_guard import AbuseGuard
from onnxmesh.http2.protocol.limits import AbuseLimits, ConnectionLimits
from onnxmesh.http2.protocol.messages import message_prefix
from onnxmesh.http2.protocol.request_head import RequestHead
from onnxmesh.http2.protocol.send_queue import SendQueue
from onnxmesh.http2.server.calls import Calls
from onnxmesh.http2.server.decompressor import Decompressor
from onnxmesh.http2.server.request_receiver import RequestReceiver
from onnxmesh.http2.server.service import Service
from tests.unit.http2.protocol.outputs import RecordingOutput

HEAD = RequestHead("/unary")
LIMITS = ConnectionLimits(
    max_message_bytes=100,
    max_calls=2,
    stream_window_bytes=1_000,
    connection_window_bytes=1_500,
    abuse=AbuseLimits(max_resets_per_s=2, max_idle_frames=3),
)


class Running:
    """Calls with a unary handler and a fallback, and what they have written."""

    def __init__(self):
        self.output = RecordingOutput()
        guard = AbuseGuard(LIMITS.abuse)
        self.queue = SendQueue(self.output, guard)
        self.go_on = asyncio.Event()
        self.requests = []
        self.num_cancelled = 0
        self.num_removed = 0
        self.fallback_calls = []
        service = Service(
            handlers={"/unary": self.unary},
            fallback=self.fallback,
            decompressor=Decompressor(),
            limits=LIMITS,
        )
        self.calls = Calls(service, self.output, self.queue, on_removed=self.removed)
        self.receiver = RequestReceiver(service, self.calls, self.queue, abuse_guard=guard)
        self.queue.on_end_stream = self.calls.stream_ended

    def removed(self):
        self.num_removed += 1

    async def unary(self, message, _):
        self.requests.append(message)
        if message == b"fail":
            raise Overloaded("full")
        if message == b"hold":
            await self.hold()
        return message

    async def fallback(self, call):
        self.fallback_calls.append(call)
        await self.hold()
        call.end(grpc.StatusCode.OK)

    async def hold(self):
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.num_cancelled += 1
            raise

    def data(self, stream_id, payload, *, end_stream=False):
        return self.receiver.data_received(stream_id, payload, len(payload), end_stream=end_stream)

    def request(self, stream_id=1, message=b"a", head=HEAD):
        """Sends a whole request."""
        self.receiver.request_received(stream_id, head, end_stream=False)
        self.data(stream_id, message_prefix(len(message)) + message, end_stream=True)

    def written(self):
        """Returns stream, name, and error code, increment or header block, of each frame."""
        got = []
        for each in self.output.frames():
            what = getattr(each, "error_code", getattr(each, "window_increment", getattr(each, "data", None)))
            got.append((each.stream_id, type(each).__name__.removesuffix("Frame"), what))
        return got

    def status(self):
        """Returns the header block of the one frame that was written."""
        ((_, name, block),) = self.written()
        assert name == "Headers"
        return block


async def iterate():
    for _ in range(4):
        await asyncio.sleep(0)
