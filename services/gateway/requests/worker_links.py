"""The port to the streams to workers, which `onnxmesh.rpc.link.links.Links` implements."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from onnxmesh.rpc.frames.frames import Frame
from onnxmesh.rpc.link.compressor import CompressibleLink
from onnxmesh.v1.frame_pb2 import FrameHeader


class WorkerLink(CompressibleLink, Protocol):
    """The stream to one worker."""

    @property
    def generation(self) -> int:
        """Generation of the worker process that it leads to."""

    @property
    def is_open(self) -> bool:
        """Whether frames can be sent."""

    @property
    def is_suspect(self) -> bool:
        """Whether the failure detector suspects the worker: a heartbeat is overdue."""

    def try_send(self, frame: Frame) -> bool:
        """Queues `frame` if that needs no wait; returns whether it did. Otherwise call `send`.

        Raises:
            Unavailable: The stream is closed (UNAVAILABLE).
        """

    async def send(self, frame: Frame) -> None:
        """Queues `frame`; waits while too much is queued.

        Raises:
            Unavailable: The stream is closed (UNAVAILABLE).
        """

    def send_soon(self, header: FrameHeader) -> None:
        """Queues a frame without payloads at once; a closed stream drops it."""

    def disconnect(self) -> None:
        """Closes the stream after the queued frames."""


class WorkerLinks(Protocol):
    """The streams to all workers."""

    def get(self, peer: str) -> WorkerLink | None:
        """Returns the open stream to `peer`, or None."""

    async def connect(self, peer: str, address: str) -> WorkerLink:
        """Returns the stream to `peer`; dials where there is none.

        Raises:
            Unavailable: No process answers there, or another one than `peer` (UNAVAILABLE).
        """

    def keep(self, peers: Mapping[str, str], removed: Iterable[str] = ()) -> None:
        """Keeps streams open to these peers as well, id to address, and no longer to those in `removed`."""
