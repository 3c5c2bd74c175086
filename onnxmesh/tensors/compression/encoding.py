"""Encodings of a tensor's elements on the wire."""

from __future__ import annotations

from enum import IntEnum

from onnxmesh.tensors.datatype import Datatype


class Encoding(IntEnum):
    """An encoding: optional rounding, then optional Zstandard. Numbers are those of `frame.proto`."""

    NONE = 0
    """Not encoded."""
    ZSTD = 1
    """Zstandard over shuffled bytes: all first bytes of the elements, then all second ones. Lossless."""
    FP16 = 2
    """Elements rounded to half precision."""
    INT8 = 3
    """Elements quantized to 256 evenly spaced numbers, one of which is zero."""
    FP16_ZSTD = 4
    """`FP16`, then `ZSTD`."""
    INT8_ZSTD = 5
    """`INT8`, then `ZSTD`."""

    @property
    def rounding(self) -> Encoding:
        """Its rounding: `FP16`, `INT8` or `NONE`."""
        return _ROUNDING[self]

    @property
    def is_lossless(self) -> bool:
        """Whether decoding restores every bit."""
        return self.rounding is Encoding.NONE

    @property
    def is_zstd(self) -> bool:
        """Whether Zstandard is its last step."""
        return self in _ZSTD

    def stored_bits(self, datatype: Datatype) -> int:
        """Bits of an element before Zstandard; 0 for BYTES, whose elements differ in size."""
        return {Encoding.FP16: 16, Encoding.INT8: 8}.get(self.rounding, datatype.bits)

    def accepts(self, datatype: Datatype) -> bool:
        """Whether tensors of a datatype can be encoded so, with fewer bits for an element."""
        return self.is_lossless or (datatype in _ROUNDED and self.stored_bits(datatype) < datatype.bits)

    @property
    def label(self) -> str:
        """Its name in options, messages and metrics: `zstd`, `fp16+zstd`."""
        return self.name.lower().replace("_", "+")


_ROUNDING = {
    Encoding.NONE: Encoding.NONE,
    Encoding.ZSTD: Encoding.NONE,
    Encoding.FP16: Encoding.FP16,
    Encoding.INT8: Encoding.INT8,
    Encoding.FP16_ZSTD: Encoding.FP16,
    Encoding.INT8_ZSTD: Encoding.INT8,
}
_ZSTD = frozenset({Encoding.ZSTD, Encoding.FP16_ZSTD, Encoding.INT8_ZSTD})
_ROUNDED = frozenset({Datatype.FP16, Datatype.FP32, Datatype.FP64})

ROUNDINGS = (Encoding.FP16, Encoding.INT8)
"""The lossy steps."""
