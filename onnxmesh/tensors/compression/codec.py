"""Encoding and decoding of a tensor's elements. Takes milliseconds for large tensors: not for an event loop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import zstandard

from onnxmesh.errors import CorruptData
from onnxmesh.tensors.compression.encoding import Encoding
from onnxmesh.tensors.compression.rounding import NUM_STEPS, from_steps, largest_scale, to_half, to_steps
from onnxmesh.tensors.datatype import NUMPY, Datatype
from onnxmesh.tensors.tensor import Buffer, Tensor

LEVEL = 1
"""Level of Zstandard. On activations higher ones take twice the time and save next to nothing."""

_Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class EncodedTensor:
    """The encoded elements of a tensor.

    Attributes:
        encoding: The encoding.
        data: The bytes that are sent.
        scale: INT8: the distance between two steps; else 0.
        zero_point: INT8: the step that represents zero; else 0.
    """

    encoding: Encoding
    data: Buffer
    scale: float = 0.0
    zero_point: int = 0


def encode_elements(tensor: Tensor, encoding: Encoding) -> EncodedTensor | None:
    """Returns the encoded elements; None where an element would be lost and not only rounded (overflow, infinity, NaN).

    Args:
        tensor: Of a datatype that the encoding accepts.
        encoding: Any.
    """
    scale, zero_point = 0.0, 0
    data: Any = tensor.data
    if encoding.rounding is not Encoding.NONE:
        array = np.frombuffer(tensor.data, dtype=NUMPY[tensor.datatype])
        if encoding.rounding is Encoding.FP16:
            rounded = to_half(array)
        else:
            stepped = to_steps(array)
            rounded, scale, zero_point = (None, 0.0, 0) if stepped is None else stepped
        if rounded is None:
            return None
        data = rounded.view(np.uint8).data
    if encoding.is_zstd:
        shuffled = _shuffled(data, encoding.stored_bits(tensor.datatype) // 8)
        data = zstandard.ZstdCompressor(level=LEVEL).compress(shuffled)
    return EncodedTensor(encoding, data, scale, zero_point)


def decode_elements(
    name: str, datatype: Datatype, shape: tuple[int, ...], *, encoded: EncodedTensor, num_bytes: int
) -> Tensor:
    """Returns the decoded tensor.

    Args:
        name: Name of the tensor.
        datatype: Its element type.
        shape: Its dimensions.
        encoded: Its encoded elements, as received.
        num_bytes: Bytes of its elements, as announced by the sender. No more memory than that is allocated.

    Raises:
        CorruptData: The encoded elements do not match the description (DATA_LOSS).
    """
    encoding = encoded.encoding
    tensor = Tensor(name, datatype, shape, b"")
    expected = datatype.byte_size(tensor.num_elements)
    if expected is not None and num_bytes != expected:
        raise CorruptData(
            f"tensor '{name}': {datatype} of shape {list(shape)} has {expected} bytes, {num_bytes} are announced"
        )
    if not encoding.accepts(datatype):
        raise CorruptData(f"tensor '{name}': {datatype} cannot be encoded as {encoding.label}")
    data: Any = encoded.data
    rounded = encoding.rounding is not Encoding.NONE
    stored = tensor.num_elements * encoding.stored_bits(datatype) // 8 if rounded else num_bytes
    if encoding.is_zstd:
        data = _unshuffled(
            _decompressed(name, encoded.data, stored), encoding.stored_bits(datatype) // 8
        ).data
    elif len(data) != stored:
        raise CorruptData(f"tensor '{name}': expected {stored} bytes of {encoding.label}, got {len(data)}")
    if encoding.rounding is Encoding.FP16:
        data = _bytes_of(np.frombuffer(data, dtype="<f2").astype(NUMPY[datatype]))
    elif encoding.rounding is Encoding.INT8:
        dtype, scale, zero_point = NUMPY[datatype], encoded.scale, encoded.zero_point
        if not (0 <= scale <= largest_scale(dtype) and 0 <= zero_point <= NUM_STEPS):
            raise CorruptData(
                f"tensor '{name}': steps of {scale:g} around {zero_point} do not fit {datatype}"
            )
        data = _bytes_of(from_steps(np.frombuffer(data, dtype=np.uint8), scale, zero_point, dtype))
    return Tensor(name, datatype, shape, data)


def _decompressed(name: str, data: Buffer, num_bytes: int) -> bytes:
    """Returns the decompressed bytes, if their number is exactly as expected: checked before memory is allocated."""
    try:
        announced = zstandard.get_frame_parameters(data).content_size
        if announced != num_bytes:
            raise CorruptData(
                f"tensor '{name}': expected {num_bytes} bytes in zstd, {announced} are announced"
            )
        unpacked = zstandard.ZstdDecompressor().decompress(data, allow_extra_data=False)
    except (zstandard.ZstdError, MemoryError) as error:
        raise CorruptData(f"tensor '{name}': its zstd data cannot be decompressed: {error}") from error
    if len(unpacked) != num_bytes:
        raise CorruptData(f"tensor '{name}': expected {num_bytes} bytes in zstd, got {len(unpacked)}")
    return unpacked


def _shuffled(data: Buffer, width: int) -> Buffer:
    """Returns all first bytes of the elements, then all second ones and so on: signs and exponents then repeat.

    Source: the shuffle filter of HDF5 and Blosc.
    """
    if width < 2:
        return data
    elements = np.frombuffer(data, dtype=np.uint8).reshape(-1, width)
    places = np.empty((width, elements.shape[0]), dtype=np.uint8)
    for place in range(width):
        places[place] = elements[:, place]
    return _bytes_of(places)


def _unshuffled(data: bytes, width: int) -> _Bytes:
    """Reverses `_shuffled`."""
    if width < 2:
        return np.frombuffer(data, dtype=np.uint8)
    places = np.frombuffer(data, dtype=np.uint8).reshape(width, -1)
    elements = np.empty((places.shape[1], width), dtype=np.uint8)
    for place in range(width):
        elements[:, place] = places[place]
    return elements.reshape(-1)


def _bytes_of(array: npt.NDArray[Any]) -> memoryview:
    return array.reshape(-1).view(np.uint8).data
