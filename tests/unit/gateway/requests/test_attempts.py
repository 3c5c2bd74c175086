"""Attempts: failures that workers report, and those that wait for an outcome."""

from __future__ import annotations

import pytest

from onnxmesh.errors import CorruptData, Internal, InvalidRequest, Overloaded, StageNotHeld, Unavailable
from onnxmesh.v1.frame_pb2 import Failure, RequestKey
from services.gateway.requests.attempts import AttemptFailure, PendingAttempts


@pytest.mark.parametrize(
    ("error", "counts"),
    [
        (Unavailable, True),
        (CorruptData, True),
        (Internal, True),
        (Overloaded, False),
        (StageNotHeld, False),
        (InvalidRequest, False),
    ],
)
def test_failure_counts_against_the_replica_where_it_is_its_fault(error, counts):
    """Not a full queue, an outdated route, or an error that the request itself caused."""
    failure = AttemptFailure.from_proto(Failure(reason=error.reason, message="no", retriable=True), "a")
    assert type(failure.error) is error
    assert (failure.worker, failure.retriable, failure.counts_against_replica) == ("a", True, counts)


def test_failure_names_the_worker_at_fault():
    """The sender, unless it names another worker; with the retry delay of the error."""
    failure = Failure(reason=Overloaded.reason, message="full", worker="b", retry_after_ms=1500)
    failure = AttemptFailure.from_proto(failure, "a")
    assert (failure.worker, failure.retriable) == ("b", False)
    assert failure.error.retry_after_s == 1.5


async def test_pending_attempts_are_settled_once_and_only_by_their_own_key():
    """A second outcome, one of an earlier attempt or of another gateway, and one after the end change nothing."""
    pending = PendingAttempts("g")
    attempt = pending.open(7, 1, (), (), ())
    first, second = (AttemptFailure(error=Unavailable(text), worker="a", retriable=True) for text in "ab")
    for stranger in ({"number": 8}, {"attempt": 0}, {"origin": "h"}):
        key = RequestKey(**({"origin": "g", "number": 7, "attempt": 1} | stranger))
        assert not pending.settle(key, second)
    assert pending.settle(attempt.key, first)
    assert not pending.settle(attempt.key, second)
    assert attempt.outcome.result() is first
    pending.close(attempt)
    assert len(pending) == 0
    assert not pending.settle(attempt.key, second)
