"""A worker at the first hop that keeps requests until the test forwards them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc.aio

from onnxmesh.rpc.frames.frames import Frame
from onnxmesh.rpc.grpc.channel import server_options
from onnxmesh.rpc.link.links import Links
from onnxmesh.v1 import frame_pb2


class ForwardingWorker:
    """Made by `forwarding_worker`.

    Attributes:
        id: Worker id.
        address: HOST:PORT once it runs.
        activations: Headers of the received Activations, in order.
        cancels: Keys of the received Cancels, in order.
    """

    def __init__(self, id_: str):
        self.id = id_
        self.address = ""
        self.activations: list[frame_pb2.Activation] = []
        self.cancels: list[frame_pb2.RequestKey] = []
        self.links = Links(id_, generation=1, on_frame=self._on_frame)

    async def forward(self, activation, tensors):
        """Sends a request to its next hop with these tensors."""
        header = frame_pb2.Activation()
        header.CopyFrom(activation)
        header.hop += 1
        del header.tensors[:]
        header.tensors.extend(
            frame_pb2.Tensor(name=t.name, datatype=t.datatype, shape=t.shape, byte_size=t.byte_size)
            for t in tensors
        )
        hop = header.route.hops[header.hop]
        link = await self.links.connect(hop.worker, hop.address)
        await link.send(Frame(frame_pb2.FrameHeader(activation=header), tuple(t.data for t in tensors)))

    def _on_frame(self, _, frame):
        kind = frame.header.WhichOneof("kind")
        if kind == "activation":
            self.activations.append(frame.header.activation)
        elif kind == "cancel":
            self.cancels.append(frame.header.cancel.key)


@asynccontextmanager
async def forwarding_worker(id_: str) -> AsyncIterator[ForwardingWorker]:
    """Serves until the block ends."""
    worker = ForwardingWorker(id_)
    server = grpc.aio.server(options=server_options())
    server.add_generic_rpc_handlers((worker.links.handler(),))
    worker.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    async with worker.links:
        await server.start()
        try:
            yield worker
        finally:
            await server.stop(None)
