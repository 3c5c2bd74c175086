"""Credits of a sender for the stages that it sends to."""

from __future__ import annotations

from functools import partial

from onnxmesh.ids import StageKey, WorkerId
from onnxmesh.rpc.link_policy.credits import MIN_REQUESTS, UNBOUNDED, Credit, Credits

NEXT = (WorkerId("b"), StageKey("m/1/1"))


def test_credits_admit_what_fits_the_window_and_at_least_two():
    """By the size of the last request; unbounded before the first."""
    held = Credits(window_bytes=100)
    assert not held
    assert held.headroom(NEXT) == UNBOUNDED
    held.take(NEXT, 30)
    assert held
    assert [held.headroom(NEXT), held.in_flight(NEXT)] == [2, (1, 30)]
    held.take(NEXT, 30)
    held.take(NEXT, 30)
    assert held.headroom(NEXT) == 0
    held.give_back(NEXT, 30)
    assert held.headroom(NEXT) == 1
    held.give_back(NEXT, 30)
    held.give_back(NEXT, 30)
    assert held.in_flight(NEXT) == (0, 0)
    held.take(NEXT, 1000)
    assert held.headroom(NEXT) == MIN_REQUESTS - 1


def test_credits_of_a_lost_worker_are_dropped():
    """Those of other workers stay; credit that returns afterwards changes nothing."""
    other = (WorkerId("c"), NEXT[1])
    held = Credits(window_bytes=100)
    held.take(NEXT, 100)
    held.take(other, 100)
    held.remove_worker(NEXT[0])
    held.give_back(NEXT, 100)
    assert held.in_flight(NEXT) == (0, 0)
    assert held.in_flight(other) == (1, 100)


def test_credit_is_returned_once():
    """A second return has no effect."""
    returned = []
    credit = Credit(partial(returned.append, 1))
    credit.give_back()
    credit.give_back()
    assert returned == [1]
