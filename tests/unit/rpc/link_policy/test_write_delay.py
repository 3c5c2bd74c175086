"""When writers wait for more frames."""

from __future__ import annotations

from onnxmesh.rpc.link_policy.write_delay import MIN_FRAMES, WriteDelay


def messages(linger, num_messages, apart_s, gathered, start_s=0.0):
    """Writes messages that come `apart_s` apart; one that waits holds `gathered` frames. Returns which waited."""
    waited, now_s = [], start_s
    for _ in range(num_messages):
        now_s += apart_s
        waits = linger.should_wait(now_s)
        waited.append(waits)
        linger.message_written(gathered if waits else 1, now_s)
    return waited


def test_sparse_frames_never_wait():
    """One request at a time is never delayed."""
    assert not any(messages(WriteDelay(), 5000, 0.0012, gathered=1))


def test_dense_frames_wait_once_it_pays():
    """Where a trial gathers enough, every message waits from then on."""
    waited = messages(WriteDelay(), 200, 0.0002, gathered=MIN_FRAMES)
    first = waited.index(True)
    assert first < 50
    assert all(waited[first:])


def test_waiting_that_gathers_nothing_is_given_up():
    """Dense frames that do not gather are tried ever more rarely: under one in a hundred."""
    assert sum(messages(WriteDelay(), 5000, 0.0002, gathered=1)) < 50


def test_waiting_ends_with_the_crowd():
    """When requests become few, one is delayed, the next ones are not."""
    linger = WriteDelay()
    messages(linger, 200, 0.0002, gathered=MIN_FRAMES)
    assert messages(linger, 100, 0.01, gathered=1, start_s=1.0) == [True] + [False] * 99


def test_frames_that_gather_by_themselves_show_that_it_pays():
    """A burst that queued up while a message was being written needs no trial."""
    linger = WriteDelay()
    linger.should_wait(1.0)
    linger.message_written(MIN_FRAMES, 1.0)
    assert linger.should_wait(1.0001)
