"""The queue of a stage and the memory of cancellations, against plain models of them."""

from __future__ import annotations

import math
from itertools import takewhile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.errors import Overloaded
from onnxmesh.tensors.datatype import Datatype
from onnxmesh.tensors.tensor import Tensor
from services.worker.queueing.stage_queue import MAX_OVERTAKING_S, StageQueue
from services.worker.requests.cancellations import Cancellations
from services.worker.requests.request_key import RequestKey
from tests.unit.worker.stage_requests import request, rows, rule

MAX_ROWS = 4
waiting = st.tuples(
    st.integers(0, 9),  # number
    st.integers(1, 6),  # rows
    st.integers(1, 2),  # width
    st.sampled_from([0, 1, 200]),  # priority
    st.sampled_from([1.0, 2.0, math.inf]),  # deadline
)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), waiting),
        st.tuples(st.just("take"), st.just(0)),
        st.tuples(st.just("discard"), st.integers(0, 9)),
        st.tuples(st.just("sweep"), st.integers(0, 9)),
    ),
    max_size=60,
)


def is_below(number):
    return lambda waiting: waiting.key.number < number


def order(entry):
    (_, _, _, priority, deadline_s), turn = entry
    return priority or 100, min(deadline_s, MAX_OVERTAKING_S), turn


def taken_from(model, *, together):
    """What is to be taken, by the definition: the first, and those next in line that it may run with, while they fit."""
    line = sorted(model, key=order)
    if not line or not together:
        return line[:1]
    alike = [entry for entry in line if entry[0][2] == line[0][0][2]]
    sums = [sum(entry[0][1] for entry in alike[:end]) for end in range(2, len(alike) + 1)]
    return alike[: 1 + len(list(takewhile(lambda total: total <= MAX_ROWS, sums)))]


@given(steps, st.booleans())
def test_a_queue_is_ordered_bounded_and_forgets_what_is_taken(steps, together):
    """For any sequence of steps, with and without batches: urgent ones first, then early deadlines, then first come."""
    queue, model = StageQueue(4, rule(MAX_ROWS) if together else None), []
    for turn, (step, what) in enumerate(steps):
        if step == "put":
            number, num_rows, width, priority, deadline_s = what
            it = rows(number, *range(num_rows), width=width, priority=priority, at_s=deadline_s)
            known = [entry for entry in model if entry[0][0] == number]
            if len(model) == 4 and not known:
                with pytest.raises(Overloaded):
                    queue.put(it)
            else:
                queue.put(it)
                model = [entry for entry in model if entry not in known] + [(what, turn)]
        elif step == "take":
            expected = taken_from(model, together=together)
            upcoming = queue.next()
            assert (upcoming is None) == (not expected)
            if expected:
                assert upcoming.deadline_s == expected[0][0][4]
                alike = [each for each in model if each[0][2] == expected[0][0][2]]
                if together:
                    assert upcoming.num_requests == len(alike)
                    assert upcoming.num_rows == sum(each[0][1] for each in alike)
            assert [each.key.number for each in queue.take()] == [entry[0][0] for entry in expected]
            model = [entry for entry in model if entry not in expected]
        elif step == "discard":
            found = queue.discard(RequestKey("gateway", what, 0))
            assert (found is not None) == any(entry[0][0] == what for entry in model)
            model = [entry for entry in model if entry[0][0] != what]
        elif step == "sweep":
            swept = {each.key.number for each in queue.remove_if(is_below(what))}
            assert swept == {entry[0][0] for entry in model if entry[0][0] < what}
            model = [entry for entry in model if entry[0][0] >= what]
        assert len(queue) == len(model)
        assert queue.is_full == (len(model) == 4)


def test_a_request_without_a_deadline_is_not_passed_for_ever():
    """Those that come long after it wait behind it, however early their deadlines are."""
    queue = StageQueue(4)
    queue.put(request(1, arrived_s=0.0))
    queue.put(request(2, arrived_s=MAX_OVERTAKING_S + 1, at_s=MAX_OVERTAKING_S + 2))
    assert [queue.take()[0].key.number for _ in range(2)] == [1, 2]


BAD = {
    "another type": Tensor("x", Datatype.INT8, (1, 1), b"1"),
    "too few bytes": Tensor("x", Datatype.UINT8, (1, 2), b"1"),
    "no rows": Tensor("x", Datatype.UINT8, (0, 1), b""),
    "a scalar": Tensor("x", Datatype.UINT8, (), b"1"),
}


@pytest.mark.parametrize("why", [*BAD, "missing"])
def test_what_would_fail_for_its_form_runs_alone(why):
    """So that it takes nobody with it; two of them do not run together either."""
    queue = StageQueue(4, rule())
    bad = {} if why == "missing" else {"x": BAD[why]}
    for number in (1, 2):
        queue.put(request(number, tensors=bad))
    queue.put(rows(3, 1))
    queue.put(rows(4, 2))
    taken = [[each.key.number for each in queue.take()] for _ in range(3)]
    assert taken == [[1], [2], [3, 4]]


def test_only_requests_that_share_what_is_shared_run_together():
    """The rest of their inputs may differ; a large one is not compared."""
    known = rule(inputs=(("x", Datatype.UINT8), ("s", Datatype.UINT8)), shared=("s",))
    queue = StageQueue(9, known)
    for number, shared in enumerate([b"a", b"b", b"a", b"l" * 70_000, b"l" * 70_000]):
        x = Tensor("x", Datatype.UINT8, (1, 1), bytes([number]))
        queue.put(request(number, tensors={"x": x, "s": Tensor("s", Datatype.UINT8, (len(shared),), shared)}))
    taken = [[each.key.number for each in queue.take()] for _ in range(4)]
    assert taken == [[0, 2], [1], [3], [4]]


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


def test_micro_batches_of_one_request_do_not_run_together():
    """With others they do, which may be behind them in line; those that are passed keep their place."""
    queue = StageQueue(9, rule(MAX_ROWS))
    for number, split_of in ((1, 7), (2, 7), (3, 8), (4, 0), (5, 7), (6, 0)):
        queue.put(rows(number, 1, split_of=split_of))
    queue.put(rows(9, 1, split_of=7, origin="another"))
    runs = []
    while batch := queue.take():
        runs.append([request.key.number for request in batch])
    assert runs == [[1, 3, 4, 6], [2, 9], [5]]
