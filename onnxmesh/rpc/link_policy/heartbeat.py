"""Heartbeats of one link: when to send one, and when the peer's is overdue."""

from __future__ import annotations

from math import inf

from onnxmesh.rpc.link_policy.link_limits import LinkLimits

IN_USE_S = 2.0
"""A link is in use for this long after the last request or answer."""


class Heartbeat:
    """The heartbeat state of one link. Time is an argument of every method.

    Links in use have short intervals, so that requests do not wait for a dead peer. A process may have thousands of
    links that are not in use; their intervals are long.

    Args:
        limits: Times of the link.
        now_s: The time at which the link is opened.
    """

    def __init__(self, limits: LinkLimits, now_s: float) -> None:
        self._limits = limits
        self._received_s = now_s
        self._used_s = -inf
        self._use_began_s = -inf

    def interval_s(self, now_s: float) -> float:
        """Returns the interval of heartbeats while nothing else is sent."""
        in_use = now_s - self._used_s < IN_USE_S
        return self._limits.heartbeat_s if in_use else self._limits.idle_heartbeat_s

    def observe_use(self, now_s: float) -> bool:
        """Records a request or an answer on the link; returns whether the link was not in use before."""
        begins = now_s - self._used_s >= IN_USE_S
        if begins:
            self._use_began_s = now_s
        self._used_s = now_s
        return begins

    def observe_message(self, now_s: float) -> None:
        """Records a message of the peer."""
        self._received_s = now_s

    def observe_stall(self, late_s: float, now_s: float) -> None:
        """Records that this process did not run for `late_s`: the peer's messages of that time are still unread."""
        self._received_s = min(now_s, self._received_s + late_s)

    def quiet_s(self, now_s: float) -> float:
        """Returns the seconds since the peer's last message."""
        return now_s - self._received_s

    def is_suspect(self, now_s: float) -> bool:
        """Whether a heartbeat of the peer is overdue."""
        if now_s - self._used_s >= IN_USE_S:
            return self.quiet_s(now_s) > self._limits.idle_heartbeat_s + self._limits.suspect_after_s
        return now_s - max(self._received_s, self._use_began_s) > self._limits.suspect_after_s

    def is_dead(self, now_s: float) -> bool:
        """Whether the peer has been quiet for so long that it is considered dead."""
        return self.quiet_s(now_s) > self._limits.dead_after_s
