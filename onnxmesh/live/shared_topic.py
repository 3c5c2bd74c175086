"""One topic of live state as typed items: published by this process, received from all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from onnxmesh.live.base import LiveEntry, LiveState, Topic, Values

T = TypeVar("T")

MAX_OFFERED = 2000
"""Most items that wait for `publish_offered`; beyond, the oldest is dropped."""


class TopicCodec(Protocol[T]):
    """Converts items of one topic to entries and back."""

    @property
    def topic(self) -> Topic:
        """The topic."""
        ...

    def key(self, item: T) -> str:
        """Returns the key that an item is published under."""
        ...

    def encode(self, item: T) -> Values:
        """Returns the values of an item."""
        ...

    def decode(self, entry: LiveEntry) -> T | None:
        """Returns the item of an entry, possibly one of another release; None where it is malformed or over."""
        ...


@dataclass(frozen=True, slots=True)
class SharedItem(Generic[T]):
    """An item and the process that published it, `age_s` seconds ago."""

    item: T
    writer: str
    age_s: float


def _accept_all(_: object) -> bool:
    return True


class SharedTopic(Generic[T]):
    """Publishes and receives the items of one topic; entries that are malformed or expired are left out.

    An item that many processes learn of at once is *offered*: the first process that publishes it does so for all.

    Args:
        live: Live state.
        codec: Of the topic.
        accepts: Whether a received item counts; others are ignored.
    """

    def __init__(
        self, live: LiveState, codec: TopicCodec[T], accepts: Callable[[T], bool] = _accept_all
    ) -> None:
        self._live = live
        self._codec = codec
        self._accepts = accepts
        self._offered: dict[str, T] = {}

    def publish(self, item: T, ttl_s: float) -> None:
        """Publishes an item now; it expires after `ttl_s`."""
        self._live.publish(self._codec.topic, self._codec.key(item), self._codec.encode(item), ttl_s)

    def withdraw(self, item: T) -> None:
        """Removes what this process has published under the item's key."""
        self._live.withdraw(self._codec.topic, self._codec.key(item))

    def offer(self, item: T) -> None:
        """Keeps an item for the next `publish_offered`, replacing the one of its key."""
        self._offered[self._codec.key(item)] = item
        if len(self._offered) > MAX_OFFERED:
            del self._offered[next(iter(self._offered))]

    def publish_offered(self, ttl_s: float, fresh_s: float, is_like: Callable[[T, T], bool]) -> None:
        """Publishes the offered items that have changed, or that no process has published within `fresh_s`.

        Args:
            ttl_s: Time until they expire.
            fresh_s: Age up to which a published item makes an unchanged one superfluous.
            is_like: Whether an offered item is unchanged from a published one.
        """
        offered, self._offered = self._offered, {}
        if not offered:
            return
        received = self.received()
        for key, item in offered.items():
            fresh = next((each.item for each in received.get(key, ()) if each.age_s < fresh_s), None)
            if fresh is None or not is_like(item, fresh):
                self.publish(item, ttl_s)

    def received(self) -> dict[str, list[SharedItem[T]]]:
        """Returns the items of all processes, this one included, by key; for each key the newest first."""
        found: dict[str, list[SharedItem[T]]] = {}
        for key, entries in self._live.entries(self._codec.topic).items():
            for entry in entries:
                item = self._codec.decode(entry)
                if item is not None and self._accepts(item):
                    found.setdefault(key, []).append(SharedItem(item, entry.writer, entry.age_s))
        return found
