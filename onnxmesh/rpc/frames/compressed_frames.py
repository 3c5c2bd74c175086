"""Frames with compressed tensors: from uncompressed ones, and back."""

from __future__ import annotations

from collections.abc import Mapping

from onnxmesh.errors import CorruptData
from onnxmesh.rpc.frames.frame_tensors import frame_body, read_datatype
from onnxmesh.rpc.frames.frames import Frame
from onnxmesh.tensors.compression.codec import EncodedTensor, decode_elements
from onnxmesh.tensors.compression.encoding import Encoding
from onnxmesh.tensors.tensor import Buffer
from onnxmesh.v1.frame_pb2 import FrameHeader, Tensor


def is_compressed(frame: Frame) -> bool:
    """Whether any tensor of the frame is encoded."""
    body = frame_body(frame.header)
    return body is not None and any(tensor.encoding for tensor in body.tensors)


def compressed_frame(frame: Frame, encoded_by_index: Mapping[int, EncodedTensor]) -> Frame:
    """Returns a frame with some of its tensors replaced by encoded ones; the last hop's timing gets both sizes."""
    header = FrameHeader()
    header.CopyFrom(frame.header)
    body = frame_body(header)
    assert body is not None, "a frame with tensors"
    payloads = list(frame.payloads)
    for index, encoded in encoded_by_index.items():
        described = body.tensors[index]
        described.decoded_bytes = described.byte_size
        described.byte_size = len(encoded.data)
        described.encoding = Tensor.Encoding.ValueType(encoded.encoding)
        described.scale = encoded.scale
        described.zero_point = encoded.zero_point
        payloads[index] = encoded.data
    if body.timings:
        body.timings[-1].plain_bytes = frame.payload_bytes
        body.timings[-1].wire_bytes = sum(map(len, payloads))
    return Frame(header, tuple(payloads))


def decompressed_frame(frame: Frame) -> Frame:
    """Returns a frame with all tensors decoded. Takes milliseconds for large ones: for a thread.

    Raises:
        CorruptData: A tensor does not match its description, or its encoding is unknown (DATA_LOSS).
    """
    header = FrameHeader()
    header.CopyFrom(frame.header)
    body = frame_body(header)
    assert body is not None, "a frame with tensors"
    payloads = tuple(map(_decode, body.tensors, frame.payloads))
    for described, payload in zip(body.tensors, payloads, strict=True):
        described.byte_size = len(payload)
        for field in ("encoding", "decoded_bytes", "scale", "zero_point"):
            described.ClearField(field)
    return Frame(header, payloads)


def _decode(described: Tensor, payload: Buffer) -> Buffer:
    if not described.encoding:
        return payload
    try:
        encoding = Encoding(described.encoding)
    except ValueError:
        raise CorruptData(
            f"tensor '{described.name}' is in the unknown encoding {described.encoding}"
        ) from None
    encoded = EncodedTensor(encoding, payload, described.scale, described.zero_point)
    return decode_elements(
        described.name,
        read_datatype(described),
        tuple(described.shape),
        encoded=encoded,
        num_bytes=described.decoded_bytes,
    ).data
