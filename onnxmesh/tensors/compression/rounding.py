"""Numbers rounded to fewer bits, and back. Pure."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

NUM_STEPS = 255
"""From the least of 8 bits to the largest."""

_MAGNITUDE, _INFINITE, _LEAST_NORMAL = 0x7FFF, 0x7C00, 0x0400
"""Of a number in half precision: its bits without the sign, and the bits of two numbers."""

Array = npt.NDArray[Any]


def to_half(array: Array) -> Array | None:
    """Returns numbers in half precision, each off by 2^-11 of the largest magnitude at the most.

    Returns:
        None where a number is too large, infinite or none, or all are so small that they would lose more.
    """
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        half = array.astype("<f2")
    # Magnitudes of halves are in the order of their bits, and those of infinities and NaNs come last.
    largest = int((half.view("<u2") & _MAGNITUDE).max(initial=0))
    if largest >= _INFINITE or (largest < _LEAST_NORMAL and array.any()):
        return None
    return half


def to_steps(array: Array) -> tuple[Array, float, int] | None:
    """Returns numbers as steps of 8 bits: `number = (step - zero_point) * scale`, off by half a scale at the most.

    The steps go from the least to the largest number, zero included, which is a step itself: zeros stay zeros.

    Returns:
        Steps, scale and zero point; None where a number is infinite or none, or they come near the largest or the least
        that their type has.
    """
    if not array.size:
        return array.astype(np.uint8), 0.0, 0
    work = array.astype("<f4") if array.dtype.itemsize < 4 else array
    low, high = min(float(work.min()), 0.0), max(float(work.max()), 0.0)
    # Also false of a NaN. A step may stand for a little more than the largest number.
    if not max(high, -low) < float(np.finfo(array.dtype).max) / 2:
        return None
    scale = (high - low) / NUM_STEPS
    if not scale:
        return np.zeros(array.shape, dtype=np.uint8), 0.0, 0
    # Below it the scale itself loses bits.
    if scale < float(np.finfo(work.dtype).tiny):
        return None
    zero_point = -round(low / scale)
    steps = work / work.dtype.type(scale)
    np.rint(steps, out=steps)
    steps += work.dtype.type(zero_point)
    np.clip(steps, 0, NUM_STEPS, out=steps)
    return steps.astype(np.uint8), scale, zero_point


def largest_scale(dtype: np.dtype[Any]) -> float:
    """Returns the distance of steps beyond which some would be no numbers of that type."""
    return float(np.finfo(dtype).max) / NUM_STEPS


def from_steps(steps: Array, scale: float, zero_point: int, dtype: np.dtype[Any]) -> Array:
    """Returns the numbers that steps of 8 bits stand for."""
    work = steps.astype("<f4" if dtype.itemsize < 4 else dtype)
    work -= work.dtype.type(zero_point)
    work *= work.dtype.type(scale)
    return work.astype(dtype, copy=False)
