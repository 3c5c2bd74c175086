"""The name of one attempt to answer one request, as a value."""

from __future__ import annotations

from typing import NamedTuple

from onnxmesh.v1 import frame_pb2


class RequestKey(NamedTuple):
    """What tells one attempt from every other in the mesh.

    Attributes:
        origin: The gateway that took the request and gets the answer.
        number: The request's number there.
        attempt: Counts the routes tried.
    """

    origin: str
    number: int
    attempt: int

    @classmethod
    def of(cls, message: frame_pb2.RequestKey) -> RequestKey:
        """Reads the key of a frame."""
        return cls(message.origin, message.number, message.attempt)

    def to_proto(self) -> frame_pb2.RequestKey:
        """Returns the message that says the same."""
        return frame_pb2.RequestKey(origin=self.origin, number=self.number, attempt=self.attempt)
