"""Live state of a process that shares nothing; its behaviour is in the contract of live state."""

from __future__ import annotations

from onnxmesh.live.base import Topic
from onnxmesh.live.embedded import EmbeddedLiveState
from tests.fakes.clock import Clock


def test_own_values_and_has_entries_leave_out_expired_entries():
    """Of one topic only."""
    clock = Clock(10.0)
    live = EmbeddedLiveState("g", clock=clock)
    live.publish(Topic.LOAD, "a", {"queued": 1}, 5.0)
    assert [(key, value.value, value.expires_s) for key, value in live.own_values(Topic.LOAD)] == [
        ("a", {"queued": 1}, 15.0)
    ]
    assert (live.has_entries(Topic.LOAD), live.has_entries(Topic.EJECTION)) == (True, False)
    clock.now_s += 5.0
    assert not list(live.own_values(Topic.LOAD))
    assert not live.has_entries(Topic.LOAD)
