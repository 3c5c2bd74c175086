"""Encoding of inference responses, with one copy of the outputs."""

from __future__ import annotations

from collections.abc import Iterable

from onnxmesh.errors import TooLarge
from onnxmesh.rpc.frames.varint import varint
from onnxmesh.tensors.tensor import Buffer

_RAW_OUTPUT_CONTENTS = b"\x32"  # ModelInferResponse.raw_output_contents = 6, length-delimited


def encode_response(head: bytes, raw_outputs: Iterable[Buffer], limit_bytes: int) -> bytes:
    """Returns the serialized response; payloads are copied once.

    Args:
        head: The serialized response without `raw_output_contents`.
        raw_outputs: Raw contents of each output, in order.
        limit_bytes: Limit of the message.

    Raises:
        TooLarge: The response is larger (RESOURCE_EXHAUSTED).
    """
    parts: list[Buffer] = [head]
    size = len(head)
    for raw in raw_outputs:
        prefix = _RAW_OUTPUT_CONTENTS + varint(len(raw))
        parts += (prefix, raw)
        size += len(prefix) + len(raw)
    if size > limit_bytes:
        raise TooLarge(f"the response has {size} bytes, the limit of a message is {limit_bytes}")
    return b"".join(parts)
