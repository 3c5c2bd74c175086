"""Observable value: readers wait for the next revision."""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

T = TypeVar("T")


class Latest(Generic[T]):
    """Holds the newest value; slow readers skip values in between. For one event loop.

    Args:
        value: The first value, with revision 1.
    """

    def __init__(self, value: T) -> None:
        self._value = value
        self._revision = 1
        self._changed = asyncio.Event()

    @property
    def value(self) -> T:
        """The newest value."""
        return self._value

    @property
    def revision(self) -> int:
        """Number of the newest value, from 1."""
        return self._revision

    def set(self, value: T) -> None:
        """Replaces the value and wakes all waiting readers."""
        self._value = value
        self._revision += 1
        self._changed.set()
        self._changed = asyncio.Event()

    async def after(self, revision: int) -> tuple[int, T]:
        """Waits for a revision greater than `revision` (0: any) and returns it with its value."""
        while self._revision <= revision:
            await self._changed.wait()
        return self._revision, self._value
