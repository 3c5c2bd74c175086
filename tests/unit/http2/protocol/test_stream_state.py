"""States of a stream, by RFC 9113, section 5.1."""

from __future__ import annotations

import itertools

import pytest

from onnxmesh.http2.protocol.error_codes import ErrorCode
from onnxmesh.http2.protocol.stream_state import (
    AFTER_RECEIVE_END_STREAM,
    AFTER_SEND_END_STREAM,
    TRANSITIONS,
    ImpossibleTransition,
    StreamEvent,
    StreamState,
)

# One line per state; columns: receive HEADERS, receive END_STREAM, receive RST_STREAM, send END_STREAM, send RST_STREAM, lost.
TABLE = """
    IDLE                OPEN  -                   -       -                  -       CLOSED
    OPEN                -     HALF_CLOSED_REMOTE  CLOSED  HALF_CLOSED_LOCAL  CLOSED  CLOSED
    HALF_CLOSED_LOCAL   -     CLOSED              CLOSED  -                  CLOSED  CLOSED
    HALF_CLOSED_REMOTE  -     -                   CLOSED  CLOSED             CLOSED  CLOSED
    CLOSED              -     -                   -       -                  CLOSED  CLOSED
"""
CASES = [
    (StreamState[state], event, None if after == "-" else StreamState[after])
    for state, *row in map(str.split, TABLE.strip().splitlines())
    for event, after in zip(StreamEvent, row, strict=True)
]


def test_stream_transitions_cover_every_state_and_event():
    """So that a new one is not left out."""
    assert {case[:2] for case in CASES} == set(itertools.product(StreamState, StreamEvent))
    assert set(TRANSITIONS) == set(StreamEvent)


@pytest.mark.parametrize(("state", "event", "after"), CASES, ids=lambda value: getattr(value, "name", "-"))
def test_transition(state, event, after):
    """The state that RFC 9113 has, or an internal error that names the state and the event."""
    if after is None:
        with pytest.raises(ImpossibleTransition, match=rf"^{event.name} .* {state.name}$") as error:
            TRANSITIONS[event][state]
        assert error.value.code is ErrorCode.INTERNAL_ERROR
        assert (error.value.state, error.value.event) == (state, event)
    else:
        assert TRANSITIONS[event][state] is after


def test_rows_of_the_hot_path_are_rows_of_the_table():
    """They are no second source of truth."""
    assert AFTER_RECEIVE_END_STREAM is TRANSITIONS[StreamEvent.RECEIVE_END_STREAM]
    assert AFTER_SEND_END_STREAM is TRANSITIONS[StreamEvent.SEND_END_STREAM]
