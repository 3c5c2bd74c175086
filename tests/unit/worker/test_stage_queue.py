"""The queue of a stage and the memory of cancellations, against plain models of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.errors import Overloaded
from services.worker.cancellations import Cancellations
from services.worker.request_key import RequestKey
from services.worker.stage_queue import StageQueue
from tests.unit.worker.requests import request

steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(0, 9)),
        st.tuples(st.just("take"), st.just(0)),
        st.tuples(st.just("discard"), st.integers(0, 9)),
        st.tuples(st.just("sweep"), st.integers(0, 9)),
    ),
    max_size=60,
)


def is_below(number):
    return lambda waiting: waiting.key.number < number


@given(steps)
def test_a_queue_is_first_in_first_out_bounded_and_forgets_what_is_taken(steps):
    """The same as a list, for any sequence of steps."""
    queue, model = StageQueue(4), []
    for step, number in steps:
        if step == "put" and number not in model:
            if len(model) == 4:
                with pytest.raises(Overloaded):
                    queue.put(request(number))
            else:
                queue.put(request(number))
                model.append(number)
        elif step == "take":
            taken = queue.take()
            assert (taken.key.number if taken else None) == (model.pop(0) if model else None)
        elif step == "discard":
            found = queue.discard(RequestKey("gateway", number, 0))
            assert (found is not None) == (number in model)
            model = [each for each in model if each != number]
        elif step == "sweep":
            swept = [each.key.number for each in queue.sweep(is_below(number))]
            assert swept == [each for each in model if each < number]
            model = [each for each in model if each >= number]
        assert len(queue) == len(model)
        assert queue.is_full == (len(model) == 4)


@given(st.lists(st.integers(0, 20), max_size=100), st.integers(1, 8))
def test_cancellations_remember_the_newest_and_never_more_than_they_may(numbers, most):
    """However many requests are given up."""
    cancelled = Cancellations(most)
    for number in numbers:
        cancelled.add(RequestKey("g", number, 0))
    newest = list(dict.fromkeys(reversed(numbers)))[:most]
    assert len(cancelled) == len(newest)
    assert all(RequestKey("g", number, 0) in cancelled for number in newest)


def test_another_attempt_is_another_request():
    """Only the attempt that was given up is dropped."""
    cancelled = Cancellations()
    cancelled.add(RequestKey("g", 1, 0))
    assert RequestKey("g", 1, 1) not in cancelled
    assert RequestKey("h", 1, 0) not in cancelled
