"""Numbers for people have three digits, commas and a unit."""

from __future__ import annotations

import pytest

from onnxmesh.quantities import bytes_text, count_text, rate_text, speed_text, time_text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (time_text(0), "0 s"),
        (time_text(0.0165), "16.5 ms"),
        (time_text(9.996e-4), "1.00 ms"),
        (time_text(9.99e-4), "999 µs"),
        (time_text(75.2), "75.2 s"),
        (time_text(3600), "3,600 s"),
        (time_text(3e-12), "3.00 ps"),
        (bytes_text(0), "0 B"),
        (bytes_text(524_292), "524 kB"),
        (bytes_text(999_960), "1.00 MB"),
        (bytes_text(9.1e9), "9.10 GB"),
        (count_text(1, "replica"), "1 replica"),
        (count_text(0, "replica"), "0 replicas"),
        (count_text(4210, "request"), "4,210 requests"),
        (rate_text(4210.4), "4,210 requests/s"),
        (rate_text(60.71, "answers"), "60.7 answers/s"),
        (rate_text(0.0523), "0.0523 requests/s"),
    ],
)
def test_quantities_have_three_digits_and_a_unit(text, expected):
    """Units are chosen by what is shown after rounding."""
    assert text == expected


@pytest.mark.parametrize(
    ("ratio", "expected"),
    [
        (1.254, "1.25 \u00d7 faster than"),
        (1234.0, "1,234 \u00d7 faster than"),
        (0.0415, "24.1 \u00d7 slower than"),
        (0.5, "2.00 \u00d7 slower than"),
        (0.0, "slower than"),
        (1.004, "as fast as"),
        (0.996, "as fast as"),
        (1.006, "1.01 \u00d7 faster than"),
    ],
)
def test_speed_text_never_shows_a_factor_below_one(ratio, expected):
    assert speed_text(ratio) == expected
