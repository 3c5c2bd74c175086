"""Rounding of numbers to fewer bits, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

NUM_STEPS = 255
"""Steps between the smallest and the largest 8-bit number."""

_MAGNITUDE, _INFINITE, _LEAST_NORMAL = 0x7FFF, 0x7C00, 0x0400
"""Half precision: the bits of the magnitude, of infinity and of the smallest normal number."""

Array = npt.NDArray[Any]


def to_half(array: Array) -> Array | None:
    """Returns numbers in half precision, with an error of at most 2^-11 of the largest magnitude.

    Returns:
        None where a number is too large, infinite or NaN, or all are so small that the error would be larger.
    """
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        half = array.astype("<f2")
    # Magnitudes of halves are in the order of their bits, and those of infinities and NaNs come last.
    largest = int((half.view("<u2") & _MAGNITUDE).max(initial=0))
    if largest >= _INFINITE or (largest < _LEAST_NORMAL and array.any()):
        return None
    return half


def to_steps(array: Array) -> tuple[Array, float, int] | None:
    """Returns numbers as 8-bit steps: `number = (step - zero_point) * scale`, with an error of at most half a scale.

    The steps reach from the smallest to the largest number, zero included, which is a step itself: zeros stay zeros.

    Returns:
        Steps, scale and zero point; None where a number is infinite or NaN, or they come near the limits of their
        type.
    """
    if not array.size:
        return array.astype(np.uint8), 0.0, 0
    work = array.astype("<f4") if array.dtype.itemsize < 4 else array
    low, high = min(float(work.min()), 0.0), max(float(work.max()), 0.0)
    # Also false for NaN. A step may represent a little more than the largest number.
    if not max(high, -low) < float(np.finfo(array.dtype).max) / 2:
        return None
    scale = (high - low) / NUM_STEPS
    if not scale:
        return np.zeros(array.shape, dtype=np.uint8), 0.0, 0
    # A subnormal scale loses bits itself.
    if scale < float(np.finfo(work.dtype).tiny):
        return None
    zero_point = -round(low / scale)
    steps = work / work.dtype.type(scale)
    np.rint(steps, out=steps)
    steps += work.dtype.type(zero_point)
    np.clip(steps, 0, NUM_STEPS, out=steps)
    return steps.astype(np.uint8), scale, zero_point


def largest_scale(dtype: np.dtype[Any]) -> float:
    """Returns the largest scale of which all steps are finite numbers of that type."""
    return float(np.finfo(dtype).max) / NUM_STEPS


def from_steps(steps: Array, scale: float, zero_point: int, dtype: np.dtype[Any]) -> Array:
    """Returns the numbers that 8-bit steps represent."""
    work = steps.astype("<f4" if dtype.itemsize < 4 else dtype)
    work -= work.dtype.type(zero_point)
    work *= work.dtype.type(scale)
    return work.astype(dtype, copy=False)
