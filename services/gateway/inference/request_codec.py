"""Decoding of inference requests, without copies of large inputs."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.message import DecodeError

from onnxmesh.errors import InvalidRequest
from onnxmesh.oip.open_inference_pb2 import ModelInferRequest
from onnxmesh.rpc.frames.varint import read_varint, varint
from onnxmesh.tensors.tensor import Buffer

VIEW_BYTES = 32 << 10
"""From this size on, parsing a message by hand costs less than the copies that protobuf makes."""

_LENGTH_DELIMITED = 2
_RAW_INPUT_CONTENTS = 7


def decode_request(message: Buffer) -> tuple[ModelInferRequest, Sequence[Buffer]]:
    """Returns the request and its raw inputs, which are views of `message` if that is large.

    The request's own `raw_input_contents` is then empty; use the returned ones.

    Raises:
        InvalidRequest: Not a ModelInferRequest (INVALID_ARGUMENT).
    """
    try:
        parts = _split(message) if len(message) >= VIEW_BYTES else None
        if parts is not None:
            return ModelInferRequest.FromString(parts[0]), parts[1]
        request = ModelInferRequest.FromString(bytes(message))
    except DecodeError as error:
        raise InvalidRequest(
            f"expected a ModelInferRequest, got {len(message)} bytes that cannot be parsed: {error}"
        ) from error
    return request, list(request.raw_input_contents)


def raw_input_prefix(byte_size: int) -> bytes:
    """Returns the tag and length before one entry of `raw_input_contents`."""
    return bytes((_RAW_INPUT_CONTENTS << 3 | _LENGTH_DELIMITED,)) + varint(byte_size)


def _split(message: Buffer) -> tuple[bytes, list[Buffer]] | None:
    """Returns the message without its raw inputs, and those; None where it has a field of another wire type."""
    view = memoryview(message)
    rest: list[memoryview] = []
    raw: list[Buffer] = []
    position, end = 0, len(view)
    while position < end:
        start = position
        # Every field of the message has a number below 16 and is length-delimited.
        tag = view[position]
        if tag & 7 != _LENGTH_DELIMITED or tag > 0x7F:
            return None
        length, position = read_varint(view, position + 1)
        if position + length > end:
            raise DecodeError(f"field {tag >> 3} announces {length} bytes, {end - position} remain")
        position += length
        if tag >> 3 == _RAW_INPUT_CONTENTS:
            raw.append(view[position - length : position])
        else:
            rest.append(view[start:position])
    return b"".join(rest), raw
