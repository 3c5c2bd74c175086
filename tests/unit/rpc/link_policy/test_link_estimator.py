"""What pings tell of a way, and how often they are sent."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.rpc.link_policy.link_estimator import (
    FIRST_PAYLOAD_BYTES,
    MAX_PAYLOAD_BYTES,
    MIN_PAYLOAD_BYTES,
    MIN_TRAFFIC_BYTES,
    NUM_ROUND_TRIPS,
    PAYLOAD_S,
    PING_TIMEOUT_S,
    TRAFFIC_INTERVAL_S,
    LinkEstimate,
    LinkEstimator,
)


def measure(gauge, seconds, rtt_s, bytes_per_s, start_s=0.0, quiet=True):
    """Asks once a second what to send over a way; returns the payload of each ping by its time."""
    payloads = {}
    for second in range(seconds):
        now_s = start_s + second
        ping = gauge.next_ping(now_s, quiet=quiet)
        if ping is not None:
            payloads[second] = ping.num_bytes
            gauge.ping_sent(ping.number, now_s)
            gauge.pong_received(ping.number, now_s + rtt_s + ping.num_bytes / bytes_per_s)
    return payloads


def sizes(payloads):
    """Returns the payloads of those pings that have one."""
    return [size for size in payloads.values() if size]


def test_nothing_is_known_before_the_first_answer():
    """Then the round trip is, and the width once payloads have gone."""
    gauge = LinkEstimator()
    assert gauge.estimate is None
    measure(gauge, 1, 0.01, 1e8)
    assert gauge.estimate == LinkEstimate(pytest.approx(0.01), None)
    measure(gauge, 10, 0.01, 1e8, start_s=1.0)
    assert gauge.estimate.bytes_per_s == pytest.approx(1e8)


def test_a_new_way_is_measured_quickly_and_a_known_one_now_and_then():
    """Once a second at first, then every four seconds."""
    pings = measure(LinkEstimator(), 40, 0.001, 1e8, quiet=False)
    assert list(pings) == [0, 1, 2, 3, 4, *range(8, 40, 4)]


def test_payloads_are_few_and_never_on_a_busy_link():
    """A small one first, then large ones until there are enough, then one each half minute."""
    payloads = measure(LinkEstimator(), 100, 0.001, 1e8)
    assert [payloads[second] for second in range(8)] == [0, 0, FIRST_PAYLOAD_BYTES, *[MAX_PAYLOAD_BYTES] * 5]
    assert [second for second, size in payloads.items() if size] == [2, 3, 4, 5, 6, 7, 37, 67, 97]
    assert not sizes(measure(LinkEstimator(), 100, 0.001, 1e8, quiet=False))


def test_a_slow_way_is_spared():
    """A narrow one gets payloads that fit it, one that takes long or whose answers come late gets none."""
    first, *others = sizes(measure(LinkEstimator(), 50, 0.01, 1e6))
    assert first == FIRST_PAYLOAD_BYTES
    assert max(others) <= 1.01 * 1e6 * PAYLOAD_S
    assert set(sizes(measure(LinkEstimator(), 50, 0.05, 1e5))[1:]) == {MIN_PAYLOAD_BYTES}
    assert not sizes(measure(LinkEstimator(), 50, 0.3, 1e8))
    gauge = LinkEstimator()
    measure(gauge, 1, 0.001, 1e8)
    measure(gauge, 1, 0.1, 1e8, start_s=1.0)
    assert measure(gauge, 1, 0.001, 1e8, start_s=2.0) == {0: 0}


def test_what_is_slow_once_does_not_count_and_what_stays_slow_does():
    """The best of the last ones is taken; a way that has become shorter is seen at once."""
    gauge = LinkEstimator()
    measure(gauge, NUM_ROUND_TRIPS, 0.01, 1e8, quiet=False)
    assert len(measure(gauge, 16, 0.05, 1e8, start_s=100.0, quiet=False)) == NUM_ROUND_TRIPS - 1
    assert gauge.estimate.rtt_s == pytest.approx(0.01)
    measure(gauge, 1, 0.05, 1e8, start_s=200.0, quiet=False)
    assert gauge.estimate.rtt_s == pytest.approx(0.05)
    measure(gauge, 1, 0.02, 1e8, start_s=300.0, quiet=False)
    assert gauge.estimate.rtt_s == pytest.approx(0.02)


def test_an_answer_that_does_not_come_is_no_failure():
    """There is no other ping meanwhile; after a while it is given up, and what comes of it then is passed over."""
    gauge = LinkEstimator()
    lost = gauge.next_ping(0.0, quiet=True)
    gauge.ping_sent(lost.number, 0.0)
    assert gauge.next_ping(PING_TIMEOUT_S - 0.1, quiet=True) is None
    ping = gauge.next_ping(PING_TIMEOUT_S, quiet=True)
    gauge.ping_sent(ping.number, PING_TIMEOUT_S)
    gauge.pong_received(lost.number, PING_TIMEOUT_S + 1)
    assert gauge.estimate is None
    gauge.pong_received(ping.number, PING_TIMEOUT_S + 0.5)
    assert gauge.estimate.rtt_s == pytest.approx(0.5)


def test_time_in_the_queue_is_no_part_of_the_way():
    """It is counted from when the ping leaves; one that was never sent has no answer."""
    gauge = LinkEstimator()
    ping = gauge.next_ping(0.0, quiet=True)
    gauge.pong_received(ping.number, 1.0)
    assert gauge.estimate is None
    gauge.ping_sent(ping.number, 2.0)
    gauge.pong_received(ping.number, 2.001)
    assert gauge.estimate.rtt_s == pytest.approx(0.001)


def test_large_messages_are_measured_by_and_tell_more_than_payloads():
    """A way that takes the first 64 KiB at once looks fast to small payloads; a message of megabytes shows what it is."""
    gauge = LinkEstimator()
    burst, bytes_per_s = 64 << 10, 12.5e6
    for second in range(40):
        if (ping := gauge.next_ping(second, quiet=True)) is not None:
            gauge.ping_sent(ping.number, second)
            held = max(0, ping.num_bytes - burst)
            gauge.pong_received(ping.number, second + 0.001 + ping.num_bytes / 1e9 + held / bytes_per_s)
    assert gauge.estimate.bytes_per_s > 1.2 * bytes_per_s
    behind = gauge.message_written(4 << 20, 40.0)
    assert behind.num_bytes == 0
    gauge.ping_sent(behind.number, 40.3)  # the time of the ping alone does not count
    gauge.pong_received(behind.number, 40.001 + (4 << 20) / bytes_per_s)
    assert gauge.estimate.bytes_per_s == pytest.approx(bytes_per_s, rel=0.01)
    assert gauge.next_ping(70.0, quiet=True).num_bytes <= 1.01 * bytes_per_s * PAYLOAD_S


def test_few_messages_are_measured_by():
    """None that is small, none before a round trip is known, one a second at the most, and no two pings at once."""
    gauge = LinkEstimator()
    assert gauge.message_written(4 << 20, 0.0) is None
    measure(gauge, 1, 0.001, 1e8)
    assert gauge.message_written(MIN_TRAFFIC_BYTES - 1, 1.0) is None
    first = gauge.message_written(MIN_TRAFFIC_BYTES, 1.0)
    assert gauge.message_written(MIN_TRAFFIC_BYTES, 1.0 + TRAFFIC_INTERVAL_S) is None
    assert gauge.next_ping(2.0, quiet=True) is None
    gauge.pong_received(first.number, 2.1)
    assert gauge.message_written(MIN_TRAFFIC_BYTES, 1.0 + 0.9 * TRAFFIC_INTERVAL_S) is None
    assert gauge.message_written(MIN_TRAFFIC_BYTES, 1.0 + TRAFFIC_INTERVAL_S) is not None


@given(
    st.lists(
        st.tuples(st.booleans(), st.floats(-0.001, 30.0), st.integers(-1, 1), st.floats(0.0, 6.0)),
        max_size=120,
    )
)
def test_whatever_comes_the_figures_are_of_what_was_seen(steps):
    """Answers of any age to any number: payloads only where it is quiet, figures are positive."""
    gauge, now_s, seen = LinkEstimator(), 0.0, []
    for quiet, took_s, off, apart_s in steps:
        now_s += apart_s
        ping = gauge.next_ping(now_s, quiet=quiet)
        if ping is None:
            continue
        assert quiet or not ping.num_bytes
        assert 0 <= ping.num_bytes <= MAX_PAYLOAD_BYTES
        gauge.ping_sent(ping.number, now_s)
        gauge.pong_received(ping.number + off, now_s + took_s)
        if not off and not ping.num_bytes:
            seen.append(max(took_s, 1e-6))
        if (way := gauge.estimate) is not None:
            assert way.rtt_s == pytest.approx(min(seen[-NUM_ROUND_TRIPS:]), rel=1e-3, abs=1e-6)
            assert way.bytes_per_s is None or way.bytes_per_s > 0
    assert gauge.next_ping(now_s + PING_TIMEOUT_S + 0.001, quiet=False) is not None
