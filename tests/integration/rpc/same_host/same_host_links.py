"""Two processes of one host, as the objects that tests need of them."""

from __future__ import annotations

import contextlib
import os

import grpc.aio

from onnxmesh.rpc.frames.frames import Frame
from onnxmesh.rpc.link.links import Links
from onnxmesh.v1 import frame_pb2

LARGE = 10 << 20


def activation(size, number=1):
    body = frame_pb2.Activation(
        key=frame_pb2.RequestKey(origin="a", number=number),
        tensors=[frame_pb2.Tensor(name="x", byte_size=size)],
    )
    return Frame(frame_pb2.FrameHeader(activation=body), (os.urandom(size),))


@contextlib.asynccontextmanager
async def pair(**settings):
    """Yields two ends, the link of the one that dialled, and the list of frames that the other got."""
    got = []
    async with (
        Links("a", 1, lambda *_: None, **settings) as a,
        Links("b", 1, lambda _, frame: got.append(frame)) as b,
    ):
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((b.handler(),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            yield await a.connect("b", f"127.0.0.1:{port}"), b, got
        finally:
            await server.stop(None)


def used_bytes(link):
    return link._pipe._own.used_bytes


def same(got, sent):
    return got.header == sent.header and got.payloads[0] == sent.payloads[0]
