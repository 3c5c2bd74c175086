"""The first word on a stream."""

from __future__ import annotations

from onnxmesh.errors import CorruptData, Unavailable
from onnxmesh.rpc.frames.frames import decode_envelope


def read_hello(message: bytes | None, who: str) -> tuple[str, int]:
    """Returns node id and generation from the first message of a stream.

    Raises:
        Unavailable: The stream ended before it (UNAVAILABLE).
        CorruptData: It is no Hello (DATA_LOSS).
    """
    if message is None:
        raise Unavailable(f"{who} ended the stream before its Hello")
    frames = decode_envelope(message)
    if len(frames) != 1 or frames[0].header.WhichOneof("kind") != "hello":
        raise CorruptData(f"expected a Hello from {who} first")
    hello = frames[0].header.hello
    return hello.node, hello.generation
