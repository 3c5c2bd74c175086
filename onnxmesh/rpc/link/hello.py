"""The first message of a stream, by which each side introduces itself."""

from __future__ import annotations

from onnxmesh.errors import CorruptData, Unavailable
from onnxmesh.rpc.frames.frames import decode_envelope
from onnxmesh.v1.frame_pb2 import Hello


def read_hello(message: bytes | None, sender: str) -> Hello:
    """Returns the Hello in the first message of a stream.

    Args:
        message: None: the stream ended before it.
        sender: Names the peer in errors.

    Raises:
        Unavailable: The stream ended (UNAVAILABLE).
        CorruptData: The message is no Hello (DATA_LOSS).
    """
    if message is None:
        raise Unavailable(f"{sender} ended the stream before its Hello")
    frames = decode_envelope(message)
    if len(frames) != 1 or frames[0].header.WhichOneof("kind") != "hello":
        raise CorruptData(f"expected a Hello from {sender} first")
    return frames[0].header.hello
