"""Varints: protobuf's integers of variable length.

Source: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import mmap

from google.protobuf.message import DecodeError


def varint(value: int) -> bytes:
    """Returns the shortest wire form of a non-negative integer."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_varint(view: memoryview | mmap.mmap, position: int) -> tuple[int, int]:
    """Returns the integer at `position`, and the position behind it.

    Raises:
        DecodeError: It does not end within the bytes, or takes more than ten.
    """
    value = shift = 0
    while position < len(view) and shift < 64:
        byte = view[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise DecodeError(f"no varint ends at byte {position}")
