"""The port of live state: values that expire, and the workers that serve a session."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol


class Topic(Enum):
    """The subject of an entry, which determines its key."""

    LOAD = "load"
    """Load and latency of a worker; key: its id."""
    ROUND_TRIP = "round-trip"
    """The link from one process to another; key: `FROM>TO`."""
    EJECTION = "ejection"
    """A replica that is excluded from routes for a while; key: `WORKER>STAGE`."""


Values = Mapping[str, float]
"""Numbers by name; the name includes the unit, as in `queue_s` or `in_flight_bytes`."""


@dataclass(frozen=True, slots=True)
class LiveEntry:
    """Values that one process has published under a key.

    Attributes:
        writer: The process that published them.
        key: See `Topic`.
        age_s: Seconds since then, at least; at most half a second more while Redis answers.
        values: Numbers by name.
    """

    writer: str
    key: str
    age_s: float
    values: Values = field(default_factory=dict)


class LiveState(Protocol):
    """Shares expiring entries and session affinity with the other processes of the mesh.

    Only `find_session` waits, for `FIND_SESSION_S` at most. While the store behind it is unavailable or slow, each process
    sees its own entries, and those of others until they expire.
    """

    @property
    def is_shared(self) -> bool:
        """Whether entries of other processes are being received; False: this process sees its own only."""
        ...

    def publish(self, topic: Topic, key: str, values: Values, ttl_s: float) -> None:
        """Publishes an entry, replacing this process's own of that key; it expires after `ttl_s`."""
        ...

    def withdraw(self, topic: Topic, key: str) -> None:
        """Removes this process's entry of a key."""
        ...

    def entries(self, topic: Topic) -> Mapping[str, tuple[LiveEntry, ...]]:
        """Returns the unexpired entries by key; for each key the newest first."""
        ...

    def set_session(self, session: str, place: str, ttl_s: float) -> None:
        """Records where a session is served; it expires after `ttl_s`, even if this process has ended by then."""
        ...

    def remove_session(self, session: str) -> None:
        """Removes a session."""
        ...

    def local_session(self, session: str) -> str | None:
        """Returns where a session is served, as far as this process knows; does not wait."""
        ...

    async def find_session(self, session: str) -> str | None:
        """Returns where a session is served, as far as that can be found within `FIND_SESSION_S`."""
        ...


FIND_SESSION_S = 0.05
"""Longest time that a request waits for the lookup of its session."""

MAX_ENTRIES = 20_000
"""Most entries of one process in one topic; beyond, the oldest is evicted."""

MAX_SESSIONS = 100_000
"""Most sessions that one process remembers; beyond, the oldest is evicted."""
