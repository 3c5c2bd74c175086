"""Frames whose tensors are written in fewer bytes, and back. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from onnxmesh.errors import CorruptData
from onnxmesh.rpc.frames.frames import Frame
from onnxmesh.tensors.compression.codec import Encoded, decode_elements
from onnxmesh.tensors.compression.encoding import Encoding
from onnxmesh.tensors.datatype import Datatype
from onnxmesh.tensors.tensor import Buffer
from onnxmesh.v1.frame_pb2 import Activation, FrameHeader, Result, Tensor


def body_of(header: FrameHeader) -> Activation | Result | None:
    """Returns what has tensors in a frame; None where nothing has."""
    kind = header.WhichOneof("kind")
    if kind == "activation":
        return header.activation
    return header.result if kind == "result" else None


def is_compressed(frame: Frame) -> bool:
    """Whether a tensor of the frame is not there as its elements."""
    body = body_of(frame.header)
    return body is not None and any(tensor.encoding for tensor in body.tensors)


def compressed_frame(frame: Frame, written: Mapping[int, Encoded]) -> Frame:
    """Returns a frame with some of its tensors written otherwise, by their index; the timing of who sends it says so."""
    header = FrameHeader()
    header.CopyFrom(frame.header)
    body = body_of(header)
    assert body is not None, "a frame with tensors"
    payloads = list(frame.payloads)
    for index, encoded in written.items():
        told = body.tensors[index]
        told.decoded_bytes = told.byte_size
        told.byte_size = len(encoded.data)
        told.encoding = Tensor.Encoding.ValueType(encoded.encoding)
        told.scale = encoded.scale
        told.zero_point = encoded.zero_point
        payloads[index] = encoded.data
    if body.timings:
        body.timings[-1].plain_bytes = frame.payload_bytes
        body.timings[-1].wire_bytes = sum(map(len, payloads))
    return Frame(header, tuple(payloads))


def decompressed_frame(frame: Frame) -> Frame:
    """Returns a frame whose tensors are there as their elements. Takes time, as decoding does.

    Raises:
        CorruptData: A tensor is not what it is said to be, or written in a way that is not known here (DATA_LOSS).
    """
    header = FrameHeader()
    header.CopyFrom(frame.header)
    body = body_of(header)
    assert body is not None, "a frame with tensors"
    payloads = tuple(map(_elements, body.tensors, frame.payloads))
    for told, payload in zip(body.tensors, payloads, strict=True):
        told.byte_size = len(payload)
        for field in ("encoding", "decoded_bytes", "scale", "zero_point"):
            told.ClearField(field)
    return Frame(header, payloads)


def _elements(told: Tensor, payload: Buffer) -> Buffer:
    if not told.encoding:
        return payload
    try:
        encoding, datatype = Encoding(told.encoding), Datatype(told.datatype)
    except ValueError as error:
        raise CorruptData(
            f"tensor '{told.name}' is {told.datatype} in encoding {told.encoding}: {error}"
        ) from None
    encoded = Encoded(encoding, payload, told.scale, told.zero_point)
    return decode_elements(told.name, datatype, tuple(told.shape), encoded, told.decoded_bytes).data
