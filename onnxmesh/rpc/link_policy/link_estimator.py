"""Round-trip time and bandwidth of one link, estimated from pings and large messages."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import inf

NUM_ROUND_TRIPS = 5
"""Round trips of which the shortest counts: other work of the machines only makes one longer."""

PING_INTERVAL_S = 4.0
"""Time between two pings, once there are enough measurements. A ping and its pong cost both sides together 0.5 ms of CPU."""

NUM_PAYLOADS = 5
"""Payloads of which the best counts."""

MAX_PAYLOAD_BYTES = 256 << 10
"""The largest payload of a ping."""

FIRST_PAYLOAD_BYTES = 16 << 10
"""The first payload, which decides how large the next one may be."""

MIN_PAYLOAD_BYTES = 4 << 10
"""The smallest payload of a ping."""

PAYLOAD_S = 0.005
"""No payload except the first and the smallest is expected to occupy a link for longer."""

PAYLOAD_INTERVAL_S = 30.0
"""Time between two payloads, once there are enough measurements."""

MAX_PROBED_RTT_S = 0.2
"""Links with a longer round trip are not sent payloads."""

MIN_TRAFFIC_BYTES = 256 << 10
"""Messages of at least this size are measured like payloads."""

TRAFFIC_INTERVAL_S = 1.0
"""Time between two messages that are measured."""

PING_TIMEOUT_S = 10.0
"""A ping without an answer for so long is lost."""

_NOISE = 0.1
"""The transfer time of a payload is not known better than this share of its round trip."""


@dataclass(frozen=True, slots=True)
class LinkEstimate:
    """Recent measurements of a link.

    Attributes:
        rtt_s: Round-trip time of a small message.
        bytes_per_s: Bandwidth towards the peer; None: not measured yet.
    """

    rtt_s: float
    bytes_per_s: float | None = None


@dataclass(frozen=True, slots=True)
class WantedPing:
    """A ping to send now.

    Attributes:
        number: Identifies it.
        num_bytes: Its payload.
    """

    number: int
    num_bytes: int


@dataclass(slots=True)
class _Sent:
    number: int
    num_bytes: int
    requested_s: float
    sent_s: float = inf


@dataclass(frozen=True, slots=True)
class _Rate:
    num_bytes: int
    bytes_per_s: float

    def is_comparable_to(self, num_bytes: int) -> bool:
        """Whether the payload was at least half as large as another: much larger ones are more accurate."""
        return self.num_bytes * 2 >= num_bytes


class LinkEstimator:
    """Decides when to ping and evaluates the answers. At most one ping is in flight. Time is an argument.

    A new link is measured quickly, a known one now and then. Payloads are few, and small on a slow link, so that they
    do not delay requests. Large messages of the application are measured like payloads, cost nothing and are more
    accurate: many links pass some ten kilobytes at once before their bandwidth shows.
    """

    def __init__(self) -> None:
        self._number = 0
        self._in_flight: _Sent | None = None
        self._round_trips: deque[float] = deque(maxlen=NUM_ROUND_TRIPS)
        self._rates: deque[_Rate] = deque(maxlen=NUM_PAYLOADS)
        self._payload_s = -inf
        self._traffic_s = -inf
        self._requested_s = -inf

    @property
    def estimate(self) -> LinkEstimate | None:
        """The current estimate; None before the first answer."""
        if not self._round_trips:
            return None
        return LinkEstimate(min(self._round_trips), self._bytes_per_s)

    def next_ping(self, now_s: float, *, quiet: bool) -> WantedPing | None:
        """Returns a ping to send now, None where none is due; to be called about once a second.

        Args:
            now_s: The time.
            quiet: Whether the link carries next to nothing else.
        """
        if self._is_waiting(now_s):
            return None
        num_bytes = self._payload(now_s) if quiet else 0
        enough = len(self._round_trips) == NUM_ROUND_TRIPS
        if enough and not num_bytes and now_s - self._requested_s < PING_INTERVAL_S:
            return None
        self._requested_s = now_s
        self._number += 1
        self._in_flight = _Sent(self._number, num_bytes, now_s)
        if num_bytes:
            self._payload_s = now_s
        return WantedPing(self._number, num_bytes)

    def ping_sent(self, number: int, now_s: float) -> None:
        """Records that a ping is written now: its time in the queue does not count."""
        ping = self._in_flight
        if ping is not None and ping.number == number and ping.sent_s == inf:
            ping.sent_s = now_s

    def message_written(self, num_bytes: int, began_s: float) -> WantedPing | None:
        """Records a written message; returns the ping to send right behind it, None where it is not measured.

        Args:
            num_bytes: Its size.
            began_s: When writing it began.
        """
        if num_bytes < MIN_TRAFFIC_BYTES or not self._round_trips:
            return None
        if began_s - self._traffic_s < TRAFFIC_INTERVAL_S or self._is_waiting(began_s):
            return None
        self._traffic_s = began_s
        self._number += 1
        self._in_flight = _Sent(self._number, num_bytes, began_s, began_s)
        return WantedPing(self._number, 0)

    def pong_received(self, number: int, now_s: float) -> None:
        """Records the answer to a ping; one to any other than that in flight is ignored."""
        ping = self._in_flight
        if ping is None or ping.number != number or ping.sent_s == inf:
            return
        self._in_flight = None
        took_s = max(now_s - ping.sent_s, 1e-6)
        if not ping.num_bytes:
            self._round_trips.append(took_s)
            return
        adds_s = max(took_s - min(self._round_trips), _NOISE * took_s)
        for each in [each for each in self._rates if not each.is_comparable_to(ping.num_bytes)]:
            self._rates.remove(each)
        self._rates.append(_Rate(ping.num_bytes, ping.num_bytes / adds_s))

    @property
    def _bytes_per_s(self) -> float | None:
        """The best of the larger payloads; None before the first."""
        largest = max((each.num_bytes for each in self._rates), default=0)
        return max((each.bytes_per_s for each in self._rates if each.is_comparable_to(largest)), default=None)

    def _is_waiting(self, now_s: float) -> bool:
        """Whether a ping is in flight."""
        return self._in_flight is not None and now_s - self._in_flight.requested_s < PING_TIMEOUT_S

    def _payload(self, now_s: float) -> int:
        """Returns the payload bytes of the next ping; 0 where it should measure the round trip."""
        enough = len(self._rates) == NUM_PAYLOADS
        if len(self._round_trips) < 2 or (enough and now_s - self._payload_s < PAYLOAD_INTERVAL_S):
            return 0
        best_s, last_s = min(self._round_trips), self._round_trips[-1]
        is_busy = last_s > 2 * best_s + 0.001
        if best_s > MAX_PROBED_RTT_S or is_busy:
            return 0
        bytes_per_s = self._bytes_per_s
        if bytes_per_s is None:
            return FIRST_PAYLOAD_BYTES
        affordable = int(bytes_per_s * PAYLOAD_S)
        return min(MAX_PAYLOAD_BYTES, max(MIN_PAYLOAD_BYTES, affordable))
