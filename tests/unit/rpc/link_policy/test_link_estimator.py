"""Estimates of a link, and how often pings are sent."""

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


def measure(estimator, seconds, rtt_s, bytes_per_s, start_s=0.0, quiet=True):
    """Requests a ping once a second and answers it; returns the payload of each ping by its time."""
    payloads = {}
    for second in range(seconds):
        now_s = start_s + second
        ping = estimator.next_ping(now_s, quiet=quiet)
        if ping is not None:
            payloads[second] = ping.num_bytes
            estimator.ping_sent(ping.number, now_s)
            estimator.pong_received(ping.number, now_s + rtt_s + ping.num_bytes / bytes_per_s)
    return payloads


def sizes(payloads):
    """Returns the payloads that are not empty."""
    return [size for size in payloads.values() if size]


def test_link_estimator_has_no_estimate_before_the_first_answer():
    """Then the round trip is known, and the bandwidth once payloads were answered."""
    estimator = LinkEstimator()
    assert estimator.estimate is None
    measure(estimator, 1, 0.01, 1e8)
    assert estimator.estimate == LinkEstimate(pytest.approx(0.01), None)
    measure(estimator, 10, 0.01, 1e8, start_s=1.0)
    assert estimator.estimate.bytes_per_s == pytest.approx(1e8)


def test_link_estimator_pings_a_new_link_often_and_a_known_one_rarely():
    """Once a second at first, then every four seconds."""
    pings = measure(LinkEstimator(), 40, 0.001, 1e8, quiet=False)
    assert list(pings) == [0, 1, 2, 3, 4, *range(8, 40, 4)]


def test_link_estimator_sends_few_payloads_and_none_on_a_busy_link():
    """A small one first, then large ones until there are enough, then one every 30 seconds."""
    payloads = measure(LinkEstimator(), 100, 0.001, 1e8)
    assert [payloads[second] for second in range(8)] == [0, 0, FIRST_PAYLOAD_BYTES, *[MAX_PAYLOAD_BYTES] * 5]
    assert [second for second, size in payloads.items() if size] == [2, 3, 4, 5, 6, 7, 37, 67, 97]
    assert not sizes(measure(LinkEstimator(), 100, 0.001, 1e8, quiet=False))


def test_link_estimator_limits_payloads_on_slow_links():
    """A link with little bandwidth gets small payloads; one with a long round trip, or a busy one, gets none."""
    first, *others = sizes(measure(LinkEstimator(), 50, 0.01, 1e6))
    assert first == FIRST_PAYLOAD_BYTES
    assert max(others) <= 1.01 * 1e6 * PAYLOAD_S
    assert set(sizes(measure(LinkEstimator(), 50, 0.05, 1e5))[1:]) == {MIN_PAYLOAD_BYTES}
    assert not sizes(measure(LinkEstimator(), 50, 0.3, 1e8))
    estimator = LinkEstimator()
    measure(estimator, 1, 0.001, 1e8)
    measure(estimator, 1, 0.1, 1e8, start_s=1.0)
    assert measure(estimator, 1, 0.001, 1e8, start_s=2.0) == {0: 0}


def test_link_estimator_uses_the_shortest_of_the_last_round_trips():
    """A link that has become faster is noticed at once, one that has become slower after some pings."""
    estimator = LinkEstimator()
    measure(estimator, NUM_ROUND_TRIPS, 0.01, 1e8, quiet=False)
    assert len(measure(estimator, 16, 0.05, 1e8, start_s=100.0, quiet=False)) == NUM_ROUND_TRIPS - 1
    assert estimator.estimate.rtt_s == pytest.approx(0.01)
    measure(estimator, 1, 0.05, 1e8, start_s=200.0, quiet=False)
    assert estimator.estimate.rtt_s == pytest.approx(0.05)
    measure(estimator, 1, 0.02, 1e8, start_s=300.0, quiet=False)
    assert estimator.estimate.rtt_s == pytest.approx(0.02)


def test_link_estimator_gives_up_a_ping_after_its_timeout():
    """No other ping is sent before; a late answer is ignored."""
    estimator = LinkEstimator()
    lost = estimator.next_ping(0.0, quiet=True)
    estimator.ping_sent(lost.number, 0.0)
    assert estimator.next_ping(PING_TIMEOUT_S - 0.1, quiet=True) is None
    ping = estimator.next_ping(PING_TIMEOUT_S, quiet=True)
    estimator.ping_sent(ping.number, PING_TIMEOUT_S)
    estimator.pong_received(lost.number, PING_TIMEOUT_S + 1)
    assert estimator.estimate is None
    estimator.pong_received(ping.number, PING_TIMEOUT_S + 0.5)
    assert estimator.estimate.rtt_s == pytest.approx(0.5)


def test_link_estimator_does_not_count_time_in_the_queue():
    """A round trip starts when the ping is written; a ping that was not written has no answer."""
    estimator = LinkEstimator()
    ping = estimator.next_ping(0.0, quiet=True)
    estimator.pong_received(ping.number, 1.0)
    assert estimator.estimate is None
    estimator.ping_sent(ping.number, 2.0)
    estimator.pong_received(ping.number, 2.001)
    assert estimator.estimate.rtt_s == pytest.approx(0.001)


def test_link_estimator_prefers_large_messages_to_payloads():
    """A link that buffers the first 64 KiB looks fast to small payloads; a message of megabytes shows its bandwidth."""
    estimator = LinkEstimator()
    burst, bytes_per_s = 64 << 10, 12.5e6
    for second in range(40):
        if (ping := estimator.next_ping(second, quiet=True)) is not None:
            estimator.ping_sent(ping.number, second)
            held = max(0, ping.num_bytes - burst)
            estimator.pong_received(ping.number, second + 0.001 + ping.num_bytes / 1e9 + held / bytes_per_s)
    assert estimator.estimate.bytes_per_s > 1.2 * bytes_per_s
    behind = estimator.message_written(4 << 20, 40.0)
    assert behind.num_bytes == 0
    estimator.ping_sent(behind.number, 40.3)  # the time of the ping alone does not count
    estimator.pong_received(behind.number, 40.001 + (4 << 20) / bytes_per_s)
    assert estimator.estimate.bytes_per_s == pytest.approx(bytes_per_s, rel=0.01)
    assert estimator.next_ping(70.0, quiet=True).num_bytes <= 1.01 * bytes_per_s * PAYLOAD_S


def test_link_estimator_measures_few_messages():
    """No small one, none before a round trip is known, at most one per second, and no two pings at once."""
    estimator = LinkEstimator()
    assert estimator.message_written(4 << 20, 0.0) is None
    measure(estimator, 1, 0.001, 1e8)
    assert estimator.message_written(MIN_TRAFFIC_BYTES - 1, 1.0) is None
    first = estimator.message_written(MIN_TRAFFIC_BYTES, 1.0)
    assert estimator.message_written(MIN_TRAFFIC_BYTES, 1.0 + TRAFFIC_INTERVAL_S) is None
    assert estimator.next_ping(2.0, quiet=True) is None
    estimator.pong_received(first.number, 2.1)
    assert estimator.message_written(MIN_TRAFFIC_BYTES, 1.0 + 0.9 * TRAFFIC_INTERVAL_S) is None
    assert estimator.message_written(MIN_TRAFFIC_BYTES, 1.0 + TRAFFIC_INTERVAL_S) is not None


@given(
    st.lists(
        st.tuples(st.booleans(), st.floats(-0.001, 30.0), st.integers(-1, 1), st.floats(0.0, 6.0)),
        max_size=120,
    )
)
def test_link_estimator_estimates_only_what_was_measured(steps):
    """Answers of any age to any ping: payloads only on quiet links, estimates are positive."""
    estimator, now_s, seen = LinkEstimator(), 0.0, []
    for quiet, took_s, off, apart_s in steps:
        now_s += apart_s
        ping = estimator.next_ping(now_s, quiet=quiet)
        if ping is None:
            continue
        assert quiet or not ping.num_bytes
        assert 0 <= ping.num_bytes <= MAX_PAYLOAD_BYTES
        estimator.ping_sent(ping.number, now_s)
        estimator.pong_received(ping.number + off, now_s + took_s)
        if not off and not ping.num_bytes:
            seen.append(max(took_s, 1e-6))
        if (estimate := estimator.estimate) is not None:
            assert estimate.rtt_s == pytest.approx(min(seen[-NUM_ROUND_TRIPS:]), rel=1e-3, abs=1e-6)
            assert estimate.bytes_per_s is None or estimate.bytes_per_s > 0
    assert estimator.next_ping(now_s + PING_TIMEOUT_S + 0.001, quiet=False) is not None
