"""Live state in this process's memory: its own entries, and all there is where nothing is shared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from time import monotonic

from onnxmesh.deadline import Clock
from onnxmesh.live.base import MAX_ENTRIES, MAX_SESSIONS, LiveEntry, Topic, Values
from onnxmesh.live.expiring_dict import ExpiringDict, ExpiringValue


class EmbeddedLiveState:
    """The `LiveState` of a process that shares nothing. For one event loop.

    Args:
        writer: The name of this process.
        clock: Seconds, monotonic.
        max_entries: Capacity of each topic; beyond, the oldest entry is evicted.
        max_sessions: Capacity for sessions; beyond, the oldest is evicted.
    """

    def __init__(
        self,
        writer: str,
        *,
        clock: Clock = monotonic,
        max_entries: int = MAX_ENTRIES,
        max_sessions: int = MAX_SESSIONS,
    ) -> None:
        self.writer = writer
        self._clock = clock
        self._entries: dict[Topic, ExpiringDict[Values]] = {
            topic: ExpiringDict(max_entries) for topic in Topic
        }
        self._sessions: ExpiringDict[str] = ExpiringDict(max_sessions)

    @property
    def is_shared(self) -> bool:
        """Whether entries of other processes are being received: never."""
        return False

    async def run(self) -> None:
        """Returns at once: there is no store to exchange with."""

    def publish(self, topic: Topic, key: str, values: Values, ttl_s: float) -> None:
        """Publishes an entry, replacing the one of that key; it expires after `ttl_s`."""
        self._entries[topic].set(key, dict(values), self._clock(), ttl_s)

    def withdraw(self, topic: Topic, key: str) -> None:
        """Removes the entry of a key."""
        self._entries[topic].remove(key)

    def entries(self, topic: Topic) -> Mapping[str, tuple[LiveEntry, ...]]:
        """Returns the unexpired entries by key."""
        now_s = self._clock()
        return {
            key: (LiveEntry(self.writer, key, now_s - entry.set_s, entry.value),)
            for key, entry in self._entries[topic].items(now_s)
        }

    def own_values(self, topic: Topic) -> Iterator[tuple[str, ExpiringValue[Values]]]:
        """Yields the unexpired values of this process by key, and removes the expired ones."""
        now_s = self._clock()
        self._entries[topic].purge(now_s)
        return self._entries[topic].items(now_s)

    def has_entries(self, topic: Topic) -> bool:
        """Whether this process has an unexpired entry in a topic."""
        return any(True for _ in self._entries[topic].items(self._clock()))

    def set_session(self, session: str, place: str, ttl_s: float) -> None:
        """Records where a session is served; it expires after `ttl_s`."""
        self._sessions.set(session, place, self._clock(), ttl_s)

    def remove_session(self, session: str) -> None:
        """Removes a session."""
        self._sessions.remove(session)

    async def find_session(self, session: str) -> str | None:
        """Returns where a session is served, as far as this process knows."""
        return self.local_session(session)

    def local_session(self, session: str) -> str | None:
        """Returns where a session is served, as far as this process knows; does not wait."""
        return self._sessions.get(session, self._clock())
