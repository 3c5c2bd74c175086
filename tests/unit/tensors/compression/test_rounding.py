"""Rounding of numbers, by numbers that can be checked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from onnxmesh.tensors.compression.rounding import from_steps, largest_scale, to_half, to_steps


def test_to_steps_covers_the_range_from_smallest_to_largest():
    """-1 to 1.55 in steps of 0.01: zero is step 100, and stays exactly zero."""
    array = np.array([-1.0, 0.0, 0.5, 1.55], np.float32)
    steps, scale, zero_point = to_steps(array)
    assert scale == pytest.approx(0.01)
    assert (zero_point, steps.tolist()) == (100, [0, 100, 150, 255])
    back = from_steps(steps, scale, zero_point, array.dtype)
    assert back.tolist() == pytest.approx(array.tolist(), abs=1e-6)
    assert back[1] == 0.0


def test_to_steps_includes_zero_in_the_range():
    """Numbers of one sign have zero as their first or last step."""
    assert to_steps(np.array([1.0, 2.0], np.float32))[1:] == (pytest.approx(2 / 255), 0)
    assert to_steps(np.array([-2.0, -1.0], np.float32))[1:] == (pytest.approx(2 / 255), 255)
    steps, scale, zero_point = to_steps(np.zeros(3, np.float32))
    assert (steps.tolist(), scale, zero_point) == ([0, 0, 0], 0.0, 0)


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf, np.finfo(np.float32).max])
def test_to_steps_refuses_numbers_without_a_step(odd):
    """NaN, infinity, and numbers near the limit of their type."""
    assert to_steps(np.array([0.0, odd], np.float32)) is None


def test_to_half_refuses_what_it_would_lose():
    """65504 is the largest half; numbers that are all subnormal would lose more than their last bits."""
    assert to_half(np.array([65504.0, 0.0])).tolist() == [65504.0, 0.0]
    assert to_half(np.array([65536.0])) is None
    assert to_half(np.array([1e-6, -1e-6])) is None
    assert to_half(np.zeros(2)).tolist() == [0.0, 0.0]


def test_largest_scale_keeps_all_steps_finite():
    """254 steps of it are finite, 256 are not."""
    for dtype in (np.dtype("<f2"), np.dtype("<f4"), np.dtype("<f8")):
        assert largest_scale(dtype) * 254 < float(np.finfo(dtype).max)
        assert largest_scale(dtype) / 2 * 512 > float(np.finfo(dtype).max)
