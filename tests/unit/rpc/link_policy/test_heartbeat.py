"""Signs of life on a link."""

from __future__ import annotations

from onnxmesh.rpc.link_policy.heartbeat import IN_USE_S, Heartbeat
from onnxmesh.rpc.link_policy.link_limits import LinkLimits

LIMITS = LinkLimits(heartbeat_s=0.2, idle_heartbeat_s=1.0, suspect_after_s=0.6, dead_after_s=3.0)


def test_a_link_in_use_says_more():
    """From the first request on, and for a while after the last."""
    pulse = Heartbeat(LIMITS, 0.0)
    assert pulse.interval_s(0.0) == 1.0
    assert pulse.observe_use(1.0)
    assert not pulse.observe_use(1.5)
    assert pulse.interval_s(1.5 + IN_USE_S - 0.01) == 0.2
    assert pulse.interval_s(1.5 + IN_USE_S) == 1.0
    assert pulse.observe_use(9.0)


def test_an_idle_peer_is_suspect_only_after_its_slower_beat():
    """What would be silence on a link in use is none on an idle one."""
    pulse = Heartbeat(LIMITS, 0.0)
    assert not pulse.is_suspect(1.6)
    assert pulse.is_suspect(1.61)


def test_silence_counts_from_the_first_request():
    """A peer that last spoke just before the link came into use gets its time to answer."""
    pulse = Heartbeat(LIMITS, 0.0)
    pulse.observe_use(0.9)
    assert not pulse.is_suspect(1.5)
    assert pulse.is_suspect(1.51)
    pulse.observe_message(1.55)
    assert not pulse.is_suspect(2.1)


def test_time_in_which_this_process_stood_still_is_not_the_peers_silence():
    """Nor does it make a silent peer look alive."""
    pulse = Heartbeat(LIMITS, 0.0)
    pulse.observe_stall(2.0, 2.5)
    assert pulse.quiet_s(2.5) == 0.5
    pulse.observe_stall(9.0, 3.0)
    assert pulse.quiet_s(3.0) == 0.0
    assert pulse.is_dead(6.1)
