"""Runs are summed up by medians, with their spread."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.measurement import Measurement, Run, percentile


def test_measurement_has_medians_and_spread():
    """Of three runs the middle one counts, the others are the spread."""
    runs = [Run(rate, 1000 / rate, 2000 / rate, 10.0, {"gateway": rate}) for rate in (50.0, 100.0, 200.0)]
    measured = Measurement.of(runs)
    assert (measured.requests_per_s, measured.lowest, measured.highest) == (100.0, 50.0, 200.0)
    assert (measured.p50_ms, measured.p99_ms, measured.client_us) == (10.0, 20.0, 10.0)
    assert measured.cpu_us == {"gateway": 100.0}
    assert measured.num_runs == 3


def test_measurement_counts_a_missing_process_as_zero():
    """A process that began later has cost the runs before it nothing."""
    runs = [Run(1.0, 1.0, 1.0, 1.0, {}), Run(1.0, 1.0, 1.0, 1.0, {"late": 8.0})]
    assert Measurement.of(runs).cpu_us == {"late": 4.0}


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0, 0.999))
def test_percentile_is_the_smallest_value_that_enough_do_not_exceed(values, share):
    """At least the share of the values is not above it."""
    found = percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values)


def test_percentile_of_nothing_is_nan():
    """A run without an answer has no latency."""
    assert math.isnan(percentile([], 0.5))
