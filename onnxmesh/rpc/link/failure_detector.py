"""The failure detector of one link: suspects a peer whose heartbeats are overdue."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from onnxmesh.deadline import Clock
from onnxmesh.errors import Unavailable
from onnxmesh.rpc.link_policy.heartbeat import Heartbeat


class FailureDetector:
    """Watches the heartbeats of one peer. Belongs to one event loop.

    Attributes:
        is_suspect: Whether a heartbeat of the peer is overdue.

    Args:
        peer: Node id, for errors.
        heartbeat: Decides when messages are due.
        clock: Seconds, monotonic.
    """

    def __init__(self, peer: str, heartbeat: Heartbeat, clock: Clock) -> None:
        self._peer = peer
        self._heartbeat = heartbeat
        self._clock = clock
        self._awake = asyncio.Event()
        self.is_suspect = False

    def observe_message(self) -> bool:
        """Records a message of the peer; returns whether the peer was suspect before."""
        self._heartbeat.observe_message(self._clock())
        was_suspect, self.is_suspect = self.is_suspect, False
        return was_suspect

    def wake(self) -> None:
        """Applies a new heartbeat interval at once."""
        self._awake.set()

    async def run(self, on_change: Callable[[], None]) -> None:
        """Checks the heartbeats until the peer is considered dead.

        Args:
            on_change: Called on the event loop whenever this has changed `is_suspect`; must not block.

        Raises:
            Unavailable: The peer is considered dead (UNAVAILABLE).
        """
        while True:
            before_s = self._clock()
            interval_s = self._heartbeat.interval_s(before_s)
            with suppress(TimeoutError):
                async with asyncio.timeout(interval_s):
                    await self._awake.wait()
            self._awake.clear()
            now_s = self._clock()
            late_s = now_s - before_s - interval_s
            if late_s > interval_s:
                self._heartbeat.observe_stall(late_s, now_s)
            if self._heartbeat.is_dead(now_s):
                raise Unavailable(f"{self._peer} has sent nothing for {self._heartbeat.quiet_s(now_s):.1f} s")
            is_suspect = self._heartbeat.is_suspect(now_s)
            if self.is_suspect != is_suspect:
                self.is_suspect = is_suspect
                on_change()
