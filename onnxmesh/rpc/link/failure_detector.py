"""Whether the peer of a link says what it should."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from onnxmesh.deadline import Clock
from onnxmesh.errors import Unavailable
from onnxmesh.rpc.link_policy.heartbeat import Heartbeat


class FailureDetector:
    """Notices that a peer has fallen silent, and that it is heard again. Belongs to one event loop.

    Attributes:
        is_suspect: Whether the peer is suspect: it should have said something by now, and has not.

    Args:
        peer: Who is watched, for errors.
        heartbeat: What is due when.
        clock: Seconds, monotonic.
    """

    def __init__(self, peer: str, heartbeat: Heartbeat, clock: Clock) -> None:
        self._peer = peer
        self._heartbeat = heartbeat
        self._clock = clock
        self._stirred = asyncio.Event()
        self.is_suspect = False

    def observe_message(self) -> bool:
        """Takes that the peer said something; returns whether it was silent before."""
        self._heartbeat.observe_message(self._clock())
        was_silent, self.is_suspect = self.is_suspect, False
        return was_silent

    def wake(self) -> None:
        """Has the peer watched as closely as the heartbeat says now."""
        self._stirred.set()

    async def run(self, on_change: Callable[[], None]) -> None:
        """Watches until the peer is taken for dead.

        Args:
            on_change: Called on the event loop whenever this has changed `is_suspect`; must not block.

        Raises:
            Unavailable: It is (UNAVAILABLE).
        """
        while True:
            before_s = self._clock()
            interval_s = self._heartbeat.interval_s(before_s)
            with suppress(TimeoutError):
                async with asyncio.timeout(interval_s):
                    await self._stirred.wait()
            self._stirred.clear()
            now_s = self._clock()
            late_s = now_s - before_s - interval_s
            if late_s > interval_s:
                self._heartbeat.observe_stall(late_s, now_s)
            if self._heartbeat.is_dead(now_s):
                raise Unavailable(f"{self._peer} has said nothing for {self._heartbeat.quiet_s(now_s):.1f} s")
            is_suspect = self._heartbeat.is_suspect(now_s)
            if self.is_suspect != is_suspect:
                self.is_suspect = is_suspect
                on_change()
