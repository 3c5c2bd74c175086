"""Inference answers for the wire."""

from __future__ import annotations

from collections.abc import Iterable

from onnxmesh.errors import TooLarge
from onnxmesh.rpc.frames.varint import varint
from onnxmesh.tensors.tensor import Buffer

_RAW_OUTPUT_CONTENTS = b"\x32"  # ModelInferResponse.raw_output_contents = 6, length-delimited


def encode_response(head: bytes, raw_outputs: Iterable[Buffer], limit_bytes: int) -> bytes:
    """Returns the serialised answer; payloads are copied once.

    Args:
        head: All of the answer but `raw_output_contents`, serialised.
        raw_outputs: Contents of each output, in order.
        limit_bytes: The largest message that may be sent.

    Raises:
        TooLarge: The answer takes more than that (RESOURCE_EXHAUSTED).
    """
    parts: list[Buffer] = [head]
    size = len(head)
    for raw in raw_outputs:
        prefix = _RAW_OUTPUT_CONTENTS + varint(len(raw))
        parts += (prefix, raw)
        size += len(prefix) + len(raw)
    if size > limit_bytes:
        raise TooLarge(f"the answer takes {size} bytes, but a message may have {limit_bytes} at most")
    return b"".join(parts)
