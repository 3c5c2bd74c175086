"""The raw form of BYTES tensors: each element after its length, a little-endian unsigned 32-bit integer."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from onnxmesh.errors import InvalidRequest
from onnxmesh.tensors.tensor import Buffer

_LENGTH = struct.Struct("<I")


def encode_bytes(elements: Iterable[bytes]) -> bytes:
    """Returns the raw form of `elements`, in row-major order."""
    parts: list[bytes] = []
    for element in elements:
        parts.append(_LENGTH.pack(len(element)))
        parts.append(element)
    return b"".join(parts)


def decode_bytes(data: Buffer, num_elements: int, name: str) -> list[bytes]:
    """Returns the elements of a raw BYTES tensor.

    Args:
        data: The raw form.
        num_elements: Number of elements by the tensor's shape.
        name: Name of the tensor, for the error.

    Raises:
        InvalidRequest: A length runs past the end, or the count differs (INVALID_ARGUMENT).
    """
    elements: list[bytes] = []
    position, end = 0, len(data)
    while position < end:
        if len(elements) == num_elements:
            raise InvalidRequest(
                f"tensor '{name}': expected {num_elements} BYTES elements, "
                f"but {end - position} bytes follow the last one"
            )
        if position + 4 > end:
            raise InvalidRequest(
                f"tensor '{name}': expected a 4-byte length of BYTES element {len(elements)} "
                f"at offset {position}, but only {end - position} bytes remain"
            )
        (length,) = _LENGTH.unpack_from(data, position)
        position += 4
        if position + length > end:
            raise InvalidRequest(
                f"tensor '{name}': BYTES element {len(elements)} announces {length} bytes, "
                f"but only {end - position} remain"
            )
        elements.append(bytes(data[position : position + length]))
        position += length
    if len(elements) != num_elements:
        raise InvalidRequest(
            f"tensor '{name}': expected {num_elements} BYTES elements, but the data holds {len(elements)}"
        )
    return elements
