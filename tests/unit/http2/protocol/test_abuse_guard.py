"""Abuse limits of one connection."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

from onnxmesh.http2.protocol.abuse_guard import AbuseGuard
from onnxmesh.http2.protocol.error_codes import ConnectionFault, ErrorCode
from onnxmesh.http2.protocol.limits import AbuseLimits


@contextmanager
def refused(match):
    """Expects the end of the connection with ENHANCE_YOUR_CALM."""
    with pytest.raises(ConnectionFault, match=match) as fault:
        yield
    assert fault.value.code is ErrorCode.ENHANCE_YOUR_CALM


def test_check_stall_fails_only_if_no_data_was_sent_between_two_blocked_checks():
    """Data of requests do not count: the client must take some of its responses."""
    guard = AbuseGuard(AbuseLimits())
    for is_blocked in (True, False, True):
        guard.check_stall(is_blocked=is_blocked)
        guard.record_progress()
    guard.record_sent_data()
    guard.check_stall(is_blocked=True)
    guard.record_progress()
    with refused("blocked by the client for 60 s"):
        guard.check_stall(is_blocked=True)


def test_idle_frames_are_counted_in_a_row_and_between_two_stall_checks():
    """Exactly the limit is allowed; progress in either direction and the check begin the count again."""
    guard = AbuseGuard(AbuseLimits(max_idle_frames=3))
    for reset in (guard.record_progress, guard.record_sent_data, lambda: guard.check_stall(is_blocked=False)):
        for _ in range(3):
            guard.count_idle_frame()
        reset()
    for _ in range(3):
        guard.count_idle_frame()
    with refused("without progress"):
        guard.count_idle_frame()


def test_long_headers_are_counted_between_two_stall_checks():
    """Exactly the limit is allowed, whatever progress calls make meanwhile."""
    guard = AbuseGuard(AbuseLimits(max_long_headers_bytes=200))
    for _ in range(2):
        for _ in range(2):
            guard.count_long_headers(100)
            guard.record_progress()
        guard.check_stall(is_blocked=False)
    guard.count_long_headers(100)
    guard.count_long_headers(100)
    with refused("headers over the limit"):
        guard.count_long_headers(1)


def test_resets_are_counted_within_a_second():
    """Exactly the limit is allowed; the count begins again after more than a second."""
    guard = AbuseGuard(AbuseLimits(max_resets_per_s=2))
    for now_s in (10.0, 11.1, 12.2):
        guard.count_reset(now_s)
        guard.count_reset(now_s + 0.9)
    with refused("too many calls were reset"):
        guard.count_reset(13.2)


def test_unread_replies_are_counted_until_the_client_reads():
    """Exactly the limit is allowed."""
    guard = AbuseGuard(AbuseLimits(max_unread_replies=1))
    guard.count_unread_reply()
    guard.record_reading()
    guard.count_unread_reply()
    with refused("replies are not read"):
        guard.count_unread_reply()
