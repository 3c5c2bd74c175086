"""The port of live state: figures that age, and sessions that stay where they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol


class Topic(Enum):
    """What figures are about, and what their key is."""

    LOAD = "load"
    """Load and latency of a worker; its id."""
    ROUND_TRIP = "round-trip"
    """The way from one process to another; `FROM>TO`."""
    EJECTION = "ejection"
    """A replica that is kept out of routes for a while; `WORKER>STAGE`."""


Values = Mapping[str, float]
"""Figures by name; units are part of the names, as in `queue_s` or `in_flight_bytes`."""


@dataclass(frozen=True, slots=True)
class Figure:
    """What one process has said about something.

    Attributes:
        writer: Who said it.
        key: What it is about.
        age_s: How long ago, at least; half a second more at the most while all is well.
        values: What was said.
    """

    writer: str
    key: str
    age_s: float
    values: Values = field(default_factory=dict)


class LiveState(Protocol):
    """Shares figures and session affinity with the other processes of the mesh.

    Nothing here waits but `recall`, and that not for long. While what is behind it is away or slow, everyone has
    what it said itself, and what others said for as long as that has not expired.
    """

    @property
    def shared(self) -> bool:
        """Whether others' figures are being seen; False: this is this process's own view."""
        ...

    def publish(self, topic: Topic, key: str, values: Values, ttl_s: float) -> None:
        """Says something, in place of what this process said about it before; it is forgotten after `ttl_s`."""
        ...

    def withdraw(self, topic: Topic, key: str) -> None:
        """Takes back what this process said about something."""
        ...

    def figures(self, topic: Topic) -> Mapping[str, tuple[Figure, ...]]:
        """Returns what has not expired, by key; what was said last comes first."""
        ...

    def remember(self, session: str, place: str, ttl_s: float) -> None:
        """Says where a session's state is; it is forgotten after `ttl_s`, also if this process is gone by then."""
        ...

    def forget(self, session: str) -> None:
        """Says that a session has ended."""
        ...

    def known(self, session: str) -> str | None:
        """Returns where a session's state is, as far as this process knows, at once."""
        ...

    async def recall(self, session: str) -> str | None:
        """Returns where a session's state is, as far as can be known in `RECALL_S`."""
        ...


RECALL_S = 0.05
"""The longest that a request waits to hear where its session is."""

MAX_FIGURES = 20_000
"""What one process may have said about one topic; beyond, the oldest is forgotten."""

MAX_SESSIONS = 100_000
"""Sessions that one process keeps in mind; beyond, the oldest is forgotten."""
