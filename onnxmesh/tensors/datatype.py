"""Datatypes of tensors on the wire.

Names are those of the Open Inference Protocol. ONNX has more types, which can cross a cut but cannot be sent to or
by clients; they keep their ONNX names.
"""

from __future__ import annotations

from enum import StrEnum

import numpy as np


class Datatype(StrEnum):
    """The element type of a tensor. `BYTES` is ONNX's string: any bytes, of any length."""

    BOOL = "BOOL"
    UINT8 = "UINT8"
    UINT16 = "UINT16"
    UINT32 = "UINT32"
    UINT64 = "UINT64"
    INT8 = "INT8"
    INT16 = "INT16"
    INT32 = "INT32"
    INT64 = "INT64"
    FP16 = "FP16"
    FP32 = "FP32"
    FP64 = "FP64"
    BF16 = "BF16"
    BYTES = "BYTES"
    FLOAT8E4M3FN = "FLOAT8E4M3FN"
    FLOAT8E4M3FNUZ = "FLOAT8E4M3FNUZ"
    FLOAT8E5M2 = "FLOAT8E5M2"
    FLOAT8E5M2FNUZ = "FLOAT8E5M2FNUZ"
    UINT4 = "UINT4"
    INT4 = "INT4"

    @property
    def bits(self) -> int:
        """Bits of one element; 0 for BYTES, whose elements differ in size."""
        return _BITS[self]

    @property
    def in_protocol(self) -> bool:
        """Whether clients can send and receive it."""
        return self not in _ONNX_ONLY

    def byte_size(self, num_elements: int) -> int | None:
        """Bytes of `num_elements` packed elements; None for BYTES, where it depends on the elements."""
        return None if self is Datatype.BYTES else (num_elements * self.bits + 7) // 8


DATATYPES_BY_NAME: dict[str, Datatype] = {each.value: each for each in Datatype}
"""A faster lookup than `Datatype(name)`."""

_BITS = {
    Datatype.BOOL: 8,
    Datatype.UINT8: 8,
    Datatype.UINT16: 16,
    Datatype.UINT32: 32,
    Datatype.UINT64: 64,
    Datatype.INT8: 8,
    Datatype.INT16: 16,
    Datatype.INT32: 32,
    Datatype.INT64: 64,
    Datatype.FP16: 16,
    Datatype.FP32: 32,
    Datatype.FP64: 64,
    Datatype.BF16: 16,
    Datatype.BYTES: 0,
    Datatype.FLOAT8E4M3FN: 8,
    Datatype.FLOAT8E4M3FNUZ: 8,
    Datatype.FLOAT8E5M2: 8,
    Datatype.FLOAT8E5M2FNUZ: 8,
    Datatype.UINT4: 4,
    Datatype.INT4: 4,
}

_ONNX_ONLY = frozenset(
    {
        Datatype.FLOAT8E4M3FN,
        Datatype.FLOAT8E4M3FNUZ,
        Datatype.FLOAT8E5M2,
        Datatype.FLOAT8E5M2FNUZ,
        Datatype.UINT4,
        Datatype.INT4,
    }
)

NUMPY: dict[Datatype, np.dtype[np.generic]] = {
    Datatype.BOOL: np.dtype(np.bool_),
    Datatype.UINT8: np.dtype("<u1"),
    Datatype.UINT16: np.dtype("<u2"),
    Datatype.UINT32: np.dtype("<u4"),
    Datatype.UINT64: np.dtype("<u8"),
    Datatype.INT8: np.dtype("<i1"),
    Datatype.INT16: np.dtype("<i2"),
    Datatype.INT32: np.dtype("<i4"),
    Datatype.INT64: np.dtype("<i8"),
    Datatype.FP16: np.dtype("<f2"),
    Datatype.FP32: np.dtype("<f4"),
    Datatype.FP64: np.dtype("<f8"),
}
"""NumPy's element type of each datatype that has one."""
