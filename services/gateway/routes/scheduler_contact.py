"""Whether a scheduler tells this gateway of changes to its route table."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic

import structlog

from onnxmesh.deadline import Clock
from onnxmesh.latest import Latest

_log = structlog.get_logger(__name__)

GRACE_S = 1.0
"""So long may a stream be lost, and another one be sought, before the table counts as stale."""


class SchedulerContact:
    """Knows how long no scheduler has been followed. For one event loop; may be read from any thread.

    Args:
        on_change: Awaited with whether a scheduler tells of changes, whenever that is no longer so or is so again.
        grace_s: Time without a scheduler after which it is.
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
        """Whether the table may have been changed without this gateway being told."""
        return self._stale

    @property
    def alone_s(self) -> float:
        """Seconds without a scheduler; 0 while one is followed."""
        lost_at_s = self._lost_at_s.value
        return 0.0 if lost_at_s is None else self._clock() - lost_at_s

    def made(self) -> None:
        """Takes that a scheduler is followed."""
        if self._lost_at_s.value is not None:
            self._lost_at_s.set(None)

    def lost(self) -> None:
        """Takes that no scheduler is followed any more."""
        if self._lost_at_s.value is None:
            self._lost_at_s.set(self._clock())

    async def run(self) -> None:
        """Tells of every change until it is cancelled."""
        while True:
            revision, lost_at_s = self._lost_at_s.revision, self._lost_at_s.value
            wait_s = None
            if lost_at_s is None:
                await self._say(False)
            elif not self._stale:
                wait_s = max(0.0, self._grace_s - self.alone_s)
                if not wait_s:
                    await self._say(True)
                    continue
            try:
                async with asyncio.timeout(wait_s):
                    await self._lost_at_s.after(revision)
            except TimeoutError:
                pass

    async def _say(self, stale: bool) -> None:
        if stale == self._stale:
            return
        self._stale = stale
        if stale:
            _log.warning("route_table_stale", alone_s=round(self.alone_s, 3))
        else:
            _log.info("route_table_followed")
        await self._on_change(not stale)
