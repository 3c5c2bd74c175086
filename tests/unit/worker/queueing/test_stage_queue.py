"""The queue of a stage, against a plain model of it."""

from __future__ import annotations

import math
from itertools import takewhile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.errors import Overloaded
from onnxmesh.tensors.datatype import Datatype
from onnxmesh.tensors.tensor import Tensor
from services.worker.queueing.stage_queue import MAX_OVERTAKING_S, NextBatch, StageQueue
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
        st.tuples(st.just("remove"), st.integers(0, 9)),
    ),
    max_size=60,
)


def is_below(number):
    return lambda waiting: waiting.key.number < number


def order(entry):
    (_, _, _, priority, deadline_s), position = entry
    return priority or 100, min(deadline_s, MAX_OVERTAKING_S), position


def taken_from(model, *, together):
    """What is to be taken, by the definition: the first, and those next in line that it may run with, while they fit."""
    line = sorted(model, key=order)
    if not line or not together:
        return line[:1]
    alike = [entry for entry in line if entry[0][2] == line[0][0][2]]
    sums = [sum(entry[0][1] for entry in alike[:end]) for end in range(2, len(alike) + 1)]
    return alike[: 1 + len(list(takewhile(lambda total: total <= MAX_ROWS, sums)))]


@given(steps, st.booleans())
def test_stage_queue_is_ordered_and_bounded(steps, together):
    """For any sequence of steps, with and without batches: urgent ones first, then early deadlines, then arrival."""
    queue, model = StageQueue(4, rule(MAX_ROWS) if together else None), []
    for position, (step, what) in enumerate(steps):
        if step == "put":
            number, num_rows, width, priority, deadline_s = what
            it = rows(number, *range(num_rows), width=width, priority=priority, at_s=deadline_s)
            known = [entry for entry in model if entry[0][0] == number]
            if len(model) == 4 and not known:
                with pytest.raises(Overloaded):
                    queue.put(it)
            else:
                queue.put(it)
                model = [entry for entry in model if entry not in known] + [(what, position)]
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
        elif step == "remove":
            removed = {each.key.number for each in queue.remove_if(is_below(what))}
            assert removed == {entry[0][0] for entry in model if entry[0][0] < what}
            model = [entry for entry in model if entry[0][0] >= what]
        assert len(queue) == len(model)
        assert queue.is_full == (len(model) == 4)


def test_stage_queue_limits_overtaking_of_a_request_without_a_deadline():
    """Requests that arrive long after it stay behind it, whatever their deadlines."""
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
def test_stage_queue_takes_malformed_requests_alone(why):
    """So they fail no other request; two of them do not run together either."""
    queue = StageQueue(4, rule())
    bad = {} if why == "missing" else {"x": BAD[why]}
    for number in (1, 2):
        queue.put(request(number, tensors=bad))
    queue.put(rows(3, 1))
    queue.put(rows(4, 2))
    taken = [[each.key.number for each in queue.take()] for _ in range(3)]
    assert taken == [[1], [2], [3, 4]]


def test_stage_queue_batches_only_requests_with_equal_shared_tensors():
    """The rest of their inputs may differ; a large one is not compared."""
    known = rule(inputs=(("x", Datatype.UINT8), ("s", Datatype.UINT8)), shared=("s",))
    queue = StageQueue(9, known)
    for number, shared in enumerate([b"a", b"b", b"a", b"l" * 70_000, b"l" * 70_000]):
        x = Tensor("x", Datatype.UINT8, (1, 1), bytes([number]))
        queue.put(request(number, tensors={"x": x, "s": Tensor("s", Datatype.UINT8, (len(shared),), shared)}))
    taken = [[each.key.number for each in queue.take()] for _ in range(4)]
    assert taken == [[0, 2], [1], [3], [4]]


def test_stage_queue_takes_one_micro_batch_of_a_request_at_a_time():
    """Requests behind them may join; overtaken ones keep their rank."""
    queue = StageQueue(9, rule(MAX_ROWS))
    for number, split_of in ((1, 7), (2, 7), (3, 8), (4, 0), (5, 7), (6, 0)):
        queue.put(rows(number, 1, split_of=split_of))
    queue.put(rows(9, 1, split_of=7, origin="another"))
    runs = []
    while batch := queue.take():
        runs.append([request.key.number for request in batch])
    assert runs == [[1, 3, 4, 6], [2, 9], [5]]


@pytest.mark.parametrize("together", [True, False])
def test_stage_queue_overtakes_requests_without_capacity(together):
    """Requests with other next hops are taken meanwhile; a batch is limited to the capacity."""
    queue = StageQueue(9, rule(9) if together else None)
    for number in range(1, 7):
        queue.put(rows(number, 1))
    full = {1, 2, 5}
    assert [r.key.number for r in queue.take(lambda r: 0 if r.key.number in full else 9)] == (
        [3, 4, 6] if together else [3]
    )
    assert queue.take(lambda _: 0) == []
    assert [r.key.number for r in queue.take(lambda _: 2)] == ([1, 2] if together else [1])


def test_stage_queue_foresees_a_single_request_where_batches_are_off():
    """Its rows are unknown, and its deadline is the batch's."""
    queue = StageQueue(4, None)
    assert queue.next() is None
    for number in range(2):
        queue.put(request(number, at_s=7.0))
    assert queue.next() == NextBatch(1, 0, 7.0)
