"""Heartbeats of a link."""

from __future__ import annotations

from onnxmesh.rpc.link_policy.heartbeat import IN_USE_S, Heartbeat
from onnxmesh.rpc.link_policy.link_limits import LinkLimits

LIMITS = LinkLimits(heartbeat_s=0.2, idle_heartbeat_s=1.0, suspect_after_s=0.6, dead_after_s=3.0)


def test_heartbeat_interval_is_short_while_the_link_is_in_use():
    """From the first request on, and for a while after the last."""
    heartbeat = Heartbeat(LIMITS, 0.0)
    assert heartbeat.interval_s(0.0) == 1.0
    assert heartbeat.observe_use(1.0)
    assert not heartbeat.observe_use(1.5)
    assert heartbeat.interval_s(1.5 + IN_USE_S - 0.01) == 0.2
    assert heartbeat.interval_s(1.5 + IN_USE_S) == 1.0
    assert heartbeat.observe_use(9.0)


def test_heartbeat_suspects_an_idle_peer_after_its_longer_interval():
    """On a link in use it would be suspect earlier."""
    heartbeat = Heartbeat(LIMITS, 0.0)
    assert not heartbeat.is_suspect(1.6)
    assert heartbeat.is_suspect(1.61)


def test_heartbeat_suspicion_counts_from_the_first_request():
    """A peer whose last message was before the link came into use gets the whole time to answer."""
    heartbeat = Heartbeat(LIMITS, 0.0)
    heartbeat.observe_use(0.9)
    assert not heartbeat.is_suspect(1.5)
    assert heartbeat.is_suspect(1.51)
    heartbeat.observe_message(1.55)
    assert not heartbeat.is_suspect(2.1)


def test_heartbeat_does_not_count_stalls_of_this_process():
    """A stall does not make a quiet peer look alive either."""
    heartbeat = Heartbeat(LIMITS, 0.0)
    heartbeat.observe_stall(2.0, 2.5)
    assert heartbeat.quiet_s(2.5) == 0.5
    heartbeat.observe_stall(9.0, 3.0)
    assert heartbeat.quiet_s(3.0) == 0.0
    assert heartbeat.is_dead(6.1)
