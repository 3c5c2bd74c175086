"""Freshness of the route table: whether a scheduler still sends changes to it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic

import structlog

from onnxmesh.deadline import Clock
from onnxmesh.latest import Latest

_log = structlog.get_logger(__name__)

GRACE_S = 1.0
"""How long the stream of a scheduler may be lost, and another one be sought, before the table counts as stale."""


class TableFreshness:
    """Measures the time without a scheduler; after a grace period the table is stale.

    For one event loop; the properties may be read from any thread.

    Args:
        on_change: Awaited with whether the table is fresh, whenever that changes.
        grace_s: Time without a scheduler after which the table is stale.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        on_change: Callable[[bool], Awaitable[None]],
        *,
        grace_s: float = GRACE_S,
        clock: Clock = monotonic,
    ) -> None:
        self._on_change = on_change
        self._grace_s = grace_s
        self._clock = clock
        self._lost_at_s: Latest[float | None] = Latest(clock())
        self._stale = True

    @property
    def is_stale(self) -> bool:
        """Whether the table may have changed without this gateway having received it."""
        return self._stale

    @property
    def without_scheduler_s(self) -> float:
        """Seconds since the stream of a scheduler was lost; 0 while one is followed."""
        lost_at_s = self._lost_at_s.value
        return 0.0 if lost_at_s is None else self._clock() - lost_at_s

    def stream_followed(self) -> None:
        """Records that the stream of a scheduler is followed."""
        if self._lost_at_s.value is not None:
            self._lost_at_s.set(None)

    def stream_lost(self) -> None:
        """Records that no scheduler's stream is followed any more."""
        if self._lost_at_s.value is None:
            self._lost_at_s.set(self._clock())

    async def run(self) -> None:
        """Calls `on_change` for every change until it is cancelled."""
        while True:
            revision, lost_at_s = self._lost_at_s.revision, self._lost_at_s.value
            wait_s = None
            if lost_at_s is None:
                await self._set(stale=False)
            elif not self._stale:
                wait_s = max(0.0, self._grace_s - self.without_scheduler_s)
                if not wait_s:
                    await self._set(stale=True)
                    continue
            try:
                async with asyncio.timeout(wait_s):
                    await self._lost_at_s.after(revision)
            except TimeoutError:
                pass

    async def _set(self, *, stale: bool) -> None:
        if stale == self._stale:
            return
        self._stale = stale
        if stale:
            _log.warning("route_table_stale", without_scheduler_s=round(self.without_scheduler_s, 3))
        else:
            _log.info("route_table_followed")
        await self._on_change(not stale)
