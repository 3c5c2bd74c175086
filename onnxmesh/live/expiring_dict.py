"""A bounded dictionary whose entries expire. Pure: the caller passes the time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")


class ExpiringValue(NamedTuple, Generic[T]):
    """A value, when it was set, and when it expires; seconds of the caller's clock."""

    value: T
    set_s: float
    expires_s: float


class ExpiringDict(Generic[T]):
    """A dictionary whose entries expire; beyond its capacity it evicts the entry that was set first.

    Args:
        max_entries: Capacity.
    """

    def __init__(self, max_entries: int) -> None:
        self._max_entries = max_entries
        self._entries: dict[str, ExpiringValue[T]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def set(self, key: str, value: T, now_s: float, ttl_s: float) -> None:
        """Sets or replaces an entry."""
        self._entries.pop(
            key, None
        )  # so that it moves to the end: the order of insertion is the order of age
        self._entries[key] = ExpiringValue(value, now_s, now_s + ttl_s)
        if len(self._entries) > self._max_entries:
            del self._entries[next(iter(self._entries))]

    def remove(self, key: str) -> bool:
        """Removes an entry; returns whether there was one."""
        return self._entries.pop(key, None) is not None

    def get(self, key: str, now_s: float) -> T | None:
        """Returns a value that has not expired, or None."""
        entry = self._entries.get(key)
        return None if entry is None or entry.expires_s <= now_s else entry.value

    def items(self, now_s: float) -> Iterator[tuple[str, ExpiringValue[T]]]:
        """Yields the entries that have not expired, oldest first."""
        return ((key, entry) for key, entry in self._entries.items() if entry.expires_s > now_s)

    def purge(self, now_s: float) -> None:
        """Removes expired entries."""
        self._entries = dict(self.items(now_s))
