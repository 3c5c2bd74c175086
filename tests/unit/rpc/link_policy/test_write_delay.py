"""Delays of writers for more frames."""

from __future__ import annotations

from onnxmesh.rpc.link_policy.write_delay import MIN_FRAMES, WriteDelay


def messages(delay, num_messages, apart_s, collected, start_s=0.0):
    """Writes messages that come `apart_s` apart; one that waits holds `collected` frames. Returns which waited."""
    waited, now_s = [], start_s
    for _ in range(num_messages):
        now_s += apart_s
        waits = delay.should_wait(now_s)
        waited.append(waits)
        delay.message_written(collected if waits else 1, now_s)
    return waited


def test_write_delay_never_delays_sparse_frames():
    """One request at a time is never delayed."""
    assert not any(messages(WriteDelay(), 5000, 0.0012, collected=1))


def test_write_delay_delays_dense_frames_once_it_pays():
    """Where a trial collects enough, every message waits from then on."""
    waited = messages(WriteDelay(), 200, 0.0002, collected=MIN_FRAMES)
    first = waited.index(True)
    assert first < 50
    assert all(waited[first:])


def test_write_delay_is_tried_rarely_where_it_collects_nothing():
    """Under one in a hundred messages."""
    assert sum(messages(WriteDelay(), 5000, 0.0002, collected=1)) < 50


def test_write_delay_ends_when_frames_become_sparse():
    """One more is delayed, the next ones are not."""
    delay = WriteDelay()
    messages(delay, 200, 0.0002, collected=MIN_FRAMES)
    assert messages(delay, 100, 0.01, collected=1, start_s=1.0) == [True] + [False] * 99


def test_write_delay_needs_no_trial_after_a_burst():
    """Frames that were queued while a message was written show that it pays."""
    delay = WriteDelay()
    delay.should_wait(1.0)
    delay.message_written(MIN_FRAMES, 1.0)
    assert delay.should_wait(1.0001)
