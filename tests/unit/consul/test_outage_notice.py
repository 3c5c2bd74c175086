"""When a failure that repeats is logged."""

from __future__ import annotations

from onnxmesh.consul.outage_notice import NOTICE_INTERVAL_S, OutageNotice


def test_outage_notice_logs_a_failure_once_and_each_minute():
    """A new one at once, and the same one again after a success."""
    now_s = 0.0
    notice = OutageNotice(clock=lambda: now_s)
    assert notice.is_due("refused")
    assert not notice.is_due("refused")
    assert notice.is_due("timed out")
    assert notice.is_due("refused")
    now_s = NOTICE_INTERVAL_S - 1
    assert not notice.is_due("refused")
    now_s += 1
    assert notice.is_due("refused")
    notice.end()
    assert notice.is_due("refused")
