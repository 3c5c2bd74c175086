"""Frames whose tensors are written in fewer bytes, and back. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from onnxmesh.errors import CorruptData
from onnxmesh.rpc.frames.frame_tensors import frame_body, read_datatype
from onnxmesh.rpc.frames.frames import Frame
from onnxmesh.tensors.compression.codec import Encoded, decode_elements
from onnxmesh.tensors.compression.encoding import Encoding
from onnxmesh.tensors.tensor import Buffer
from onnxmesh.v1.frame_pb2 import FrameHeader, Tensor


def is_compressed(frame: Frame) -> bool:
    """Whether a tensor of the frame is not there as its elements."""
    body = frame_body(frame.header)
    return body is not None and any(tensor.encoding for tensor in body.tensors)


def compressed_frame(frame: Frame, written: Mapping[int, Encoded]) -> Frame:
    """Returns a frame with some of its tensors written otherwise, by their index; the timing of who sends it says so."""
    header = FrameHeader()
    header.CopyFrom(frame.header)
    body = frame_body(header)
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
    body = frame_body(header)
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
        encoding = Encoding(told.encoding)
    except ValueError:
        raise CorruptData(f"tensor '{told.name}' is in the unknown encoding {told.encoding}") from None
    datatype = read_datatype(told)
    encoded = Encoded(encoding, payload, told.scale, told.zero_point)
    return decode_elements(told.name, datatype, tuple(told.shape), encoded, told.decoded_bytes).data
