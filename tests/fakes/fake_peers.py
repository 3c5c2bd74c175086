"""Streams to workers without sockets: sent frames are kept, replies are made by the test."""

from __future__ import annotations

import asyncio

from onnxmesh.errors import Unavailable
from onnxmesh.tensors.compression.compression_choice import MIN_COMPRESSED_BYTES


class FakePeer:
    """One stream; `send` waits while `capacity` is not set."""

    same_host = False
    estimate = None

    def __init__(self, name, generation=1):
        self.name = self.peer = name
        self.generation = generation
        self.is_open = True
        self.is_suspect = False
        self.broken = False
        self.capacity = asyncio.Event()
        self.capacity.set()
        self.sent = []
        self.said = []

    def try_send(self, frame):
        self._check()
        does = self.capacity.is_set() and (self.same_host or frame.payload_bytes < MIN_COMPRESSED_BYTES)
        if does:
            self.sent.append(frame)
        return does

    async def send(self, frame):
        self._check()
        self.sent.append(frame)
        await self.capacity.wait()

    def _check(self):
        if self.broken:
            raise Unavailable(f"the stream to {self.name} is closed")

    def send_soon(self, header):
        self.said.append(header)

    def disconnect(self):
        self.is_open = False

    @property
    def cancelled(self):
        """Number and attempt of each Cancel sent."""
        return [(header.cancel.key.number, header.cancel.key.attempt) for header in self.said]


class FakePeers:
    """The streams of one gateway.

    Attributes:
        streams: By worker.
        reachable: Workers that accept a connection.
        kept: Peers to stay connected to, with their addresses.
    """

    def __init__(self, *workers):
        self.streams = {worker: FakePeer(worker) for worker in workers}
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
        return self.streams.setdefault(peer, FakePeer(peer))

    def keep(self, peers, removed=()):
        self.kept.update(peers)
        for peer in removed:
            self.kept.pop(peer, None)
