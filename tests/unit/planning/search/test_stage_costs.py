"""Costs of a stage, computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from onnxmesh.planning.search.stage_costs import StageCosts

NO_TRANSFER = np.zeros((1, 4), np.int64)


def one_kind(count=1, first_start=(0, 0, 0, 0)):
    """Three blocks of 10, 20 and 30 units on devices of one kind."""
    return StageCosts(np.array([[0, 10, 30, 60]]), NO_TRANSFER, (count,), np.array(first_start))


def test_period_of_mixed_devices_is_the_inverse_of_the_sum_of_rates():
    """One device takes 2 units, the other 4: together 3 requests in 4 units, so 4/3, rounded up."""
    costs = StageCosts(np.array([[0, 2000], [0, 4000]]), np.zeros((2, 2), np.int64), (1, 1), np.array([0, 0]))
    assert int(costs.period(0, 1)) == 1334
    assert int(costs.delay(0, 1)) == 4000


@pytest.mark.parametrize(("count", "period"), [(1, 50), (2, 25), (3, 17)])
def test_period_is_divided_by_replicas_and_rounded_up(count, period):
    """Blocks 1 and 2 take 50 units; the delay of one request does not change."""
    costs = one_kind(count)
    assert int(costs.period(1, 3)) == period
    assert int(costs.delay(1, 3)) == 50


def test_starts_within_a_bound_are_the_first_that_fit_it():
    """50 units are blocks 1 and 2; 49 only the last; the memory limit and an empty stage bound them too."""
    assert one_kind().starts_within(50).tolist() == [0, 0, 0, 1]
    assert one_kind().starts_within(49).tolist() == [0, 0, 0, 2]
    assert one_kind(first_start=(0, 0, 1, 2)).starts_within(60).tolist() == [0, 0, 1, 2]
    assert one_kind().starts_within(29).tolist() == [0, 0, 1, 3]
