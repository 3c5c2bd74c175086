"""States of an HTTP/2 stream and their transitions: server side, without push.

Only frames that change a state are events here: HEADERS that open the stream, END_STREAM in either direction (on DATA or
HEADERS), RST_STREAM in either direction, and the loss of the connection.

                     receive HEADERS
              IDLE ───────────────────▶ OPEN
                                        │  │
              receive END_STREAM ┌──────┘  └──────┐ send END_STREAM
                                 ▼                ▼
                    HALF_CLOSED_REMOTE         HALF_CLOSED_LOCAL
                                 │                │
                 send END_STREAM └───▶ CLOSED ◀───┘ receive END_STREAM

RST_STREAM leads from every state but IDLE to CLOSED, a lost connection from every state.

Source: https://www.rfc-editor.org/rfc/rfc9113#section-5.1
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from onnxmesh.http2.protocol.error_codes import ConnectionFault, ErrorCode


class StreamState(IntEnum):
    """State of one stream; half-closed (local): the server has sent END_STREAM, half-closed (remote): the client has."""

    IDLE = 0
    OPEN = 1
    HALF_CLOSED_LOCAL = 2
    HALF_CLOSED_REMOTE = 3
    CLOSED = 4


class StreamEvent(IntEnum):
    """What changes the state of a stream."""

    RECEIVE_HEADERS = 0
    RECEIVE_END_STREAM = 1
    RECEIVE_RST_STREAM = 2
    SEND_END_STREAM = 3
    SEND_RST_STREAM = 4
    LOSE_CONNECTION = 5


# Constants of the module, for the hot path: to read a member of an enum takes ten times as long.
IDLE: Final = StreamState.IDLE
OPEN: Final = StreamState.OPEN
HALF_CLOSED_LOCAL: Final = StreamState.HALF_CLOSED_LOCAL
HALF_CLOSED_REMOTE: Final = StreamState.HALF_CLOSED_REMOTE
CLOSED: Final = StreamState.CLOSED

RECEIVE_HEADERS: Final = StreamEvent.RECEIVE_HEADERS
RECEIVE_END_STREAM: Final = StreamEvent.RECEIVE_END_STREAM
RECEIVE_RST_STREAM: Final = StreamEvent.RECEIVE_RST_STREAM
SEND_END_STREAM: Final = StreamEvent.SEND_END_STREAM
SEND_RST_STREAM: Final = StreamEvent.SEND_RST_STREAM
LOSE_CONNECTION: Final = StreamEvent.LOSE_CONNECTION


class ImpossibleTransition(ConnectionFault):
    """Internal error: the server tried an event that the state of a stream does not allow.

    Mistakes of clients never get here: they are refused before, with the code that HTTP/2 has for them.

    Args:
        state: State of the stream.
        event: What was tried.
    """

    def __init__(self, state: StreamState, event: StreamEvent) -> None:
        super().__init__(
            ErrorCode.INTERNAL_ERROR, f"{event.name} is impossible on a stream that is {state.name}"
        )
        self.state = state
        self.event = event


class _Row(dict[StreamState, StreamState]):
    """Row of the table: the state after one event, by the state before it. To find it costs no call."""

    def __init__(self, event: StreamEvent, states: dict[StreamState, StreamState]) -> None:
        super().__init__(states)
        self._event = event

    def __missing__(self, state: StreamState) -> StreamState:
        raise ImpossibleTransition(state, self._event)


TRANSITIONS: Final = {
    event: _Row(event, states)
    for event, states in {
        RECEIVE_HEADERS: {IDLE: OPEN},
        RECEIVE_END_STREAM: {OPEN: HALF_CLOSED_REMOTE, HALF_CLOSED_LOCAL: CLOSED},
        SEND_END_STREAM: {OPEN: HALF_CLOSED_LOCAL, HALF_CLOSED_REMOTE: CLOSED},
        RECEIVE_RST_STREAM: {OPEN: CLOSED, HALF_CLOSED_LOCAL: CLOSED, HALF_CLOSED_REMOTE: CLOSED},
        # A closed stream may have a handler that has not ended, and its client may still break rules about it.
        SEND_RST_STREAM: {
            OPEN: CLOSED,
            HALF_CLOSED_LOCAL: CLOSED,
            HALF_CLOSED_REMOTE: CLOSED,
            CLOSED: CLOSED,
        },
        LOSE_CONNECTION: dict.fromkeys(StreamState, CLOSED),
    }.items()
}
"""The state after an event, by the event and the state before it; raises `ImpossibleTransition` where there is none."""

AFTER_RECEIVE_END_STREAM: Final = TRANSITIONS[RECEIVE_END_STREAM]
AFTER_SEND_END_STREAM: Final = TRANSITIONS[SEND_END_STREAM]
