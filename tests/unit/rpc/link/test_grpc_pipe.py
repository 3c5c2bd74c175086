"""gRPC streams as pipes, over calls that are not."""

from __future__ import annotations

import asyncio

import grpc
import grpc.aio
import pytest

from onnxmesh.errors import CorruptData, Unavailable
from onnxmesh.memory.layout.shared_payload import SharedPayload
from onnxmesh.rpc.frames.frames import Frame
from onnxmesh.rpc.link.grpc_pipe import AcceptedPipe, DialledPipe
from onnxmesh.v1.frame_pb2 import FrameHeader


class Call:
    """A call, or a context, that receives some messages and then ends."""

    def __init__(self, *messages, code=grpc.StatusCode.OK):
        self.messages = [*messages, grpc.aio.EOF]
        self.status = code
        self.written = []

    async def read(self):
        return self.messages.pop(0)

    async def write(self, message):
        if self.status is not grpc.StatusCode.OK:
            raise asyncio.InvalidStateError("the RPC has ended")
        self.written.append(message)

    async def code(self):
        return self.status

    async def details(self):
        return "why"


@pytest.mark.parametrize("end", [AcceptedPipe, DialledPipe])
async def test_grpc_pipe_receives_until_the_stream_ends_or_the_reader_stops(end):
    """Messages in order; the one that stops it is the last."""
    received = []
    await end(Call(b"1", b"2")).receive(received.append)
    assert received == [b"1", b"2"]
    await end(Call(b"3", b"4")).receive(lambda message: received.append(message) or True)
    assert received == [b"1", b"2", b"3"]


async def test_dialled_pipe_raises_the_status_of_a_failed_call():
    """To its reader and to its writer: the stream is unavailable."""
    pipe = DialledPipe(Call(code=grpc.StatusCode.ABORTED))
    with pytest.raises(Unavailable, match="ABORTED: why"):
        await pipe.receive(bool)
    with pytest.raises(Unavailable, match="the RPC has ended"):
        await pipe.write(b"x")


async def test_grpc_pipe_shares_no_memory():
    """Frames are sent whole, and a peer that refers to shared memory is corrupt."""
    pipe = AcceptedPipe(Call())
    frame = Frame(FrameHeader(), (bytes(1 << 20),))
    assert pipe.share_payloads(frame) is await pipe.copy_payloads_in(frame) is frame
    assert pipe.allocate is pipe.write_now is None
    with pytest.raises(CorruptData, match="shares no memory"):
        pipe.resolve(SharedPayload(0, 1))
    with pytest.raises(CorruptData, match="shares no memory"):
        pipe.release([0])
