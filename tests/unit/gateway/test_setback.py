"""What a worker's word makes of an attempt."""

from __future__ import annotations

import pytest

from onnxmesh.errors import CorruptData, Internal, InvalidRequest, Overloaded, StageGone, Unavailable
from onnxmesh.v1.frame_pb2 import Failure
from services.gateway.requests.attempts import AttemptFailure


@pytest.mark.parametrize(
    ("error", "speaks_against"),
    [
        (Unavailable, True),
        (CorruptData, True),
        (Internal, True),
        (Overloaded, False),
        (StageGone, False),
        (InvalidRequest, False),
    ],
)
def test_what_speaks_against_a_replica(error, speaks_against):
    """Neither a full queue nor an outdated route, nor what the request itself brought about."""
    failure = AttemptFailure.of(Failure(reason=error.reason, message="no", retriable=True), "a")
    assert type(failure.error) is error
    assert (failure.worker, failure.retriable, failure.speaks_against) == ("a", True, speaks_against)


def test_who_is_at_fault():
    """The speaker, unless it names somebody else; how long that one wants to be left alone comes with it."""
    failure = Failure(reason=Overloaded.reason, message="full", worker="b", retry_after_ms=1500)
    failure = AttemptFailure.of(failure, "a")
    assert (failure.worker, failure.retriable) == ("b", False)
    assert failure.error.retry_after_s == 1.5
