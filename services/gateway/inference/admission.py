"""How many requests run at once."""

from __future__ import annotations

import asyncio

from onnxmesh.errors import Overloaded

RETRY_AFTER_S = 0.1
"""A client that was refused for want of room does well to wait so long."""


class Admission:
    """Counts the requests of one gateway.

    Args:
        limit: Requests that may run at once.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._count = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def num_running(self) -> int:
        """Requests admitted and not over yet."""
        return self._count

    def admitted(self) -> Admission:
        """Admits one request for the time of the context.

        Raises:
            Overloaded: As many as may run do (RESOURCE_EXHAUSTED, with a retry delay).
        """
        if self._count >= self._limit:
            raise Overloaded(
                f"the gateway has {self._count} requests in flight, expected {self._limit} at most",
                retry_after_s=RETRY_AFTER_S,
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
        """Returns once nothing runs, or after `timeout_s` seconds; says whether nothing did."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True
