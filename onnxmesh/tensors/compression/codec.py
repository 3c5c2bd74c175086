"""Tensors to fewer bytes and back. Pure; takes milliseconds for large ones, so not for an event loop."""

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
"""Of Zstandard. On activations higher ones take twice the time for next to nothing."""

_Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Encoded:
    """What a tensor was written as.

    Attributes:
        encoding: How.
        data: What goes over the wire.
        scale: INT8: the distance of two steps; else 0.
        zero_point: INT8: the step that is zero; else 0.
    """

    encoding: Encoding
    data: Buffer
    scale: float = 0.0
    zero_point: int = 0


def encode_elements(tensor: Tensor, encoding: Encoding) -> Encoded | None:
    """Returns a tensor written so; None where it cannot be: an element that would be lost, not only rounded.

    Args:
        tensor: Of a datatype that the encoding takes.
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
        by_place = _by_place(data, encoding.stored_bits(tensor.datatype) // 8)
        data = zstandard.ZstdCompressor(level=LEVEL).compress(by_place)
    return Encoded(encoding, data, scale, zero_point)


def decode_elements(
    name: str, datatype: Datatype, shape: tuple[int, ...], encoded: Encoded, num_bytes: int
) -> Tensor:
    """Returns the tensor that was written.

    Args:
        name: Of the tensor.
        datatype: Of its elements.
        shape: Its dimensions.
        encoded: What came.
        num_bytes: Bytes of its elements, as its sender says. No more memory than that is taken.

    Raises:
        CorruptData: What came is not what it is said to be (DATA_LOSS).
    """
    encoding = encoded.encoding
    tensor = Tensor(name, datatype, shape, b"")
    expected = datatype.byte_size(tensor.num_elements)
    if expected is not None and num_bytes != expected:
        raise CorruptData(
            f"tensor '{name}': {datatype} of shape {list(shape)} has {expected} bytes, {num_bytes} are said"
        )
    if not encoding.takes(datatype):
        raise CorruptData(f"tensor '{name}': {datatype} is never written as {encoding.label}")
    data: Any = encoded.data
    rounded = encoding.rounding is not Encoding.NONE
    stored = tensor.num_elements * encoding.stored_bits(datatype) // 8 if rounded else num_bytes
    if encoding.is_zstd:
        data = _in_order(_decompressed(name, encoded.data, stored), encoding.stored_bits(datatype) // 8).data
    elif len(data) != stored:
        raise CorruptData(f"tensor '{name}': expected {stored} bytes of {encoding.label}, got {len(data)}")
    if encoding.rounding is Encoding.FP16:
        data = _bytes_of(np.frombuffer(data, dtype="<f2").astype(NUMPY[datatype]))
    elif encoding.rounding is Encoding.INT8:
        dtype, scale, zero_point = NUMPY[datatype], encoded.scale, encoded.zero_point
        if not (0 <= scale <= largest_scale(dtype) and 0 <= zero_point <= NUM_STEPS):
            raise CorruptData(
                f"tensor '{name}': steps of {scale:g} around {zero_point} are none of {datatype}"
            )
        data = _bytes_of(from_steps(np.frombuffer(data, dtype=np.uint8), scale, zero_point, dtype))
    return Tensor(name, datatype, shape, data)


def _decompressed(name: str, data: Buffer, num_bytes: int) -> bytes:
    """Returns what Zstandard has packed, if that is exactly so long: asked before any memory is taken."""
    try:
        told = zstandard.get_frame_parameters(data).content_size
        if told != num_bytes:
            raise CorruptData(f"tensor '{name}': expected {num_bytes} bytes in zstd, it says {told}")
        unpacked = zstandard.ZstdDecompressor().decompress(data, allow_extra_data=False)
    except (zstandard.ZstdError, MemoryError) as error:
        raise CorruptData(f"tensor '{name}': its zstd cannot be unpacked: {error}") from error
    if len(unpacked) != num_bytes:
        raise CorruptData(f"tensor '{name}': expected {num_bytes} bytes in zstd, got {len(unpacked)}")
    return unpacked


def _by_place(data: Buffer, width: int) -> Buffer:
    """Returns all first bytes of the elements, then all second ones: signs and exponents then repeat.

    Source: the shuffle filter of HDF5 and Blosc.
    """
    if width < 2:
        return data
    elements = np.frombuffer(data, dtype=np.uint8).reshape(-1, width)
    places = np.empty((width, elements.shape[0]), dtype=np.uint8)
    for place in range(width):
        places[place] = elements[:, place]
    return _bytes_of(places)


def _in_order(data: bytes, width: int) -> _Bytes:
    """Undoes `_by_place`."""
    if width < 2:
        return np.frombuffer(data, dtype=np.uint8)
    places = np.frombuffer(data, dtype=np.uint8).reshape(width, -1)
    elements = np.empty((places.shape[1], width), dtype=np.uint8)
    for place in range(width):
        elements[:, place] = places[place]
    return elements.reshape(-1)


def _bytes_of(array: npt.NDArray[Any]) -> memoryview:
    return array.reshape(-1).view(np.uint8).data
