"""Cancelled attempts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.worker.requests.cancellations import Cancellations
from services.worker.requests.request_key import RequestKey


@given(st.lists(st.integers(0, 20), max_size=100), st.integers(1, 8))
def test_cancellations_keep_the_newest_keys(numbers, most):
    """And never more than the limit."""
    cancelled = Cancellations(most)
    for number in numbers:
        cancelled.add(RequestKey("g", number, 0))
    newest = list(dict.fromkeys(reversed(numbers)))[:most]
    assert len(cancelled) == len(newest)
    assert all(RequestKey("g", number, 0) in cancelled for number in newest)


def test_cancellations_distinguish_attempts():
    """Another attempt of the same request is not cancelled."""
    cancelled = Cancellations()
    cancelled.add(RequestKey("g", 1, 0))
    assert RequestKey("g", 1, 1) not in cancelled
    assert RequestKey("h", 1, 0) not in cancelled
