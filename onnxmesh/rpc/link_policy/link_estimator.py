"""What pings tell of the way to a peer. Pure: the time is given."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import inf

NUM_ROUND_TRIPS = 5
"""The best of so many round trips counts: what else a machine does only ever makes one longer."""

PING_INTERVAL_S = 4.0
"""Time between two pings, once there have been enough. A ping costs half a millisecond of CPU, both sides and its answer together."""

NUM_PAYLOADS = 5
"""The best of so many payloads counts."""

MAX_PAYLOAD_BYTES = 256 << 10
"""The largest payload."""

FIRST_PAYLOAD_BYTES = 16 << 10
"""The first one, which only tells how large the next may be."""

MIN_PAYLOAD_BYTES = 4 << 10
"""The smallest one."""

PAYLOAD_S = 0.005
"""No payload but the first and the smallest is expected to keep a way busy for longer."""

PAYLOAD_INTERVAL_S = 30.0
"""Time between two payloads, once there have been enough."""

MAX_PROBED_RTT_S = 0.2
"""A way with a longer round trip is spared payloads."""

MIN_TRAFFIC_BYTES = 256 << 10
"""A message of so much is itself a payload to measure by."""

TRAFFIC_INTERVAL_S = 1.0
"""Time between two messages that are measured by."""

PING_TIMEOUT_S = 10.0
"""A ping that has not been answered for so long is not waited for."""

_NOISE = 0.1
"""What a payload adds to a round trip, as a share of it, is not known any better."""


@dataclass(frozen=True, slots=True)
class LinkEstimate:
    """The way to a peer, as it was measured lately.

    Attributes:
        rtt_s: Of something small.
        bytes_per_s: Of something large, towards the peer; None: not measured yet.
    """

    rtt_s: float
    bytes_per_s: float | None = None


@dataclass(frozen=True, slots=True)
class WantedPing:
    """A ping that should leave now.

    Attributes:
        number: Which.
        num_bytes: Its payload.
    """

    number: int
    num_bytes: int


@dataclass(slots=True)
class _Sent:
    number: int
    num_bytes: int
    asked_s: float
    sent_s: float = inf


@dataclass(frozen=True, slots=True)
class _Rate:
    num_bytes: int
    bytes_per_s: float

    def tells_beside(self, num_bytes: int) -> bool:
        """Whether it counts where there is a payload of another size: a much larger one tells more."""
        return self.num_bytes * 2 >= num_bytes


class LinkEstimator:
    """Says when to ping, and what the answers mean. At most one ping is under way.

    A new way is measured quickly, a known one now and then. Payloads are few, and small where the way is slow:
    measuring must not delay what is measured for. Large messages of those who use the way are payloads that cost nothing,
    and tell more: many a way carries some ten kilobytes at once before it shows how slow it is.
    """

    def __init__(self) -> None:
        self._number = 0
        self._under_way: _Sent | None = None
        self._round_trips: deque[float] = deque(maxlen=NUM_ROUND_TRIPS)
        self._rates: deque[_Rate] = deque(maxlen=NUM_PAYLOADS)
        self._payload_s = -inf
        self._cargo_s = -inf
        self._asked_s = -inf

    @property
    def estimate(self) -> LinkEstimate | None:
        """What is known by now; None before the first answer."""
        if not self._round_trips:
            return None
        return LinkEstimate(min(self._round_trips), self._bytes_per_s)

    def next_ping(self, now_s: float, *, quiet: bool) -> WantedPing | None:
        """Returns the next ping, if it is time for one; asked about once a second.

        Args:
            now_s: The time.
            quiet: Whether next to nothing else goes over the way.
        """
        if self._waits(now_s):
            return None
        num_bytes = self._payload(now_s) if quiet else 0
        enough = len(self._round_trips) == NUM_ROUND_TRIPS
        if enough and not num_bytes and now_s - self._asked_s < PING_INTERVAL_S:
            return None
        self._asked_s = now_s
        self._number += 1
        self._under_way = _Sent(self._number, num_bytes, now_s)
        if num_bytes:
            self._payload_s = now_s
        return WantedPing(self._number, num_bytes)

    def ping_sent(self, number: int, now_s: float) -> None:
        """Takes that a ping leaves now: what it waited for before is no part of the way."""
        ping = self._under_way
        if ping is not None and ping.number == number and ping.sent_s == inf:
            ping.sent_s = now_s

    def message_written(self, num_bytes: int, began_s: float) -> WantedPing | None:
        """Takes that a message was written; returns the ping to send right behind it, if it is to be measured by.

        Args:
            num_bytes: Its size.
            began_s: When writing it began.
        """
        if num_bytes < MIN_TRAFFIC_BYTES or not self._round_trips:
            return None
        if began_s - self._cargo_s < TRAFFIC_INTERVAL_S or self._waits(began_s):
            return None
        self._cargo_s = began_s
        self._number += 1
        self._under_way = _Sent(self._number, num_bytes, began_s, began_s)
        return WantedPing(self._number, 0)

    def pong_received(self, number: int, now_s: float) -> None:
        """Takes an answer; one to a ping that is not under way is passed over."""
        ping = self._under_way
        if ping is None or ping.number != number or ping.sent_s == inf:
            return
        self._under_way = None
        took_s = max(now_s - ping.sent_s, 1e-6)
        if not ping.num_bytes:
            self._round_trips.append(took_s)
            return
        adds_s = max(took_s - min(self._round_trips), _NOISE * took_s)
        for each in [each for each in self._rates if not each.tells_beside(ping.num_bytes)]:
            self._rates.remove(each)
        self._rates.append(_Rate(ping.num_bytes, ping.num_bytes / adds_s))

    @property
    def _bytes_per_s(self) -> float | None:
        """The best of the larger payloads; None before the first."""
        largest = max((each.num_bytes for each in self._rates), default=0)
        return max((each.bytes_per_s for each in self._rates if each.tells_beside(largest)), default=None)

    def _waits(self, now_s: float) -> bool:
        """Whether a ping is under way."""
        return self._under_way is not None and now_s - self._under_way.asked_s < PING_TIMEOUT_S

    def _payload(self, now_s: float) -> int:
        """Returns how much the next ping should carry; 0 where it should measure the round trip."""
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
