"""A worker on a real socket that computes with a function and is controlled by the test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager

import grpc.aio

from onnxmesh.rpc.frames.compressed_frames import decompressed_frame, is_compressed
from onnxmesh.rpc.frames.frames import Frame
from onnxmesh.rpc.grpc.channel import server_options
from onnxmesh.rpc.link.link import Link
from onnxmesh.rpc.link.links import LinkEvents, Links
from onnxmesh.tensors.datatype import Datatype
from onnxmesh.tensors.tensor import Tensor
from onnxmesh.v1 import frame_pb2
from tests.fakes.abort_links import abort_links

Model = Callable[[Sequence[Tensor]], Sequence[Tensor]]


class FakeStageWorker:
    """Answers every Activation, whatever its route, as if it held all stages.

    Attributes:
        id: Worker id.
        address: HOST:PORT once it runs.
        activations: Headers of the received Activations, in order.
        cancels: Keys of the received Cancels, in order.
        failure: Sent instead of results, if set.
        holding: While true, requests are kept without a reply; `release` answers them.
    """

    def __init__(self, id_: str, model: Model) -> None:
        self.id = id_
        self.address = ""
        self.activations: list[frame_pb2.Activation] = []
        self.cancels: list[frame_pb2.RequestKey] = []
        self.failure: frame_pb2.Failure | None = None
        self.holding = False
        self._model = model
        self._held: list[tuple[Link, Frame]] = []
        self._up: list[Link] = []
        self._tasks: asyncio.TaskGroup | None = None
        self._server: grpc.aio.Server | None = None
        self._links: Links | None = None

    @asynccontextmanager
    async def running(self, port: int = 0, generation: int = 1) -> AsyncIterator[FakeStageWorker]:
        """Serves until the block ends, unless it is killed before."""
        links = self._links = Links(
            self.id, generation, self._on_frame, events=LinkEvents(on_up=self._up.append)
        )
        self._server = grpc.aio.server(options=server_options())
        self._server.add_generic_rpc_handlers((links.handler(),))
        self.address = f"127.0.0.1:{self._server.add_insecure_port(f'127.0.0.1:{port}')}"
        async with links, asyncio.TaskGroup() as self._tasks:
            await self._server.start()
            try:
                yield self
            finally:
                await self.kill()

    async def kill(self) -> None:
        """Ends every stream without a Goodbye."""
        assert self._server is not None
        assert self._links is not None
        await self._server.stop(None)
        abort_links(self._links)

    def release(self) -> None:
        """Answers every held request."""
        held, self._held = self._held, []
        for link, frame in held:
            self._reply(link, frame)

    def send(self, header: frame_pb2.FrameHeader, payloads: tuple[bytes, ...] = ()) -> None:
        """Sends a frame to the sender of the first held request."""
        assert self._tasks is not None
        self._tasks.create_task(self._held[0][0].send(Frame(header, payloads)))

    def send_load(self, load: frame_pb2.Load | None = None, peers: Collection[str] | None = None) -> None:
        """Sends this worker's load to these peers, or to all; without an argument an idle one."""
        for link in self._up:
            if peers is None or link.peer in peers:
                link.send_soon(frame_pb2.FrameHeader(load=load or frame_pb2.Load(expected_wait_us=0)))

    def _on_frame(self, link: Link, frame: Frame) -> None:
        kind = frame.header.WhichOneof("kind")
        if kind == "cancel":
            self.cancels.append(frame.header.cancel.key)
        elif kind == "activation":
            if is_compressed(frame):  # a link on a busy machine may be slow
                frame = decompressed_frame(frame)
            self.activations.append(frame.header.activation)
            if self.holding:
                self._held.append((link, frame))
            else:
                self._reply(link, frame)

    def _reply(self, link: Link, frame: Frame) -> None:
        assert self._tasks is not None
        activation = frame.header.activation
        if activation.credit:
            stage = activation.route.hops[activation.hop].stage
            link.send_soon(
                frame_pb2.FrameHeader(credit=frame_pb2.Credit(stage=stage, credit=activation.credit))
            )
        if self.failure is not None:
            failure = frame_pb2.Failure()
            failure.CopyFrom(self.failure)
            failure.key.CopyFrom(activation.key)
            link.send_soon(frame_pb2.FrameHeader(failure=failure))
            return
        inputs = [
            Tensor(tensor.name, Datatype(tensor.datatype), tuple(tensor.shape), payload)
            for tensor, payload in zip(activation.tensors, frame.payloads, strict=True)
        ]
        wanted = set(activation.requested_outputs)
        outputs = [tensor for tensor in self._model(inputs) if not wanted or tensor.name in wanted]
        result = frame_pb2.Result(
            key=activation.key,
            tensors=[
                frame_pb2.Tensor(
                    name=tensor.name,
                    datatype=tensor.datatype,
                    shape=tensor.shape,
                    byte_size=tensor.byte_size,
                )
                for tensor in outputs
            ],
            timings=[
                frame_pb2.HopTiming(
                    stage=hop.stage, worker=hop.worker, queue_ns=1000, compute_ns=2000, wire_ns=3000
                )
                for hop in activation.route.hops
            ],
            sent_unix_ns=activation.sent_unix_ns,
        )
        answer = Frame(frame_pb2.FrameHeader(result=result), tuple(bytes(tensor.data) for tensor in outputs))
        self._tasks.create_task(self._send(link, answer))

    async def _send(self, link: Link, frame: Frame) -> None:
        if link.is_open:
            await link.send(frame)
