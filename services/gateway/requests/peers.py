"""What the dispatcher asks of the links to workers: a port, which `onnxmesh.rpc.link.links.Links` fills."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from onnxmesh.rpc.frames.frames import Frame
from onnxmesh.rpc.link.compressor import CompressibleLink
from onnxmesh.v1.frame_pb2 import FrameHeader


class Peer(CompressibleLink, Protocol):
    """The stream to one worker."""

    @property
    def generation(self) -> int:
        """Which start of that worker it leads to."""

    @property
    def is_open(self) -> bool:
        """Whether frames can be sent."""

    @property
    def is_suspect(self) -> bool:
        """Whether the worker should have said something by now, and has not."""

    def try_send(self, frame: Frame) -> bool:
        """Queues `frame` if that takes no wait; returns whether it did. Else `send` it.

        Raises:
            Unavailable: The stream is closed (UNAVAILABLE).
        """

    async def send(self, frame: Frame) -> None:
        """Queues `frame`; waits while too much is queued already.

        Raises:
            Unavailable: The stream is closed (UNAVAILABLE).
        """

    def send_soon(self, header: FrameHeader) -> None:
        """Queues a frame without payloads at once; a closed stream drops it."""

    def disconnect(self) -> None:
        """Ends the stream after what is queued."""


class Peers(Protocol):
    """The streams to all workers."""

    def get(self, peer: str) -> Peer | None:
        """Returns the open stream to `peer`, or None."""

    async def connect(self, peer: str, address: str) -> Peer:
        """Returns the stream to `peer`; dials where there is none.

        Raises:
            Unavailable: Nobody answers there, or somebody else does (UNAVAILABLE).
        """

    def keep(self, peers: Mapping[str, str], removed: Iterable[str] = ()) -> None:
        """Holds streams to these peers, too, id to address, and no longer to those that are gone."""
