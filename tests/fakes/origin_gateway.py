"""A gateway's end of the links to workers, which a test controls."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import numpy as np

from onnxmesh.errors import Unavailable
from onnxmesh.rpc.frames.compressed_frames import decompressed_frame, is_compressed
from onnxmesh.rpc.frames.frames import Frame
from onnxmesh.rpc.link.links import LinkEvents, Links
from onnxmesh.tensors.arrays import from_array, to_array
from onnxmesh.tensors.datatype import Datatype
from onnxmesh.tensors.tensor import Tensor
from onnxmesh.v1 import frame_pb2
from tests.eventually import eventually


class OriginGateway:
    """Sends requests along routes that a test chooses, and keeps what comes back; made by `origin_gateway`.

    Attributes:
        results: Frames of Results by request number.
        failures: Failures by request number, in order.
        loads: The newest load of each worker.
        lost: Peers whose links ended.
    """

    def __init__(self, name: str):
        self.name = name
        self.results: dict[int, Frame] = {}
        self.failures: dict[int, list[frame_pb2.Failure]] = {}
        self.loads: defaultdict[str, frame_pb2.Load] = defaultdict(frame_pb2.Load)
        self.lost: list[str] = []
        self.links = Links(
            name,
            generation=1,
            on_frame=self._on_frame,
            events=LinkEvents(on_lost=lambda link: self.lost.append(link.peer)),
        )
        self._number = 0

    async def send(
        self, route, inputs, *, deadline_s=None, outputs=(), hop=0, number=None, direct=False
    ) -> int:
        """Sends an Activation to the worker at `hop` of a route of (stage, worker, address); returns its number.

        `direct` marks a part of a request; its other part is sent under the same number.
        """
        if number is None:
            self._number += 1
            number = self._number
        tensors = [
            array if isinstance(array, Tensor) else from_array(name, array) for name, array in inputs.items()
        ]
        header = frame_pb2.Activation(
            key=frame_pb2.RequestKey(origin=self.name, number=number),
            request_id=f"request-{number}",
            route=frame_pb2.Route(
                hops=[
                    frame_pb2.Hop(stage=stage, worker=worker, address=address)
                    for stage, worker, address in route
                ]
            ),
            hop=hop,
            direct=direct,
            tensors=[
                frame_pb2.Tensor(name=t.name, datatype=t.datatype, shape=t.shape, byte_size=t.byte_size)
                for t in tensors
            ],
            requested_outputs=outputs,
            sent_unix_ns=time.time_ns(),
        )
        if deadline_s is not None:
            header.remaining_us = round(deadline_s * 1e6)
        # A gateway has links to all workers of its table: the last of the route answers on one.
        for _, worker, address in route:
            with suppress(Unavailable):
                await self.links.connect(worker, address)
        _, worker, address = route[hop]
        link = await self.links.connect(worker, address)
        await link.send(
            Frame(frame_pb2.FrameHeader(activation=header), tuple(tensor.data for tensor in tensors))
        )
        return number

    async def cancel(self, number: int, *workers: str):
        """Cancels a request at these workers."""
        key = frame_pb2.RequestKey(origin=self.name, number=number)
        for worker in workers:
            self.links.get(worker).send_soon(frame_pb2.FrameHeader(cancel=frame_pb2.Cancel(key=key)))

    async def answer(self, number: int, timeout: float = 60) -> dict[str, np.ndarray]:
        """Waits for a Result and returns its tensors."""
        await eventually(lambda: number in self.results or number in self.failures, timeout)
        assert number in self.results, self.failures[number]
        frame = self.results[number]
        if is_compressed(frame):  # a link on a busy machine may be slow
            frame = decompressed_frame(frame)
        tensors = {}
        for spec, payload in zip(frame.header.result.tensors, frame.payloads, strict=True):
            tensor = Tensor(spec.name, Datatype(spec.datatype), tuple(spec.shape), payload)
            tensors[spec.name] = to_array(tensor)
        return tensors

    async def failure(self, number: int, timeout: float = 60) -> frame_pb2.Failure:
        """Waits for a Failure and returns it."""
        await eventually(lambda: number in self.results or number in self.failures, timeout)
        assert number in self.failures, self.results[number].header
        return self.failures[number][0]

    def _on_frame(self, link, frame):
        kind = frame.header.WhichOneof("kind")
        if kind == "result":
            assert frame.header.result.key.number not in self.results, "answered twice"
            self.results[frame.header.result.key.number] = frame
        elif kind == "failure":
            self.failures.setdefault(frame.header.failure.key.number, []).append(frame.header.failure)
        elif kind == "load":
            self.loads[link.peer] = frame.header.load


@asynccontextmanager
async def origin_gateway(name: str = "gateway-1") -> AsyncIterator[OriginGateway]:
    """Yields a gateway's end of links until the block ends."""
    gateway = OriginGateway(name)
    async with gateway.links:
        yield gateway
