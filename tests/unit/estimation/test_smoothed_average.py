"""Exponentially weighted moving averages."""

from __future__ import annotations

import pytest

from onnxmesh.estimation.smoothed_average import SmoothedAverage, smoothed


def test_smoothed_moves_the_average_by_the_weight():
    assert smoothed(10.0, 20.0, 0.25) == 12.5


def test_smoothed_average_takes_the_first_value_in_full():
    average = SmoothedAverage(0.5)
    assert average.value is None
    average.observe(8.0)
    assert average.value == 8.0
    average.observe(4.0)
    assert average.value == 6.0


def test_smoothed_average_smooths_the_first_value_against_a_guess():
    average = SmoothedAverage(0.2, initial=10.0)
    average.observe(0.0)
    assert average.value == pytest.approx(8.0)
