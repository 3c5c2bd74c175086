"""Ways to write a tensor's elements."""

from __future__ import annotations

from enum import IntEnum

from onnxmesh.tensors.datatype import Datatype


class Encoding(IntEnum):
    """How the bytes of a tensor on the wire stand for its elements; numbers are those of `frame.proto`."""

    NONE = 0
    """They are the elements."""
    ZSTD = 1
    """Zstandard, over bytes that are put in order of their place within an element. Loses nothing."""
    FP16 = 2
    """Each element rounded to half precision."""
    INT8 = 3
    """Each element as one of 256 evenly spaced numbers, of which one is zero."""
    FP16_ZSTD = 4
    """`FP16`, and that by `ZSTD`."""
    INT8_ZSTD = 5
    """`INT8`, and that by `ZSTD`."""

    @property
    def rounding(self) -> Encoding:
        """What it loses bits by: `FP16`, `INT8`, or `NONE`."""
        return _ROUNDING[self]

    @property
    def is_lossless(self) -> bool:
        """Whether every bit comes back."""
        return self.rounding is Encoding.NONE

    @property
    def is_zstd(self) -> bool:
        """Whether Zstandard has the last word."""
        return self in _ZSTD

    def stored_bits(self, datatype: Datatype) -> int:
        """Bits of an element before Zstandard; 0 for BYTES, whose elements differ in size."""
        return {Encoding.FP16: 16, Encoding.INT8: 8}.get(self.rounding, datatype.bits)

    def takes(self, datatype: Datatype) -> bool:
        """Whether tensors of this type can be written so, and get smaller by it."""
        return self.is_lossless or (datatype in _ROUNDED and self.stored_bits(datatype) < datatype.bits)

    @property
    def label(self) -> str:
        """Its name for people, options and figures: `zstd`, `fp16+zstd`."""
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
"""The ways to lose bits."""
