"""Streams to workers without sockets: sent frames are kept; the test makes the replies."""

from __future__ import annotations

import asyncio

from onnxmesh.errors import Unavailable
from onnxmesh.tensors.compression.compression_choice import MIN_COMPRESSED_BYTES


class FakeWorkerLink:
    """One stream; `send` waits while `has_capacity` is not set."""

    same_host = False
    estimate = None

    def __init__(self, name, generation=1):
        self.name = self.peer = name
        self.generation = generation
        self.is_open = True
        self.is_suspect = False
        self.broken = False
        self.has_capacity = asyncio.Event()
        self.has_capacity.set()
        self.sent = []
        self.headers = []

    def try_send(self, frame):
        self._check()
        is_queued = self.has_capacity.is_set() and (
            self.same_host or frame.payload_bytes < MIN_COMPRESSED_BYTES
        )
        if is_queued:
            self.sent.append(frame)
        return is_queued

    async def send(self, frame):
        self._check()
        self.sent.append(frame)
        await self.has_capacity.wait()

    def _check(self):
        if self.broken:
            raise Unavailable(f"the stream to {self.name} is closed")

    def send_soon(self, header):
        self.headers.append(header)

    def disconnect(self):
        self.is_open = False

    @property
    def cancelled(self):
        """Number and attempt of each Cancel sent."""
        return [(header.cancel.key.number, header.cancel.key.attempt) for header in self.headers]


class FakeWorkerLinks:
    """The streams of one gateway.

    Attributes:
        streams: By worker.
        reachable: Workers that answer when they are dialled.
        kept: Peers that streams are kept open to, with their addresses.
    """

    def __init__(self, *workers):
        self.streams = {worker: FakeWorkerLink(worker) for worker in workers}
        self.reachable = set()
        self.dialled = []
        self.kept = {}

    def get(self, peer):
        stream = self.streams.get(peer)
        return stream if stream is not None and stream.is_open else None

    async def connect(self, peer, address):
        self.dialled.append((peer, address))
        if peer not in self.reachable:
            raise Unavailable(f"{peer} at {address} cannot be reached")
        return self.streams.setdefault(peer, FakeWorkerLink(peer))

    def keep(self, peers, removed=()):
        self.kept.update(peers)
        for peer in removed:
            self.kept.pop(peer, None)
