"""Sending half of one stream."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.http2.protocol.messages import message_prefix
from onnxmesh.http2.protocol.send_stream import SendStream
from onnxmesh.http2.protocol.stream_state import StreamState


class CountingStream(SendStream):
    """Counts how often it was drained."""

    num_drained = 0

    def on_drained(self):
        self.num_drained += 1


def stream():
    return CountingStream(1, 100, StreamState.OPEN)


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=5), st.lists(st.integers(1, 10), min_size=1))
def test_send_stream_yields_its_bytes_in_order_however_they_are_taken(messages, sizes):
    """Messages with their prefixes, in pieces of any sizes; it is drained once, with the last byte."""
    sending, taken = stream(), b""
    for message in messages:
        sending.add(message)
    expected = b"".join(message_prefix(len(message)) + message for message in messages)
    for size in sizes * len(expected):
        assert sending.queued_bytes == len(expected) - len(taken)
        if not sending.queued_bytes:
            break
        assert sending.num_drained == 0
        piece = b"".join(sending.take(min(size, sending.queued_bytes)))
        assert len(piece) == min(size, len(expected) - len(taken))
        taken += piece
    assert taken == expected
    assert sending.num_drained == 1


def test_send_stream_that_is_cleared_has_nothing_to_send():
    """Neither messages nor trailers; callers that wait for the messages continue."""
    sending = stream()
    sending.add(b"abc")
    sending.trailers = b"t"
    sending.clear()
    assert (sending.queued_bytes, sending.trailers, sending.num_drained) == (0, None, 1)
    sending.add(b"de")
    assert b"".join(sending.take(7)) == message_prefix(2) + b"de"
