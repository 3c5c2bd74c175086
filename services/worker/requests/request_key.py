"""Key of one attempt at one request."""

from __future__ import annotations

from typing import NamedTuple

from onnxmesh.v1 import frame_pb2


class RequestKey(NamedTuple):
    """Identifies one attempt in the whole mesh.

    Attributes:
        origin: The gateway that received the request and gets the answer.
        number: The request's number at that gateway.
        attempt: How many routes were tried before.
    """

    origin: str
    number: int
    attempt: int

    @classmethod
    def of(cls, message: frame_pb2.RequestKey) -> RequestKey:
        """Reads the key of a frame."""
        return cls(message.origin, message.number, message.attempt)

    def to_proto(self) -> frame_pb2.RequestKey:
        """Returns the key as a message."""
        return frame_pb2.RequestKey(origin=self.origin, number=self.number, attempt=self.attempt)
