"""Admission: a bound on the requests in flight."""

from __future__ import annotations

import asyncio

from onnxmesh.errors import Overloaded

ADMISSION_RETRY_AFTER_S = 0.1
"""Retry delay of a refused request."""


class Admission:
    """Counts the requests in flight at one gateway, and refuses those beyond the limit.

    Args:
        limit: Most requests in flight.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._count = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def num_running(self) -> int:
        """Requests that were admitted and have not ended."""
        return self._count

    def admitted(self) -> Admission:
        """Admits one request for the time of the context.

        Raises:
            Overloaded: The limit is reached (RESOURCE_EXHAUSTED, with a retry delay).
        """
        if self._count >= self._limit:
            raise Overloaded(
                f"the gateway has {self._count} requests in flight, expected {self._limit} at most",
                retry_after_s=ADMISSION_RETRY_AFTER_S,
            )
        return self

    def __enter__(self) -> None:
        self._count += 1
        self._idle.clear()

    def __exit__(self, *_: object) -> None:
        self._count -= 1
        if not self._count:
            self._idle.set()

    async def idle(self, timeout_s: float) -> bool:
        """Waits until no request is in flight; returns False if one still is after `timeout_s` seconds."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True
