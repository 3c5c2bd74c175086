"""Live state in this process's memory: its own view, and all there is where nothing is shared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from time import monotonic

from onnxmesh.deadline import Clock
from onnxmesh.live.ageing import Aged, Ageing
from onnxmesh.live.base import MAX_FIGURES, MAX_SESSIONS, Figure, Topic, Values


class OwnLiveState:
    """The `LiveState` of processes that share nothing. For one event loop.

    Args:
        writer: The name of this process.
        clock: Seconds, monotonic.
        max_figures: What may be said about one topic; beyond, the oldest is forgotten.
        max_sessions: Sessions that are kept in mind; beyond, the oldest is forgotten.
    """

    def __init__(
        self,
        writer: str,
        *,
        clock: Clock = monotonic,
        max_figures: int = MAX_FIGURES,
        max_sessions: int = MAX_SESSIONS,
    ) -> None:
        self.writer = writer
        self._clock = clock
        self._figures: dict[Topic, Ageing[Values]] = {topic: Ageing(max_figures) for topic in Topic}
        self._sessions: Ageing[str] = Ageing(max_sessions)

    @property
    def shared(self) -> bool:
        """Whether others' figures are being seen: never."""
        return False

    async def run(self) -> None:
        """Returns at once: there is nobody to exchange anything with."""

    def publish(self, topic: Topic, key: str, values: Values, ttl_s: float) -> None:
        """Says something, in place of what this process said about it before; it is forgotten after `ttl_s`."""
        self._figures[topic].set(key, dict(values), self._clock(), ttl_s)

    def withdraw(self, topic: Topic, key: str) -> None:
        """Takes back what this process said about something."""
        self._figures[topic].drop(key)

    def figures(self, topic: Topic) -> Mapping[str, tuple[Figure, ...]]:
        """Returns what has not expired, by key."""
        now_s = self._clock()
        return {
            key: (Figure(self.writer, key, now_s - entry.set_s, entry.value),)
            for key, entry in self._figures[topic].items(now_s)
        }

    def entries(self, topic: Topic) -> Iterator[tuple[str, Aged[Values]]]:
        """Yields what this process has said and has not expired; what has expired is removed."""
        now_s = self._clock()
        self._figures[topic].expire(now_s)
        return self._figures[topic].items(now_s)

    def says(self, topic: Topic) -> bool:
        """Whether this process has said something that has not expired."""
        return any(True for _ in self._figures[topic].items(self._clock()))

    def remember(self, session: str, place: str, ttl_s: float) -> None:
        """Says where a session's state is; it is forgotten after `ttl_s`."""
        self._sessions.set(session, place, self._clock(), ttl_s)

    def forget(self, session: str) -> None:
        """Says that a session has ended."""
        self._sessions.drop(session)

    async def recall(self, session: str) -> str | None:
        """Returns where a session's state is, as far as this process knows."""
        return self.known(session)

    def known(self, session: str) -> str | None:
        """Returns where a session's state is, as far as this process knows, at once."""
        return self._sessions.get(session, self._clock())
