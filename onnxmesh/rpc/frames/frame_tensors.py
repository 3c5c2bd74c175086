"""Tensors in frames: where a header's descriptions and a frame's payloads become tensors, and back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod

from onnxmesh.errors import CorruptData
from onnxmesh.tensors.datatype import DATATYPES_BY_NAME, Datatype
from onnxmesh.tensors.tensor import Buffer, Tensor
from onnxmesh.v1 import frame_pb2
from onnxmesh.v1.frame_pb2 import Activation, FrameHeader, Result


def frame_body(header: FrameHeader) -> Activation | Result | None:
    """Returns the message of a frame that describes tensors; None for a frame without any."""
    kind = header.WhichOneof("kind")
    if kind == "activation":
        return header.activation
    return header.result if kind == "result" else None


def write_tensors(body: Activation | Result, tensors: Iterable[Tensor]) -> tuple[Buffer, ...]:
    """Appends the descriptions of `tensors` to a message and returns their payloads, not copied."""
    payloads = []
    add = body.tensors.add
    for tensor in tensors:
        data = tensor.data
        add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape, byte_size=len(data))
        payloads.append(data)
    return tuple(payloads)


def read_tensors(body: Activation | Result, payloads: Sequence[Buffer]) -> tuple[Tensor, ...]:
    """Returns the tensors of a whole, decompressed frame; their data is `payloads`, not copied.

    Raises:
        CorruptData: Not one payload for each description, or see `read_tensor` (DATA_LOSS).
    """
    if len(payloads) != len(body.tensors):
        raise CorruptData(f"expected payloads of {len(body.tensors)} tensors, got {len(payloads)}")
    return tuple(map(read_tensor, body.tensors, payloads))


def read_tensor(described: frame_pb2.Tensor, payload: Buffer) -> Tensor:
    """Returns the tensor of one description and its payload.

    Raises:
        CorruptData: Unknown datatype, negative dimension, or a payload that is not as long as datatype and shape
            (BYTES: the description) require (DATA_LOSS).
    """
    datatype = read_datatype(described)
    shape = tuple(described.shape)
    if shape and min(shape) < 0:
        raise CorruptData(f"tensor '{described.name}' has the impossible shape {list(shape)}")
    byte_size = datatype.byte_size(prod(shape))
    if byte_size is None:
        byte_size = described.byte_size
    if len(payload) != byte_size:
        raise CorruptData(
            f"tensor '{described.name}': expected {byte_size} bytes of {datatype} {list(shape)}, got {len(payload)}"
        )
    return Tensor(described.name, datatype, shape, payload)


def read_datatype(described: frame_pb2.Tensor) -> Datatype:
    """Returns the datatype of a description.

    Raises:
        CorruptData: It is unknown (DATA_LOSS).
    """
    datatype = DATATYPES_BY_NAME.get(described.datatype)
    if datatype is None:
        raise CorruptData(f"tensor '{described.name}' is of unknown datatype '{described.datatype}'")
    return datatype


def check_payloads(body: Activation | Result, payloads: Sequence[Buffer]) -> None:
    """Checks that there is one payload of the announced length for each description; they may be compressed.

    Raises:
        CorruptData: There is not (DATA_LOSS).
    """
    if len(payloads) != len(body.tensors):
        raise CorruptData(f"expected payloads of {len(body.tensors)} tensors, got {len(payloads)}")
    for described, payload in zip(body.tensors, payloads, strict=True):
        if described.byte_size != len(payload):
            raise CorruptData(
                f"tensor '{described.name}': expected {described.byte_size} bytes, got {len(payload)}"
            )
