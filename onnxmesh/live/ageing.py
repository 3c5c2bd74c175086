"""Entries that expire, and a bound on how many there are. Pure, with the time given by the caller."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")


class Aged(NamedTuple, Generic[T]):
    """A value, when it was set, and when it expires; seconds of the caller's clock."""

    value: T
    set_s: float
    expires_s: float


class Ageing(Generic[T]):
    """A dictionary whose entries expire; those set first give way when there are too many.

    Args:
        max_entries: The most that are kept.
    """

    def __init__(self, max_entries: int) -> None:
        self._max_entries = max_entries
        self._entries: dict[str, Aged[T]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def set(self, key: str, value: T, now_s: float, ttl_s: float) -> None:
        """Sets an entry, in place of what was there."""
        self._entries.pop(key, None)  # so that it goes to the end: insertion is the order of age
        self._entries[key] = Aged(value, now_s, now_s + ttl_s)
        if len(self._entries) > self._max_entries:
            del self._entries[next(iter(self._entries))]

    def drop(self, key: str) -> bool:
        """Removes an entry; returns whether it was there."""
        return self._entries.pop(key, None) is not None

    def get(self, key: str, now_s: float) -> T | None:
        """Returns a value that has not expired, or None."""
        entry = self._entries.get(key)
        return None if entry is None or entry.expires_s <= now_s else entry.value

    def items(self, now_s: float) -> Iterator[tuple[str, Aged[T]]]:
        """Yields what has not expired, oldest first."""
        return ((key, entry) for key, entry in self._entries.items() if entry.expires_s > now_s)

    def expire(self, now_s: float) -> None:
        """Removes what has expired."""
        self._entries = dict(self.items(now_s))
