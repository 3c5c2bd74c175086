"""What pings tell of the way to a peer. Pure: the time is given."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import inf

NUM_ROUND_TRIPS = 5
"""The best of so many round trips counts: what else a machine does only ever makes one longer."""

PERIOD_S = 4.0
"""Time between two pings, once there have been enough. A ping costs half a millisecond of CPU, both sides and its answer together."""

NUM_PAYLOADS = 5
"""The best of so many payloads counts."""

PAYLOAD_BYTES = 256 << 10
"""The largest payload."""

FIRST_PAYLOAD_BYTES = 16 << 10
"""The first one, which only tells how large the next may be."""

LEAST_PAYLOAD_BYTES = 4 << 10
"""The smallest one."""

PAYLOAD_S = 0.005
"""No payload but the first and the smallest is expected to keep a way busy for longer."""

EVERY_S = 30.0
"""Time between two payloads, once there have been enough."""

SLOW_S = 0.2
"""A way with a longer round trip is spared payloads."""

LOST_S = 10.0
"""A ping that has not been answered for so long is not waited for."""

_NOISE = 0.1
"""What a payload adds to a round trip, as a share of it, is not known any better."""


@dataclass(frozen=True, slots=True)
class GaugedWay:
    """The way to a peer, as it was measured lately.

    Attributes:
        round_trip_s: Of something small.
        bytes_per_s: Of something large, towards the peer; None: not measured yet.
    """

    round_trip_s: float
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


class WayGauge:
    """Says when to ping, and what the answers mean. At most one ping is under way.

    A new way is measured quickly, a known one now and then. Payloads are few, and small where the way is slow:
    measuring must not delay what is measured for.
    """

    def __init__(self) -> None:
        self._number = 0
        self._under_way: _Sent | None = None
        self._round_trips: deque[float] = deque(maxlen=NUM_ROUND_TRIPS)
        self._rates: deque[float] = deque(maxlen=NUM_PAYLOADS)
        self._rated_bytes = 0
        self._payload_s = -inf
        self._asked_s = -inf

    @property
    def way(self) -> GaugedWay | None:
        """What is known by now; None before the first answer."""
        if not self._round_trips:
            return None
        return GaugedWay(min(self._round_trips), max(self._rates, default=None))

    def ping(self, now_s: float, *, quiet: bool) -> WantedPing | None:
        """Returns the next ping, if it is time for one; asked about once a second.

        Args:
            now_s: The time.
            quiet: Whether next to nothing else goes over the way.
        """
        if self._under_way is not None and now_s - self._under_way.asked_s < LOST_S:
            return None
        num_bytes = self._payload(now_s) if quiet else 0
        enough = len(self._round_trips) == NUM_ROUND_TRIPS
        if enough and not num_bytes and now_s - self._asked_s < PERIOD_S:
            return None
        self._asked_s = now_s
        self._number += 1
        self._under_way = _Sent(self._number, num_bytes, now_s)
        if num_bytes:
            self._payload_s = now_s
        return WantedPing(self._number, num_bytes)

    def sent(self, number: int, now_s: float) -> None:
        """Takes that a ping leaves now: what it waited for before is no part of the way."""
        if self._under_way is not None and self._under_way.number == number:
            self._under_way.sent_s = now_s

    def answered(self, number: int, now_s: float) -> None:
        """Takes an answer; one to a ping that is not under way is passed over."""
        ping = self._under_way
        if ping is None or ping.number != number or ping.sent_s == inf:
            return
        self._under_way = None
        took_s = max(now_s - ping.sent_s, 1e-6)
        if not ping.num_bytes:
            self._round_trips.append(took_s)
            return
        if ping.num_bytes > self._rated_bytes:
            # A larger one tells more than all smaller ones.
            self._rates.clear()
            self._rated_bytes = ping.num_bytes
        adds_s = max(took_s - min(self._round_trips), _NOISE * took_s)
        self._rates.append(ping.num_bytes / adds_s)

    def _payload(self, now_s: float) -> int:
        """Returns how much the next ping should carry; 0 where it should measure the round trip."""
        enough = len(self._rates) == NUM_PAYLOADS
        if len(self._round_trips) < 2 or (enough and now_s - self._payload_s < EVERY_S):
            return 0
        best_s, last_s = min(self._round_trips), self._round_trips[-1]
        is_busy = last_s > 2 * best_s + 0.001
        if best_s > SLOW_S or is_busy:
            return 0
        if not self._rates:
            return FIRST_PAYLOAD_BYTES
        affordable = int(max(self._rates) * PAYLOAD_S)
        return min(PAYLOAD_BYTES, max(LEAST_PAYLOAD_BYTES, affordable))
